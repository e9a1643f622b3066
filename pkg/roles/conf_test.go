package roles_test

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

// folder of the brokers' configuration, as seen from this package's folder.
const folder = "../../nats"

func TestTheConfigurationInTheFolderIsWhatTheCodeWrites(t *testing.T) {
	m := meshtest.Roles()
	for name, want := range map[string][]byte{"roles.conf": m.Conf(), "accounts.conf": m.Accounts()} {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the command in its first line writes: run that", name)
		}
	}
}

func TestTheBrokersOfProductionAreConfiguredAsTheirPromisesNeed(t *testing.T) {
	p := meshtest.NewProductionCluster(t, nil)
	for i := range 3 {
		o := p.Options(i)
		if !o.SyncAlways {
			t.Error("an ack does not follow the disk")
		}
		if o.NoAuthUser != "" || len(o.Users) > 0 || o.Username != "" || o.Authorization != "" {
			t.Error("there is a way in beside the NKeys")
		}
		if o.TLSConfig == nil || o.AllowNonTLS || o.Cluster.TLSConfig == nil || o.Cluster.TLSConfig.ClientAuth != tls.RequireAndVerifyClientCert {
			t.Error("clients or routes may come without TLS")
		}
		if o.MaxPayload < 1_310_720+128<<10 || o.MaxPayload > 8<<20 {
			t.Errorf("got the largest message %d; want room for a frame of 1.25 MiB and its headers", o.MaxPayload)
		}
		if o.MaxConn != 4096 || o.MaxPending != 64<<20 || o.WriteDeadline != 5*time.Second || o.JetStreamMaxStore != 10<<30 {
			t.Errorf("got limits %d, %d, %v, %d", o.MaxConn, o.MaxPending, o.WriteDeadline, o.JetStreamMaxStore)
		}
		if o.SystemAccount != "SYS" || len(o.Nkeys) != len(meshtest.Roles().Roles()) {
			t.Errorf("got the system account %q and %d users; want one user for each role", o.SystemAccount, len(o.Nkeys))
		}
		for _, u := range o.Nkeys {
			if p := u.Permissions; p == nil || p.Publish == nil || p.Subscribe == nil || len(p.Publish.Allow) == 0 || len(p.Subscribe.Allow) == 0 ||
				len(p.Publish.Deny)+len(p.Subscribe.Deny) > 0 || p.Response != nil {
				t.Errorf("a user of %s has no allow-lists, or more than them", u.Account.Name)
			}
		}
	}
	for _, r := range meshtest.Roles().Roles() {
		if b := p.Bus(t, r.Name); b.Flush(t.Context()) != nil {
			t.Errorf("%s cannot come in", r.Name)
		}
	}
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("got %q; want every role let in", v)
	}
}
