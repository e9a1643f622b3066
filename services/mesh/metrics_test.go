package mesh

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/chatmesh/chatmesh/pkg/config"
)

// deploy is the folder of what operators watch with.
const deploy = "../../deploy"

// ofTheExporter are metrics that the exporter of NATS has, and not the program: those that its source registered for jsz when the
// version in compose.yaml was chosen.
var ofTheExporter = []string{"jetstream_server_jetstream_disabled", "jetstream_server_total_streams", "jetstream_server_total_message_bytes",
	"jetstream_server_max_storage", "jetstream_stream_total_messages"}

// metricNames are the names of all metrics of all services, on the embedded store and on a ScyllaDB.
func metricNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, hosts := range []config.List{nil, {"127.0.0.1:1"}} {
		c := settings(t, "metrics", "nats://127.0.0.1:1")
		c.Scylla, c.RateLimits = hosts, config.On
		m, err := New(c, "0.0.0", slog.New(slog.DiscardHandler), All...)
		if err != nil {
			t.Fatal(err)
		}
		described := make(chan *prometheus.Desc)
		go func() {
			defer close(described)
			m.metrics.Describe(described)
		}()
		name := regexp.MustCompile(`fqName: "([^"]+)"`)
		for d := range described {
			names = append(names, name.FindStringSubmatch(d.String())[1])
		}
		m.close()
	}
	return names
}

// expression is a query, and where it stands.
type expression struct{ where, text string }

// expressions are those of the alerts and of the dashboard.
func expressions(t *testing.T) []expression {
	t.Helper()
	var out []expression
	for _, r := range alerts(t) {
		out = append(out, expression{"alert " + r.Alert, r.Expr})
	}
	text, err := os.ReadFile(filepath.Join(deploy, "grafana/dashboards/chatmesh.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, q := range p.Targets {
			out = append(out, expression{"panel " + p.Title, q.Expr})
		}
	}
	return out
}

type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, "prometheus/alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var out []alert
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	if len(out) < 15 {
		t.Fatalf("there are %d alerts; want them all", len(out))
	}
	return out
}

func TestEveryMetricThatOperatorsWatchIsOneOfTheProgram(t *testing.T) {
	known := append(metricNames(t), ofTheExporter...)
	// What Prometheus itself makes, and what a word may be beside a metric.
	word := regexp.MustCompile(`\b(?:chatmesh|jetstream|gnatsd|nats|go|process)_[a-z0-9_]+|\bup\b|\bALERTS\b`)
	inside := regexp.MustCompile(`\{[^}]*\}|\b(?:by|on|without|ignoring) \([^)]*\)`)
	for _, e := range expressions(t) {
		found := word.FindAllString(inside.ReplaceAllString(e.text, ""), -1)
		if len(found) == 0 {
			t.Errorf("%s: %s: no metric in it is known", e.where, e.text)
		}
		for _, name := range found {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if name != "up" && name != "ALERTS" && !slices.Contains(known, name) && !slices.Contains(known, base) {
				t.Errorf("%s: there is no metric %s", e.where, name)
			}
		}
	}
}

// Each alert leads to a section of the document for operators, and the list at the head of the file has it.
func TestEveryAlertSaysWhatItIsAndWhatToDo(t *testing.T) {
	document, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(filepath.Join(deploy, "prometheus/alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(rules), "\ngroups:")
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ +(.+)$`).FindAllStringSubmatch(string(document), -1) {
		sections[strings.ReplaceAll(strings.ToLower(strings.TrimSpace(m[1])), " ", "-")] = true
	}
	for _, a := range alerts(t) {
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", a.Alert)
		}
		anchor, ok := strings.CutPrefix(a.Annotations["runbook"], "docs/operations.md#")
		if !ok || !sections[anchor] {
			t.Errorf("%s: its runbook %q is no section of docs/operations.md", a.Alert, a.Annotations["runbook"])
		}
		if !regexp.MustCompile(`[ ,]` + regexp.QuoteMeta(anchor) + `[ ,\n]`).MatchString(head + "\n") {
			t.Errorf("%s: the head of alerts.yml does not list %s", a.Alert, anchor)
		}
	}
}

func TestAProcessTellsPrometheusWhetherItIsReady(t *testing.T) {
	c := settings(t, "metrics", "nats://127.0.0.1:1")
	m, err := New(c, "0.0.0", slog.New(slog.DiscardHandler), FanOut)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	got := map[string]float64{}
	families, err := m.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if g := f.GetMetric()[0].GetGauge(); g != nil {
			got[f.GetName()] = g.GetValue()
		}
	}
	if v, ok := got["chatmesh_ready"]; !ok || v != 0 {
		t.Errorf("without a broker: chatmesh_ready is %v, %v; want 0", v, ok)
	}
	if got["chatmesh_log_retention_seconds"] != c.LogRetention.Seconds() {
		t.Errorf("chatmesh_log_retention_seconds is %v; want %v", got["chatmesh_log_retention_seconds"], c.LogRetention.Seconds())
	}
}
