package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// program is a command line as services/chatmesh has one: settings for all, commands below.
type program struct {
	Settings

	All    struct{} `cmd:"" default:"1"`
	Edge   struct{} `cmd:""`
	Verify struct {
		Chats int `name:"chats" default:"10" help:"x"`
	} `cmd:""`
}

// clean takes the settings of whoever runs the tests out of the environment, and puts the test into an empty directory.
func clean(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "CHATMESH_") {
			t.Setenv(name, "") // so that it comes back
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Chdir(t.TempDir())
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, args ...string) (*program, error) {
	t.Helper()
	var p program
	_, err := Parse(args, &p, kong.Exit(func(int) { t.Error("it exits; want an error") }))
	return &p, err
}

func mustParse(t *testing.T, args ...string) *program {
	t.Helper()
	p, err := parse(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFlagsAreThoseOfTheContract holds the table of the outside contract against the flags.
func TestFlagsAreThoseOfTheContract(t *testing.T) {
	const table = "" +
		"| `--listen` / `CHATMESH_LISTEN` | `127.0.0.1:8080` |\n" +
		"| `--admin-listen` / `CHATMESH_ADMIN_LISTEN` | `127.0.0.1:8081` |\n" +
		"| `--nats-listen` / `CHATMESH_NATS_LISTEN` | `127.0.0.1:4222` |\n" +
		"| `--data` / `CHATMESH_DATA` | `./data` |\n" +
		"| `--nats-url` / `CHATMESH_NATS_URL` | none (embedded) |\n" +
		"| `--scylla` / `CHATMESH_SCYLLA` | none (embedded store) |\n" +
		"| `--rate-limits` / `CHATMESH_RATE_LIMITS` | `on` |\n" +
		"| `--log-sync` / `CHATMESH_LOG_SYNC` | `always` |\n"
	flags := flagsOf(t)
	row := regexp.MustCompile("(?m)^\\| `--([a-z-]+)` / `([A-Z_]+)` \\| (?:`([^`]+)`|none .*) \\|$")
	rows := row.FindAllStringSubmatch(table, -1)
	if len(rows) != strings.Count(table, "\n") {
		t.Fatalf("got %d rows; want every line of the table", len(rows))
	}
	for _, r := range rows {
		flag, ok := flags[r[1]]
		if !ok {
			t.Errorf("--%s: there is no such flag", r[1])
			continue
		}
		if got := flag.Envs; len(got) != 1 || got[0] != r[2] {
			t.Errorf("--%s: got variables %v; want %s", r[1], got, r[2])
		}
		if flag.Default != r[3] || flag.HasDefault != (r[3] != "") {
			t.Errorf("--%s: got default %q; want %q", r[1], flag.Default, r[3])
		}
	}
}

func flagsOf(t *testing.T) map[string]*kong.Flag {
	t.Helper()
	parser, err := newParser(&program{})
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]*kong.Flag{}
	for _, flag := range parser.Model.Flags {
		if flag.Name != "help" {
			flags[flag.Name] = flag
		}
	}
	return flags
}

func TestEveryFlagHasItsVariableAndHelpWithUnitAndDefault(t *testing.T) {
	for name, flag := range flagsOf(t) {
		if want := "CHATMESH_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")); !slices.Equal(flag.Envs, []string{want}) {
			t.Errorf("--%s: got variables %v; want %s", name, flag.Envs, want)
		}
		want := "Default " + flag.Default + "."
		if !flag.HasDefault || name == "node" {
			want = "Default: "
		}
		if !strings.Contains(flag.Help, want) {
			t.Errorf("--%s: got help %q; want %q in it", name, flag.Help, want)
		}
		if flag.Target.Type() == reflect.TypeFor[time.Duration]() && !strings.HasPrefix(flag.Help, "Duration ") {
			t.Errorf("--%s: got help %q; want it to say that it is a duration", name, flag.Help)
		}
		if flag.Target.Kind() == reflect.Int && !strings.HasPrefix(flag.Help, "Count ") && !strings.HasPrefix(flag.Help, "Copies ") {
			t.Errorf("--%s: got help %q; want it to say what it counts", name, flag.Help)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	clean(t)
	got := mustParse(t).Settings
	if !regexp.MustCompile(`\A[a-z0-9-]+-[a-z2-7]{6}\z`).MatchString(got.Node) || len(got.Node) > MaxNode {
		t.Errorf("got node %q; want the host name with a suffix", got.Node)
	}
	if other := mustParse(t).Node; other == got.Node {
		t.Errorf("got node %q twice; want another", other)
	}
	want := Settings{
		Listen: "127.0.0.1:8080", AdminListen: "127.0.0.1:8081", NATSListen: "127.0.0.1:4222", Data: "./data",
		MaxConnections: 100_000, Rebalance: On, RateLimits: On, LogSync: SyncAlways, Node: got.Node, Partitions: 2, Replicas: 1, LogRetention: 720 * time.Hour,
		PresenceTTL: 15 * time.Second, PresenceGrace: 5 * time.Second, AwayAfter: 10 * time.Minute, AccessTokenTTL: time.Hour, SessionTTL: 720 * time.Hour, ShutdownGrace: 8 * time.Second,
		LogFormat: "text", LogLevel: "info", ScyllaKeyspace: "chatmesh", ScyllaReplication: 3, TraceSample: 0.01,
	}
	got.origins = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v; want %+v", got, want)
	}
	if !got.RateLimits.On() || got.Level().String() != "INFO" {
		t.Errorf("got %v, %v; want limits on and level INFO", got.RateLimits.On(), got.Level())
	}
}

// TestFlagWinsOverEnvironmentOverFileOverDefault tries every combination for a string, a duration, a bool, a number, a
// word and a list.
func TestFlagWinsOverEnvironmentOverFileOverDefault(t *testing.T) {
	for _, c := range []struct {
		name, inFile, inEnv, onLine string
		want                        [4]any // default, file, env, flag
		get                         func(s *Settings) any
	}{
		{"listen", "file:1", "env:2", "flag:3", [4]any{"127.0.0.1:8080", "file:1", "env:2", "flag:3"},
			func(s *Settings) any { return s.Listen }},
		{"presence-ttl", "11s", "12s", "13s", [4]any{15 * time.Second, 11 * time.Second, 12 * time.Second, 13 * time.Second},
			func(s *Settings) any { return s.PresenceTTL }},
		{"pprof", "true", "true", "true", [4]any{false, true, true, true}, func(s *Settings) any { return s.Pprof }},
		{"pprof", "true", "false", "true", [4]any{false, true, false, true}, func(s *Settings) any { return s.Pprof }},
		{"pprof", "false", "true", "false", [4]any{false, false, true, false}, func(s *Settings) any { return s.Pprof }},
		{"partitions", "1", "2", "3", [4]any{2, 1, 2, 3}, func(s *Settings) any { return s.Partitions }},
		{"trace-sample", "1", "0.5", "1e-3", [4]any{0.01, 1.0, 0.5, 0.001}, func(s *Settings) any { return s.TraceSample }},
		{"otlp-endpoint", "http://f", "http://e", "http://a", [4]any{"", "http://f", "http://e", "http://a"}, func(s *Settings) any { return s.OTLPEndpoint }},
		{"nats-nkey", "f.nk", "e.nk", "a.nk", [4]any{"", "f.nk", "e.nk", "a.nk"}, func(s *Settings) any { return s.NATSNKey }},
		{"nats-tls-ca", "f.pem", "e.pem", "a.pem", [4]any{"", "f.pem", "e.pem", "a.pem"}, func(s *Settings) any { return s.NATSTLSCA }},
		{"nats-inbox", "f", "e", "a", [4]any{"", "f", "e", "a"}, func(s *Settings) any { return s.NATSInbox }},
		{"rate-limits", "off", "on", "off", [4]any{On, Off, On, Off}, func(s *Settings) any { return s.RateLimits }},
		{"scylla", "[f:1, g:1]", "e:2", "a:3", [4]any{"", "f:1 g:1", "e:2", "a:3"},
			func(s *Settings) any { return strings.Join(s.Scylla, " ") }},
	} {
		for given := range 8 {
			t.Run(fmt.Sprint(c.name, given), func(t *testing.T) {
				clean(t)
				env := "CHATMESH_" + strings.ToUpper(strings.ReplaceAll(c.name, "-", "_"))
				args, want, source := []string{"--config=a.yaml", "--nats-url=nats://h"}, c.want[0], "default"
				text := "# nothing\n"
				if given&1 != 0 {
					text, want, source = c.name+": "+c.inFile+"\n", c.want[1], "file a.yaml"
				}
				write(t, "a.yaml", text)
				if given&2 != 0 {
					t.Setenv(env, c.inEnv)
					want, source = c.want[2], "env "+env
				}
				if given&4 != 0 {
					args, want, source = append(args, "--"+c.name+"="+c.onLine), c.want[3], "flag"
				}
				p := mustParse(t, args...)
				if got := c.get(&p.Settings); got != want {
					t.Errorf("got %v; want %v", got, want)
				}
				if got := p.source(c.name); got != source {
					t.Errorf("got source %q; want %q", got, source)
				}
				if got := p.Given(c.name); got != (given != 0) {
					t.Errorf("got given %v; want %v", got, given != 0)
				}
			})
		}
	}
}

func TestFileMayBeNamedInTheEnvironmentAndTheFlagNamesAnother(t *testing.T) {
	clean(t)
	write(t, "env.yaml", "listen: env:1")
	write(t, "flag.yaml", "listen: flag:1")
	t.Setenv("CHATMESH_CONFIG", "env.yaml")
	if got := mustParse(t).Listen; got != "env:1" {
		t.Errorf("got %q; want that of CHATMESH_CONFIG", got)
	}
	if got := mustParse(t, "edge", "--config", "flag.yaml").Listen; got != "flag:1" {
		t.Errorf("got %q; want that of --config", got)
	}
}

func TestVariableSetToNothingCountsAsSet(t *testing.T) {
	clean(t)
	write(t, "a.yaml", "nats-url: nats://host:4222")
	t.Setenv("CHATMESH_NATS_URL", "")
	if got := mustParse(t, "--config=a.yaml").NATSURL; len(got) != 0 {
		t.Errorf("got %v; want none", got)
	}
	t.Setenv("CHATMESH_LISTEN", "")
	if _, err := parse(t); err == nil || err.Error() != `--listen: "" is not host:port, such as 127.0.0.1:8080 (from CHATMESH_LISTEN)` {
		t.Errorf("got %v; want it refused", err)
	}
}

func TestListsMayBeRepeatedAndHaveBlanks(t *testing.T) {
	clean(t)
	p := mustParse(t, "--scylla=a:1, b:2,,", "--scylla", "c:3")
	if want := (List{"a:1", "b:2", "c:3"}); !slices.Equal(p.Scylla, want) {
		t.Errorf("got %v; want %v", p.Scylla, want)
	}
}

func TestSettingsMayBeEmbeddedInTheCommandsInstead(t *testing.T) {
	clean(t)
	type command struct {
		Common Settings `embed:""`
		More   int      `name:"more" default:"1"`
	}
	var cli struct {
		Edge      command `cmd:""`
		Persister struct {
			*Settings
		} `cmd:""`
	}
	write(t, "a.yaml", "listen: file:1\nmore: 7")
	if _, err := Parse([]string{"edge", "--config=a.yaml"}, &cli); err != nil {
		t.Fatal(err)
	}
	if got := cli.Edge.Common; got.Listen != "file:1" || cli.Edge.More != 7 || got.source("listen") != "file a.yaml" {
		t.Errorf("got %q, %d from %q; want them from the file", got.Listen, cli.Edge.More, got.source("listen"))
	}
	if _, err := Parse([]string{"edge", "--listen=foo"}, &cli); err == nil || !strings.HasPrefix(err.Error(), `edge: --listen: "foo"`) {
		t.Errorf("got %v; want the settings of the command checked", err)
	}
}

func TestErrorsOfTheCommandLineAreOneClearLineWithoutSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  [2]string
		want string
	}{
		"unknown flag":         {args: []string{"--lisen=x"}, want: `unknown flag --lisen, did you mean "--listen"?`},
		"unknown command":      {args: []string{"egde"}, want: `unexpected argument egde, did you mean "edge"?`},
		"not a duration":       {args: []string{"--presence-ttl=15"}, want: `--presence-ttl: expected duration but got "15": time: missing unit in duration "15"`},
		"not a number":         {args: []string{"--partitions=many"}, want: `--partitions: expected a valid 64 bit int but got "many"`},
		"no value":             {args: []string{"--listen"}, want: `--listen: expected string value but got "EOL" (<EOL>)`},
		"variable":             {env: [2]string{"CHATMESH_PRESENCE_TTL", "soon"}, want: `--presence-ttl: expected duration but got "soon": time: invalid duration "soon" (from envar CHATMESH_PRESENCE_TTL="soon")`},
		"variable out of rule": {env: [2]string{"CHATMESH_LOG_SYNC", "never"}, want: `--log-sync: "never" is not one of always, interval (from CHATMESH_LOG_SYNC)`},
		"password, misplaced":  {args: []string{"nats://me:CANARY@h:4222"}, want: `unexpected argument nats://(set)@h:4222`},
		"password, odder":      {args: []string{"nats://me:CAN\"A RY@CANARY@h"}, want: `unexpected argument nats://(set)@h`},
		"password, bad URL":    {args: []string{"--nats-url=nats://me:CANARY@h:x"}, want: `--nats-url: "nats://(set)@h:x" is not a URL such as nats://host:4222 or tls://host:4222`},
		"password, no scheme":  {args: []string{"--nats-url=me:CANARY@h:4222"}, want: `--nats-url: "(set)@h:4222" is not a URL such as nats://host:4222 or tls://host:4222`},
		"password, odd":        {env: [2]string{"CHATMESH_NATS_URL", "nats://me:CAN ARY/%@CANARY@h"}, want: `--nats-url: "nats://(set)@h" is not a URL such as nats://host:4222 or tls://host:4222 (from CHATMESH_NATS_URL)`},
		"line break":           {args: []string{"x\ny z"}, want: `unexpected argument x y z`},
		"no file":              {args: []string{"--config=none.yaml"}, want: `--config: open none.yaml: no such file or directory`},
		"a directory":          {args: []string{"--config=."}, want: `--config: read .: is a directory`},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			if c.env[0] != "" {
				t.Setenv(c.env[0], c.env[1])
			}
			if _, err := parse(t, c.args...); err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %v", err, c.want)
			}
		})
	}
}

func TestFlagOverridesAVariableThatCannotBeRead(t *testing.T) {
	clean(t)
	t.Setenv("CHATMESH_PRESENCE_TTL", "soon")
	if got := mustParse(t, "--presence-ttl=20s").PresenceTTL; got != 20*time.Second {
		t.Errorf("got %v; want 20s", got)
	}
	write(t, filepath.Join(".", "a.yaml"), "presence-ttl: 30s")
	if _, err := parse(t, "--config=a.yaml"); err == nil || !strings.Contains(err.Error(), "CHATMESH_PRESENCE_TTL") {
		t.Errorf("got %v; want the file not to hide the variable", err)
	}
}
