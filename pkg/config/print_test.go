package config

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/chatmesh/chatmesh/pkg/limit"
)

func TestPrintSaysWhereEachValueCameFromAndHidesSecrets(t *testing.T) {
	clean(t)
	write(t, "chatmesh.yaml", "partitions: 16\nscylla: [a:9042, b:9042]\n")
	t.Setenv("CHATMESH_LISTEN", "0.0.0.0:80")
	t.Setenv("CHATMESH_NATS_URL", "nats://me:CANARY@h:4222,CANARY@i:4222")
	t.Setenv("CHATMESH_NODE", "edge-1")
	t.Setenv("CHATMESH_LIMITS", "login.person=5/m:5")
	_, err := parse(t, "--config=chatmesh.yaml", "--presence-ttl=90s", "--no-pprof")
	if err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Fatalf("got %v; want the second URL refused", err)
	}
	t.Setenv("CHATMESH_NATS_URL", "nats://me:CANARY@h:4222,tls://CANARY@i:4222,nats://j:4222")
	p := mustParse(t, "--config=chatmesh.yaml", "--presence-ttl=90s", "--no-pprof")
	var out bytes.Buffer
	if err := p.Print(&out); err != nil {
		t.Fatal(err)
	}
	limits := "limits:\n"
	for _, e := range limit.DefaultRules().Entries() {
		source := "default"
		if e.Name == "login" {
			e.Value, source = "5/m:5", "env CHATMESH_LIMITS"
		}
		limits += "    " + e.Name + ": " + e.Value + " # " + source + "\n"
	}
	want := `# config: "chatmesh.yaml" # flag
listen: 0.0.0.0:80 # env CHATMESH_LISTEN
admin-listen: 127.0.0.1:8081 # default
nats-listen: 127.0.0.1:4222 # default
data: ./data # default
nats-url: ['nats://(set)@h:4222', 'tls://(set)@i:4222', 'nats://j:4222'] # env CHATMESH_NATS_URL
scylla: ['a:9042', 'b:9042'] # file chatmesh.yaml
rate-limits: on # default
` + limits + `log-sync: always # default
advertise: "" # default
max-connections: 100000 # default
rebalance: on # default
nats-creds: "" # default
nats-tls-ca: "" # default
nats-nkey: "" # default
nats-tls-cert: "" # default
nats-tls-key: "" # default
nats-inbox: "" # default
scylla-keyspace: chatmesh # default
scylla-user: "" # default
scylla-password-file: "" # default
scylla-tls-ca: "" # default
scylla-dc: "" # default
scylla-replication: 3 # default
auth-key: "" # default
node: edge-1 # env CHATMESH_NODE
partitions: 16 # file chatmesh.yaml
replicas: 1 # default
log-retention: 720h # default
presence-ttl: 1m30s # flag
presence-grace: 5s # default
away-after: 10m # default
access-token-ttl: 1h # default
session-ttl: 720h # default
shutdown-grace: 8s # default
origins: [] # default
trusted-proxies: [] # default
log-format: text # default
log-level: info # default
pprof: false # flag
otlp-endpoint: "" # default
trace-sample: 0.01 # default
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestWhatIsPrintedCanBeReadBack(t *testing.T) {
	clean(t)
	first := mustParse(t, "--data=it's: a # \"dir\"\n", "--node=0123", "--pprof", "--origins=https://a.example,http://b:3000",
		"--nats-url=nats://h:4222", "--nats-creds=~", "--rate-limits=off", "--log-level=debug", "--nats-tls-ca=true",
		"--session-ttl=36h30m", "--shutdown-grace=1500ms", "--scylla=[::1]:9042", "--trace-sample=1", "--otlp-endpoint=http://h", "--trusted-proxies=10.0.0.0/8,::1",
		"--limits=send=1/m:2,login.address=off", "--limits=hello.session=3/h:4,watched=off,keys=5000")
	var out bytes.Buffer
	if err := first.Print(&out); err != nil {
		t.Fatal(err)
	}
	write(t, "a.yaml", out.String())
	second := mustParse(t, "--config=a.yaml")
	before, err := first.Rules()
	after, err2 := second.Rules()
	if err != nil || err2 != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("got limits %v, %v; want %v, %v", after, err2, before, err)
	}
	if len(second.Limits) < len(limit.Kinds()) {
		t.Errorf("got %v; want all limits printed", second.Limits)
	}
	second.Limits = first.Limits
	second.File, first.origins, second.origins = "", nil, nil
	if !reflect.DeepEqual(first.Settings, second.Settings) {
		t.Errorf("got %+v; want %+v, from\n%s", second.Settings, first.Settings, &out)
	}
}

func TestTaggedSecretIsNeverPrinted(t *testing.T) {
	type more struct {
		Unnamed string
		Key     string        `name:"key" secret:""`
		Empty   string        `name:"empty" secret:""`
		Keys    List          `name:"keys" secret:""`
		Wait    time.Duration `name:"wait" secret:""`
	}
	doc, err := document(reflect.ValueOf(more{Key: "CANARY", Keys: List{"CANARY", "CANARY"}, Wait: time.Hour}),
		func(string) string { return "flag" })
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	const want = "key: (set) # flag\nempty: \"\" # flag\nkeys: [(set), (set)] # flag\nwait: (set) # flag\n"
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestSettingsThatNobodyParsedComeFromTheProgram(t *testing.T) {
	var out bytes.Buffer
	if err := (&Settings{Listen: "a:1"}).Print(&out); err != nil || !strings.HasPrefix(out.String(), "listen: a:1 # program\n") {
		t.Errorf("got %s, %v", &out, err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestPrintFailsWhenTheWriterDoes(t *testing.T) {
	if err := new(Settings).Print(full{}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v; want the error of the writer", err)
	}
}
