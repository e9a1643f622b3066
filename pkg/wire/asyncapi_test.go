package wire_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// frameTypes are the values of the constants whose name begins with Type, and the types of events.
func frameTypes(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "frame.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{string(chat.Message), string(chat.Changed), string(chat.Edited), string(chat.Deleted), string(chat.Reacted)}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Type") {
			return true
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok {
			s, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return true
	})
	slices.Sort(out)
	return slices.Compact(out) // a client that edits says so with the type of the event
}

func TestTheAsyncAPIDocumentListsExactlyTheTypesOfFrames(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	listed := map[string]bool{}
	for _, operation := range []string{"hearClients", "tellClients", "deliver"} {
		for _, m := range d.Messages(operation) {
			listed[d.TypeOf(m)] = true
		}
	}
	if got, want := slices.Sorted(maps.Keys(listed)), frameTypes(t); !slices.Equal(got, want) {
		t.Errorf("got types %q in asyncapi.yaml; want those of the package, %q", got, want)
	}
	if slices.Contains(d.Messages("tellClients"), "heads") {
		t.Error("the heads that fan-out tells never reach a client: an edge tells its own")
	}
	if slices.Contains(d.Messages("tellClients"), "recheck") {
		t.Error("who is blocked is not told so by the frame that tells their edges")
	}
}

func TestTheAsyncAPIDocumentHasExactlyTheFieldsOfTheFrames(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	for message, frame := range map[string]any{
		"welcome": wire.Welcome{}, "ack": wire.Ack{}, "page": wire.Page{}, "read": wire.Read{}, "delivered": wire.Delivered{},
		"typing": wire.Typing{}, "preferences": wire.Preferences{}, "settings": wire.Settings{}, "hidden": wire.Hidden{}, "presence": wire.Presence{}, "resync": wire.Resync{}, "heads": wire.Heads{}, "chatHeads": wire.ChatHeads{},
		"draining": wire.Draining{}, "error": wire.Error{}, "state": chat.State{}, "profile": wire.Profile{}, "recheck": wire.Recheck{},
	} {
		d.Fields(t, frame, doctest.Payload(message)...)
	}
	// A request has the fields of all types of request, an event those of all events.
	for _, c := range []struct {
		messages []string
		value    any
		beside   []string
	}{
		{d.Messages("hearClients"), wire.Request{}, nil},
		{d.Messages("append"), chat.Event{}, []string{"truncated"}}, // in a list of chats only
	} {
		got := map[string]bool{}
		for _, m := range c.messages {
			for _, k := range d.Keys(append(doctest.Payload(m), "properties")...) {
				got[k] = !slices.Contains(c.beside, k)
			}
		}
		maps.DeleteFunc(got, func(_ string, counts bool) bool { return !counts })
		want := map[string]bool{}
		for _, f := range reflect.VisibleFields(reflect.TypeOf(c.value)) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
				want[name] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%T: got fields %v in asyncapi.yaml; want %v", c.value, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

func TestEveryChangeIsInTheAsyncAPIDocument(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	var got []string
	for _, m := range d.Messages("append") {
		if change, ok := d.At(append(doctest.Payload(m), "properties", "change")...)["const"].(string); ok {
			got = append(got, change)
		}
	}
	want := []string{string(chat.Created), string(chat.MemberAdded), string(chat.MemberRemoved), string(chat.RoleChanged), string(chat.TitleChanged),
		string(chat.PictureChanged), string(chat.DescriptionChanged), string(chat.InviteChanged),
		string(chat.Pinned), string(chat.Unpinned), string(chat.Erased), string(chat.Blocked), string(chat.Unblocked)}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got changes %q; want %q", got, want)
	}
}

func TestGoldenFilesAreWhatTheDocumentsSay(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	var files []string
	for _, pattern := range []string{"testdata/*.json", "../chat/testdata/*.json"} {
		some, err := filepath.Glob(pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(some), err)
		}
		files = append(files, some...)
	}
	seen := map[string]bool{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var frame struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(body, &frame); err != nil {
			t.Fatal(err)
		}
		if frame.Type == "" { // a page over NATS
			if err := d.Check(body, "components", "schemas", "Page"); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		message, err := d.Frame("tellClients", body)
		if filepath.Base(file) == "created_group_without_title.json" {
			if err == nil { // it can be encoded, but no group without a title is let in
				t.Errorf("%s: got a %s; want none", file, message)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		seen[message] = true
	}
	for _, m := range d.Messages("tellClients") {
		if !seen[m] && m != "pong" { // an ack with another type
			t.Errorf("no golden file is a %s", m)
		}
	}
}

func TestTheExamplesOfRequestsAreReadAsTheyAreMeant(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	for _, m := range d.Messages("hearClients") {
		for _, v := range d.Examples(m) {
			body, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			r, err := wire.ParseRequest(body)
			if err != nil || r.Type != d.TypeOf(m) {
				t.Errorf("%s: got type %q, %v", body, r.Type, err)
			}
		}
	}
}
