package doctest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Messages lists the messages of an AsyncAPI document's operation, in its order.
func (d *Document) Messages(operation string) []string {
	list, _ := d.At("operations", operation)["messages"].([]any)
	var out []string
	for _, v := range list {
		m, _ := v.(map[string]any)
		ref, _ := m["$ref"].(string)
		out = append(out, ref[strings.LastIndex(ref, "/")+1:])
	}
	return out
}

// Payload is where the schema of a message stands.
func Payload(message string) []string {
	return []string{"components", "messages", message, "payload"}
}

// TypeOf is the type of frame that a message is; empty for what is no frame.
func (d *Document) TypeOf(message string) string {
	s, _ := d.At(append(Payload(message), "properties", "type")...)["const"].(string)
	return s
}

// ofType lists the messages of an operation that are frames of a type.
func (d *Document) ofType(operation, frame string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frames[operation] == nil {
		d.frames[operation] = map[string][]string{}
		for _, m := range d.Messages(operation) {
			t := d.TypeOf(m)
			d.frames[operation][t] = append(d.frames[operation][t], m)
		}
	}
	return d.frames[operation][frame]
}

// Frame returns which message of an operation a frame is. It fails unless it is exactly one.
func (d *Document) Frame(operation string, body []byte) (message string, err error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return "", err
	}
	var fits []string
	var why []error
	for _, m := range d.ofType(operation, head.Type) {
		if err := d.Check(body, Payload(m)...); err != nil {
			why = append(why, err)
			continue
		}
		fits = append(fits, m)
	}
	if len(fits) != 1 {
		return "", fmt.Errorf("doctest: a frame of type %q is %d messages of %s: %w", head.Type, len(fits), operation, errors.Join(why...))
	}
	return fits[0], nil
}

// MessageExamples checks every example of every message of an AsyncAPI document, and that each has one.
func (d *Document) MessageExamples(t testing.TB) {
	t.Helper()
	for _, m := range d.Keys("components", "messages") {
		examples := d.Examples(m)
		if len(examples) == 0 {
			t.Errorf("message %s has no example", m)
		}
		for _, v := range examples {
			if err := d.CheckValue(v, Payload(m)...); err != nil {
				t.Errorf("the example of message %s: %v", m, err)
			}
		}
	}
}

// Examples returns the examples of a message.
func (d *Document) Examples(message string) []any {
	list, _ := d.At("components", "messages", message)["examples"].([]any)
	var out []any
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m["payload"])
		}
	}
	return out
}

// Fields checks that the schema at a path of keys has exactly the properties that encoding/json gives a struct.
func (d *Document) Fields(t testing.TB, v any, keys ...string) {
	t.Helper()
	var want []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if got := d.Keys(append(slices.Clone(keys), "properties")...); !slices.Equal(got, want) {
		t.Errorf("%s: got properties %q; want those of %T, %q", strings.Join(keys, " "), got, v, want)
	}
}
