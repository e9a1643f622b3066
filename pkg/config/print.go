package config

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print writes every setting with its value, and behind it where that came from, as YAML that --config reads. Instead
// of a secret it writes "(set)". It fails when w does.
func (s *Settings) Print(w io.Writer) error {
	var out bytes.Buffer
	if s.File != "" {
		fmt.Fprintf(&out, "# config: %q # %s\n", s.File, s.source("config"))
	}
	doc, err := document(reflect.ValueOf(*s), s.source)
	if err != nil {
		return fmt.Errorf("config: print: %w", err)
	}
	encoder := yaml.NewEncoder(&out)
	if err := encoder.Encode(doc); err != nil {
		return fmt.Errorf("config: print: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return fmt.Errorf("config: print: %w", err)
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("config: print: %w", err)
	}
	return nil
}

// Given tells whether somebody set a setting, rather than its default.
func (s *Settings) Given(name string) bool {
	o, ok := s.origins[name]
	return ok && o.source != "default"
}

// source is where the value of a setting came from. What Parse did not fill came from the program.
func (s *Settings) source(name string) string {
	if o, ok := s.origins[name]; ok {
		return oneSafeLine(o.source)
	}
	return "program"
}

// document is the YAML of a struct of settings.
func document(settings reflect.Value, source func(name string) string) (*yaml.Node, error) {
	doc := &yaml.Node{Kind: yaml.MappingNode}
	for i := range settings.NumField() {
		tag := settings.Type().Field(i).Tag
		name := tag.Get("name")
		if name == "" || name == "config" {
			continue
		}
		secret, isSecret := tag.Lookup("secret")
		hide := func(text string) string {
			switch {
			case !isSecret || text == "":
				return text
			case secret == "userinfo":
				return withoutUserinfo(text)
			}
			return hidden
		}
		node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}
		switch v := settings.Field(i); {
		case v.Type() == reflect.TypeFor[time.Duration]():
			node.Value = hide(short(time.Duration(v.Int())))
		case v.Type() == reflect.TypeFor[List]():
			node = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
			for _, text := range v.Interface().(List) {
				node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: hide(text)})
			}
		case v.Type() == reflect.TypeFor[Limits]():
			node = v.Interface().(Limits).node(source(name))
		case v.Kind() == reflect.String:
			node.Value = hide(v.String())
		case v.Kind() == reflect.Bool:
			node.Tag, node.Value = "!!bool", strconv.FormatBool(v.Bool())
		case v.Kind() == reflect.Float64:
			node.Tag, node.Value = "", strconv.FormatFloat(v.Float(), 'g', -1, 64)
		case v.Kind() == reflect.Int:
			node.Tag, node.Value = "!!int", strconv.FormatInt(v.Int(), 10)
		default:
			return nil, fmt.Errorf("--%s is of an unknown kind", name)
		}
		if node.Kind != yaml.MappingNode {
			node.LineComment = source(name)
		}
		doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, node)
	}
	return doc, nil
}
