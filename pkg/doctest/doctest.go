// Package doctest holds the public documents of package docs against what programs really send: it checks a document against
// the schema of its standard, and JSON against the schemas within the document. It promises to be stricter than a client
// may be: a field that the document does not list is a fault.
package doctest

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// The schemas of both standards as their projects publish them, Apache License 2.0; testdata/README.md says where from.
//
//go:embed testdata/*.json
var standards embed.FS

// Document is a description of the server. It may be used by many goroutines.
type Document struct {
	tree map[string]any
	mu   sync.Mutex // guards the following fields
	c    *jsonschema.Compiler
	done map[string]*jsonschema.Schema
	// frames has the messages of an operation by the type of frame that they are.
	frames map[string]map[string][]string
}

// name is what the document is called among the schemas that refer to each other.
const name = "file:///document.json"

// Parse reads a document in YAML. Its schemas are made strict: an object has no properties but those that are listed.
func Parse(t testing.TB, text []byte) *Document {
	t.Helper()
	d := &Document{tree: plain(t, text), c: jsonschema.NewCompiler(), done: map[string]*jsonschema.Schema{},
		frames: map[string]map[string][]string{}}
	closed := plain(t, text) // another copy: the standards know nothing of what is added to it
	closeObjects(closed)
	d.c.DefaultDraft(jsonschema.Draft2020)
	d.c.AssertFormat()
	if err := d.c.AddResource(name, any(closed)); err != nil {
		t.Fatal(err)
	}
	return d
}

// plain is a YAML document as JSON has it.
func plain(t testing.TB, text []byte) map[string]any {
	t.Helper()
	var in any
	if err := yaml.Unmarshal(text, &in); err != nil {
		t.Fatalf("not YAML: %v", err)
	}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatalf("not JSON: %v", err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	tree, ok := out.(map[string]any)
	if !ok {
		t.Fatal("the document is no object")
	}
	return tree
}

// closeObjects lets no schema of an object have further properties, unless it says itself what those are.
func closeObjects(node any) {
	switch n := node.(type) {
	case map[string]any:
		_, properties := n["properties"].(map[string]any)
		if _, said := n["additionalProperties"]; n["type"] == "object" && properties && !said {
			n["additionalProperties"] = false
		}
		for _, v := range n {
			closeObjects(v)
		}
	case []any:
		for _, v := range n {
			closeObjects(v)
		}
	}
}

// Standard checks the document against the schema of its standard, a file of testdata.
func (d *Document) Standard(t testing.TB, file string) {
	t.Helper()
	b, err := standards.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(any(d.tree)); err != nil {
		t.Errorf("the document is not what %s says: %v", file, err)
	}
}

// At returns what stands at a path of keys, references followed; nil where there is nothing.
func (d *Document) At(keys ...string) map[string]any {
	node, _ := d.locate(keys)
	return node
}

// Raw is At without following a reference at the end.
func (d *Document) Raw(keys ...string) map[string]any {
	node := d.At(keys[:len(keys)-1]...)
	out, _ := node[keys[len(keys)-1]].(map[string]any)
	return out
}

// List returns the objects of a list at the top of the document.
func (d *Document) List(key string) []map[string]any {
	list, _ := d.tree[key].([]any)
	var out []map[string]any
	for _, v := range list {
		m, _ := v.(map[string]any)
		out = append(out, m)
	}
	return out
}

// Keys lists the keys of what stands at a path, sorted.
func (d *Document) Keys(keys ...string) []string {
	return slices.Sorted(maps.Keys(d.At(keys...)))
}

// locate follows keys and references, and returns what is there with the path at which it really stands.
func (d *Document) locate(keys []string) (map[string]any, []string) {
	at := []string{}
	node := d.tree
	for i := 0; ; i++ {
		for range 8 { // a reference to a reference
			ref, ok := node["$ref"].(string)
			if !ok {
				break
			}
			rest, ok := strings.CutPrefix(ref, "#/")
			if !ok {
				return nil, nil
			}
			at = at[:0]
			node = d.tree
			for _, k := range strings.Split(rest, "/") {
				k = unescape(k)
				at = append(at, k)
				node, _ = node[k].(map[string]any)
			}
		}
		if i == len(keys) || node == nil {
			return node, at
		}
		at = append(at, keys[i])
		node, _ = node[keys[i]].(map[string]any)
	}
}

func escape(key string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
}

func unescape(key string) string {
	if k, err := url.PathUnescape(key); err == nil {
		key = k
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
}

// Refs checks that every reference in the document leads somewhere.
func (d *Document) Refs(t testing.TB) {
	t.Helper()
	var walk func(node any)
	walk = func(node any) {
		switch n := node.(type) {
		case map[string]any:
			if ref, ok := n["$ref"].(string); ok {
				rest, local := strings.CutPrefix(ref, "#/")
				keys := strings.Split(rest, "/")
				for i := range keys {
					keys[i] = unescape(keys[i])
				}
				if !local || d.At(keys...) == nil {
					t.Errorf("the reference to %s leads nowhere", ref)
				}
			}
			for _, v := range n {
				walk(v)
			}
		case []any:
			for _, v := range n {
				walk(v)
			}
		}
	}
	walk(any(d.tree))
}

// Check tells whether JSON is what the schema at a path of keys says.
func (d *Document) Check(body []byte, keys ...string) error {
	node, at := d.locate(keys)
	if node == nil {
		return fmt.Errorf("doctest: there is no schema at %s", strings.Join(keys, "/"))
	}
	escaped := make([]string, len(at))
	for i, k := range at {
		escaped[i] = escape(k)
	}
	schema, err := d.compile(name + "#/" + strings.Join(escaped, "/"))
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("doctest: not JSON: %w", err)
	}
	return schema.Validate(v)
}

func (d *Document) compile(location string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.done[location]; s != nil {
		return s, nil
	}
	s, err := d.c.Compile(location)
	if err == nil {
		d.done[location] = s
	}
	return s, err
}

// CheckValue is Check of a value of the document itself, for example of an example.
func (d *Document) CheckValue(v any, keys ...string) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return d.Check(b, keys...)
}
