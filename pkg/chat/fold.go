package chat

import (
	"cmp"
	"maps"
	"slices"
	"unicode/utf8"
)

// Bounds of what a folded message shows.
const (
	// MaxReactors is how many people are named for each emoji of a message.
	MaxReactors = 100
	// MaxReplyText is the length of the text of a message that is answered, in Unicode code points.
	MaxReplyText = 200
)

// Folded is a message as it stands, with all that became of it since it was sent.
type Folded struct {
	Event
	// Edits is how often it was edited, EditedAt when it was edited last; nil is never. Text and Mentions are those of the last edit.
	Edits    int   `json:"edits,omitempty"`
	EditedAt *Time `json:"edited_at,omitempty"`
	// Reactions are of the emoji that stand, each where the earliest of those that stand came; at most MaxReactions.
	Reactions []Reaction `json:"reactions,omitempty"`
	// Reply shows the message that is answered.
	Reply *Reply `json:"reply,omitempty"`
	// Truncated says that Text is only the beginning of the text.
	Truncated bool `json:"truncated,omitempty"`
}

// Reaction is an emoji of a message and who gave it, the earliest first. Users are at most MaxReactors, Count counts all.
type Reaction struct {
	Emoji string   `json:"emoji"`
	Count int      `json:"count"`
	Users []UserID `json:"users"`
}

// Reply shows a message that is answered: the first MaxReplyText code points of its text, or that it was deleted.
type Reply struct {
	Seq     Seq    `json:"seq"`
	Sender  UserID `json:"sender"`
	Text    string `json:"text,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
}

// Shown is the message as one that answers it shows it.
func (m *Folded) Shown() *Reply {
	r := &Reply{Seq: m.Seq, Sender: m.Sender, Deleted: m.Deleted != nil}
	if !r.Deleted {
		r.Text, _ = Cut(m.Text, MaxReplyText)
	}
	return r
}

// Cut returns the first n code points of a text, and whether that is not all.
func Cut(text string, n int) (string, bool) {
	if len(text) <= n || utf8.RuneCountInString(text) <= n {
		return text, false
	}
	for i := range text {
		if n == 0 {
			return text[:i], true
		}
		n--
	}
	return text, false
}

// Fold gathers what became of the messages of one chat. It may be given events in any order and more than once. The zero value knows
// of nothing. It must not be used by several goroutines.
type Fold struct {
	fates map[Seq]*fate
	// gone are those whose account was deleted, with all that they wrote before.
	gone map[UserID][]Erasure
}

// fate is what became of a message.
type fate struct {
	edits map[Seq]Time
	// last is the last edit, whose text may be missing.
	last      Event
	reactions map[hand]Stand
	deleted   *Erasure
}

// hand is a person with an emoji.
type hand struct {
	by    UserID
	emoji string
}

// Stand is how a reaction of a person stands: as the event at Seq made it.
type Stand struct {
	By      UserID
	Emoji   string
	Seq     Seq
	Removed bool
	At      Time

	place int // among those of one seq
}

// before orders reactions by when they came.
func (s Stand) before(o Stand) int {
	return cmp.Or(cmp.Compare(s.Seq, o.Seq), cmp.Compare(s.place, o.place))
}

// Add takes an event of the chat. What changes no message is ignored. An edit may come without its text, and with it later.
func (f *Fold) Add(e *Event) {
	switch {
	case e.Type == Edited:
		t := f.fate(e.Target)
		if e.Deleted != nil {
			t.erase(*e.Deleted)
			return
		}
		if t.edits == nil {
			t.edits = map[Seq]Time{}
		}
		t.edits[e.Seq] = e.Time()
		if e.Seq > t.last.Seq || e.Seq == t.last.Seq && t.last.Text == "" {
			t.last = *e
		}
	case e.Type == Deleted:
		f.fate(e.Target).erase(Erasure{Seq: e.Seq, By: e.By, At: e.Time()})
	case e.Type == Reacted:
		t, h := f.fate(e.Target), hand{e.By, e.Emoji}
		if e.Seq > t.reactions[h].Seq {
			if t.reactions == nil {
				t.reactions = map[hand]Stand{}
			}
			t.reactions[h] = Stand{By: e.By, Emoji: e.Emoji, Seq: e.Seq, Removed: e.Removed, At: e.Time()}
		}
	case e.Type == Changed && e.Change == Erased:
		d := Erasure{Seq: e.Seq, By: e.By, At: e.Time()}
		if !slices.Contains(f.gone[e.User], d) {
			if f.gone == nil {
				f.gone = map[UserID][]Erasure{}
			}
			f.gone[e.User] = append(f.gone[e.User], d)
		}
	}
}

func (f *Fold) fate(seq Seq) *fate {
	t := f.fates[seq]
	if t == nil {
		if f.fates == nil {
			f.fates = map[Seq]*fate{}
		}
		t = &fate{}
		f.fates[seq] = t
	}
	return t
}

// erase notes a deletion; of several the first counts.
func (t *fate) erase(d Erasure) {
	if t.deleted == nil || d.Seq < t.deleted.Seq {
		t.deleted = &d
	}
}

// Edits are the seqs of the edits of a message that are known, ascending.
func (f *Fold) Edits(seq Seq) []Seq {
	if t := f.fates[seq]; t != nil {
		return slices.Sorted(maps.Keys(t.edits))
	}
	return nil
}

// Untold is the last edit of a message where its text has not come yet, otherwise zero.
func (f *Fold) Untold(seq Seq) Seq {
	if t := f.fates[seq]; t != nil && t.deleted == nil && t.last.Text == "" {
		return t.last.Seq
	}
	return 0
}

// Stand returns how the reaction of a person with an emoji to a message stands; the zero value where there was none.
func (f *Fold) Stand(seq Seq, by UserID, emoji string) Stand {
	if t := f.fates[seq]; t != nil {
		return t.reactions[hand{by, emoji}]
	}
	return Stand{}
}

// Standing are the reactions to a message that were not taken back, the earliest first.
func (f *Fold) Standing(seq Seq) []Stand {
	t := f.fates[seq]
	if t == nil {
		return nil
	}
	var out []Stand
	for _, s := range t.reactions {
		if !s.Removed {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, Stand.before)
	return out
}

// Message is a message as it stands; m is the event.
func (f *Fold) Message(m Event) Folded { return f.Over(Folded{Event: m}, m.Seq) }

// Over is a message as it stands, where all up to the event at upTo is in m.
func (f *Fold) Over(m Folded, upTo Seq) Folded {
	t := f.fates[m.Seq]
	if t == nil {
		t = &fate{}
	}
	d := m.Deleted
	if d == nil {
		d = t.deleted
	}
	for _, gone := range f.gone[m.Sender] {
		if gone.Seq > m.Seq && (d == nil || gone.Seq < d.Seq) {
			d = &gone
		}
	}
	if d != nil {
		return Folded{Event: m.Stub(*d)}
	}
	for seq := range t.edits {
		if seq > upTo {
			m.Edits++
		}
	}
	if t.last.Seq > upTo {
		at := t.last.Time()
		m.Text, m.Mentions, m.EditedAt, m.Truncated = t.last.Text, t.last.Mentions, &at, false
	}
	m.Reactions = react(m.Reactions, t.reactions, upTo)
	return m
}

// react is what becomes of reactions by those that came behind upTo.
func react(known []Reaction, later map[hand]Stand, upTo Seq) []Reaction {
	stands := map[hand]Stand{}
	unnamed := map[string]int{}
	for i, r := range known {
		for j, u := range r.Users {
			stands[hand{u, r.Emoji}] = Stand{By: u, Emoji: r.Emoji, place: i*MaxReactors + j}
		}
		unnamed[r.Emoji] = r.Count - len(r.Users)
	}
	for h, s := range later {
		if s.Seq <= upTo {
			continue
		}
		if _, named := stands[h]; s.Removed && !named && unnamed[h.emoji] > 0 {
			unnamed[h.emoji]--
		}
		stands[h] = s
	}
	all := make([]Stand, 0, len(stands))
	for _, s := range stands {
		if !s.Removed {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, Stand.before)
	var out []Reaction
	at := map[string]int{}
	for _, s := range all {
		i, ok := at[s.Emoji]
		if !ok {
			if i = len(out); i == MaxReactions {
				continue
			}
			at[s.Emoji] = i
			out = append(out, Reaction{Emoji: s.Emoji, Count: unnamed[s.Emoji]})
		}
		if out[i].Count++; len(out[i].Users) < MaxReactors {
			out[i].Users = append(out[i].Users, s.By)
		}
	}
	return out
}

// Forget lets go of the text of the last edit of a message.
func (f *Fold) Forget(seq Seq) {
	if t := f.fates[seq]; t != nil {
		t.last.Text, t.last.Mentions = "", nil
	}
}
