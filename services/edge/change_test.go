package edge

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// change is the api's endpoint: it says which request it got as the refusal of seq 13, otherwise that it is done.
func (r *rig) change(_ context.Context, in []byte) (any, error) {
	var q struct{ Seq chat.Seq }
	if err := json.Unmarshal(in, &q); err != nil {
		return nil, err
	}
	if q.Seq == 13 {
		return nil, chat.Errorf(chat.Forbidden, "%s", in)
	}
	return map[string]any{"chat": "c1", "seq": 40 + q.Seq, "target": q.Seq}, nil
}

func TestWhatAClientWantsOfAMessageIsAskedOfTheApi(t *testing.T) {
	r := newRig(t)
	d := r.connect("ann", nil)
	for id, c := range map[string]struct {
		frame map[string]any
		want  map[string]any
	}{
		"edit": {map[string]any{"type": "edit", "text": "new", "mentions": []string{"ben"}},
			map[string]any{"action": "edit", "text": "new", "mentions": []any{"ben"}}},
		"all":    {map[string]any{"type": "delete", "for": "all"}, map[string]any{"action": "delete", "for": "all"}},
		"me":     {map[string]any{"type": "delete", "for": "me"}, map[string]any{"action": "delete", "for": "me"}},
		"react":  {map[string]any{"type": "react", "emoji": "👍"}, map[string]any{"action": "react", "emoji": "👍"}},
		"remove": {map[string]any{"type": "react", "emoji": "👍", "remove": true}, map[string]any{"action": "react", "emoji": "👍", "remove": true}},
		"pin":    {map[string]any{"type": "pin"}, map[string]any{"action": "pin"}},
	} {
		c.frame["id"], c.frame["chat"], c.frame["seq"] = id, "c1", 2
		d.write(c.frame)
		if f := d.await("the ack of "+id, is("ack", id)); f["chat"] != "c1" || f["seq"] != 42.0 {
			t.Errorf("%s: got %v; want the event that the api names", id, f)
		}
		c.frame["id"], c.frame["seq"] = id+"-no", 13
		d.write(c.frame)
		f := d.await("the refusal of "+id, is("error", id+"-no"))
		c.want["chat"], c.want["user"], c.want["seq"] = "c1", "ann", 13.0
		var asked map[string]any
		if err := json.Unmarshal([]byte(f["message"].(string)), &asked); err != nil || f["code"] != "forbidden" || !reflect.DeepEqual(asked, c.want) {
			t.Errorf("%s: got %v, %v; want %v", id, f, err, c.want)
		}
	}
}

func TestWhatAClientPassesOnIsAskedOfTheApi(t *testing.T) {
	r := newRig(t)
	d := r.connect("ann", nil)
	d.write(map[string]any{"type": "send", "id": "on", "chat": "c1", "client_id": "k1", "forward": map[string]any{"chat": "c2", "seq": 2}})
	if f := d.await("the ack", is("ack", "on")); f["chat"] != "c1" || f["seq"] != 42.0 || f["client_id"] != "k1" {
		t.Errorf("got %v; want the event that the api names", f)
	}
	d.write(map[string]any{"type": "send", "id": "no", "chat": "c1", "client_id": "k2", "forward": map[string]any{"chat": "c2", "seq": 13}})
	f := d.await("the refusal", is("error", "no"))
	want := map[string]any{"chat": "c1", "user": "ann", "action": "forward", "from": "c2", "seq": 13.0, "client_id": "k2"}
	var asked map[string]any
	if err := json.Unmarshal([]byte(f["message"].(string)), &asked); err != nil || f["code"] != "forbidden" || !reflect.DeepEqual(asked, want) {
		t.Errorf("got %v, %v; want %v", f, err, want)
	}
}

func TestAWrongFrameAboutAMessageGoesNowhere(t *testing.T) {
	r := newRig(t)
	d := r.connect("ann", nil)
	for id, frame := range map[string]map[string]any{
		"no chat":      {"type": "pin", "seq": 2},
		"no seq":       {"type": "pin", "chat": "c1"},
		"no text":      {"type": "edit", "chat": "c1", "seq": 2},
		"no emoji":     {"type": "react", "chat": "c1", "seq": 2},
		"letters":      {"type": "react", "chat": "c1", "seq": 2, "emoji": "lol"},
		"no id":        {"type": "edit", "chat": "c1", "seq": 2, "text": "x", "mentions": []string{"a.b"}},
		"too many":     {"type": "edit", "chat": "c1", "seq": 2, "text": "x", "mentions": slices.Repeat([]string{"a"}, 101)},
		"a wrong id":   {"type": "send", "chat": "c1", "client_id": "x", "text": "x", "mentions": []string{"a.b"}},
		"from nowhere": {"type": "send", "chat": "c1", "client_id": "x", "forward": map[string]any{"chat": "a.b", "seq": 2}},
		"no place":     {"type": "send", "chat": "c1", "client_id": "x", "forward": map[string]any{"chat": "c2"}},
		"own text":     {"type": "send", "chat": "c1", "client_id": "x", "text": "x", "forward": map[string]any{"chat": "c2", "seq": 2}},
		"a wrong seq":  {"type": "send", "chat": "c1", "client_id": "x", "text": "x", "reply_to": -1},
	} {
		frame["id"] = id
		d.write(frame)
		if f := d.await("the refusal", is("error", id)); f["code"] != string(chat.BadRequest) {
			t.Errorf("%s: got %v; want bad_request", id, f)
		}
	}
}

func TestAMessageAnswersAnotherAndMentionsMembers(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben", "cid")
	r.say("c1", 1) // at 2
	d := r.connect("ann", nil)
	send := func(id string, more map[string]any) map[string]any {
		frame := map[string]any{"type": "send", "id": id, "chat": "c1", "client_id": id, "text": "yes"}
		for k, v := range more {
			frame[k] = v
		}
		d.write(frame)
		return d.await("the answer to "+id, func(f map[string]any) bool { return f["id"] == id })
	}
	if f := send("both", map[string]any{"reply_to": 2, "mentions": []string{"ben", "cid"}}); f["type"] != "ack" || f["seq"] != 3.0 {
		t.Fatalf("got %v; want an ack", f)
	}
	e, err := wire.DecodeEvent(r.event("c1", 3).Body)
	if err != nil || e.ReplyTo != 2 || !slices.Equal(e.Mentions, []chat.UserID{"ben", "cid"}) {
		t.Errorf("got %+v, %v; want what was sent", e, err)
	}
	for id, c := range map[string]struct {
		more map[string]any
		code chat.Code
	}{
		"none":   {map[string]any{"reply_to": 99}, chat.NotFound},
		"change": {map[string]any{"reply_to": 1}, chat.NotFound},
		"other":  {map[string]any{"chat": "c2", "reply_to": 1}, chat.NotFound},
		"eve":    {map[string]any{"mentions": []string{"eve"}}, chat.BadRequest},
		"twice":  {map[string]any{"mentions": []string{"ben", "ben"}}, chat.BadRequest},
	} {
		if f := send(id, c.more); f["type"] != "error" || f["code"] != string(c.code) {
			t.Errorf("%s: got %v; want %s", id, f, c.code)
		}
	}
}
