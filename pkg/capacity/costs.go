package capacity

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Cost is what one thing costs, and where that is known from.
type Cost struct {
	Value float64 `json:"value"`
	// Unit of Value.
	Unit string `json:"unit"`
	// Source says where the value comes from: a figure of a bench, a benchmark of this repository, a document.
	Source string `json:"source"`
	// Kind is measured, published, goal (which is to be reached and was not measured) or assumed.
	Kind string `json:"kind"`
	// At is up to which size it was seen, in AtUnit; zero where it does not depend on a size.
	At     float64 `json:"at,omitempty"`
	AtUnit string  `json:"at_unit,omitempty"`
}

// Kinds of Cost.
const (
	Measured  = "measured"
	Published = "published"
	Goal      = "goal"
	Assumed   = "assumed"
)

// Costs are the costs of one of each thing.
type Costs struct {
	// EdgeMemory and KernelMemory are what an idle connection takes in the process and in the kernel.
	EdgeMemory   Cost `json:"edge_memory"`
	KernelMemory Cost `json:"kernel_memory"`
	// EdgeDelivery is the work for a frame to a device, EdgeConnect that to welcome one.
	EdgeDelivery Cost `json:"edge_delivery"`
	EdgeConnect  Cost `json:"edge_connect"`
	// GatewayMemory is what a connection takes in the proxy that ends TLS, GatewayHandshake the work of a handshake.
	GatewayMemory    Cost `json:"gateway_memory"`
	GatewayHandshake Cost `json:"gateway_handshake"`

	// BrokerAppend is the work of one copy of an append, synced. BrokerConsume is the work of handing an event to a worker, its ack
	// included, WorkerConsume the worker's half of it.
	BrokerAppend  Cost `json:"broker_append"`
	BrokerConsume Cost `json:"broker_consume"`
	WorkerConsume Cost `json:"worker_consume"`
	// BrokerDeliver is the work for a message on a person's subject from publisher to edge on the same server, BrokerRoute with one
	// server between. WorkerPublish is the publisher's.
	BrokerDeliver Cost `json:"broker_deliver"`
	BrokerRoute   Cost `json:"broker_route"`
	WorkerPublish Cost `json:"worker_publish"`
	// PartitionAppends is what one partition takes in a second, ChatAppends one chat whose writers wait for each other.
	PartitionAppends Cost `json:"partition_appends"`
	ChatAppends      Cost `json:"chat_appends"`
	// KeyWrites is what one bucket takes in a second.
	KeyWrites Cost `json:"key_writes"`
	// SubjectMemory is what a subject of a stream takes in each copy, MessageIDMemory an id within the window of duplicates.
	SubjectMemory   Cost `json:"subject_memory"`
	MessageIDMemory Cost `json:"message_id_memory"`
	// InterestMemory is what the interest in one person's subject takes on every server of a cluster, InterestChange the work there
	// when it comes or goes.
	InterestMemory Cost `json:"interest_memory"`
	InterestChange Cost `json:"interest_change"`
	// LogOverhead is what an event takes on a log's disk beside its body: subject, headers, the record.
	LogOverhead Cost `json:"log_overhead"`
	// HAAssets is how many replicated streams and consumers a server carries well.
	HAAssets Cost `json:"ha_assets"`

	// StoreRow is the work of writing one copy of a row, compaction not counted; StorePage that of reading a page.
	StoreRow  Cost `json:"store_row"`
	StorePage Cost `json:"store_page"`
	// PersistRow is the persister's work for a row, APIPage that of an api for a page.
	PersistRow Cost `json:"persist_row"`
	APIPage    Cost `json:"api_page"`
	// PresenceMemory is what somebody who is online takes in each presence process, PresenceChange the work of a change there.
	PresenceMemory Cost `json:"presence_memory"`
	PresenceChange Cost `json:"presence_change"`

	// SubjectStart is how much a subject adds to a broker's start.
	SubjectStart Cost `json:"subject_start"`
	// WholeMessage is the work of all processes for a direct message from frame to frame, which the parts must not fall below.
	WholeMessage Cost `json:"whole_message"`

	// BodyOverhead is what the JSON of a message has beside its text. RowOverhead is what the rows of a message take on the store's
	// disk beside that body, before compression; CursorRow what a cursor takes that stays.
	BodyOverhead Cost `json:"body_overhead"`
	RowOverhead  Cost `json:"row_overhead"`
	ChatRows     Cost `json:"chat_rows"`
}

//go:embed costs.json
var builtIn embed.FS

// BuiltIn are the costs that this version was built with.
func BuiltIn() (Costs, error) {
	b, err := builtIn.ReadFile("costs.json")
	if err != nil {
		return Costs{}, fmt.Errorf("%w: %w", ErrCosts, err)
	}
	return parse(b)
}

// ErrCosts says that costs are not whole.
var ErrCosts = errors.New("capacity: costs")

func parse(b []byte) (Costs, error) {
	var c Costs
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("%w: %w", ErrCosts, err)
	}
	return c, c.check()
}

func (c *Costs) check() error {
	for _, n := range c.named() {
		switch {
		case n.Value <= 0:
			return fmt.Errorf("%w: %s: got %v; want more than nothing", ErrCosts, n.Name, n.Value)
		case n.Unit == "" || n.Source == "":
			return fmt.Errorf("%w: %s: has no unit or no source", ErrCosts, n.Name)
		case n.Kind != Measured && n.Kind != Published && n.Kind != Goal && n.Kind != Assumed:
			return fmt.Errorf("%w: %s: got the kind %q", ErrCosts, n.Name, n.Kind)
		}
	}
	return nil
}

// named is a cost with its name in costs.json.
type named struct {
	Name string
	*Cost
}

// named lists all, in the order of Costs.
func (c *Costs) named() []named {
	v := reflect.ValueOf(c).Elem()
	out := make([]named, v.NumField())
	for i := range out {
		out[i] = named{v.Type().Field(i).Tag.Get("json"), v.Field(i).Addr().Interface().(*Cost)}
	}
	return out
}

// Figure is one number of a bench's results. Other fields of a results file are not read.
type Figure struct {
	Name   string  `json:"name"`
	System string  `json:"system"`
	Value  float64 `json:"value"`
}

// Bench says on how much the figures of a bench were made, which its file does not say.
const (
	// BenchCores are shared by servers and client.
	BenchCores = 2
	// BenchIdle is how many people are idle in it.
	BenchIdle = 5_000
	// BenchStorm is how many people come in its connect storm.
	BenchStorm = 18_000
	// BenchRows are those of an event of its backlog: itself, its client id, its sender's cursor, its chat's head.
	BenchRows = 4
)

// exchange is how a figure of a bench becomes a cost, and up to which size that was seen; zero where the bench does not say.
var exchange = []struct {
	cost         string
	figure, from string
	value, at    func(figure float64) float64
}{
	{"edge_memory", "idle_kb_per_user", "chatmesh", func(kb float64) float64 { return kb * 1024 }, always(BenchIdle)},
	{"kernel_memory", "idle_kernel_kb_per_user", "chatmesh", func(kb float64) float64 { return kb * 1024 }, always(BenchIdle)},
	{"edge_connect", "connect_storm_s", "chatmesh", func(s float64) float64 { return s * BenchCores * 1e6 / BenchStorm },
		func(s float64) float64 { return BenchStorm / s }},
	{"edge_delivery", "group100_cpu_us_per_delivery", "chatmesh", func(us float64) float64 { return us }, func(us float64) float64 { return BenchCores * 1e6 / us }},
	{"store_row", "persister_per_s", "chatmesh-cql", func(perS float64) float64 { return BenchCores * 1e6 / (perS * BenchRows) },
		func(perS float64) float64 { return perS * BenchRows }},
	{"whole_message", "cpu_us_per_delivery_w16", "chatmesh-r3", func(us float64) float64 { return us }, always(0)},
}

func always(n float64) func(float64) float64 { return func(float64) float64 { return n } }

// parts is the work for a direct message with three copies, from frame to frame, as the parts have it; the store is not in it.
func (c *Costs) parts() Micros {
	return Micros(c.EdgeDelivery.Value + 3*c.BrokerAppend.Value + 2*(c.BrokerConsume.Value+c.WorkerConsume.Value) + 2*c.WorkerPublish.Value)
}

// calibration is by what the parts are multiplied so that they are not below the whole.
func (c *Costs) calibration() Cores { return max(1, Cores(c.WholeMessage.Value/float64(c.parts()))) }

// ParseResults reads the figures of a bench, which `go run ./bench` writes.
func ParseResults(b []byte) ([]Figure, error) {
	var r struct {
		Figures []Figure `json:"figures"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%w: results of a bench: %w", ErrCosts, err)
	}
	if len(r.Figures) == 0 {
		return nil, fmt.Errorf("%w: the results of a bench have no figures", ErrCosts)
	}
	return r.Figures, nil
}

// With returns the costs with those that the figures tell, and how many those are. What they do not tell stays.
func (c Costs) With(figures []Figure) (Costs, int) {
	out, n := c, 0
	for _, e := range exchange {
		for _, f := range figures {
			if f.Name != e.figure || f.System != e.from || f.Value <= 0 {
				continue
			}
			for _, to := range out.named() {
				if to.Name == e.cost {
					to.Value, to.At, to.Kind = e.value(f.Value), e.at(f.Value), Measured
					to.Source = "bench: " + f.Name + " of " + f.System
					n++
				}
			}
		}
	}
	return out, n
}

// Values are the costs by their names in costs.json.
func Values(c Costs) map[string]Cost {
	out := map[string]Cost{}
	for _, n := range c.named() {
		out[n.Name] = *n.Cost
	}
	return out
}

// Format writes costs as they stand in costs.json: one to a line.
func Format(c Costs) []byte {
	var b bytes.Buffer
	b.WriteString("{\n")
	all := c.named()
	for i, n := range all {
		var line bytes.Buffer
		e := json.NewEncoder(&line)
		e.SetEscapeHTML(false)
		_ = e.Encode(n.Cost) // numbers and strings
		fmt.Fprintf(&b, "  %q: %s", n.Name, bytes.TrimSpace(line.Bytes()))
		if i < len(all)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("}\n")
	return b.Bytes()
}
