package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/progress"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/verify"
	"github.com/chatmesh/chatmesh/services/api"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// verifyCmd is the command verify.
type verifyCmd struct {
	Chat string `name:"chat" placeholder:"ID" help:"Verify this chat."`
	All  bool   `name:"all" help:"Verify every chat."`
}

// Help tells what the command does.
func (verifyCmd) Help() string {
	return `Compares the log of a chat with the store, event by event, and both with what the rules of a chat allow. Each problem is a
line of its own with the chat, the seq, the kind (missing, double, disordered, altered, count, index, unverified) and what it is;
the last line is the sum. What people wrote is never shown. The exit code is 0 only if all is right.

It asks the mesh at --nats-url, or the all-in-one at --nats-listen, which may work meanwhile; where none runs it opens the data
folder.`
}

// Run verifies.
func (v verifyCmd) Run(ctx context.Context, cli *commands, out io.Writer, notes errorOutput) error {
	if v.All == (v.Chat != "") {
		return errors.New("verify takes either --chat ID or --all")
	}
	ids := []chat.ID{chat.ID(v.Chat)}
	if !v.All {
		if _, err := chat.ParseID(v.Chat); err != nil {
			return fmt.Errorf("--chat: %s", chat.AsError(err).Message)
		}
	}
	r, err := reach(ctx, &cli.Settings, notes, mesh.API)
	if err != nil {
		return err
	}
	if v.All {
		ids, err = allChats(ctx, r.Bus)
	}
	var s sum
	if err == nil {
		s, err = verifyAll(ctx, r.Bus, ids, out, notes)
	}
	if err := errors.Join(err, r.close()); err != nil {
		return err
	}
	fmt.Fprintf(out, "chats %d, events %d, messages %d, problems %d\n", s.chats, s.events, s.messages, s.problems)
	if s.problems > 0 {
		return errors.New("verify: not all is right")
	}
	return nil
}

// sum is what was verified.
type sum struct{ chats, events, messages, problems uint64 }

// listPage is how many chats are asked for at once.
const listPage = 10_000

// allChats lists every chat.
func allChats(ctx context.Context, b *bus.Bus) ([]chat.ID, error) {
	var all []chat.ID
	for more := true; more; {
		q := api.ChatsRequest{Limit: listPage}
		if len(all) > 0 {
			q.After = string(all[len(all)-1])
		}
		var a api.ChatsAnswer
		if err := ask(ctx, b, api.ChatsTimeout, subject.ChatsEndpoint, q, &a); err != nil {
			return nil, fmt.Errorf("the chats cannot be listed: %w", err)
		}
		all, more = append(all, a.Chats...), a.More && len(a.Chats) > 0
	}
	return all, nil
}

// verifyAtOnce is how many chats are verified at the same time.
const verifyAtOnce = 2

// verifyAll verifies chats and writes each problem to out.
func verifyAll(ctx context.Context, b *bus.Bus, ids []chat.ID, out, notes io.Writer) (sum, error) {
	var mu sync.Mutex // guards s
	var s sum
	p := progress.Begin(notes, len(ids), "chats verified")
	defer p.End()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(verifyAtOnce)
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			var r verify.Report
			err := ask(ctx, b, api.VerifyTimeout, subject.VerifyEndpoint, api.VerifyRequest{Chat: string(id)}, &r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && (len(ids) == 1 || errors.Is(err, errNobody)) {
				return fmt.Errorf("chat %s: %w", id, err)
			}
			mu.Lock()
			s.chats++
			s.events += r.Events
			s.messages += r.Messages
			s.problems += uint64(r.Wrong)
			if err != nil {
				s.problems++
			}
			mu.Unlock()
			var say func()
			if r.Wrong > 0 || err != nil {
				say = func() { tell(out, id, r, err) }
			}
			p.Step(say)
			return nil
		})
	}
	err := g.Wait()
	return s, err
}

// tell writes the problems of a chat.
func tell(out io.Writer, id chat.ID, r verify.Report, err error) {
	for _, p := range r.Problems {
		fmt.Fprintf(out, "%s %d %s %s\n", id, p.Seq, p.Kind, p.What)
	}
	if more := r.Wrong - len(r.Problems); more > 0 {
		fmt.Fprintf(out, "%s 0 more %d further problems of this chat\n", id, more)
	}
	if err != nil {
		fmt.Fprintf(out, "%s 0 unverified %s\n", id, err)
	}
}
