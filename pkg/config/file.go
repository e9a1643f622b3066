package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// maxFile is the size in bytes above which a file holds no settings.
const maxFile = 1 << 20

// file is the file of settings as kong's resolver. It answers only for flags whose variable is not set: kong asks a
// resolver after it has read the environment, so that a plain one would make the file win.
type file struct {
	loaded bool
	name   string
	values map[string]value // by name of the flag
}

// value is that of one setting, as it would stand behind the flag.
type value struct {
	text string
	line int
}

// Validate has nothing to do: load has.
func (f *file) Validate(*kong.Application) error { return nil }

// Resolve returns the value of a flag that is neither on the command line nor in the environment, or nil.
func (f *file) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if _, set := envOf(flag); set {
		return nil, nil
	}
	if v, ok := f.values[flag.Name]; ok {
		return v.text, nil
	}
	return nil, nil
}

// load reads the file that the command line or the environment names. kong calls it for each part of the command line.
func (f *file) load(ctx *kong.Context) error {
	if f.loaded {
		return nil
	}
	f.loaded = true
	for _, p := range ctx.Path {
		for _, s := range p.Flags {
			if s.Name == "config" {
				f.name, _ = ctx.FlagValue(s).(string)
			}
		}
	}
	if f.name == "" {
		return nil
	}
	text, err := readFile(f.name)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	f.values, err = parseFile(text, knownFlags(ctx))
	if err != nil {
		return fmt.Errorf("--config: %s%w", f.name, err)
	}
	return nil
}

func readFile(name string) ([]byte, error) {
	r, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close() // only read
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return text, err
}

// knownFlags lists the flags of all commands, for one file serves them all, by name; those of the selected command win.
func knownFlags(ctx *kong.Context) map[string]*kong.Flag {
	known := map[string]*kong.Flag{}
	_ = kong.Visit(ctx.Model.Node, func(v kong.Visitable, next kong.Next) error { // never fails
		if flag, ok := v.(*kong.Flag); ok {
			known[flag.Name] = flag
		}
		return next(nil)
	})
	for _, p := range ctx.Path {
		for _, flag := range p.Flags {
			known[flag.Name] = flag
		}
	}
	delete(known, "help")
	delete(known, "config")
	return known
}

// parseFile reads YAML whose top-level keys are names of flags, with - or _. The text of its errors continues the
// name of the file, and holds no value of a secret.
func parseFile(text []byte, known map[string]*kong.Flag) (map[string]value, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF): // empty
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf(": %s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New(": holds more than one YAML document")
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null" {
		return nil, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf(":%d: settings are lines of the form name: value", top.Line)
	}
	values := map[string]value{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, node := top.Content[i], top.Content[i+1]
		fail := func(format string, args ...any) (map[string]value, error) {
			return nil, fmt.Errorf(":%d: %s: %s", key.Line, printable(key.Value), fmt.Sprintf(format, args...))
		}
		name := strings.ReplaceAll(key.Value, "_", "-")
		flag, ok := known[name]
		if key.Kind != yaml.ScalarNode || !ok {
			return fail("there is no such setting")
		}
		if before, twice := values[name]; twice {
			return fail("is set in line %d already", before.line)
		}
		text, err := textOf(node, flag)
		if err != nil {
			return fail("%s", err)
		}
		values[name] = value{text: text, line: key.Line}
	}
	return values, nil
}

// printable is a key of the file as it may stand in an error.
func printable(key string) string {
	if len(key) > 64 {
		key = key[:64] + "…"
	}
	if quoted := fmt.Sprintf("%q", key); key == "" || len(quoted) != len(key)+2 {
		return quoted
	}
	return key
}

// textOf returns the value of a YAML node as it would stand behind flag, if it fits there.
func textOf(node *yaml.Node, flag *kong.Flag) (string, error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	target := flag.Target.Type()
	if node.Kind == yaml.SequenceNode {
		if target.Kind() != reflect.Slice {
			return "", errors.New("takes one value, not a list")
		}
		texts := make([]string, len(node.Content))
		for i, item := range node.Content {
			if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, ",") {
				return "", errors.New("takes a list of plain values without commas")
			}
			texts[i] = item.Value
		}
		return strings.Join(texts, ","), nil
	}
	if node.Kind == yaml.MappingNode && target == reflect.TypeFor[Limits]() {
		return entriesOf(node)
	}
	if node.Kind != yaml.ScalarNode {
		return "", errors.New("takes a value, not settings of its own")
	}
	tag := node.ShortTag()
	switch {
	case tag == "!!null":
		return "", errors.New("has no value")
	case target.Kind() == reflect.Bool && tag != "!!bool":
		return "", errors.New("is true or false")
	case target == reflect.TypeFor[time.Duration]() && tag != "!!str":
		return "", errors.New("is a duration with its unit, such as 15s or 720h")
	case target != reflect.TypeFor[time.Duration]() && target.Kind() >= reflect.Int && target.Kind() <= reflect.Uint64 && tag != "!!int":
		return "", errors.New("is a whole number")
	case target.Kind() == reflect.Float64 && tag != "!!float" && tag != "!!int":
		return "", errors.New("is a number")
	}
	// Let kong read it once for nothing, so that the error can name the file.
	scan := kong.Scan().PushTyped(node.Value, kong.FlagValueToken)
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, reflect.New(target).Elem()); err != nil {
		if flag.Tag.Has("secret") {
			return "", errors.New("cannot be read")
		}
		return "", err
	}
	if flag.Enum != "" && !flag.EnumMap()[node.Value] {
		return "", fmt.Errorf("is one of %s", strings.Join(flag.EnumSlice(), ", "))
	}
	return node.Value, nil
}
