package subject_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// partition is a number that stands in no other part of a name, so that it can be replaced by its placeholder.
const partition = 4711

// patterns are the names of the package with placeholders for what is filled in, as subjects.md has them.
func patterns() map[string]string {
	const (
		id   chat.ID     = "<chat>"
		user chat.UserID = "<user>"
	)
	p := map[string]string{
		"HeaderSeq": subject.HeaderSeq, "HeaderStream": subject.HeaderStream, "HeaderReason": subject.HeaderReason,
		"HeaderOrigin": subject.HeaderOrigin, "HeaderServiceError": subject.HeaderServiceError, "HeaderTrace": subject.HeaderTrace,
		"Presence": subject.Presence, "LastSeen": subject.LastSeen, "Nodes": subject.Nodes, "Leases": subject.Leases, "Keys": subject.Keys,
		"Revoked": subject.Revoked, "Preferences": subject.Preferences, "Places": subject.Places, "PlaceKey": subject.PlaceKey("<worker>", "<stream>"), "PresenceOwn": subject.PresenceOwn(user), "DeadLetters": subject.DeadLetters, "FanOut": subject.FanOut,
		"Persister": subject.Persister, "PinGroup": subject.PinGroup, "Service": subject.Service,
		"SendEndpoint": subject.SendEndpoint, "ChangeEndpoint": subject.ChangeEndpoint, "HistoryEndpoint": subject.HistoryEndpoint,
		"StateEndpoint": subject.StateEndpoint, "FindEndpoint": subject.FindEndpoint, "SentEndpoint": subject.SentEndpoint,
		"CursorEndpoint": subject.CursorEndpoint, "SharesEndpoint": subject.SharesEndpoint, "UserChatsEndpoint": subject.UserChatsEndpoint,
		"PresenceEndpoint": subject.PresenceEndpoint, "EdgeLease": subject.EdgeLease,
		"VerifyEndpoint": subject.VerifyEndpoint, "ChatsEndpoint": subject.ChatsEndpoint,
		"PersisterRetryEndpoint": subject.PersisterRetryEndpoint, "FanOutRetryEndpoint": subject.FanOutRetryEndpoint,
		"DrainEndpoint": subject.DrainEndpoint("<node>"),

		"ChatStream": subject.ChatStream(partition), "CursorStream": subject.CursorStream(partition),
		"Log": subject.Log(partition, id), "State": subject.State(partition, id),
		"LogAndState": subject.LogAndState(partition, id), "Erased": strings.Replace(subject.Erased(partition, id, 4712), "4712", "<seq>", 1), "AllOf": subject.AllOf(partition), "Logs": subject.Logs(partition),
		"Cursor": subject.Cursor(partition, id, user), "Cursors": subject.Cursors(partition),
		"Delivered": subject.Delivered(partition, id, user), "CursorsOf": subject.CursorsOf(partition, id),
		"User": subject.User(user), "Event": strings.NewReplacer("4712", "<sequence>", "ID", "<id>").Replace(subject.Event(4712, "ID")), "PresenceOf": subject.PresenceOf(user), "Dead": subject.Dead("<worker>", partition),
		"AllDead": subject.AllDead, "DeadOf": subject.DeadOf("<worker>"),
		"PresenceKey": subject.PresenceKey(user, "<edge>"), "LeaseKey": subject.LeaseKey("<edge>"),
		"NodeKey": subject.NodeKey("<service>", "<node>"), "KV": subject.KV("<bucket>", "<key>"),
		"KVStream": subject.KVStream("<bucket>"), "Inbox": subject.Inbox("<role>"),
		"PresenceLease": subject.PresenceLease, "StoreLease": subject.StoreLease, "DeletionLease": subject.DeletionLease,
	}
	for name, pattern := range p {
		p[name] = strings.ReplaceAll(pattern, "4711", "<partition>")
	}
	return p
}

// noNames are what the package exports beside names: what takes them apart, and lists of them.
var noNames = []string{"Partition", "ChatOf", "UserOf", "EventOf", "PresentOf", "WorkerOf", "NodeOf", "IsErased", "Endpoints", "Buckets"}

// exported lists what the package exports, from its source, so that a new name cannot be forgotten here.
func exported(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "subject.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	add := func(id *ast.Ident) {
		if id.IsExported() {
			out = append(out, id.Name)
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			add(d.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if v, ok := s.(*ast.ValueSpec); ok {
					for _, name := range v.Names {
						add(name)
					}
				}
			}
		}
	}
	return out
}

// documented reads the tables of subjects.md whose last column is "in code": the pattern of each name.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../subjects.md")
	if err != nil {
		t.Fatal(err)
	}
	inCode := regexp.MustCompile("^`subject\\.([A-Za-z]+)`$")
	out := map[string]string{}
	names := false
	for n, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "|") {
			names = false
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		last := strings.TrimSpace(cells[len(cells)-1])
		switch {
		case last == "in code":
			names = true
		case !names || strings.HasPrefix(last, "---"):
		default:
			m := inCode.FindStringSubmatch(last)
			if m == nil {
				t.Errorf("subjects.md:%d: got %q in the last column; want the name in code", n+1, last)
				continue
			}
			if _, twice := out[m[1]]; twice {
				t.Errorf("subjects.md:%d: subject.%s stands in two rows", n+1, m[1])
			}
			out[m[1]] = strings.Trim(cells[0], "` ")
		}
	}
	return out
}

func TestSubjectsMdListsExactlyWhatIsInThePackage(t *testing.T) {
	want, got, all := patterns(), documented(t), exported(t)
	for _, name := range all {
		if _, ok := want[name]; !ok && !slices.Contains(noNames, name) {
			t.Errorf("subject.%s is new: add it to this test and to subjects.md", name)
		}
	}
	for name, pattern := range want {
		switch {
		case !slices.Contains(all, name):
			t.Errorf("subject.%s does not exist any more: take it out of this test and of subjects.md", name)
		case got[name] == "":
			t.Errorf("subjects.md has no row for subject.%s, %s", name, pattern)
		case got[name] != pattern:
			t.Errorf("subjects.md: subject.%s: got %s; want %s", name, got[name], pattern)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("subjects.md: subject.%s is not a name of the package", name)
		}
	}
	for _, endpoint := range subject.Endpoints {
		if !slices.ContainsFunc(all, func(name string) bool { return want[name] == endpoint }) {
			t.Errorf("%s is listed in subject.Endpoints and has no constant", endpoint)
		}
	}
}
