package subject_test

import (
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// described reads the names of asyncapi.yaml: its channels on NATS, and what it names beside them.
func described(t *testing.T, d *doctest.Document) map[string]string {
	t.Helper()
	out := map[string]string{}
	add := func(name, pattern any) {
		n, _ := name.(string)
		p, _ := pattern.(string)
		if n == "" || p == "" {
			t.Errorf("asyncapi.yaml: %v, %v is no name", name, pattern)
		}
		if _, twice := out[n]; twice {
			t.Errorf("asyncapi.yaml: subject.%s stands there twice", n)
		}
		out[n] = strings.NewReplacer("{", "<", "}", ">").Replace(p)
	}
	for _, c := range d.Keys("channels") {
		channel := d.At("channels", c)
		if address := channel["address"]; address != nil && !strings.HasPrefix(address.(string), "/") {
			add(channel["x-in-code"], address)
		}
	}
	for _, n := range d.List("x-names") {
		add(n["x-in-code"], n["name"])
		if says, _ := n["says"].(string); says == "" {
			t.Errorf("asyncapi.yaml: %v says nothing", n)
		}
	}
	return out
}

func TestTheAsyncAPIDocumentListsExactlyWhatIsInThePackage(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	got := described(t, d)
	for name, pattern := range patterns() {
		if got[name] != pattern {
			t.Errorf("asyncapi.yaml: subject.%s: got %q; want %q", name, got[name], pattern)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("asyncapi.yaml: subject.%s is not a name of the package", name)
	}
}

// Every channel is used, and every endpoint is answered.
func TestEveryChannelOfTheAsyncAPIDocumentHasAnOperation(t *testing.T) {
	d := doctest.Parse(t, docs.AsyncAPI())
	used, replies := map[string]bool{}, map[string]bool{}
	name := func(at ...string) string {
		ref, _ := d.Raw(at...)["$ref"].(string)
		return strings.TrimPrefix(ref, "#/channels/")
	}
	for _, op := range d.Keys("operations") {
		c := name("operations", op, "channel")
		used[c] = true
		if reply := name("operations", op, "reply", "channel"); reply != "" {
			used[reply], replies[c] = true, true
		}
	}
	for _, c := range d.Keys("channels") {
		if !used[c] {
			t.Errorf("asyncapi.yaml: channel %s has no operation", c)
		}
		address, _ := d.At("channels", c)["address"].(string)
		endpoint := address == subject.DrainEndpoint("{node}")
		for _, e := range subject.Endpoints {
			endpoint = endpoint || e == address
		}
		if endpoint != replies[c] {
			t.Errorf("asyncapi.yaml: channel %s, %s: got replies %v; want %v", c, address, replies[c], endpoint)
		}
	}
}
