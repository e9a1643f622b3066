package api

import (
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/verify"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// described is the operation of an endpoint in docs/asyncapi.yaml.
func described(t *testing.T, d *doctest.Document, endpoint string) string {
	t.Helper()
	for _, op := range d.Keys("operations") {
		if d.At("operations", op, "channel")["address"] == endpoint {
			return op
		}
	}
	t.Fatalf("asyncapi.yaml has no operation on %s", endpoint)
	return ""
}

// replyOf is the message that answers an operation, the first that its reply lists.
func replyOf(d *doctest.Document, operation string) string {
	list, _ := d.At("operations", operation, "reply")["messages"].([]any)
	if len(list) == 0 {
		return ""
	}
	first, _ := list[0].(map[string]any)
	ref, _ := first["$ref"].(string)
	return ref[strings.LastIndex(ref, "/")+1:]
}

func TestTheAsyncAPIDocumentHasTheFieldsOfRequestsAndAnswers(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	type pair struct{ request, answer any }
	retry := pair{bus.RetryRequest{}, bus.RetryAnswer{}}
	known := map[string]pair{
		subject.SendEndpoint:      {SendRequest{}, SendAnswer{}},
		subject.ChangeEndpoint:    {wire.ChangeRequest{}, ChangeAnswer{}},
		subject.HistoryEndpoint:   {wire.HistoryRequest{}, nil}, // a wire.Page without what makes it a frame
		subject.StateEndpoint:     {wire.StateRequest{}, wire.StateAnswer{}},
		subject.FindEndpoint:      {wire.FindRequest{}, wire.FindAnswer{}},
		subject.SentEndpoint:      {wire.SentRequest{}, wire.SentAnswer{}},
		subject.CursorEndpoint:    {wire.CursorRequest{}, wire.CursorAnswer{}},
		subject.SharesEndpoint:    {wire.SharesRequest{}, wire.SharesAnswer{}},
		subject.UserChatsEndpoint: {wire.ChatsOfRequest{}, wire.ChatsOfAnswer{}},
		subject.VerifyEndpoint:    {VerifyRequest{}, verify.Report{}},
		subject.ChatsEndpoint:     {ChatsRequest{}, ChatsAnswer{}},
		// The service presence holds its own against the document.
		subject.PresenceEndpoint:       {},
		subject.PersisterRetryEndpoint: retry,
		subject.FanOutRetryEndpoint:    retry,
	}
	for _, endpoint := range subject.Endpoints {
		p, ok := known[endpoint]
		if !ok {
			t.Errorf("%s is new: add its request and its answer to this test", endpoint)
			continue
		}
		op := described(t, d, endpoint)
		if p.request != nil {
			d.Fields(t, p.request, doctest.Payload(d.Messages(op)[0])...)
		}
		if p.answer != nil {
			d.Fields(t, p.answer, doctest.Payload(replyOf(d, op))...)
		}
	}
	refusal := wire.Encode(wire.Refuse(nil, errNoChat))
	if err := d.Check(refusal, doctest.Payload("refusal")...); err != nil {
		t.Errorf("%s is no refusal: %v", refusal, err)
	}
	d.Fields(t, ending{}, doctest.Payload("revocation")...)
	d.Fields(t, bus.Node{}, doctest.Payload("node")...)
}
