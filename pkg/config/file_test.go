package config

import (
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

func TestFileIsReadWithDashesAndUnderscores(t *testing.T) {
	clean(t)
	write(t, "a.yaml", `# what we changed
listen: "0.0.0.0:80"
admin_listen: :81
nats-url: [nats://a:4222, &b nats://b:4222]
scylla: c:9042, d:9042
origins:
  - https://chat.example.com
  - http://localhost:3000
pprof: true
partitions: 0x10
presence_ttl: 20s
node: 007
rate-limits: off
chats: 3 # of another command
`)
	p := mustParse(t, "--config=a.yaml")
	if p.Listen != "0.0.0.0:80" || p.AdminListen != ":81" || strings.Join(p.NATSURL, " ") != "nats://a:4222 nats://b:4222" ||
		strings.Join(p.Scylla, " ") != "c:9042 d:9042" || strings.Join(p.Origins, " ") != "https://chat.example.com http://localhost:3000" ||
		!p.Pprof || p.Partitions != 16 || p.PresenceTTL != 20*time.Second || p.Node != "007" || p.RateLimits != Off {
		t.Errorf("got %+v; want what the file says", p.Settings)
	}
	if p := mustParse(t, "verify", "--config=a.yaml"); p.Verify.Chats != 3 {
		t.Errorf("got %d chats; want those of the file", p.Verify.Chats)
	}
}

func TestFileWithoutSettingsIsFine(t *testing.T) {
	for _, text := range []string{"", "\n\n", "# nothing\n", "---\n", "--- # nothing\n...\n", "{}", "null"} {
		clean(t)
		write(t, "a.yaml", text)
		if _, err := parse(t, "--config=a.yaml"); err != nil {
			t.Errorf("%q: got %v; want it read", text, err)
		}
	}
}

func TestErrorsInTheFileNameFileLineAndKey(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":          {"listen: a:1\nlissten: b:1\n", `--config: a.yaml:2: lissten: there is no such setting`},
		"another case":         {"Listen: a:1\n", `--config: a.yaml:1: Listen: there is no such setting`},
		"the file itself":      {"config: b.yaml\n", `--config: a.yaml:1: config: there is no such setting`},
		"help":                 {"help: true\n", `--config: a.yaml:1: help: there is no such setting`},
		"merge key":            {"x: &x {listen: a:1}\n", `--config: a.yaml:1: x: there is no such setting`},
		"strange key":          {"\"a\\nb\": 1\n", `--config: a.yaml:1: "a\nb": there is no such setting`},
		"long key":             {strings.Repeat("x", 100) + ": 1\n", `--config: a.yaml:1: ` + strings.Repeat("x", 64) + `…: there is no such setting`},
		"key of keys":          {"? [a]\n: 1\n", `--config: a.yaml:1: "": there is no such setting`},
		"twice":                {"admin-listen: a:1\nnode: x\nadmin_listen: b:1\n", `--config: a.yaml:3: admin_listen: is set in line 1 already`},
		"no value":             {"\nlisten:\n", `--config: a.yaml:2: listen: has no value`},
		"list for one":         {"listen: [a:1]\n", `--config: a.yaml:1: listen: takes one value, not a list`},
		"mapping":              {"listen: {host: a}\n", `--config: a.yaml:1: listen: takes a value, not settings of its own`},
		"mapping in a list":    {"scylla: [{a: 1}]\n", `--config: a.yaml:1: scylla: takes a list of plain values without commas`},
		"comma in a list":      {"scylla: ['a:1,b:1']\n", `--config: a.yaml:1: scylla: takes a list of plain values without commas`},
		"number for bool":      {"pprof: 1\n", `--config: a.yaml:1: pprof: is true or false`},
		"word for bool":        {"pprof: on\n", `--config: a.yaml:1: pprof: is true or false`},
		"quoted bool":          {"pprof: 'true'\n", `--config: a.yaml:1: pprof: is true or false`},
		"word for number":      {"partitions: four\n", `--config: a.yaml:1: partitions: is a whole number`},
		"word for ratio":       {"trace-sample: all\n", `--config: a.yaml:1: trace-sample: is a number`},
		"fraction for number":  {"partitions: 4.5\n", `--config: a.yaml:1: partitions: is a whole number`},
		"huge number":          {"partitions: 99999999999999999999\n", `--config: a.yaml:1: partitions: is a whole number`},
		"number for duration":  {"presence-ttl: 15\n", `--config: a.yaml:1: presence-ttl: is a duration with its unit, such as 15s or 720h`},
		"word for duration":    {"presence-ttl: soon\n", `--config: a.yaml:1: presence-ttl: expected duration but got "soon": time: invalid duration "soon"`},
		"out of rule":          {"node: x\n\nlisten: foo\n", `--listen: "foo" is not host:port, such as 127.0.0.1:8080 (from a.yaml:3)`},
		"another command's":    {"chats: many\n", `--config: a.yaml:1: chats: is a whole number`},
		"list at the top":      {"- listen: a:1\n", `--config: a.yaml:1: settings are lines of the form name: value`},
		"text at the top":      {"listen a:1\n", `--config: a.yaml:1: settings are lines of the form name: value`},
		"two documents":        {"listen: a:1\n---\nlisten: b:1\n", `--config: a.yaml: holds more than one YAML document`},
		"broken":               {"listen: a:1\n  node: [\n", `--config: a.yaml: yaml: line 2: mapping values are not allowed in this context`},
		"tab":                  {"listen: a:1\n\tnode: x\n", `--config: a.yaml: yaml: line 2: found a tab character that violates indentation`},
		"password in bad YAML": {"nats-url: \"nats://me:CANARY@h\n", ``},
		"password in bad URL":  {"nats-url: [nats://me:CANARY@h:x]\n", `--nats-url: "nats://(set)@h:x" is not a URL such as nats://host:4222 or tls://host:4222 (from a.yaml:1)`},
		"no text":              {"listen: \xff\n", ``},
		"huge":                 {strings.Repeat("#\n", maxFile), `--config: a.yaml is larger than 1048576 bytes`},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			write(t, "a.yaml", c.text)
			_, err := parse(t, "--config=a.yaml")
			if err == nil || c.want != "" && err.Error() != c.want {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if s := err.Error(); strings.Contains(s, "CANARY") || strings.Contains(s, "\n") || !strings.Contains(s, "a.yaml") {
				t.Errorf("got %q; want one line with the file and without the password", s)
			}
		})
	}
}

func TestSecretOfAnyTypeIsNotRepeatedByAnError(t *testing.T) {
	clean(t)
	var cli struct {
		File string        `name:"config"`
		Key  time.Duration `name:"key" secret:""`
	}
	write(t, "a.yaml", "key: CANARY\n")
	_, err := Parse([]string{"--config=a.yaml"}, &cli)
	if err == nil || err.Error() != "--config: a.yaml:1: key: cannot be read" {
		t.Errorf("got %v; want no value in it", err)
	}
}

func TestEnumOfACommandIsCheckedInTheFile(t *testing.T) {
	clean(t)
	var cli struct {
		File string `name:"config"`
		Way  string `name:"way" enum:"a,b" default:"a"`
	}
	write(t, "a.yaml", "\nway: c\n")
	_, err := Parse([]string{"--config=a.yaml"}, &cli)
	if err == nil || err.Error() != "--config: a.yaml:2: way: is one of a, b" {
		t.Errorf("got %v; want the line and what is allowed", err)
	}
}

func FuzzParseFile(f *testing.F) {
	for _, text := range []string{"listen: a:1\n", "nats-url: [a, &x b, *x]", "? {a: b}\n: c", "<<: *a", "a: !!binary x", "%YAML 9",
		"pprof: !!bool x", "x: &x [*x]", "--- |\n a\n--- b"} {
		f.Add([]byte(text))
	}
	parser, err := newParser(&program{})
	if err != nil {
		f.Fatal(err)
	}
	ctx, err := kong.Trace(parser, nil)
	if err != nil {
		f.Fatal(err)
	}
	known := knownFlags(ctx)
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := parseFile(text, known)
		if err != nil && (!strings.HasPrefix(err.Error(), ":") || strings.Contains(err.Error(), "\n")) {
			t.Fatalf("got %q; want one line that continues the file's name", err)
		}
		for name := range values {
			if known[name] == nil {
				t.Fatalf("got a value for %q", name)
			}
		}
	})
}
