package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

// serve answers endpoints until stop or the end of the test. stop waits for Serve.
func serve(t *testing.T, b *bus.Bus, observe func(string, chat.Code, time.Duration), endpoints ...bus.Endpoint) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx, "1.2.3", endpoints, observe) }()
	for _, e := range endpoints {
		meshtest.Eventually(t, patience, e.Subject+" is served", func() bool {
			m, err := b.Conn().RequestWithContext(within(t, time.Second), "$SRV.INFO.chatmesh", nil)
			return err == nil && strings.Contains(string(m.Data), `"`+e.Subject+`"`)
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("got %v; want no error at the end", err)
			}
		case <-time.After(patience):
			t.Error("the service does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func echo(_ context.Context, q []byte) (any, error) { return q, nil }

func TestCallIsAnsweredWithJSONOrWithBytesAsTheyAre(t *testing.T) {
	m, b := broker(t)
	type sum struct {
		A, B, Sum int
	}
	serve(t, b, nil,
		bus.Endpoint{Subject: "svc.test.sum", Doc: "Adds.", Handle: func(_ context.Context, q []byte) (any, error) {
			var s sum
			if err := json.Unmarshal(q, &s); err != nil {
				return nil, chat.Errorf(chat.BadRequest, "no JSON")
			}
			s.Sum = s.A + s.B
			return s, nil
		}},
		bus.Endpoint{Subject: "svc.test.echo", Doc: "Says the same.", Handle: echo})
	c := m.Bus(t)
	var got sum
	if err := c.Call(t.Context(), "svc.test.sum", sum{A: 2, B: 3}, &got); err != nil || got.Sum != 5 {
		t.Errorf("got %+v, %v; want 5", got, err)
	}
	var text string
	if err := c.Call(t.Context(), "svc.test.echo", "a < b & c\u2028", &text); err != nil || text != "a < b & c\u2028" {
		t.Errorf("got %q, %v; want it as it was", text, err)
	}
	if r, err := c.Conn().RequestWithContext(t.Context(), "svc.test.echo", []byte(" <not JSON ")); err != nil || string(r.Data) != " <not JSON " {
		t.Errorf("got %v, %v; want it as it was", r, err)
	}
	if err := c.Call(t.Context(), "svc.test.sum", sum{}, nil); err != nil {
		t.Errorf("an answer that nobody wants: %v", err)
	}
	var number int
	if err := c.Call(t.Context(), "svc.test.echo", "text", &number); err == nil || errors.Is(err, bus.ErrDown) {
		t.Errorf("an answer of another type: got %v; want an error that is not %v", err, bus.ErrDown)
	}
}

func TestRefusalCarriesItsCodeInBodyAndHeader(t *testing.T) {
	_, b := broker(t)
	refusals := map[string]error{
		"forbidden":   chat.Errorf(chat.Forbidden, "that takes a stronger role"),
		"wrapped":     fmt.Errorf("api: %w", chat.Errorf(chat.NotFound, "no such chat")),
		"retry":       chat.Retry(chat.RateLimited, 1500*time.Millisecond, "slow down"),
		"secret":      errors.New("dial 10.0.0.7: password hunter2"),
		"no sentence": &chat.Error{Code: chat.Conflict},
		"two lines":   chat.Errorf(chat.BadRequest, "one\r\nNats-Service-Error-Code: two"),
	}
	var mu sync.Mutex
	observed := map[chat.Code]int{}
	serve(t, b, func(endpoint string, code chat.Code, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if observed[code]++; endpoint != "svc.test.refuse" || took < 0 {
			t.Errorf("observed %s, %v", endpoint, took)
		}
	}, bus.Endpoint{Subject: "svc.test.refuse", Handle: func(_ context.Context, q []byte) (any, error) {
		var why string
		_ = json.Unmarshal(q, &why)
		if why == "panic" {
			panic("hunter2")
		}
		return "fine", refusals[why]
	}})
	for why, want := range map[string]chat.Error{
		"forbidden":   {Code: chat.Forbidden, Message: "that takes a stronger role"},
		"wrapped":     {Code: chat.NotFound, Message: "no such chat"},
		"retry":       {Code: chat.RateLimited, Message: "slow down", RetryAfter: 1500 * time.Millisecond},
		"secret":      *chat.AsError(errors.New("x")),
		"panic":       *chat.AsError(errors.New("x")),
		"no sentence": {Code: chat.Conflict},
		"two lines":   {Code: chat.BadRequest, Message: "one\r\nNats-Service-Error-Code: two"},
	} {
		var out any
		err := b.Call(t.Context(), "svc.test.refuse", why, &out)
		var got *chat.Error
		if !errors.As(err, &got) || *got != want || out != nil || errors.Is(err, bus.ErrDown) {
			t.Errorf("%s: got %v; want %v", why, err, &want)
		}
		q, _ := json.Marshal(why)
		m, err := b.Conn().RequestWithContext(t.Context(), "svc.test.refuse", q)
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Code, Message string }
		if err := json.Unmarshal(m.Data, &body); err != nil || body.Code != string(want.Code) || body.Message != want.Message {
			t.Errorf("%s: got the body %s, %v", why, m.Data, err)
		}
		if codes := m.Header.Values("Nats-Service-Error-Code"); len(codes) != 1 || codes[0] != string(want.Code) {
			t.Errorf("%s: got the header %q; want the code %s once", why, m.Header, want.Code)
		}
		if strings.Contains(string(m.Data)+fmt.Sprint(m.Header), "hunter2") {
			t.Errorf("%s: the answer tells the cause: %s %v", why, m.Data, m.Header)
		}
	}
	if err := b.Call(t.Context(), "svc.test.refuse", "nothing", nil); err != nil {
		t.Error(err)
	}
	meshtest.Eventually(t, patience, "all are observed", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return observed[chat.Forbidden] == 2 && observed[chat.Internal] == 4 && observed[""] == 1
	})
}

func TestCallWhereNobodyAnswersIsDown(t *testing.T) {
	m, b := broker(t)
	// It is the broker that says so, at once; nothing runs out.
	if err := b.Call(t.Context(), "svc.test.nobody", nil, nil); !errors.Is(err, bus.ErrDown) || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("nobody: got %v; want %v and %v", err, bus.ErrDown, nats.ErrNoResponders)
	}
	sub, err := b.Conn().SubscribeSync("svc.test.silent")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.Call(within(t, 100*time.Millisecond), "svc.test.silent", nil, nil); !errors.Is(err, bus.ErrDown) {
		t.Errorf("silent: got %v; want %v", err, bus.ErrDown)
	}
	// Somebody else's service under the same name, whose error is not one of ours.
	other, err := b.Conn().Subscribe("svc.test.other", func(m *nats.Msg) {
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Nats-Service-Error-Code": {"500"}, "Nats-Service-Error": {"hunter2"}}, Data: []byte("oops")})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Unsubscribe() }()
	if err := b.Call(t.Context(), "svc.test.other", nil, nil); !chat.Is(err, chat.Internal) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("another's error: got %v; want %s", err, chat.Internal)
	}
	m.Stop()
	if err := b.Call(within(t, time.Second), "svc.test.nobody", nil, nil); !errors.Is(err, bus.ErrDown) {
		t.Errorf("no broker: got %v; want %v", err, bus.ErrDown)
	}
}

func TestWhatIsLargerThanTheBrokerTakesIsRefusedAtOnceAndTheConnectionStays(t *testing.T) {
	m, b := broker(t)
	serve(t, b, nil, bus.Endpoint{Subject: "svc.test.echo", Handle: echo},
		bus.Endpoint{Subject: "svc.test.large", Handle: func(context.Context, []byte) (any, error) { return strings.Repeat("x", 2<<20), nil }})
	c := m.Bus(t)
	meshtest.Eventually(t, patience, "the connection stands", func() bool { return c.Check(t.Context()) == nil })
	// Otherwise there would be no answer, and what says so is another error.
	if err := c.Call(t.Context(), "svc.test.echo", strings.Repeat("x", 2<<20), nil); !chat.Is(err, chat.TooLarge) {
		t.Errorf("a request: got %v; want %s", err, chat.TooLarge)
	}
	if err := c.Call(t.Context(), "svc.test.large", nil, nil); !chat.Is(err, chat.Internal) {
		t.Errorf("an answer: got %v; want %s", err, chat.Internal)
	}
	if err := c.Call(t.Context(), "svc.test.echo", "x", nil); err != nil || c.Conn().Stats().Reconnects != 0 {
		t.Errorf("after it: got %v, %d reconnects; want the connection to stand", err, c.Conn().Stats().Reconnects)
	}
}

func TestManyCallsAtOnceAreBoundedByParallel(t *testing.T) {
	m, b := broker(t)
	var now, most atomic.Int32
	serve(t, b, nil, bus.Endpoint{Subject: "svc.test.work", Parallel: 3, Handle: func(context.Context, []byte) (any, error) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(5 * time.Millisecond) // work
		now.Add(-1)
		return "done", nil
	}})
	c := m.Bus(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := c.Call(t.Context(), "svc.test.work", nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := most.Load(); got < 2 || got > 3 {
		t.Errorf("got %d at once; want 3", got)
	}
}

func TestServiceThatEndsFinishesWhatItHasBegunAndRefusesWhatWaits(t *testing.T) {
	m, b := broker(t)
	begun, release := make(chan struct{}, 10), make(chan struct{})
	stop := serve(t, b, nil, bus.Endpoint{Subject: "svc.test.work", Parallel: 2, Handle: func(ctx context.Context, _ []byte) (any, error) {
		begun <- struct{}{}
		select {
		case <-release:
			return "done", nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}})
	c := m.Bus(t)
	answers := make(chan error, 10)
	call := func() {
		var out string
		err := c.Call(within(t, patience), "svc.test.work", nil, &out)
		if err == nil && out != "done" {
			err = fmt.Errorf("got %q", out)
		}
		answers <- err
	}
	before := b.Conn().Stats().InMsgs
	for range 2 {
		go call()
		<-begun
	}
	for range 4 { // these wait
		go call()
	}
	meshtest.Eventually(t, patience, "all requests have arrived", func() bool { return b.Conn().Stats().InMsgs >= before+6 })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stop()
	}()
	meshtest.Eventually(t, patience, "nobody takes new requests", func() bool {
		return errors.Is(c.Call(within(t, 100*time.Millisecond), "svc.test.work", nil, nil), bus.ErrDown)
	})
	close(release)
	waitFor(t, "the service ends", ended)
	done, refused := 0, 0
	for range 6 {
		switch err := <-answers; {
		case err == nil:
			done++
		case chat.Is(err, chat.Unavailable):
			refused++
		default:
			t.Errorf("got %v; want an answer or %s", err, chat.Unavailable)
		}
	}
	t.Logf("%d done, %d refused", done, refused)
	if done < 2 {
		t.Errorf("got %d done; want the two that had begun", done)
	}
}

func TestServiceTellsWhatItIs(t *testing.T) {
	m, b := broker(t)
	serve(t, b, nil, bus.Endpoint{Subject: "svc.test.echo", Doc: "Says the same.", Handle: echo})
	r, err := m.Bus(t).Conn().RequestWithContext(t.Context(), "$SRV.INFO.chatmesh", nil)
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Name, Version, Description string
		Endpoints                  []struct {
			Name, Subject string
			Metadata      map[string]string
		}
	}
	if err := json.Unmarshal(r.Data, &info); err != nil {
		t.Fatal(err)
	}
	if info.Name != "chatmesh" || info.Version != "1.2.3" || info.Description == "" || len(info.Endpoints) != 1 ||
		info.Endpoints[0].Name != "test-echo" || info.Endpoints[0].Subject != "svc.test.echo" || info.Endpoints[0].Metadata["description"] != "Says the same." {
		t.Errorf("got %s", r.Data)
	}
}

func TestServiceThatCannotBeSetUpSaysSoAndLeavesNothing(t *testing.T) {
	_, b := broker(t)
	err := b.Serve(t.Context(), "1.2.3", []bus.Endpoint{{Subject: "svc.test.echo", Handle: echo}, {Subject: "svc.no good", Handle: echo}}, nil)
	if err == nil || !strings.Contains(err.Error(), "svc.no good") {
		t.Fatalf("got %v; want it to name the endpoint", err)
	}
	if err := b.Call(within(t, patience), "svc.test.echo", nil, nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("the first endpoint: got %v; want nobody there", err)
	}
	if err := b.Serve(t.Context(), "no version", nil, nil); err == nil {
		t.Error("a version that is none was taken")
	}
}

// To verify a large chat takes longer than any request to the broker may.
func TestACallMayTakeAsLongAsItsCallerSays(t *testing.T) {
	_, b := broker(t)
	const long = 6 * time.Second
	serve(t, b, nil, bus.Endpoint{Subject: "svc.test.slow", Doc: "Waits.", Timeout: time.Minute, Handle: func(ctx context.Context, q []byte) (any, error) {
		return q, bus.Sleep(ctx, long)
	}})
	if err := b.CallWithin(t.Context(), time.Minute, "svc.test.slow", 1, nil); err != nil {
		t.Errorf("within a minute: got %v; want an answer after %v", err, long)
	}
	if err := b.Call(t.Context(), "svc.test.slow", 1, nil); !errors.Is(err, bus.ErrDown) {
		t.Errorf("without a word: got %v; want it given up", err)
	}
}
