package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// route is one call of the contract.
type route struct {
	method, path string
	// open calls need no token.
	open   bool
	handle func(*Server, *call) (answer, error)
}

// table lists every call. The order is that of the contract.
var table = []route{
	{"POST", "/v1/users", true, (*Server).register},
	{"POST", "/v1/sessions", true, (*Server).login},
	{"POST", "/v1/sessions/refresh", true, (*Server).refresh},
	{"DELETE", "/v1/sessions/current", false, (*Server).logout},
	{"GET", "/v1/sessions", false, (*Server).listSessions},
	{"DELETE", "/v1/sessions/{id}", false, (*Server).endSession},
	{"GET", "/v1/users/me", false, (*Server).me},
	{"PATCH", "/v1/users/me", false, (*Server).setProfile},
	{"DELETE", "/v1/users/me", false, (*Server).deleteAccount},
	{"PUT", "/v1/users/me/password", false, (*Server).changePassword},
	{"GET", "/v1/blocks", false, (*Server).listBlocks},
	{"PUT", "/v1/blocks/{user}", false, (*Server).block},
	{"DELETE", "/v1/blocks/{user}", false, (*Server).unblock},
	{"GET", "/v1/users", false, (*Server).findUsers},
	{"POST", "/v1/chats", false, (*Server).createChat},
	{"GET", "/v1/chats", false, (*Server).listChats},
	{"GET", "/v1/chats/{chat}", false, (*Server).getChat},
	{"PATCH", "/v1/chats/{chat}", false, (*Server).setGroup},
	{"POST", "/v1/chats/{chat}/invite", false, (*Server).makeInvite},
	{"DELETE", "/v1/chats/{chat}/invite", false, (*Server).revokeInvite},
	{"PUT", "/v1/chats/{chat}/members/{user}", false, (*Server).putMember},
	{"DELETE", "/v1/chats/{chat}/members/{user}", false, (*Server).removeMember},
	{"GET", "/v1/chats/{chat}/messages", false, (*Server).history},
	{"POST", "/v1/chats/{chat}/messages", false, (*Server).send},
	{"GET", "/v1/chats/{chat}/messages/{seq}", false, (*Server).getMessage},
	{"PATCH", "/v1/chats/{chat}/messages/{seq}", false, (*Server).editMessage},
	{"DELETE", "/v1/chats/{chat}/messages/{seq}", false, (*Server).deleteMessage},
	{"GET", "/v1/chats/{chat}/messages/{seq}/edits", false, (*Server).edits},
	{"GET", "/v1/chats/{chat}/messages/{seq}/reactions", false, (*Server).reactions},
	{"PUT", "/v1/chats/{chat}/messages/{seq}/reactions/{emoji}", false, (*Server).putReaction},
	{"DELETE", "/v1/chats/{chat}/messages/{seq}/reactions/{emoji}", false, (*Server).deleteReaction},
	{"GET", "/v1/chats/{chat}/messages/{seq}/receipts", false, (*Server).receiptsOf},
	{"GET", "/v1/chats/{chat}/pins", false, (*Server).pins},
	{"PUT", "/v1/chats/{chat}/pins/{seq}", false, (*Server).putPin},
	{"DELETE", "/v1/chats/{chat}/pins/{seq}", false, (*Server).deletePin},
	{"PUT", "/v1/chats/{chat}/read", false, (*Server).markRead},
	{"PUT", "/v1/chats/{chat}/delivered", false, (*Server).markDelivered},
	{"GET", "/v1/chats/{chat}/receipts", false, (*Server).receipts},
	{"PUT", "/v1/chats/{chat}/settings", false, (*Server).setSettings},
	{"GET", "/v1/chats/{chat}/hidden", false, (*Server).listHidden},
	{"GET", "/v1/invites/{token}", false, (*Server).showInvite},
	{"POST", "/v1/invites/{token}", false, (*Server).joinByInvite},
	{"POST", "/v1/chats/{chat}/typing", false, (*Server).typing},
	{"GET", "/v1/users/me/preferences", false, (*Server).getPreferences},
	{"PUT", "/v1/users/me/preferences", false, (*Server).putPreferences},
	{"GET", "/v1/presence", false, (*Server).presence},
	{"GET", "/v1/edges", true, (*Server).listEdges},
	{"GET", "/v1/openapi.yaml", true, describe(docs.OpenAPI())},
	{"GET", "/v1/asyncapi.yaml", true, describe(docs.AsyncAPI())},
}

// answer is what a call is answered with; a nil body is no body.
type answer struct {
	status int
	body   any
}

// document is a body that is sent as it is.
type document []byte

// describe answers with a description of this server for programs.
func describe(text []byte) func(*Server, *call) (answer, error) {
	return func(*Server, *call) (answer, error) { return answer{http.StatusOK, document(text)}, nil }
}

// routes is the handler of all calls, and of those that there are not.
func (s *Server) routes() http.Handler {
	mux, paths := http.NewServeMux(), http.NewServeMux()
	methods := make(map[string][]string)
	for _, rt := range table {
		mux.Handle(rt.method+" "+rt.path, s.serve(rt.method+" "+rt.path, rt.open, rt.handle))
		methods[rt.path] = append(methods[rt.path], rt.method)
		if rt.method == http.MethodGet {
			methods[rt.path] = append(methods[rt.path], http.MethodHead)
		}
	}
	// What is none of the calls has a path of one, or not even that. One mux could not know: /a/b with every method and GET /a/{x} conflict.
	for p, allowed := range methods {
		slices.Sort(allowed)
		paths.Handle(p, s.serve("other", true, wrongMethod(strings.Join(allowed, ", "))))
	}
	none := s.serve("other", true, func(*Server, *call) (answer, error) { return answer{}, errNoRoute })
	paths.Handle("/", none)
	mux.Handle("/", paths)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.EscapedPath(); path.Clean(p) != p { // the mux would redirect
			none.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// wrongMethod refuses every call. A status of its own says more than the code does.
func wrongMethod(allowed string) func(*Server, *call) (answer, error) {
	p := problemOf(chat.Errorf(chat.BadRequest, "the method is one of %s", allowed))
	p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	return func(_ *Server, c *call) (answer, error) {
		c.w.Header().Set("Allow", allowed)
		return answer{p.Status, p}, nil
	}
}

// serve is the way of every call: a deadline, who it is, the work, the answer.
func (s *Server) serve(name string, open bool, handle func(*Server, *call) (answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), s.set.RequestTimeout)
		defer cancel()
		// A body that comes byte by byte is given up with the call. Not every writer can do that.
		_ = http.NewResponseController(w).SetReadDeadline(start.Add(s.set.RequestTimeout))
		ctx, span := s.tracer.Heard(ctx, name, r.Header.Get(subject.HeaderTrace))
		c := &call{ctx: ctx, r: r, w: w}
		a, err := s.work(c, name, open, handle)
		if err != nil {
			a = s.refuse(w, name, refusal(err))
		}
		var code chat.Code
		if p, ok := a.body.(problem); ok {
			code = p.Code
		}
		respond(w, a)
		if span.On() {
			span.Set(trace.Status(a.status))
			span.End(err)
		}
		s.metrics.observeHTTP(name, a.status, code, time.Since(start))
	})
}

// work runs the handler; a panic in it is an internal error.
func (s *Server) work(c *call, name string, open bool, handle func(*Server, *call) (answer, error)) (a answer, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.panicked(name, v)
		}
	}()
	if err := s.identify(c, name, open); err != nil {
		return answer{}, err
	}
	return handle(s, c)
}

// errPanic is what a client learns of a panic: that something went wrong. It is in the log already.
var errPanic = chat.AsError(errors.New("panic"))

// panicked logs a panic without what the request held: only errors of the runtime are known to say nothing of it.
func (s *Server) panicked(name string, v any) error {
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	s.logger.Error("panic", "route", name, "panic", what, "stack", string(debug.Stack()))
	return errPanic
}

// refuse is the answer for an error. What is no refusal is logged here, once.
func (s *Server) refuse(w http.ResponseWriter, name string, err error) answer {
	e := chat.AsError(err)
	if e.Code == chat.Internal && !errors.Is(err, errPanic) {
		s.logger.Error("call failed", "route", name, "error", err)
	}
	p := problemOf(e)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="chatmesh"`)
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	return answer{p.Status, p}
}

// An answer larger than slowBody is written under a deadline of slowTime, so that who does not read it does not hold it for
// ever; smaller ones fit into the buffers on the way.
const (
	slowBody = 16 << 10
	slowTime = 30 * time.Second
)

func respond(w http.ResponseWriter, a answer) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	var body []byte
	switch b := a.body.(type) {
	case document:
		h.Set("Content-Type", "application/yaml")
		body = b
	case problem:
		h.Set("Content-Type", "application/problem+json")
		body = wire.Encode(b)
	default:
		h.Set("Content-Type", "application/json")
		body = wire.Encode(b)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	if len(body) <= slowBody {
		_, _ = w.Write(body) // the client is gone if this fails
		return
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(slowTime))
	if _, err := w.Write(body); err == nil && rc.Flush() == nil {
		_ = rc.SetWriteDeadline(time.Time{}) // the connection serves others yet
	}
}

// authenticate returns who a call comes from.
func (s *Server) authenticate(r *http.Request) (auth.Identity, error) {
	token, ok := bearer(r)
	if !ok {
		return auth.Identity{}, errNoToken
	}
	if err := s.knowsTokens(); err != nil { // a good token might be refused, or a bad one taken
		return auth.Identity{}, err
	}
	who, err := s.verifier.Identify(r.Context(), token, s.askKey)
	if err == nil && s.revoked.has(who.Session) {
		err = errEnded
	}
	return who, err
}

// bearer returns the token of a call that carries exactly one.
func bearer(r *http.Request) (string, bool) {
	all := r.Header.Values("Authorization")
	if len(all) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(all[0], " ")
	token = strings.Trim(token, " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}
