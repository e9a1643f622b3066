package roles_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/roles"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// The table of rights in this file is written by hand and knows nothing of how the lists are made. What is not in it must be denied.
const (
	edge, api, fanout, persister, presence, ops = roles.Edge, roles.API, roles.FanOut, roles.Persister, roles.Presence, roles.Ops
	reader, bot, system                         = "team-" + meshtest.Reader, "team-" + meshtest.Bot, roles.System
)

// all are the roles of the committed configuration.
var all = []string{edge, api, fanout, persister, presence, ops, reader, bot, system}

// name is a name of pkg/subject as a subject, and who may publish to it and subscribe to it.
type name struct {
	subject  string
	pub, sub []string
}

// names has every exported name of pkg/subject that is a subject. What is none stands in noSubjects.
var names = map[string]name{
	"Log":        {subject.Log(3, "c1"), []string{edge, api}, []string{ops, reader, bot}},
	"State":      {subject.State(3, "c1"), []string{edge, api}, nil},
	"Erased":     {subject.Erased(3, "c1", 42), []string{api}, nil},
	"Cursor":     {subject.Cursor(3, "c1", "u1"), []string{edge, api}, nil},
	"Delivered":  {subject.Delivered(3, "c1", "u1"), []string{edge, api}, nil},
	"User":       {subject.User("u1"), []string{edge, api, fanout}, []string{edge}},
	"Event":      {subject: subject.Event(42, "x")},
	"PresenceOf": {subject.PresenceOf("u1"), []string{presence}, []string{edge}},
	"Dead":       {subject.Dead("fanout", 3), []string{fanout}, nil},

	"SendEndpoint":           {subject.SendEndpoint, []string{ops, bot}, []string{api}},
	"ChangeEndpoint":         {subject.ChangeEndpoint, []string{edge, ops, bot}, []string{api}},
	"HistoryEndpoint":        {subject.HistoryEndpoint, []string{edge, fanout, ops, bot}, []string{api}},
	"StateEndpoint":          {subject.StateEndpoint, []string{edge, fanout, ops, bot}, []string{api}},
	"FindEndpoint":           {subject.FindEndpoint, []string{edge, ops, bot}, []string{api}},
	"SentEndpoint":           {subject.SentEndpoint, []string{edge, ops, bot}, []string{api}},
	"CursorEndpoint":         {subject.CursorEndpoint, []string{edge, ops, bot}, []string{api}},
	"SharesEndpoint":         {subject.SharesEndpoint, []string{edge, ops}, []string{api}},
	"UserChatsEndpoint":      {subject.UserChatsEndpoint, []string{edge, ops}, []string{api}},
	"PresenceEndpoint":       {subject.PresenceEndpoint, []string{edge, api, ops}, []string{presence}},
	"VerifyEndpoint":         {subject.VerifyEndpoint, []string{ops}, []string{api}},
	"ChatsEndpoint":          {subject.ChatsEndpoint, []string{ops}, []string{api}},
	"PersisterRetryEndpoint": {subject.PersisterRetryEndpoint, []string{ops}, []string{persister}},
	"FanOutRetryEndpoint":    {subject.FanOutRetryEndpoint, []string{ops}, []string{fanout}},

	"DrainEndpoint": {subject.DrainEndpoint("e1"), []string{ops}, []string{edge}},

	"PresenceOwn":   {subject.PresenceOwn("u1"), []string{presence}, []string{edge}},
	"PresenceKey":   {subject.KV(subject.Presence, subject.PresenceKey("u1", "e1")), []string{edge, presence}, nil},
	"LeaseKey":      {subject.KV(subject.Presence, subject.LeaseKey("e1")), []string{edge, presence}, nil},
	"NodeKey":       {subject.KV(subject.Nodes, subject.NodeKey("edge", "e1")), []string{edge}, nil},
	"PresenceLease": {subject.KV(subject.Leases, subject.PresenceLease), []string{presence}, nil},
	"StoreLease":    {subject.KV(subject.Leases, subject.StoreLease), []string{api}, nil},
	"DeletionLease": {subject.KV(subject.Leases, subject.DeletionLease), []string{api}, nil},
	"LastSeen":      {subject.KV(subject.LastSeen, "u1"), []string{presence}, nil},
	"Keys":          {subject.KV(subject.Keys, "k1"), []string{api}, nil},
	"Preferences":   {subject.KV(subject.Preferences, "u1"), []string{api}, nil},
	"PlaceKey":      {subject.KV(subject.Places, subject.PlaceKey("fanout", "CHAT_3")), []string{fanout}, nil},
	"Revoked":       {subject.KV(subject.Revoked, "s1"), []string{api}, nil},

	// Patterns, to listen to; nobody may, but operators and teams to logs.
	"LogAndState": {subject: subject.LogAndState(3, "c1")},
	"AllOf":       {subject: subject.AllOf(3)},
	"Logs":        {subject: subject.Logs(3), sub: []string{ops, reader, bot}},
	"Cursors":     {subject: subject.Cursors(3)},
	"CursorsOf":   {subject: subject.CursorsOf(3, "c1")},
	"AllDead":     {subject: subject.AllDead},
	"DeadOf":      {subject: subject.DeadOf("fanout")},
	"KV":          {subject: subject.KV(subject.Presence, ">")},
}

// noSubjects are the names of pkg/subject that are no subjects; those of buckets, streams and consumers are tried with the verbs
// of JetStream's API.
var noSubjects = []string{"HeaderSeq", "HeaderTrace", "HeaderStream", "HeaderReason", "HeaderOrigin", "HeaderServiceError", "Service", "PinGroup", "EdgeLease",
	"Partition", "ChatOf", "UserOf", "EventOf", "PresentOf", "WorkerOf", "NodeOf", "IsErased", "Endpoints", "Buckets", "Inbox",
	"DeadLetters", "ChatStream", "CursorStream", "KVStream", "Presence", "Nodes", "Leases", "Places", "FanOut", "Persister"}

// TestNoNameIsForgotten: a new name must get its rights above.
func TestNoNameIsForgotten(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../subject/subject.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var exported []string
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			exported = append(exported, d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if v, ok := s.(*ast.ValueSpec); ok {
					for _, n := range v.Names {
						exported = append(exported, n.Name)
					}
				}
			}
		}
	}
	for _, n := range exported {
		if _, ok := names[n]; !ok && ast.IsExported(n) && !slices.Contains(noSubjects, n) {
			t.Errorf("subject.%s is new: say in this test who may publish and subscribe", n)
		}
	}
	for n := range names {
		if !slices.Contains(exported, n) {
			t.Errorf("subject.%s does not exist", n)
		}
	}
}

// try is one right: who may, where the others must be denied.
type try struct {
	subject string
	sub     bool
	may     []string
}

func (y try) String() string {
	if y.sub {
		return "subscribe " + y.subject
	}
	return "publish " + y.subject
}

// tries lists everything that is tried with every role.
func tries() []try {
	var out []try
	pub := func(subj string, may ...string) { out = append(out, try{subj, false, may}) }
	sub := func(subj string, may ...string) { out = append(out, try{subj, true, may}) }
	for _, n := range names {
		sub(n.subject, n.sub...)
		if !strings.ContainsAny(n.subject, "*>") {
			pub(n.subject, n.pub...)
		}
	}
	// Other workers' and services' things of a kind that a role has.
	pub(subject.Dead("persister", 3), persister)
	pub(subject.Dead("other", 3))
	// Operators have the persister work again: never fan-out, which would tell everybody everything once more.
	pub(subject.KV(subject.Places, subject.PlaceKey("persister", "CHAT_3")), persister, ops)
	pub(subject.KV(subject.Places, subject.PlaceKey("other", "CHAT_3")))
	for _, service := range []string{edge, api, fanout, persister, presence} {
		pub(subject.KV(subject.Nodes, subject.NodeKey(service, "n1")), service)
	}
	pub(subject.KV(subject.Leases, "other"))
	pub(subject.KV("other", "k"))
	pub("chat.3.c1.other")
	pub("chat.log")
	pub("user.u1.x")
	pub("svc.other.x", ops)
	pub("$SRV.PING", ops)
	for _, wide := range []string{">", "*", "*.>", "chat.>", "cursor.>", "dead.>", "svc.>", "$KV.>", "$JS.>", "$JS.API.>",
		"$JS.ACK.>", "_INBOX.>", "_INBOX.x", "$JS.EVENT.METRIC.>", "svc.other.x"} {
		sub(wide)
	}
	// The broker takes ">" for one token of what "*" allows. There are no such subjects of more tokens.
	sub("user.>", edge)
	sub("presence.>", edge)
	sub("$SYS.>", system)
	sub("$JS.EVENT.ADVISORY.>", ops)
	for _, s := range []string{"$SRV.PING", "$SRV.INFO.chatmesh", "$SRV.STATS.chatmesh.id"} {
		sub(s, edge, api, fanout, persister, presence)
	}
	sub("$SRV.>")
	// Inboxes: each listens to its own; who answers may publish to those who ask.
	answers := map[string][]string{edge: {api, presence}, fanout: {api}, ops: {edge, api, presence, fanout, persister}, bot: {api}, api: {presence}}
	for _, r := range all {
		sub(subject.Inbox(r)+".x.y", r)
		sub(subject.Inbox(r)+".>", r)
		pub(subject.Inbox(r)+".x.y", answers[r]...)
	}
	pub("$SYS.REQ.SERVER.PING", system)
	pub("$SYS.ACCOUNT.CHATMESH.CONNECT")
	return append(out, verbs()...)
}

// verbs tries every verb of JetStream's API on every stream and consumer.
func verbs() []try {
	var out []try
	pub := func(subj string, may ...string) { out = append(out, try{"$JS.API." + subj, false, may}) }
	logs := []string{subject.ChatStream(0), subject.ChatStream(15), subject.CursorStream(0), subject.CursorStream(15)}
	streams := append(slices.Clone(logs), subject.DeadLetters, "OTHER", "KV_other", subject.ChatStream(16))
	for _, b := range subject.Buckets {
		streams = append(streams, subject.KVStream(b))
	}
	made := func(s string) []string { // in the layout, up to 16 partitions
		if s == "OTHER" || s == "KV_other" || s == subject.ChatStream(16) {
			return nil
		}
		return []string{ops}
	}
	reads := map[string][]string{
		subject.ChatStream(0): {edge, api, fanout, persister, ops}, subject.ChatStream(15): {edge, api, fanout, persister, ops},
		subject.CursorStream(0): {edge, api}, subject.CursorStream(15): {edge, api},
		subject.DeadLetters: {fanout, persister, ops}, "KV_presence": {edge, presence, ops}, "KV_lastseen": {presence},
		"KV_nodes": {edge, api, fanout, persister, ops}, "KV_leases": {api, persister, presence}, "KV_preferences": {edge, api, presence}, "KV_keys": {edge, api}, "KV_revoked": {edge, api},
		"KV_places": {edge, api, fanout, persister, ops},
	}
	watches := map[string][]string{"KV_presence": {presence, ops}, "KV_nodes": {edge, api, fanout, persister, ops}, "KV_keys": {edge, api}, "KV_revoked": {edge, api}}
	for _, s := range streams {
		isLog := slices.Contains(logs, s)
		for _, verb := range []string{"STREAM.DELETE", "STREAM.PURGE", "STREAM.PEER.REMOVE", "STREAM.TEMPLATE.CREATE",
			"CONSUMER.CREATE"} {
			pub(verb + "." + s)
		}
		pub("STREAM.CREATE."+s, made(s)...)
		pub("STREAM.UPDATE."+s, made(s)...)
		pub("STREAM.SNAPSHOT."+s, made(s)...)
		pub("STREAM.RESTORE."+s, made(s)...)
		for _, piece := range []string{"$JS.SNAPSHOT.ACK." + s + ".id", "$JS.SNAPSHOT.RESTORE." + s + ".id"} {
			out = append(out, try{piece, false, made(s)})
		}
		pub("STREAM.LEADER.STEPDOWN."+s, ops)
		info := append([]string{ops}, reads[s]...)
		if isLog {
			info = []string{ops, edge, api, fanout, persister, presence}
		}
		pub("STREAM.INFO."+s, info...)
		pub("DIRECT.GET."+s, reads[s]...)
		pub("DIRECT.GET." + s + ".x")
		letters := []string{}
		if s == subject.DeadLetters {
			letters = []string{ops}
		}
		pub("STREAM.MSG.GET."+s, reads[s]...)
		var deletes []string
		switch s {
		case subject.DeadLetters:
			deletes = []string{ops, fanout, persister}
		case subject.ChatStream(0), subject.ChatStream(15): // texts that are erased
			deletes = []string{api, persister}
		}
		pub("STREAM.MSG.DELETE."+s, deletes...)
		pub("CONSUMER.NAMES."+s, ops)
		pub("CONSUMER.LIST."+s, ops)
		for _, c := range []string{"fanout", "persister", reader, bot, "other"} {
			own := slices.DeleteFunc([]string{fanout, persister, reader, bot}, func(r string) bool { return r != c })
			pub("CONSUMER.INFO."+s+"."+c, append(append([]string{ops}, own...), map[bool][]string{true: {edge, api}}[c == "persister"]...)...)
			next := slices.Clone(own)
			pub("CONSUMER.MSG.NEXT."+s+"."+c, append(next, letters...)...)
			isWorker := c == "fanout" || c == "persister"
			unpin := slices.DeleteFunc(slices.Clone(own), func(r string) bool { return strings.HasPrefix(r, "team-") })
			if isWorker {
				unpin = append(unpin, ops)
			}
			pub("CONSUMER.UNPIN."+s+"."+c, unpin...)
			pub("CONSUMER.DURABLE.CREATE." + s + "." + c)
			pub("CONSUMER.PAUSE." + s + "." + c)
			// Workers set their own to the place that they keep.
			reset := slices.DeleteFunc(slices.Clone(own), func(r string) bool { return strings.HasPrefix(r, "team-") })
			if c == "persister" || strings.HasPrefix(c, "team-") {
				reset = append(reset, ops)
			}
			pub("CONSUMER.RESET."+s+"."+c, reset...)
			pub("CONSUMER.LEADER.STEPDOWN."+s+"."+c, ops)
			create := slices.Clone(letters)
			if isLog {
				create = []string{ops}
			}
			pub("CONSUMER.CREATE."+s+"."+c, create...)
			pub("CONSUMER.CREATE."+s+"."+c+".chat.0.*.log", create...)
			remove := append(slices.Clone(letters), watches[s]...)
			if (isWorker || strings.HasPrefix(c, "team-")) && !slices.Contains(remove, ops) {
				remove = append(remove, ops)
			}
			pub("CONSUMER.DELETE."+s+"."+c, remove...)
			for _, ack := range []string{"$JS.ACK." + s + "." + c + ".1.2.3.4.5", "$JS.ACK._.hash." + s + "." + c + ".1.2.3.4.5",
				"$JS.ACK.domain.hash." + s + "." + c + ".1.2.3.4.5.token"} {
				out = append(out, try{ack, false, own})
			}
			// An ack of c's in the first form, dressed up as one of another's in the second, and the other way round.
			for _, other := range []string{"fanout", "persister", reader, bot} {
				if other != c {
					out = append(out, try{"$JS.ACK." + s + "." + c + ".1." + other + ".3.4.5", false, own})
				}
			}
			out = append(out, try{"$JS.ACK." + c + "." + s + ".other.x.1.2.3.4.5", false, nil})
		}
		if strings.HasPrefix(s, "KV_") {
			b := strings.TrimPrefix(s, "KV_")
			looks := slices.Contains([]string{subject.Nodes, subject.Presence, subject.LastSeen, subject.Leases, subject.Places}, b)
			pub("DIRECT.GET."+s+".$KV."+b+".k", map[bool][]string{true: {ops}}[looks]...)
			pub("CONSUMER.CREATE."+s+".x.$KV."+b+".>", watches[s]...)
			pub("CONSUMER.CREATE."+s+".x.$KV."+b+".k", watches[s]...)
			pub("CONSUMER.CREATE." + s + ".x.$KV.other.>")
			out = append(out, try{"$JS.FC." + s + ".x.1", false, watches[s]}, try{"$JS.FC._.hash." + s + ".x.1", false, watches[s]})
		}
	}
	pub("INFO", ops)
	pub("STREAM.LIST", ops)
	pub("STREAM.NAMES", ops)
	pub("META.LEADER.STEPDOWN", system)
	pub("SERVER.REMOVE", system)
	pub("ACCOUNT.PURGE.CHATMESH")
	pub("ACCOUNT.STREAM.MOVE.CHATMESH.CHAT_0")
	return out
}

// denied connects as a role, tries everything, and returns what was denied. It answers nothing and hears nothing: what matters is
// what the broker says of the try itself.
func denied(t *testing.T, p *meshtest.Production, role string, tries []try) map[string]bool {
	t.Helper()
	var mu sync.Mutex // guards out
	out := map[string]bool{}
	done := make(chan struct{})
	const last = "the.last.of.all"
	nc := p.Conn(t, role, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		mu.Lock()
		defer mu.Unlock()
		text := err.Error()
		for _, kind := range []string{"Publish", "Subscription"} {
			_, rest, ok := strings.Cut(text, "Permissions Violation for "+kind+` to "`)
			if !ok {
				continue
			}
			subj, _, _ := strings.Cut(rest, `"`)
			if subj == last {
				close(done)
				return
			}
			out[try{subj, kind == "Subscription", nil}.String()] = true
			return
		}
		t.Errorf("%s: got %v; want violations only", role, err)
	}))
	for _, y := range tries {
		if y.sub {
			s, err := nc.SubscribeSync(y.subject)
			if err != nil {
				t.Fatalf("%s: %s: %v", role, y, err)
			}
			if err := s.Unsubscribe(); err != nil {
				t.Fatalf("%s: %s: %v", role, y, err)
			}
			continue
		}
		// A header that no stream takes: what is allowed is not to be stored, and no request is to do anything.
		m := &nats.Msg{Subject: y.subject, Data: []byte("no JSON"), Header: nats.Header{"Nats-Expected-Stream": {"none"}}}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatalf("%s: %s: %v", role, y, err)
		}
	}
	if err := nc.Publish(last, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%s: the broker does not deny %s", role, last)
	}
	mu.Lock()
	defer mu.Unlock()
	return out
}

func TestEveryRoleIsDeniedWhatItIsNotFor(t *testing.T) {
	p := meshtest.NewProductionCluster(t, nil)
	list := tries()
	for _, role := range all {
		t.Run(role, func(t *testing.T) {
			no := denied(t, p, role, list)
			wrong := 0
			for _, y := range list {
				may := slices.Contains(y.may, role)
				if no[y.String()] == may {
					if wrong++; wrong <= 20 {
						t.Errorf("%s: got denied %v; want denied %v", y, no[y.String()], !may)
					}
				}
			}
			if wrong > 20 {
				t.Errorf("and %d more", wrong-20)
			}
			t.Logf("%d tries, %d denied", len(list), len(no))
		})
	}
	if len(p.Violations()) == 0 {
		t.Error("the brokers log no violation: the tests of services would find none")
	}
}

func TestNobodyComesInWithoutAKnownKey(t *testing.T) {
	p := meshtest.NewProductionCluster(t, nil)
	for what, opts := range map[string][]nats.Option{
		"no key":       {nats.RootCAs(p.Keys + "/ca.pem")},
		"a password":   {nats.RootCAs(p.Keys + "/ca.pem"), nats.UserInfo("edge", "edge")},
		"no authority": {},
	} {
		if nc, err := nats.Connect(p.URL, opts...); err == nil {
			nc.Close()
			t.Errorf("with %s one is let in", what)
		}
	}
	if nc, err := nats.Connect(strings.ReplaceAll(p.URL, "tls://", "nats://"), nats.Timeout(2*time.Second)); err == nil {
		nc.Close()
		t.Error("without TLS one is let in")
	}
}
