package api

import (
	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
)

// kinds says as what each route is counted. Those with a token are counted as limit.Call as well, those without as limit.Open.
var kinds = map[string]limit.Kind{
	"POST /v1/users":                                           limit.Register,
	"POST /v1/sessions":                                        limit.Login,
	"POST /v1/sessions/refresh":                                limit.Refresh,
	"DELETE /v1/sessions/current":                              limit.Sessions,
	"GET /v1/users/me":                                         limit.Look,
	"PATCH /v1/users/me":                                       limit.Profile,
	"DELETE /v1/users/me":                                      limit.Password,
	"PUT /v1/users/me/password":                                limit.Password,
	"GET /v1/users/me/preferences":                             limit.Look,
	"PUT /v1/users/me/preferences":                             limit.Settings,
	"GET /v1/users":                                            limit.Look,
	"GET /v1/sessions":                                         limit.Sessions,
	"DELETE /v1/sessions/{id}":                                 limit.Sessions,
	"GET /v1/blocks":                                           limit.Look,
	"PUT /v1/blocks/{user}":                                    limit.Block,
	"DELETE /v1/blocks/{user}":                                 limit.Block,
	"POST /v1/chats":                                           limit.Create,
	"GET /v1/chats":                                            limit.List,
	"GET /v1/chats/{chat}":                                     limit.Look,
	"PATCH /v1/chats/{chat}":                                   limit.Details,
	"PUT /v1/chats/{chat}/settings":                            limit.Settings,
	"POST /v1/chats/{chat}/invite":                             limit.Links,
	"DELETE /v1/chats/{chat}/invite":                           limit.Links,
	"GET /v1/invites/{token}":                                  limit.Links,
	"POST /v1/invites/{token}":                                 limit.Join,
	"PUT /v1/chats/{chat}/members/{user}":                      limit.Members,
	"DELETE /v1/chats/{chat}/members/{user}":                   limit.Members,
	"GET /v1/chats/{chat}/messages":                            limit.History,
	"POST /v1/chats/{chat}/messages":                           limit.Send,
	"GET /v1/chats/{chat}/messages/{seq}":                      limit.History,
	"PATCH /v1/chats/{chat}/messages/{seq}":                    limit.Edit,
	"DELETE /v1/chats/{chat}/messages/{seq}":                   limit.Delete,
	"GET /v1/chats/{chat}/messages/{seq}/edits":                limit.History,
	"GET /v1/chats/{chat}/messages/{seq}/receipts":             limit.History,
	"GET /v1/chats/{chat}/messages/{seq}/reactions":            limit.History,
	"PUT /v1/chats/{chat}/messages/{seq}/reactions/{emoji}":    limit.React,
	"DELETE /v1/chats/{chat}/messages/{seq}/reactions/{emoji}": limit.React,
	"GET /v1/chats/{chat}/pins":                                limit.History,
	"PUT /v1/chats/{chat}/pins/{seq}":                          limit.Pin,
	"DELETE /v1/chats/{chat}/pins/{seq}":                       limit.Pin,
	"PUT /v1/chats/{chat}/read":                                limit.Mark,
	"PUT /v1/chats/{chat}/delivered":                           limit.Mark,
	"POST /v1/chats/{chat}/typing":                             limit.Typing,
	"GET /v1/chats/{chat}/receipts":                            limit.Look,
	"GET /v1/chats/{chat}/hidden":                              limit.Look,
	"GET /v1/presence":                                         limit.Look,
	"GET /v1/edges":                                            limit.Edges,
	"GET /v1/openapi.yaml":                                     limit.Documents,
	"GET /v1/asyncapi.yaml":                                    limit.Documents,
}

// countedLater are the kinds that a handler counts itself, once it knows that what came is worth it: a name, or what could be an account.
var countedLater = map[limit.Kind]bool{limit.Register: true, limit.Login: true, limit.Refresh: true}

// identify finds out who a call comes from and counts it. It fails with Unauthorized, or with RateLimited.
func (s *Server) identify(c *call, name string, open bool) (err error) {
	c.address = limit.AddressOf(c.r, s.proxies)
	if !open {
		c.who, err = s.authenticate(c.r)
	}
	if open || chat.Is(err, chat.Unauthorized) { // a stranger, whatever else they may say
		if err := s.limits.Allow(limit.Who{Address: c.address}, limit.Open); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	var actions []limit.Action
	if !open {
		actions = append(actions, limit.Action{Kind: limit.Call, N: 1})
	}
	if kind := kinds[name]; !countedLater[kind] {
		actions = append(actions, limit.Action{Kind: kind, N: 1})
	}
	return s.limits.AllowAll(c.counted(), actions...)
}

// counted is by whom a call is counted.
func (c *call) counted() limit.Who {
	return limit.Who{Person: string(c.who.User), Session: c.who.Session, Address: c.address}
}

// forLogin is by whom a try to log in is counted. Names that nobody can have share one bucket.
func forLogin(name, address string) limit.Who {
	if auth.CheckUsername(name) != nil {
		name = "-"
	}
	return limit.Who{Person: name, Address: address}
}
