package limit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rate says how often, for each key: Count per Per for ever, and Burst at once after a time of rest. The zero value is no limit.
type Rate struct {
	Count int
	Per   time.Duration
	Burst int
}

// units are the times that a Rate may be per.
var units = []struct {
	name string
	per  time.Duration
}{{"s", second}, {"m", minute}, {"h", hour}, {"d", day}}

// String is the rate as ParseRate reads it: 20/s:100, or off.
func (r Rate) String() string {
	for _, u := range units {
		if r.Count > 0 && r.Per == u.per {
			return fmt.Sprintf("%d/%s:%d", r.Count, u.name, r.Burst)
		}
	}
	return offWord
}

const offWord = "off"

// mostCount bounds the numbers of a Rate.
const mostCount = 1_000_000

// ParseRate reads COUNT/UNIT:BURST, where UNIT is s, m, h or d, or off.
func ParseRate(text string) (Rate, error) {
	if text == offWord {
		return Rate{}, nil
	}
	refused := fmt.Errorf("%q is neither off nor COUNT/UNIT:BURST, such as 20/s:100, with a unit of s, m, h, d and numbers from 1 to %d", text, mostCount)
	often, burst, ok := strings.Cut(text, ":")
	count, unit, ok2 := strings.Cut(often, "/")
	c, err := strconv.Atoi(count)
	b, err2 := strconv.Atoi(burst)
	if !ok || !ok2 || err != nil || err2 != nil || c < 1 || b < 1 || c > mostCount || b > mostCount {
		return Rate{}, refused
	}
	for _, u := range units {
		if u.name == unit {
			return Rate{Count: c, Per: u.per, Burst: b}, nil
		}
	}
	return Rate{}, refused
}

// config is what a Limiter needs for r.
func (r Rate) config(keys int, now func() time.Time) Config {
	return Config{Rate: float64(r.Count) / r.Per.Seconds(), Burst: r.Burst, MaxKeys: keys, Now: now}
}

// Rules is what holds. Make it with DefaultRules or ParseRules.
type Rules struct {
	// Rates of each kind, for each of its scopes.
	Rates map[Kind]map[Scope]Rate
	// Connections is how many WebSockets a person has on one edge, Watched how many people all of them together watch; zero is no
	// bound.
	Connections, Watched int
	// Keys is how many persons, sessions or addresses are remembered for each kind.
	Keys int
}

// count is a rule that is a number.
type count struct {
	name        string
	least, most int
	// off says that there may be no bound.
	off bool
	in  func(*Rules) *int
}

var counts = []count{
	{"connections", 1, 100_000, true, func(r *Rules) *int { return &r.Connections }},
	{"watched", 1, 1_000_000, true, func(r *Rules) *int { return &r.Watched }},
	{"keys", 1000, 10_000_000, false, func(r *Rules) *int { return &r.Keys }},
}

// DefaultRules is what holds unless a setting says otherwise.
func DefaultRules() Rules {
	r := Rules{Rates: make(map[Kind]map[Scope]Rate, len(table)), Connections: 20, Watched: 5000, Keys: 65_536}
	for _, a := range table {
		rates := make(map[Scope]Rate, len(a.rates))
		for s, rate := range a.rates {
			rates[s] = rate
		}
		r.Rates[a.kind] = rates
	}
	return r
}

// ParseRules changes the default rules by entries of the form NAME=VALUE. A name is a kind, for its rate for a person, a kind with a
// scope, such as login.address, or one of connections, watched and keys. A value is what ParseRate reads, for the last three a number
// or off.
func ParseRules(entries []string) (Rules, error) {
	r := DefaultRules()
	seen := map[string]bool{}
	for _, entry := range entries {
		name, value, ok := strings.Cut(entry, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok {
			return Rules{}, fmt.Errorf("%q is not NAME=VALUE, such as send=20/s:100", entry)
		}
		name = strings.TrimSuffix(name, "."+string(Person))
		if seen[name] {
			return Rules{}, fmt.Errorf("%s stands there twice", name)
		}
		seen[name] = true
		if err := r.set(name, value); err != nil {
			return Rules{}, err
		}
	}
	return r, nil
}

func (r *Rules) set(name, value string) error {
	for _, c := range counts {
		if c.name == name {
			return c.set(r, value)
		}
	}
	kind, scope, scoped := strings.Cut(name, ".")
	if !scoped {
		scope = string(Person)
	}
	rates, ok := r.Rates[Kind(kind)]
	if !ok {
		return fmt.Errorf("there is no limit %q; they are %s", name, strings.Join(names(), ", "))
	}
	if _, ok := rates[Scope(scope)]; !ok {
		return fmt.Errorf("there is no limit %q; of %s there are %s", name, kind, strings.Join(namesOf(Kind(kind)), ", "))
	}
	rate, err := ParseRate(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	rates[Scope(scope)] = rate
	return nil
}

func (c count) set(r *Rules, value string) error {
	if value == offWord && c.off {
		*c.in(r) = 0
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < c.least || n > c.most {
		or := ""
		if c.off {
			or = ", nor off"
		}
		return fmt.Errorf("%s: %q is no number from %d to %d%s", c.name, value, c.least, c.most, or)
	}
	*c.in(r) = n
	return nil
}

// namesOf lists the names of the rules of a kind.
func namesOf(k Kind) []string {
	var out []string
	i := slices.IndexFunc(table, func(a about) bool { return a.kind == k })
	for _, s := range Scopes {
		if _, ok := table[i].rates[s]; ok {
			out = append(out, nameOf(k, s))
		}
	}
	return out
}

func nameOf(k Kind, s Scope) string {
	if s == Person {
		return string(k)
	}
	return string(k) + "." + string(s)
}

// names lists the kinds and the counts.
func names() []string {
	var out []string
	for _, k := range Kinds() {
		out = append(out, string(k))
	}
	for _, c := range counts {
		out = append(out, c.name)
	}
	return out
}

// Entry is a rule as ParseRules reads it: Name=Value.
type Entry struct{ Name, Value string }

// Entries lists the rules that hold, in the order of the table, and those by default that are off.
func (r Rules) Entries() []Entry {
	var out []Entry
	for _, a := range table {
		for _, s := range Scopes {
			if rate := r.Rates[a.kind][s]; rate != off || a.rates[s] != off {
				out = append(out, Entry{nameOf(a.kind, s), rate.String()})
			}
		}
	}
	for _, c := range counts {
		value := offWord
		if n := *c.in(&r); n > 0 {
			value = strconv.Itoa(n)
		}
		out = append(out, Entry{c.name, value})
	}
	return out
}
