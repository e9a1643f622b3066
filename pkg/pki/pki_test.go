package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/pki"
)

func write(t *testing.T, dir string, servers []pki.Server, roles ...string) {
	t.Helper()
	if err := pki.Write(dir, servers, roles, strings.ToUpper); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(text)
	}
	return out
}

func TestMakingKeysAgainMakesOnlyWhatIsMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	one := []pki.Server{{Name: "n1", Hosts: []string{"localhost"}}}
	write(t, dir, one, "edge")
	before := files(t, dir)
	write(t, dir, append(one, pki.Server{Name: "n2", Hosts: []string{"10.0.0.2"}}), "edge", "api")
	after := files(t, dir)
	for name, text := range before {
		if name != pki.Env && after[name] != text {
			t.Errorf("%s was made anew", name)
		}
	}
	for _, name := range []string{"n2.pem", "n2-key.pem", "n2-route.pem", "n2-route-key.pem", "api.nk"} {
		if after[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	if env := after[pki.Env]; !strings.HasPrefix(env, before[pki.Env]) || !strings.Contains(env, "NKEY_API=U") {
		t.Errorf("got %q; want the public keys of both", env)
	}
	again := files(t, dir)
	write(t, dir, one, "edge", "api")
	if !maps.Equal(again, files(t, dir)) {
		t.Error("something was made anew")
	}
}

func TestOnlyTheOwnerCanReadKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	write(t, dir, []pki.Server{{Name: "n1"}}, "edge")
	for name, text := range files(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		secret := strings.Contains(text, "PRIVATE") || strings.HasPrefix(text, "SU")
		if secret != (info.Mode().Perm() == 0o600) {
			t.Errorf("%s has the mode %v", name, info.Mode())
		}
		if secret != (strings.HasSuffix(name, "-key.pem") || strings.HasSuffix(name, ".nk")) {
			t.Errorf("%s holds a secret: %v", name, secret)
		}
	}
}

// shake lets a client and a server with the named files meet, and returns what each says.
func shake(t *testing.T, dir, serverCert, clientCert, ca, host string) error {
	t.Helper()
	pool := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(dir, ca))
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(text)
	load := func(name string) []tls.Certificate {
		c, err := tls.LoadX509KeyPair(filepath.Join(dir, name), filepath.Join(dir, pki.Key(name)))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{c}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	server := tls.Server(a, &tls.Config{Certificates: load(serverCert), ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
	client := tls.Client(b, &tls.Config{Certificates: load(clientCert), RootCAs: pool, ServerName: host})
	said := make(chan error, 1)
	go func() {
		err := client.HandshakeContext(t.Context())
		if err == nil {
			_, err = client.Read(make([]byte, 1)) // the server's word on the certificate
		}
		b.Close()
		said <- err
	}()
	err = server.HandshakeContext(t.Context())
	if err == nil {
		_, err = server.Write([]byte("x"))
	}
	a.Close()
	if other := <-said; err == nil {
		err = other
	}
	return err
}

func TestRoutesBelieveNoCertificateOfAClient(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, []pki.Server{{Name: "n1", Hosts: []string{"a.example"}}, {Name: "n2", Hosts: []string{"b.example"}}}, "edge")
	for _, c := range []struct {
		server, client, ca, host string
		ok                       bool
	}{
		{"n1.pem", pki.Client, pki.CA, "a.example", true},
		{"n1.pem", pki.Client, pki.CA, "b.example", false},
		{"n1-route.pem", "n2-route.pem", pki.RoutesCA, "a.example", true},
		{"n1-route.pem", pki.Client, pki.RoutesCA, "a.example", false},
		{"n1-route.pem", "n2.pem", pki.RoutesCA, "a.example", false},
		{"n1.pem", "n2.pem", pki.CA, "a.example", false}, // it is for servers
	} {
		if err := shake(t, dir, c.server, c.client, c.ca, c.host); (err == nil) != c.ok {
			t.Errorf("%s at %s with %s: got %v; want it to work: %v", c.client, c.server, c.ca, err, c.ok)
		}
	}
}

func TestDamagedKeysAreRefusedWithoutBeingQuoted(t *testing.T) {
	for _, name := range []string{"edge.nk", "ca-key.pem", "routes-ca.pem"} {
		dir := t.TempDir()
		write(t, dir, nil, "edge")
		if err := os.WriteFile(filepath.Join(dir, name), []byte("CANARY"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := pki.Write(dir, nil, []string{"edge"}, strings.ToUpper)
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: got %v; want an error that names the file and quotes nothing", name, err)
		}
	}
	if err := pki.Write("/dev/null/keys", nil, nil, strings.ToUpper); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v; want it refused", err)
	}
}
