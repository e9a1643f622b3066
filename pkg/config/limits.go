package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/chatmesh/chatmesh/pkg/limit"
)

// Limits are entries NAME=VALUE, as limit.ParseRules reads them, that change the limits by default. In a flag or variable they stand
// comma-separated, a repeated flag adds to them; in a file they are a list, or better a mapping. The zero value changes nothing.
type Limits []string

// Decode reads the next value of the command line. It is called by kong.
func (l *Limits) Decode(ctx *kong.DecodeContext) error { return decodeList(ctx, (*[]string)(l)) }

// Rules are the limits that hold while RateLimits is on: those by default with the changes of Limits.
func (s *Settings) Rules() (limit.Rules, error) {
	r, err := limit.ParseRules(s.Limits)
	if err != nil {
		return limit.Rules{}, s.wrong("limits", "%s", err)
	}
	return r, nil
}

// node is the YAML of all limits that hold, with where each came from.
func (l Limits) node(source string) *yaml.Node {
	rules, err := limit.ParseRules(l)
	if err != nil {
		rules = limit.DefaultRules() // nobody has checked them
	}
	set := func(name string) bool {
		return slices.ContainsFunc(l, func(entry string) bool {
			before, _, _ := strings.Cut(entry, "=")
			before = strings.TrimSpace(before)
			return before == name || before == name+"."+string(limit.Person)
		})
	}
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, e := range rules.Entries() {
		value := &yaml.Node{Kind: yaml.ScalarNode, Value: e.Value, LineComment: "default"}
		if e.Value == "off" { // which would be a bool elsewhere
			value.Tag = "!!str"
		}
		if set(e.Name) {
			value.LineComment = source
		}
		node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: e.Name}, value)
	}
	return node
}

// entriesOf returns a mapping of a file as it would stand behind the flag.
func entriesOf(node *yaml.Node) (string, error) {
	var entries []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		if name.Kind != yaml.ScalarNode || value.Kind != yaml.ScalarNode || strings.ContainsAny(name.Value+value.Value, ",=") {
			return "", errors.New("takes lines of the form name: value, such as send: 20/s:100")
		}
		entries = append(entries, name.Value+"="+value.Value)
	}
	return strings.Join(entries, ","), nil
}
