package edge

import (
	"testing"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/doctest"
)

func TestTheAsyncAPIDocumentHasTheFieldsOfADrain(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	d.Fields(t, DrainRequest{}, doctest.Payload("drainRequest")...)
	d.Fields(t, DrainAnswer{}, doctest.Payload("drainAnswer")...)
}
