package limit

import "testing"

func TestPaceLetsTwoThroughAtOnceOfEachKindAndKey(t *testing.T) {
	p := NewPace()
	for _, key := range []string{"ann.c1", "ann.c2", "ben.c1"} {
		for _, stopped := range []bool{false, true} {
			for i, want := range []bool{true, true, false} {
				if got := p.Allow(key, stopped); got != want {
					t.Errorf("%s, stopped %v, number %d: got %v; want %v", key, stopped, i+1, got, want)
				}
			}
		}
	}
}
