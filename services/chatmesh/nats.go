package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/chatmesh/chatmesh/pkg/pki"
	"github.com/chatmesh/chatmesh/pkg/roles"
)

// natsCmd looks after a broker with accounts.
type natsCmd struct {
	Init  natsInit  `cmd:"" help:"Make and update the streams, buckets and consumers that the mesh needs on an external broker; shows what differs."`
	Team  natsTeam  `cmd:"" help:"Make the consumers with which a backend team reads the logs."`
	Keys  natsKeys  `cmd:"" help:"Make what is missing of keys and certificates, for development and tests."`
	Roles natsRoles `cmd:"" help:"Write the configuration of the broker that says what each role may do."`
}

// teams are the backend teams that have a role.
type teams struct {
	Team []string `name:"team" placeholder:"NAME,..." default:"audit" help:"Teams that read the logs, each as role team-NAME. Default ${default}."`
	Bot  []string `name:"bot" placeholder:"NAME,..." default:"bot" help:"Teams that also call svc.chat, each as role team-NAME. Default ${default}."`
}

type (
	natsKeys struct {
		Dir    string   `arg:"" help:"Folder of the keys; it is made where it is missing."`
		Server []string `name:"server" placeholder:"NAME=HOST+HOST,..." default:"n1=n1,n2=n2,n3=n3" help:"Servers of the cluster and the names by which they are reached, beside localhost; HOSTs are separated by +. Default ${default}."`
		teams  `embed:""`
	}
	natsRoles struct {
		Dir        string `arg:"" help:"Folder of the configuration, which gets roles.conf and accounts.conf."`
		Partitions int    `name:"up-to" placeholder:"N" default:"16" help:"Count of partitions that the roles will do for. Default ${default}."`
		teams      `embed:""`
	}
)

func (t teams) mesh(partitions int) roles.Mesh {
	return roles.Mesh{Partitions: partitions, Readers: t.Team, Bots: t.Bot}
}

// Run makes keys.
func (k natsKeys) Run(out io.Writer) error {
	var servers []pki.Server
	for _, text := range k.Server {
		name, hosts, ok := strings.Cut(text, "=")
		if !ok || name == "" || hosts == "" || strings.ContainsAny(name, `/\.`) {
			return fmt.Errorf("--server: %q is not NAME=HOST+HOST, such as n1=n1.example.com+10.0.0.1", text)
		}
		servers = append(servers, pki.Server{Name: name, Hosts: append(strings.Split(hosts, "+"), "localhost", "127.0.0.1", "::1")})
	}
	var names []string
	for _, r := range k.mesh(1).Roles() {
		names = append(names, r.Name)
	}
	if err := pki.Write(k.Dir, servers, names, roles.Variable); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "keys of %d servers and %d roles are in %s\n", len(servers), len(names), k.Dir)
	return err
}

// Run writes configuration.
func (r natsRoles) Run(out io.Writer) error {
	m := r.mesh(r.Partitions)
	for name, text := range map[string][]byte{"roles.conf": m.Conf(), "accounts.conf": m.Accounts()} {
		if err := os.WriteFile(filepath.Join(r.Dir, name), text, 0o644); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%d roles for up to %d partitions are in %s\n", len(m.Roles()), r.Partitions, r.Dir)
	return err
}
