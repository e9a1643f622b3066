package limit

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryKindIsInTheTableOnceWithALimitByDefault(t *testing.T) {
	kinds := Kinds()
	for i, a := range table {
		if slices.Index(kinds, a.kind) != i {
			t.Errorf("%s stands there twice", a.kind)
		}
		if a.refusal == "" {
			t.Errorf("%s says nothing to who is refused", a.kind)
		}
		if !slices.ContainsFunc(Scopes[:], func(s Scope) bool { return a.rates[s].Count > 0 }) {
			t.Errorf("%s is not limited by default", a.kind)
		}
		for s, r := range a.rates {
			if again, err := ParseRate(r.String()); err != nil || again != r {
				t.Errorf("%s: got %v, %v; want %v read back", nameOf(a.kind, s), again, err, r)
			}
		}
	}
}

func TestRulesAreReadBackAsTheyAreListed(t *testing.T) {
	r, err := ParseRules([]string{"send=1/d:3", "edit=off", "hello.session=2/m:2", "login.address=7/h:8", "watched=off", "connections=3", "keys=1000"})
	if err != nil {
		t.Fatal(err)
	}
	var entries []string
	for _, e := range r.Entries() {
		entries = append(entries, e.Name+"="+e.Value)
	}
	again, err := ParseRules(entries)
	if err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("got %+v, %v; want %+v", again, err, r)
	}
	for _, want := range []string{"send=1/d:3", "edit=off", "hello.session=2/m:2", "watched=off", "connections=3", "keys=1000", "register.address=6/m:20"} {
		if !slices.Contains(entries, want) {
			t.Errorf("got %v; want %s in it", entries, want)
		}
	}
	if d := DefaultRules(); d.Rates[Send][Person].Per != time.Second || d.Connections != 20 {
		t.Errorf("got %+v; want the default rules untouched", d)
	}
}

func TestARateThatIsNoneIsRefused(t *testing.T) {
	for _, text := range []string{"", "20", "20/s", "20:5", "20/s:", "/s:1", "0/s:1", "1/s:0", "-1/s:1", "1.5/s:1", "1/w:1", "1/s:1:1", "1 /s:1",
		"1000001/s:1", "1/s:1000001", "OFF"} {
		if r, err := ParseRate(text); err == nil {
			t.Errorf("%q: got %v; want it refused", text, r)
		} else if !strings.Contains(err.Error(), "COUNT/UNIT:BURST") {
			t.Errorf("%q: got %v; want it to say what would be right", text, err)
		}
	}
}
