package doctest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/doctest"
)

func TestTheOpenAPIDocumentIsOne(t *testing.T) {
	d := doctest.ParseHTTP(t, docs.OpenAPI())
	d.Standard(t, "openapi-3.1.schema.json")
	d.Refs(t)
	d.BodyExamples(t)
}

func TestTheAsyncAPIDocumentIsOne(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	d.Standard(t, "asyncapi-3.0.0.schema.json")
	d.Refs(t)
	d.MessageExamples(t)
}

func TestWhatBothDocumentsDescribeIsTheSameInBoth(t *testing.T) {
	http, live := doctest.Parse(t, docs.OpenAPI()), doctest.Parse(t, docs.AsyncAPI())
	n := 0
	for _, name := range live.Keys("components", "schemas") {
		here := http.At("components", "schemas", name)
		if here == nil {
			continue
		}
		n++
		if diff := cmp.Diff(here, live.At("components", "schemas", name)); diff != "" {
			t.Errorf("schema %s: openapi.yaml and asyncapi.yaml differ:\n%s", name, diff)
		}
	}
	if n < 10 {
		t.Errorf("got %d schemas that are in both; want those of ids, events and pages", n)
	}
}

func TestTheAsyncAPIDocumentListsExactlyTheErrorCodes(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	got, _ := d.At("components", "schemas", "Code")["enum"].([]any)
	var want []any
	for _, code := range chat.Codes {
		want = append(want, string(code))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes in asyncapi.yaml (-want +got):\n%s", diff)
	}
}
