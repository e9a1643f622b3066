package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/chatmesh/chatmesh/e2e/stack"
)

// composed loads compose.yaml with new secrets and some of its variables.
func composed(t *testing.T, variables ...string) *stack.Stack {
	t.Helper()
	s, err := stack.Load(t.Context(), rootOf(t), t.TempDir(), image.program(t), variables...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// oneShots end by themselves.
var oneShots = []string{"keys", "nats-folders", "nats-init", "migrate"}

// Exceptions from the rules for services, with their reasons.
var exceptions = map[string]string{
	"scylla: user":       "its image starts as root and gives that up itself",
	"scylla: read_only":  "its image writes its settings under /etc",
	"scylla: cap_drop":   "its image changes owners and users at the start",
	"nats-folders: user": "it gives new volumes to the user of the servers, and may do nothing else",
}

func TestEveryComposedServiceIsPinnedBoundedAndMayDoLittle(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+\.\d+(-[a-z0-9.]+)?$`)
	used := map[string]bool{}
	for name, c := range composed(t).Project.Services {
		rule := func(what string, ok bool, format string, args ...any) {
			t.Helper()
			key := name + ": " + what
			if exceptions[key] != "" {
				used[key] = true
				if ok {
					t.Errorf("%s is an exception and needs none", key)
				}
				return
			}
			if !ok {
				t.Errorf(key+": "+format, args...)
			}
		}
		once := slices.Contains(oneShots, name)
		rule("image", pinned.MatchString(c.Image), "%s has not all of its version", c.Image)
		var limits *types.Resource
		if c.Deploy != nil {
			limits = c.Deploy.Resources.Limits
		}
		rule("limits", limits != nil && limits.NanoCPUs > 0 && limits.MemoryBytes > 0 && limits.Pids > 0, "got %+v; want cpus, memory and pids", limits)
		rule("user", regexp.MustCompile(`^[1-9]\d*:\d+$`).MatchString(c.User), "got %q; want a number that is not root's", c.User)
		rule("read_only", c.ReadOnly, "its root can be written")
		rule("cap_drop", slices.Equal(c.CapDrop, []string{"ALL"}), "got %v; want all dropped", c.CapDrop)
		rule("security_opt", slices.Contains(c.SecurityOpt, "no-new-privileges:true"), "got %v", c.SecurityOpt)
		rule("privileged", !c.Privileged && c.Pid == "" && c.Ipc == "" && c.NetworkMode != "host", "it gets more than a service needs")
		rule("logging", c.Logging != nil && c.Logging.Options["max-size"] != "", "its log has no bound")
		rule("restart", once && (c.Restart == "no" || c.Restart == "on-failure") || !once && c.Restart == "unless-stopped", "got %q", c.Restart)
		h := c.HealthCheck
		if once {
			rule("healthcheck", h != nil && h.Disable, "it ends by itself: want none")
			continue
		}
		rule("healthcheck", h != nil && !h.Disable && len(h.Test) > 1 && h.Interval != nil && h.Timeout != nil && h.StartPeriod != nil &&
			*h.Timeout < *h.Interval, "got %+v; want a test with interval, a shorter timeout and start_period", h)
		rule("stop_grace_period", c.StopGracePeriod != nil && time.Duration(*c.StopGracePeriod) > 10*time.Second,
			"got %v; want more than the 10 s that a service may take", c.StopGracePeriod)
	}
	for key := range exceptions {
		if !used[key] {
			t.Errorf("exception %q is of no service", key)
		}
	}
}

// in lists the services in a network, sorted.
func in(p *types.Project, network string) []string {
	var out []string
	for name, c := range p.Services {
		if _, ok := c.Networks[network]; ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func TestOnlyWhoNeedsTheDatabaseCanReachIt(t *testing.T) {
	t.Parallel()
	p := composed(t).Project
	for network, want := range map[string][]string{
		"database": {"api-1", "api-2", "migrate", "persister-1", "persister-2", "scylla"},
		"front":    {"api-1", "api-2", "edge-1", "edge-2", "gateway"},
		"public":   {"gateway", "grafana", "prometheus"},
	} {
		if got := in(p, network); !slices.Equal(got, want) {
			t.Errorf("network %s: got %v; want %v", network, got, want)
		}
	}
	for name, n := range p.Networks {
		if n.Internal == (name == "public") {
			t.Errorf("network %s: internal is %v", name, n.Internal)
		}
	}
	ports := map[string][]string{}
	for name, c := range p.Services {
		if len(c.Networks) == 0 && c.NetworkMode != "none" {
			t.Errorf("%s is in the network that everybody is in", name)
		}
		for _, port := range c.Ports {
			ports[name] = append(ports[name], port.HostIP+":"+port.Published)
		}
	}
	want := map[string][]string{"gateway": {"127.0.0.1:8080"}, "grafana": {"127.0.0.1:3000"}, "prometheus": {"127.0.0.1:9090"}}
	for name, got := range ports {
		if !slices.Equal(got, want[name]) {
			t.Errorf("%s publishes %v; want %v", name, got, want[name])
		}
	}
	if len(ports) != len(want) {
		t.Errorf("%d services publish ports; want %d", len(ports), len(want))
	}
}

// A role's seed goes to the services of that role, a password to who logs in with it, and nothing to anybody else.
func TestAServiceGetsNoSecretThatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	s := composed(t)
	database := in(s.Project, "database")
	used := map[string]bool{}
	for name, c := range s.Project.Services {
		for _, secret := range c.Secrets {
			used[secret.Source] = true
			role, isSeed := strings.CutSuffix(secret.Source, ".nk")
			isKey := strings.HasSuffix(secret.Source, "-key.pem")
			switch {
			case isSeed && role == "ops" && name == "nats-init":
			case isSeed && strings.HasPrefix(name, role+"-"):
			case isKey && strings.HasPrefix(secret.Source, name):
			case secret.Source == "scylla-password" && slices.Contains(database, name) && name != "scylla":
			case secret.Source == "scylla.yaml" && name == "scylla", secret.Source == "grafana-password" && name == "grafana":
			case !isSeed && !isKey && strings.HasSuffix(secret.Source, ".pem"): // certificates are public
			default:
				t.Errorf("%s gets %s", name, secret.Source)
			}
		}
		for _, v := range c.Volumes {
			if strings.Contains(v.Source, "secrets") && name != "keys" {
				t.Errorf("%s mounts %s: a secret comes alone, not as a folder", name, v.Source)
			}
		}
	}
	for name := range s.Project.Secrets {
		if !used[name] {
			t.Errorf("secret %s is nobody's", name)
		}
	}
}

func TestEveryFileThatIsMountedIsThereAndNothingSecretStandsInTheFile(t *testing.T) {
	t.Parallel()
	s := composed(t)
	for name, c := range s.Project.Services {
		for _, v := range c.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !v.ReadOnly && name != "keys" {
				t.Errorf("%s may write into %s of the checkout", name, v.Source)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(s.Dir, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := s.Project.MarshalYAML()
	if err != nil {
		t.Fatal(err)
	}
	mode := func(path string) fs.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Errorf("secret: %v", err)
			return 0
		}
		return info.Mode().Perm()
	}
	if got := mode(filepath.Join(s.Dir, "secrets")); got != 0o700 {
		t.Errorf("the folder of secrets has mode %o; want it its owner's alone", got)
	}
	for name, secret := range s.Project.Secrets {
		if got := mode(secret.File); got != 0o444 {
			t.Errorf("secret %s has mode %o; want 444: the user of a container is another", name, got)
		}
		b, err := os.ReadFile(secret.File)
		if err != nil || len(b) < 20 {
			t.Errorf("secret %s has %d bytes, %v", name, len(b), err)
			continue
		}
		if strings.Contains(string(text)+string(loaded), strings.TrimSpace(string(b))) {
			t.Errorf("secret %s stands in compose.yaml", name)
		}
	}
	for _, name := range []string{"ca-key.pem", "routes-ca-key.pem", "system.nk", "team-bot.nk"} {
		if got := mode(filepath.Join(s.Dir, "secrets", "nats", name)); got != 0o600 {
			t.Errorf("%s, which no container gets, has mode %o; want 600", name, got)
		}
	}
}

func TestComposedServicesWaitForWhatTheyNeedAndHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	p := composed(t).Project
	nodes := map[string]string{}
	for name, c := range p.Services {
		for on, d := range c.DependsOn {
			target := p.Services[on]
			once := slices.Contains(oneShots, on)
			if once != (d.Condition == types.ServiceConditionCompletedSuccessfully) {
				t.Errorf("%s waits for %s with %s", name, on, d.Condition)
			}
			if d.Condition == types.ServiceConditionHealthy && target.HealthCheck == nil {
				t.Errorf("%s waits for the health of %s, which has no check", name, on)
			}
		}
		if node := c.Environment["CHATMESH_NODE"]; node != nil {
			if *node != name || nodes[*node] != "" {
				t.Errorf("%s calls itself %s", name, *node)
			}
			nodes[*node] = name
		}
		_, database := c.Networks["database"]
		if _, init := c.DependsOn["migrate"]; strings.HasPrefix(c.Image, "chatmesh:") && !slices.Contains(oneShots, name) && init != database {
			t.Errorf("%s: waits for migrate: %v; is in the network of the database: %v", name, init, database)
		}
	}
	if len(nodes) != 10 {
		t.Errorf("%d nodes have names; want two of each service", len(nodes))
	}
}

// The documented command and the service that stands for it where there is no Go make the same keys.
func TestKeysAreMadeForTheBrokersThatCompose(t *testing.T) {
	t.Parallel()
	s := composed(t)
	script, err := os.ReadFile(filepath.Join(rootOf(t), "scripts", "compose-secrets"))
	if err != nil {
		t.Fatal(err)
	}
	command := s.Project.Services["keys"].Command
	servers := command[len(command)-1]
	if !strings.Contains(string(script), "servers="+servers+"\n") {
		t.Errorf("the service keys makes those of %s, compose-secrets others", servers)
	}
	for _, name := range s.Services("nats:") {
		c := s.Project.Services[name]
		if node := c.Environment["NATS_NAME"]; node != nil && (*node != name || !slices.Contains(strings.Split(servers, ","), name+"="+name)) {
			t.Errorf("%s calls itself %s, and keys are for %s", name, *node, servers)
		}
	}
}

func TestTheComposedBrokerIsTheOneThatIsTested(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join(rootOf(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`github.com/nats-io/nats-server/v2 v(\S+)`).FindStringSubmatch(string(mod))[1]
	for name, c := range composed(t).Project.Services {
		if strings.HasPrefix(c.Image, "nats:") && c.Image != "nats:"+version+"-alpine" {
			t.Errorf("%s is %s; want the version of go.mod, %s", name, c.Image, version)
		}
	}
}
