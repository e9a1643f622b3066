package roles

import (
	"fmt"
	"strconv"
	"strings"
)

// Conf is the roles as configuration of nats-server: a variable for each, to stand behind permissions.
func (m Mesh) Conf() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, `# Written by "%s"; do not edit.
#
# What each role may do, as allow-lists: what is not here is denied. accounts.conf gives each user one of them. Roles for up to
# %d partitions; more, and other teams, take the command above with other numbers and names.
`, m.command(), m.Partitions)
	for _, r := range m.Roles() {
		fmt.Fprintf(&out, "\n%s = {\n  publish: { allow: [\n", Variable(r.Name))
		list(&out, r.Publish)
		fmt.Fprint(&out, "  ] }\n  subscribe: { allow: [\n")
		list(&out, r.Subscribe)
		fmt.Fprint(&out, "  ] }\n}\n")
	}
	return []byte(out.String())
}

// Accounts is the accounts and their users as configuration of nats-server; the public keys come from the environment.
func (m Mesh) Accounts() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, `# Written by "%s"; do not edit.
#
# Who may come in: an NKey user for each role, nobody else. There is no default user. The public keys come from the environment,
# as "chatmesh nats keys" writes them to nkeys.env; the seeds never come here.

include "roles.conf"

system_account: SYS

accounts {
  SYS {
    users: [
      { nkey: $NKEY_%[2]s, permissions: $%[2]s }
    ]
  }
  CHATMESH {
    jetstream: enabled
    users: [
`, m.command(), Variable(System))
	for _, r := range m.Roles() {
		if r.Name != System {
			fmt.Fprintf(&out, "      { nkey: $NKEY_%[1]s, permissions: $%[1]s }\n", Variable(r.Name))
		}
	}
	fmt.Fprint(&out, "    ]\n  }\n}\n")
	return []byte(out.String())
}

// command is the command that writes the configuration.
func (m Mesh) command() string {
	c := "chatmesh nats roles nats --up-to=" + strconv.Itoa(m.Partitions)
	for _, t := range m.Readers {
		c += " --team=" + t
	}
	for _, t := range m.Bots {
		c += " --bot=" + t
	}
	return c
}

// list writes subjects, several to a line.
func list(out *strings.Builder, subjects []string) {
	const width = 130
	line := "   "
	for _, s := range subjects {
		if item := " \"" + s + "\","; len(line)+len(item) > width {
			fmt.Fprintln(out, line)
			line = "   " + item
		} else {
			line += item
		}
	}
	fmt.Fprintln(out, strings.TrimSuffix(line, ","))
}
