package edge

import (
	"context"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// plainSends is how many requests at the beginning send texts that depend on no other message: they can go out together.
func plainSends(jobs []wire.Request) int {
	for i := range jobs {
		if r := &jobs[i]; r.Type != wire.TypeSend || r.Forward != nil || r.ReplyTo > 0 {
			return i
		}
	}
	return len(jobs)
}

// sendAll carries out requests that are plainSends, and answers each in its turn. They wait for the disk together: who has 16 messages
// under way waits once, not 16 times.
func (c *conn) sendAll(ctx context.Context, requests []wire.Request) {
	start := time.Now()
	answers := make([]error, len(requests))
	spans := make([]trace.Span, len(requests))
	orders, of := make([]chatlog.Order, 0, len(requests)), make([]int, 0, len(requests))
	for i := range requests {
		r := &requests[i]
		if answers[i] = c.allow(r.Type); answers[i] != nil {
			continue
		}
		traced, span := c.s.c.Tracer.Root(ctx, "edge send", trace.Server)
		spans[i] = span
		var o chatlog.Order
		if o, answers[i] = c.order(r, span); answers[i] == nil {
			o.Context = traced
			orders, of = append(orders, o), append(of, i)
		}
	}
	results := c.s.c.Log.AppendAll(ctx, orders)
	next := 0
	for i := range requests {
		r := &requests[i]
		if answers[i] == nil {
			result := &results[next]
			if answers[i] = result.Err; result.Err == nil {
				c.acknowledge(r, &orders[next], &result.Receipt)
			}
			next++
		}
		if answers[i] != nil {
			c.refuse(r.ID, answers[i])
		}
		spans[i].End(answers[i])
	}
	took := time.Since(start).Seconds()
	for range of {
		c.s.m.sends.Observe(took)
	}
}

// order is what a request to send asks the log for.
func (c *conn) order(r *wire.Request, span trace.Span) (o chatlog.Order, err error) {
	if o.Chat, err = chat.ParseID(r.Chat); err != nil {
		return o, err
	}
	client, err := chat.ParseClientID(r.ClientID)
	if err != nil {
		return o, err
	}
	if err := chat.CheckText(r.Text); err != nil {
		return o, err
	}
	mentions, err := chat.ParseMentions(r.Mentions)
	if err != nil {
		return o, err
	}
	if span.On() {
		span.Set(trace.Chat(o.Chat), trace.Size(len(r.Text)))
	}
	o.Command = chat.Send{Sender: c.id.User, ClientID: client, Text: r.Text, ReplyTo: r.ReplyTo, Mentions: mentions}
	return o, nil
}

// acknowledge answers a request to send that stands.
func (c *conn) acknowledge(r *wire.Request, o *chatlog.Order, receipt *chatlog.Receipt) {
	ack := wire.Ack{Type: wire.TypeAck, ID: r.ID, Chat: o.Chat, ClientID: chat.ClientID(r.ClientID), Seq: receipt.Seq,
		SentAt: &receipt.SentAt, Duplicate: receipt.Duplicate}
	c.enqueue(ack.Append(make([]byte, 0, 112+len(r.ID)+len(r.Chat)+len(r.ClientID))))
}

// sendMessage carries out one request to send.
func (c *conn) sendMessage(ctx context.Context, r *wire.Request) (err error) {
	ctx, span := c.s.c.Tracer.Root(ctx, "edge send", trace.Server)
	defer func() { span.End(err) }()
	if r.Forward != nil {
		id, err := chat.ParseID(r.Chat)
		if err != nil {
			return err
		}
		client, err := chat.ParseClientID(r.ClientID)
		if err != nil {
			return err
		}
		return c.forward(ctx, *r, id, client)
	}
	o, err := c.order(r, span)
	if err != nil {
		return err
	}
	if r.ReplyTo > 0 {
		if err := c.answers(ctx, o.Chat, r.ReplyTo); err != nil {
			return err
		}
	}
	receipt, err := c.s.c.Log.Append(ctx, o.Chat, o.Command)
	if err != nil {
		return err
	}
	c.acknowledge(r, &o, &receipt)
	return nil
}
