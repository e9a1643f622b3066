package chatlog

import (
	"fmt"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestChatsThatAreAskedForWhileOthersAreReadAreReadTogether(t *testing.T) {
	d := newLoader()
	if _, first := d.read("c0"); !first {
		t.Error("the first finds nobody who reads; want it to begin")
	}
	if some := d.next(); len(some) != 1 || some[0].id != "c0" {
		t.Fatalf("got %d chats; want c0", len(some))
	}
	for i := range loadAtOnce + 2 {
		id := chat.ID(fmt.Sprint("d", i))
		w, first := d.read(id)
		if again, _ := d.read(id); first || again != w {
			t.Fatalf("%s begins %t, is read again %t; want it to wait, once for all", id, first, again != w)
		}
	}
	if some := d.next(); len(some) != loadAtOnce || some[0].id != "d0" {
		t.Errorf("got %d chats; want %d, those that have waited longest", len(some), loadAtOnce)
	}
	if some := d.next(); len(some) != 2 {
		t.Errorf("got %d chats; want the other two", len(some))
	}
	if some := d.next(); len(some) != 0 {
		t.Errorf("got %d chats; want none", len(some))
	}
	d.wait() // nobody reads any more
	if _, first := d.read("c0"); !first {
		t.Error("what was read goes on for ever; want it to begin again")
	}
}

func TestTheCacheIsBoundedByWhatTheChatsTakeAndForgetsTheOldestFirst(t *testing.T) {
	of := func(members int) *entry {
		return &entry{snap: Snapshot{State: &chat.State{Seq: 1, Members: make([]chat.Member, members)}}}
	}
	one := weigh(of(2).snap.State)
	c, err := newChats(10*one, mostChats)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		c.put(chat.ID(fmt.Sprint("d", i)), of(2))
	}
	if c.Len() != 10 || c.Contains("d1") || !c.Contains("d2") || c.used.Load() != 10*one {
		t.Fatalf("got %d chats of %d bytes; want the last 10 of %d", c.Len(), c.used.Load(), one)
	}
	if there, n := c.put("d5", of(2)); there == nil || n != 0 || c.used.Load() != 10*one {
		t.Errorf("a chat that is there was put in again, %d forgotten, %d bytes; want the one that is there", n, c.used.Load())
	}
	group := of(15)
	if _, n := c.put("g", group); n != 4 || c.Len() != 7 || c.Contains("d5") {
		t.Errorf("a group made %d forgotten, %d are left; want as many as it takes", n, c.Len())
	}
	before := c.used.Load()
	group.take(Snapshot{Head: Head{Seq: 2}, State: of(16).snap.State})
	if got := c.used.Load() - before; got != memberBytes {
		t.Errorf("a member more takes %d bytes; want %d", got, memberBytes)
	}
	c.Remove("g")
	group.take(Snapshot{Head: Head{Seq: 3}, State: of(900).snap.State})
	if got := c.used.Load(); got != 6*one {
		t.Errorf("got %d bytes; want %d: a group that was forgotten counts nothing", got, 6*one)
	}
}
