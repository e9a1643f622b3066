package history

// device is what somebody has of chats, over all connections of one device.
type device struct {
	user  string
	last  *Conn
	chats map[string]*kept
	// resynced says that the connection was told to sync all, at resyncAt: it holds for chats of which it has nothing as well.
	resynced bool
	resyncAt Time
}

// kept is what a device has of a chat.
type kept struct {
	// from is the seq behind which it has all, by the first cursor or by the first event.
	from uint64
	has  map[uint64]*Event
	// open says that it was told to sync at syncAt and did not yet.
	open   bool
	syncAt Time
}

// checkDevices folds what each device has and compares it with the history. Where something is told already, that would be told again.
func (c *checker) checkDevices() {
	if c.r.Faults() > 0 {
		return
	}
	devices := map[string]*device{}
	for _, conn := range c.h.conns {
		if conn.device == "" || conn.welcome < 0 && len(conn.entries) == 0 {
			continue
		}
		d := devices[conn.device]
		if d == nil {
			d = &device{user: conn.user, chats: map[string]*kept{}}
			devices[conn.device] = d
		}
		d.follow(conn)
	}
	for _, d := range devices {
		if d.last.ended >= 0 || d.last.welcome < 0 {
			continue
		}
		for id, k := range d.chats {
			c.checkKept(d, id, k)
		}
	}
}

// follow takes what came on the next connection.
func (d *device) follow(conn *Conn) {
	d.last, d.resynced = conn, false
	for id := range d.chats {
		if _, ok := conn.cursors[id]; !ok {
			delete(d.chats, id)
		}
	}
	for id, cursor := range conn.cursors {
		d.chat(id, cursor).open = false // what it misses behind the cursor comes now
	}
	for _, e := range conn.entries {
		switch {
		case e.event != nil:
			d.chat(e.event.Chat, e.event.Seq-1).has[e.event.Seq] = e.event
		case e.note.page != nil:
			pg := e.note.page
			k := d.chat(pg.Chat, pg.After)
			for _, e := range pg.events {
				k.has[e.Seq] = e
			}
			if pg.to() >= k.from { // there is no gap between it and the rest
				k.from = min(k.from, pg.After)
			}
			if pg.Begin >= k.syncAt && !pg.HasMore {
				k.open = false
			}
		case e.note.user != "":
		case e.note.chat != "":
			k := d.chat(e.note.chat, forEver)
			k.open, k.syncAt = true, e.at
		default:
			d.resynced, d.resyncAt = true, e.at
			for _, k := range d.chats {
				k.open, k.syncAt = true, e.at
			}
		}
	}
}

func (d *device) chat(id string, from uint64) *kept {
	k := d.chats[id]
	if k == nil {
		k = &kept{from: from, has: map[uint64]*Event{}, open: d.resynced, syncAt: d.resyncAt}
		d.chats[id] = k
	}
	return k
}

// checkKept checks that each message that the device has is, by all that it has, what it is by the history.
func (c *checker) checkKept(d *device, id string, k *kept) {
	p := c.chat(id)
	if k.open || k.has[p.last] == nil || !p.receives(d.user, p.last) {
		return // it is not up to date, and knows it
	}
	c.r.Folds++
	for seq, t := range p.targets {
		m := p.at(seq)
		if m == nil || seq <= k.from && k.has[seq] == nil {
			continue
		}
		var here, there target
		for _, list := range [][]*Event{t.edits, t.reactions, {t.deletion}} {
			for _, e := range list {
				if e == nil {
					continue
				}
				if k.has[e.Seq] != nil {
					here.take(e)
				}
				if k.has[e.Seq] != nil || e.Seq > k.from && p.receives(d.user, e.Seq) {
					there.take(e)
				}
			}
		}
		a, b := here.state(m, forEver), there.state(m, forEver)
		if (here.deletion == nil) != (there.deletion == nil) || there.deletion == nil && a != b {
			c.r.add(Diverged, 0, "chat %s: a device of %s has seq %d with %d edits, reactions %s; by the history it has %d edits, reactions %s", id, d.user, seq, a.edits,
				a.reactions, b.edits, b.reactions)
		}
	}
}

func (t *target) take(e *Event) {
	switch e.Type {
	case "edit":
		t.edits = append(t.edits, e)
	case "reaction":
		t.reactions = append(t.reactions, e)
	case "deletion":
		t.deletion = e
	}
}
