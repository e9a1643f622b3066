package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// startArgs are arguments that start the program, with others in their place.
func startArgs(data string, others ...string) []string {
	args := map[string]string{"--listen": "127.0.0.1:0", "--admin-listen": "127.0.0.1:0", "--nats-listen": "127.0.0.1:0", "--data": data}
	for i := 0; i+1 < len(others); i += 2 {
		args[others[i]] = others[i+1]
	}
	var out []string
	for flag, value := range args {
		out = append(out, flag, value)
	}
	return out
}

// cannotStart wants the program to end by itself with one clear line on stderr that names the setting and does not look
// like the inside of a program.
func cannotStart(t *testing.T, names string, args, env []string) {
	t.Helper()
	exit, stdout, stderr, err := program.Run(raw.Patience, args, env)
	if err != nil {
		t.Errorf("%v: %v\nstdout: %s\nstderr: %s", args, err, stdout, stderr)
		return
	}
	if exit == 0 {
		t.Errorf("%v: exit code 0; want another", args)
	}
	if strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") || len(stderr) < 15 {
		t.Errorf("%v: stderr is %q; want exactly one line", args, stderr)
	}
	if !strings.Contains(stderr, names) {
		t.Errorf("%v: stderr is %q; want %s named", args, stderr, names)
	}
	if strings.Contains(stdout, "is ready") {
		t.Errorf("%v: it says that it is ready: %q", args, stdout)
	}
	for _, bad := range []string{"panic", "goroutine ", ".go:", "0x"} {
		if strings.Contains(stdout+stderr, bad) {
			t.Errorf("%v: the output has %q: %q", args, bad, stdout+stderr)
		}
	}
}

func TestAStartThatCannotSucceedSaysWhyInOneLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file, broken := write("file", "x"), write("broken.conf", "{\"listen\": [,,\n= = =\n\x00")
	for _, c := range []struct {
		what, names string
		others, env []string
	}{
		{"a port that is taken", "--listen", []string{"--listen", taken.Addr().String()}, nil},
		{"an admin port that is taken", "--admin-listen", []string{"--admin-listen", taken.Addr().String()}, nil},
		{"a broker's port that is taken", "--nats-listen", []string{"--nats-listen", taken.Addr().String()}, nil},
		{"an address that is none", "--listen", []string{"--listen", "nonsense"}, nil},
		{"a port that is none", "--listen", []string{"--listen", "127.0.0.1:99999"}, nil},
		{"an address that is none in the environment", "CHATMESH_ADMIN_LISTEN", nil, []string{"CHATMESH_ADMIN_LISTEN=nonsense"}},
		{"a data folder under a file", "--data", []string{"--data", filepath.Join(file, "data")}, nil},
		{"a data folder that is a file", "--data", []string{"--data", file}, nil},
		{"a configuration file that is broken", "--config", []string{"--config", broken}, nil},
		{"a configuration file that is not there", "--config", []string{"--config", filepath.Join(dir, "missing")}, nil},
		{"a word for the rate limits that is none", "--rate-limits", []string{"--rate-limits", "perhaps"}, nil},
		{"a limit that there is not", "--limits", []string{"--limits", "sned=1/s:1"}, nil},
		{"a word for the sync that is none", "--log-sync", []string{"--log-sync", "sometimes"}, nil},
		{"a flag that there is not", "--nonsense", []string{"--nonsense", "1"}, nil},
		{"a broker that is not there", "--nats-url", []string{"--nats-url", "nonsense://"}, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			args := startArgs(filepath.Join(t.TempDir(), "data"), c.others...)
			if len(c.env) > 0 { // a flag would win over it
				name, _, _ := strings.Cut(c.env[0], "=")
				args = without(args, "--"+strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "CHATMESH_")), "_", "-"))
			}
			cannotStart(t, c.names, args, c.env)
		})
	}
}

// without returns the arguments without a flag and its value.
func without(args []string, flag string) []string {
	var out []string
	for i := 0; i < len(args); i += 2 {
		if args[i] != flag {
			out = append(out, args[i], args[i+1])
		}
	}
	return out
}

func TestADataFolderServesOneProcessAtATime(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	srv := program.Start(t, program.Config{Data: data})
	alice := newPerson(t, srv, "alice")
	cannotStart(t, "--data", startArgs(data), nil)
	alice.must(200, "GET", "/v1/users/me", nil, nil)
	alice.post(alice.group("alive"), text("still here"))
}

func TestSIGTERMEndsWithinTenSecondsThoughClientsStay(t *testing.T) {
	// Not parallel, and the quickest of three, as the first start.
	took := time.Hour
	for n := 0; n < 3 && took > 10*time.Second; n++ {
		srv := program.Start(t, program.Config{})
		alice := newPerson(t, srv, "alice")
		alice.device(nil)
		alice.device(nil)
		exit, stopped, err := srv.Terminate()
		if exit != 0 || err != nil {
			t.Fatalf("SIGTERM: exit code %d, %v; want 0", exit, err)
		}
		took = min(took, stopped)
	}
	if took > 10*time.Second {
		t.Errorf("it ended after %v; want at most 10 s", took)
	}
}

func TestTheFirstStartIsReadySoon(t *testing.T) {
	// Not parallel, so that the time says something; the quickest of three, because the machine may do something else meanwhile.
	var srv *program.Program
	soon := false
	for n := 0; n < 3 && !soon; n++ {
		srv = program.Start(t, program.Config{})
		soon = srv.Ready <= 10*time.Second
	}
	if !soon {
		t.Errorf("ready after %v; want at most 10 s", srv.Ready)
	}
	log := srv.Log()
	if n := strings.Count(log, "is ready"); n != 1 {
		t.Errorf("the log says %d times that it is ready; want once", n)
	}
	if !strings.Contains(log, "open "+srv.Client) {
		t.Errorf("the line does not say which address to open:\n%s", log)
	}
}
