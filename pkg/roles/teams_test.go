package roles_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// patience is how long something that takes milliseconds may take on a machine that does much else.
const patience = meshtest.Patience

// laid is a cluster with the streams of two partitions, and what an operator reaches it with.
func laid(t *testing.T, change func(*server.Options)) (*meshtest.Production, *bus.Bus) {
	t.Helper()
	p := meshtest.NewProductionCluster(t, change)
	b := p.Bus(t, ops)
	l := meshtest.Layout(2)
	l.Replicas = 3
	if err := b.Ensure(t.Context(), l); err != nil {
		t.Fatalf("layout: %v", err)
	}
	return p, b
}

// writer is a connection of an edge that reaches the leaders of both logs. They may be elected a moment after the logs are made.
func writer(t *testing.T, p *meshtest.Production) *bus.Bus {
	t.Helper()
	e := p.Bus(t, edge)
	for part := range 2 {
		nowhere := &nats.Msg{Subject: subject.Log(part, "c1"), Header: nats.Header{jetstream.ExpectedStreamHeader: {"none"}}}
		meshtest.Eventually(t, patience, "the leader of a log answers", func() bool {
			_, err := e.Publish(t.Context(), nowhere)
			var refused *bus.Refusal
			return errors.As(err, &refused)
		})
	}
	return e
}

func makeConsumers(t *testing.T, b *bus.Bus, role string) {
	t.Helper()
	plan, err := b.PlanTeam(t.Context(), role, &bus.Start{})
	if err == nil {
		err = b.Apply(t.Context(), plan)
	}
	if err != nil {
		t.Fatalf("consumers of %s: %v", role, err)
	}
}

// take gets one message of a role's consumer within a while.
func take(t *testing.T, nc *nats.Conn, stream, consumer string) jetstream.Msg {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.Consumer(t.Context(), stream, consumer)
	if err != nil {
		t.Fatalf("consumer %s of %s: %v", consumer, stream, err)
	}
	m, err := c.Next(jetstream.FetchMaxWait(patience))
	if err != nil {
		t.Fatalf("next of %s of %s: %v", consumer, stream, err)
	}
	return m
}

func TestATeamWorksOffItsOwnConsumersWithAcksInBothForms(t *testing.T) {
	for form, flag := range map[string]bool{"$JS.ACK.CHAT_1.team-audit.": false, "$JS.ACK._.": true} {
		t.Run(form, func(t *testing.T) {
			p, operator := laid(t, func(o *server.Options) { o.FeatureFlags = map[string]bool{server.FeatureFlagJsAckFormatV2: flag} })
			makeConsumers(t, operator, reader)
			e := writer(t, p)
			for _, body := range []string{"1", "2", "3"} {
				if _, err := e.Publish(t.Context(), &nats.Msg{Subject: subject.Log(1, "c1"), Data: []byte(body)}); err != nil {
					t.Fatal(err)
				}
			}
			nc := p.Conn(t, reader, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { t.Errorf("team: %v", err) }))
			for _, want := range []string{"1", "2", "3"} {
				m := take(t, nc, subject.ChatStream(1), reader)
				if string(m.Data()) != want || !strings.HasPrefix(m.Reply(), form) {
					t.Fatalf("got %q with the ack %s; want %q with one of the form %s", m.Data(), m.Reply(), want, form)
				}
				if err := m.InProgress(); err != nil {
					t.Error(err)
				}
				if err := m.DoubleAck(t.Context()); err != nil {
					t.Fatalf("ack of %s: %v", want, err)
				}
			}
			meshtest.Eventually(t, patience, "all is acknowledged", func() bool {
				at, err := operator.Acked(t.Context(), subject.ChatStream(1), reader)
				return err == nil && at == 3
			})
			if v := p.Violations(); len(v) > 0 {
				t.Errorf("a right is missing:\n%s", strings.Join(v, "\n"))
			}
		})
	}
}

// The worker holds an event that it has not handled. A team that could ack it would take it out of the store.
func TestATeamCannotAckOrTakeWhatIsAnothers(t *testing.T) {
	for _, flag := range []bool{false, true} {
		p, operator := laid(t, func(o *server.Options) { o.FeatureFlags = map[string]bool{server.FeatureFlagJsAckFormatV2: flag} })
		makeConsumers(t, operator, reader)
		makeConsumers(t, operator, bot)
		e := writer(t, p)
		if _, err := e.Publish(t.Context(), &nats.Msg{Subject: subject.Log(0, "c1"), Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(p.Conn(t, bot))
		if err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(t.Context(), subject.ChatStream(0), bot)
		if err != nil {
			t.Fatal(err)
		}
		held, err := c.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		denied := make(chan string, 100)
		nc := p.Conn(t, reader, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err.Error() }))
		tokens := strings.Split(held.Reply(), ".")
		forged := []string{held.Reply()}
		if !flag { // the first form of a bot's ack, with the team's name where the second has the consumer
			tokens[5] = reader
			forged = append(forged, strings.Join(tokens, "."))
		}
		for _, ack := range forged {
			for _, body := range []string{"+ACK", "+TERM", "+NXT", "-NAK"} {
				if err := nc.PublishMsg(&nats.Msg{Subject: ack, Reply: nc.NewInbox(), Data: []byte(body)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 4 * len(forged) {
			select {
			case text := <-denied:
				if !strings.Contains(text, "Permissions Violation for Publish") {
					t.Errorf("got %s; want the ack denied", text)
				}
			case <-time.After(patience):
				t.Fatal("an ack of another's consumer was taken")
			}
		}
		k, err := operator.JetStream().Consumer(t.Context(), subject.ChatStream(0), bot)
		if err != nil {
			t.Fatal(err)
		}
		if i := k.CachedInfo(); i.NumAckPending != 1 || i.AckFloor.Stream != 0 {
			t.Errorf("got %d unacknowledged; want the bot's event untouched", i.NumAckPending)
		}
	}
}

// A team has no way to read but its consumers: requests get no answer.
func TestATeamReadsNothingButThroughItsConsumers(t *testing.T) {
	p, operator := laid(t, nil)
	makeConsumers(t, operator, reader)
	e := writer(t, p)
	if _, err := e.Publish(t.Context(), &nats.Msg{Subject: subject.Log(0, "c1"), Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	nc := p.Conn(t, reader)
	for subj, body := range map[string]string{
		"$JS.API.DIRECT.GET.CHAT_0":                           `{"seq":1}`,
		"$JS.API.DIRECT.GET.CHAT_0.chat.0.c1.log":             ``,
		"$JS.API.STREAM.MSG.GET.CHAT_0":                       `{"seq":1}`,
		"$JS.API.STREAM.INFO.CHAT_0":                          `{"subjects_filter":">"}`,
		"$JS.API.CONSUMER.MSG.NEXT.CHAT_0.persister":          `{"batch":1,"group":"active","id":"x"}`,
		"$JS.API.CONSUMER.CREATE.CHAT_0":                      `{"stream_name":"CHAT_0","config":{"ack_policy":"none"}}`,
		"$JS.API.CONSUMER.CREATE.CHAT_0.x.chat.0.*.log":       `{"stream_name":"CHAT_0","config":{"name":"x","filter_subject":"chat.0.*.log","ack_policy":"none"}}`,
		"$JS.API.CONSUMER.CREATE.CHAT_0." + reader:            `{"stream_name":"CHAT_0","config":{"durable_name":"` + reader + `","deliver_subject":"user.u1"}}`,
		"$JS.API.CONSUMER.DURABLE.CREATE.CHAT_0." + reader:    `{"stream_name":"CHAT_0","config":{"durable_name":"` + reader + `"}}`,
		"$JS.API.CONSUMER.DELETE.CHAT_0." + reader:            ``,
		"$JS.API.CONSUMER.DELETE.CHAT_0." + subject.Persister: ``,
		"$JS.API.STREAM.PURGE.CHAT_0":                         ``,
		"$JS.API.STREAM.DELETE.CHAT_0":                        ``,
		"$JS.API.INFO":                                        ``,
		subject.HistoryEndpoint:                               `{}`,
		"$SRV.PING":                                           ``,
	} {
		m, err := nc.Request(subj, []byte(body), 300*time.Millisecond)
		if err == nil {
			t.Errorf("%s: got the answer %s; want none", subj, m.Data)
		} else if !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: got %v; want it denied", subj, err)
		}
	}
	if msgs, err := operator.JetStream().Stream(t.Context(), subject.ChatStream(0)); err != nil || msgs.CachedInfo().State.Msgs != 1 {
		t.Errorf("got %v; want the event still there", err)
	}
	if err := operator.JetStream().DeleteConsumer(t.Context(), subject.ChatStream(0), reader); err != nil {
		t.Errorf("an operator cannot dismiss a team: %v", err)
	}
}

// A request names where it is answered, and may name anything: it is the service that must not be able to publish there.
func TestAServiceAnswersIntoInboxesOnly(t *testing.T) {
	p, _ := laid(t, nil)
	service := p.Bus(t, api)
	done := make(chan error, 1)
	serving, cancel := context.WithCancel(t.Context())
	answer := func(context.Context, []byte) (any, error) { return map[string]any{"keep": 0}, nil } // a purge could be asked for so
	go func() {
		done <- service.Serve(serving, "0.0.0", []bus.Endpoint{{Subject: subject.HistoryEndpoint, Handle: answer}}, nil)
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	e := writer(t, p)
	if _, err := e.Publish(t.Context(), &nats.Msg{Subject: subject.Log(0, "c1"), Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	nc := p.Conn(t, bot)
	meshtest.Eventually(t, patience, "the service answers", func() bool {
		_, err := nc.Request(subject.HistoryEndpoint, []byte("{}"), time.Second)
		return err == nil
	})
	before := len(p.Violations())
	for _, reply := range []string{"$JS.API.STREAM.PURGE.CHAT_0", "$JS.API.STREAM.DELETE.CHAT_0", "user.u1", subject.Inbox(persister) + ".x"} {
		if err := nc.PublishRequest(subject.HistoryEndpoint, reply, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	meshtest.Eventually(t, patience, "the broker denies the answers", func() bool { return len(p.Violations()) >= before+4 })
	operator := p.Bus(t, ops)
	if s, err := operator.JetStream().Stream(t.Context(), subject.ChatStream(0)); err != nil || s.CachedInfo().State.Msgs != 1 {
		t.Errorf("got %v; want the event still there", err)
	}
}

// The broker sends its own answers wherever a request says, past the rights of who asks. What a team can do by that is bounded: no
// request of JetStream's comes of it, and nothing is stored, because an event carries the expectation with which it was appended. The
// first event of a chat, which expects nothing, is the exception that SECURITY.md names.
func TestWhatATeamHasDeliveredElsewhereIsNeitherStoredNorARequest(t *testing.T) {
	p, operator := laid(t, nil)
	makeConsumers(t, operator, reader)
	e := writer(t, p)
	seen, err := e.Conn().SubscribeSync(subject.User("u1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	const events = 8
	last := "0"
	for range events {
		m := &nats.Msg{Subject: subject.Log(0, "c1"), Data: []byte(`{"type":"message"}`), Header: nats.Header{
			jetstream.ExpectedLastSubjSeqHeader: {last}, jetstream.MsgIDHeader: {"id" + last}}}
		a, err := e.Publish(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		last = strconv.FormatUint(a.Sequence, 10)
	}
	nc := p.Conn(t, reader)
	ask := func(reply string) {
		t.Helper()
		if err := nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.CHAT_0."+reader, reply, []byte(`{"batch":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	// The first one, which expects an empty chat, goes to the team.
	if m := take(t, nc, subject.ChatStream(0), reader); m.Ack() != nil {
		t.Fatal("the ack was not sent")
	}
	for _, reply := range []string{"$JS.API.STREAM.PURGE.CHAT_0", "$JS.API.STREAM.DELETE.CHAT_0", "$JS.API.CONSUMER.DELETE.CHAT_0." + subject.Persister,
		subject.Log(0, "c2"), subject.KV(subject.Leases, subject.PresenceLease), subject.User("u1")} {
		ask(reply)
	}
	if _, err := seen.NextMsg(patience); err != nil {
		t.Fatalf("got %v; want what was asked for last: the broker does not check it", err)
	}
	for stream, want := range map[string]uint64{subject.ChatStream(0): events, subject.KVStream(subject.Leases): 0} {
		s, err := operator.JetStream().Stream(t.Context(), stream)
		if err != nil || s.CachedInfo().State.Msgs != want {
			t.Errorf("%s: got %+v, %v; want %d messages", stream, s, err, want)
		}
	}
	if _, err := operator.JetStream().Consumer(t.Context(), subject.ChatStream(0), subject.Persister); err != nil {
		t.Errorf("the persister's consumer: %v", err)
	}
}
