package chatlog

import (
	"context"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/trace"
)

// Order is one of several commands of the same caller.
type Order struct {
	// Context is that of the command, for its trace; nil is that of AppendAll, which bounds the time in any case.
	Context context.Context
	Chat    chat.ID
	Command chat.Command
}

// Result is what became of an Order.
type Result struct {
	Receipt Receipt
	Err     error
}

// AppendAll appends commands of one caller, each as Append would: those of the same chat stand there in the order in which they are
// given. They go out together, where Append would wait for each before the next. The results stand in the order of the orders.
func (l *Log) AppendAll(ctx context.Context, orders []Order) []Result {
	results, tries := make([]Result, len(orders)), make([]tried, len(orders))
	items := make([]*item, len(orders))
	spans := make([]trace.Span, len(orders))
	if len(orders) == 0 {
		return nil
	}
	waiting := newWaits(len(orders))
	var parts []part
	for i, o := range orders {
		of := ctx
		if o.Context != nil {
			of = o.Context
		}
		it := &item{id: o.Chat, cmd: o.Command, at: chat.Now(), waits: waiting}
		it.ctx, spans[i] = trace.Child(of, "chatlog append", trace.Internal)
		it.span = spans[i]
		r, done, err := l.prepare(it)
		if !done {
			if tries[i], err = l.look(it, waiting); err != nil {
				done, err = true, l.unavailable(err)
			}
		}
		if done {
			results[i] = Result{r, err}
			waiting.skip()
			continue
		}
		items[i] = it
		parts = l.put(parts, it)
	}
	for _, p := range parts {
		l.commits[p.partition].submit(ctx, p.items)
	}
	waiting.wait(ctx)
	for i, it := range items {
		if it != nil {
			tries[i].out = it.outcome()
		}
	}
	for i, it := range items {
		if it != nil {
			results[i].Receipt, results[i].Err = l.settle(it, &tries[i])
		}
		if span := spans[i]; span.On() {
			r := results[i]
			span.Set(trace.Chat(orders[i].Chat), trace.Partition(l.Partition(orders[i].Chat)), trace.Seq(r.Receipt.Seq), trace.Duplicate(r.Receipt.Duplicate))
			span.End(r.Err)
		}
	}
	return results
}

// part are the items of one partition.
type part struct {
	partition int
	items     []*item
}

// put adds an item to those of its partition, behind the one of its chat that came last.
func (l *Log) put(parts []part, it *item) []part {
	n := l.Partition(it.id)
	for i := range parts {
		p := &parts[i]
		if p.partition != n {
			continue
		}
		for k := len(p.items) - 1; k >= 0 && it.behind == nil; k-- {
			if p.items[k].id == it.id {
				it.behind = p.items[k]
			}
		}
		p.items = append(p.items, it)
		return parts
	}
	return append(parts, part{n, []*item{it}})
}
