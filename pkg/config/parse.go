package config

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// List is several values that stand comma-separated in a flag or variable; a repeated flag adds to them. Blanks around
// values, and empty ones, are dropped. The zero value is none.
type List []string

// Decode reads the next value of the command line. It is called by kong.
func (l *List) Decode(ctx *kong.DecodeContext) error { return decodeList(ctx, (*[]string)(l)) }

func decodeList(ctx *kong.DecodeContext, into *[]string) error {
	var text string
	if err := ctx.Scan.PopValueInto("list", &text); err != nil {
		return err
	}
	for _, value := range strings.Split(text, ",") {
		if value = strings.TrimSpace(value); value != "" {
			*into = append(*into, value)
		}
	}
	return nil
}

// Parse reads a command line without the program's name, the environment and the file that --config names into cli, a
// pointer to a struct that kong understands, and checks the Settings that are embedded in it and in the selected
// command. A variable that is set to nothing counts as set. The error is one line for the person at the terminal and
// carries no secret. The context runs the selected command.
func Parse(args []string, cli any, options ...kong.Option) (*kong.Context, error) {
	parser, err := newParser(cli, options...)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return nil, errors.New(oneSafeLine(err.Error()))
	}
	return ctx, nil
}

func newParser(cli any, options ...kong.Option) (*kong.Kong, error) {
	f := &file{}
	return kong.New(cli, append([]kong.Option{
		kong.Vars{"node": nodeName()},
		kong.Resolvers(f),
		kong.WithBeforeResolve(f.load),
		// Before, because kong itself calls Settings.Validate after it has applied the values.
		kong.WithBeforeApply(func(ctx *kong.Context) error { recordOrigins(ctx, f); return nil }),
	}, options...)...)
}

// recordOrigins tells the Settings on the way to the selected command where their values came from.
func recordOrigins(ctx *kong.Context, f *file) {
	given := map[*kong.Flag]origin{}
	for _, p := range ctx.Path {
		switch {
		case p.Flag == nil:
		case p.Resolved:
			given[p.Flag] = origin{source: "file " + f.name, line: f.values[p.Flag.Name].line}
		default:
			given[p.Flag] = origin{source: "flag"}
		}
	}
	for _, p := range ctx.Path {
		if p.Node() == nil {
			continue
		}
		origins := map[string]origin{}
		for _, flag := range p.Flags {
			o, ok := given[flag]
			if env, set := envOf(flag); !ok && set {
				o = origin{source: "env " + env}
			} else if !ok {
				o = origin{source: "default"}
			}
			origins[flag.Name] = o
		}
		for _, s := range settingsIn(p.Node().Target) {
			s.origins = origins
		}
	}
}

// envOf returns the variable that gives flag its value, if one is set.
func envOf(flag *kong.Flag) (name string, set bool) {
	for _, name := range flag.Tag.Envs {
		if _, set := os.LookupEnv(name); set {
			return name, true
		}
	}
	return "", false
}

// settingsIn finds the Settings whose flags are those of the struct v itself, as kong does: embedded, or tagged so.
func settingsIn(v reflect.Value) []*Settings {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	if s, ok := v.Addr().Interface().(*Settings); ok {
		return []*Settings{s}
	}
	var found []*Settings
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if _, tagged := field.Tag.Lookup("embed"); field.IsExported() && (field.Anonymous || tagged) {
			found = append(found, settingsIn(v.Field(i))...)
		}
	}
	return found
}

// nodeName makes a name for this node: what of the host name may stand in it, and 30 random bits.
func nodeName() string {
	host, _ := os.Hostname() // without one there is still the suffix
	host = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(host))
	host = strings.Trim(host[:min(len(host), 40)], "-")
	if host == "" {
		host = "node"
	}
	return host + "-" + strings.ToLower(rand.Text()[:6])
}

// oneSafeLine makes the text of an error fit for a terminal and a log: what the person wrote may contain line breaks,
// and URLs with a password. It rather hides too much.
func oneSafeLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
	return regexp.MustCompile(`://.*@`).ReplaceAllString(text, "://"+hidden+"@")
}

// hidden stands where a secret is.
const hidden = "(set)"

// withoutUserinfo hides the name and password in a URL, valid or not: all between the scheme and the last @.
func withoutUserinfo(url string) string {
	at := strings.LastIndexByte(url, '@')
	if at < 0 {
		return url
	}
	scheme := 0
	if i := strings.Index(url, "://"); 0 <= i && i < at {
		scheme = i + len("://")
	}
	return url[:scheme] + hidden + url[at:]
}
