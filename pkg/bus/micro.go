package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Handler answers a request to an endpoint. The answer is encoded as JSON, or sent as it is if it is []byte; an error
// becomes the error headers of NATS micro with its code.
type Handler func(ctx context.Context, request []byte) (any, error)

// Endpoint is one subject of the micro service.
type Endpoint struct {
	Subject string
	// Doc is one sentence for `nats micro info`.
	Doc    string
	Handle Handler
	// Parallel is how many requests are handled at once; zero is 64. Further ones wait in the subscription, which is bounded.
	Parallel int
	// Timeout bounds the work for one request; zero is 10 s. Work that may take longer than that is broken off when the service
	// ends, instead of being finished.
	Timeout time.Duration
}

// handlerTimeout bounds the work for one request whose endpoint says nothing else.
const handlerTimeout = 10 * time.Second

// Serve answers the endpoints of the micro service until ctx ends, and then finishes what it has begun.
func (b *Bus) Serve(ctx context.Context, version string, endpoints []Endpoint, observe func(endpoint string, code chat.Code, took time.Duration)) error {
	svc, err := micro.AddService(b.nc, micro.Config{
		Name: subject.Service, Version: version,
		Description: "chat on an event mesh: send, read history, ask for state and presence",
	})
	if err != nil {
		return fmt.Errorf("bus: micro service: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // after the releases: who still waits for a slot is refused
	for _, e := range endpoints {
		name := strings.ReplaceAll(strings.TrimPrefix(e.Subject, "svc."), ".", "-")
		handle, release := b.parallel(ctx, e, observe)
		defer release()
		if err := svc.AddEndpoint(name, handle, micro.WithEndpointSubject(e.Subject),
			micro.WithEndpointMetadata(map[string]string{"description": e.Doc})); err != nil {
			_ = svc.Stop()
			return fmt.Errorf("bus: endpoint %s: %w", e.Subject, err)
		}
	}
	<-ctx.Done()
	if err := svc.Stop(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("bus: stop micro service: %w", err)
	}
	return nil
}

// parallel lets up to e.Parallel requests run beside each other; release waits for those that run.
func (b *Bus) parallel(ctx context.Context, e Endpoint, observe func(string, chat.Code, time.Duration)) (micro.Handler, func()) {
	n := e.Parallel
	if n == 0 {
		n = 64
	}
	slots := make(chan struct{}, n)
	timeout := e.Timeout
	if timeout == 0 {
		timeout = handlerTimeout
	}
	work := ctx
	if timeout <= handlerTimeout {
		work = context.WithoutCancel(ctx)
	}
	handle := micro.HandlerFunc(func(r micro.Request) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			select {
			case slots <- struct{}{}: // it can be begun at once
			default:
				b.refuse(e, r, chat.Retry(chat.Unavailable, time.Second, "this node is stopping"))
				return
			}
		}
		go func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(work, timeout)
			defer cancel()
			start := time.Now()
			code := b.answer(ctx, e, r)
			if observe != nil {
				observe(e.Subject, code, time.Since(start))
			}
		}()
	})
	release := func() {
		for range n {
			slots <- struct{}{}
		}
	}
	return handle, release
}

func (b *Bus) answer(ctx context.Context, e Endpoint, r micro.Request) chat.Code {
	ctx, span := b.tracer.Asked(ctx, e.Subject, r.Headers())
	v, err := safely(ctx, e, r.Data())
	span.End(err)
	if err != nil {
		return b.refuse(e, r, err)
	}
	body, ok := v.([]byte)
	if !ok {
		body = wire.Encode(v)
	}
	if err := b.respond(r, body, nil); errors.Is(err, nats.ErrMaxPayload) {
		return b.refuse(e, r, fmt.Errorf("bus: answer of %d bytes: %w", len(body), err))
	}
	return ""
}

func (b *Bus) refuse(e Endpoint, r micro.Request, err error) chat.Code {
	refused := chat.AsError(err)
	if refused.Code == chat.Internal {
		b.log.Error("request failed", "endpoint", e.Subject, "error", err)
	}
	_ = b.respond(r, wire.Encode(wire.Refuse(nil, refused)), nats.Header{
		subject.HeaderServiceError: {string(refused.Code)}, micro.ErrorHeader: {refused.Message}})
	return refused.Code
}

// safely turns a panic of a handler into an error: one bad request must not end the process for all.
func safely(ctx context.Context, e Endpoint, request []byte) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bus: handler panicked: %T at %s", p, debug.Stack())
		}
	}()
	return e.Handle(ctx, request)
}

// respond answers beside the request, which belongs to the micro package and to the goroutine of its subscription.
func (b *Bus) respond(r micro.Request, body []byte, header nats.Header) error {
	if r.Reply() == "" {
		return nil
	}
	err := b.nc.PublishMsg(&nats.Msg{Subject: r.Reply(), Header: header, Data: body})
	if err != nil {
		b.log.Warn("answer not sent", "error", err)
	}
	return err
}

// ask sends a request, and its place in the trace with it.
func (b *Bus) ask(ctx context.Context, span trace.Span, endpoint string, body []byte) (*nats.Msg, error) {
	if !span.On() {
		return b.nc.RequestWithContext(ctx, endpoint, body)
	}
	m := newMsg(endpoint, body)
	trace.Mark(m.Header, span.Place())
	return b.nc.RequestMsgWithContext(ctx, m)
}

// Call asks an endpoint and reads its answer into out (nil to ignore it). It fails with the chat.Error of the service, with
// TooLarge where the broker does not take as much, or with ErrDown where no node answers in time.
func (b *Bus) Call(ctx context.Context, endpoint string, in, out any) error {
	return b.CallWithin(ctx, requestTimeout, endpoint, in, out)
}

// CallWithin is Call for work that may take longer, or less, than a request to the broker.
func (b *Bus) CallWithin(ctx context.Context, d time.Duration, endpoint string, in, out any) error {
	ctx, cancel := within(ctx, d)
	defer cancel()
	ctx, span := trace.Child(ctx, endpoint, trace.Client)
	m, err := b.ask(ctx, span, endpoint, wire.Encode(in))
	span.End(err)
	if errors.Is(err, nats.ErrMaxPayload) {
		return chat.Errorf(chat.TooLarge, "the request is larger than %d bytes", b.nc.MaxPayload())
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDown, endpoint, err)
	}
	if m.Header.Get(subject.HeaderServiceError) != "" {
		var e wire.Error
		if err := json.Unmarshal(m.Data, &e); err != nil || e.Code == "" {
			return chat.Errorf(chat.Internal, "something went wrong on our side")
		}
		return &chat.Error{Code: e.Code, Message: e.Message, RetryAfter: time.Duration(e.RetryAfterMS) * time.Millisecond}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(m.Data, out); err != nil {
		return fmt.Errorf("bus: answer of %s: %w", endpoint, err)
	}
	return nil
}
