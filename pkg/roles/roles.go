// Package roles owns who may do what on a broker with accounts: for each role the subjects that it may publish to and
// subscribe to, and the configuration of the broker that says so. It promises allow-lists only, an inbox of its own for each
// role, and that no role has a right that nothing of its service uses.
package roles

import (
	"slices"
	"strings"

	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Names of the roles. A service has the role of its name. Teams have roles of their own, see Team.
const (
	Edge      = "edge"
	API       = "api"
	FanOut    = "fanout"
	Persister = "persister"
	Presence  = "presence"
	// Ops is for operators: it makes streams and consumers, looks at them, and asks the services.
	Ops = "ops"
	// System is for operators of the brokers themselves; it is a user of another account and reaches nothing of chatmesh.
	System = "system"
)

// Team is the role of a backend team, and the name of its consumers.
func Team(name string) string { return "team-" + name }

// Role is what one user of the broker may do.
type Role struct {
	Name string
	// Publish and Subscribe list the subjects, in the order in which they are written. Nothing else is allowed.
	Publish, Subscribe []string
}

// Mesh is what the roles depend on.
type Mesh struct {
	// Partitions is the largest number of partitions that the roles will do for.
	Partitions int
	// Readers are the names of teams that read the logs; Bots of those that also ask svc.chat.
	Readers, Bots []string
}

// Roles lists all roles: those of chatmesh's account, then those of teams, then System.
func (m Mesh) Roles() []Role {
	var teams []Role
	for _, name := range m.Readers {
		teams = append(teams, role(Team(name), m.reads(Team(name)), live()))
	}
	for _, name := range m.Bots {
		teams = append(teams, role(Team(name), append(m.reads(Team(name)), "svc.chat.*"), live()))
	}
	return slices.Concat([]Role{m.edge(), m.api(), m.fanout(), m.persister(), m.presence(), m.ops()}, teams, []Role{system()})
}

// role adds what every role has: its inbox, which no other may listen to.
func role(name string, publish, subscribe []string) Role {
	return Role{Name: name, Publish: publish, Subscribe: append([]string{subject.Inbox(name) + ".>"}, subscribe...)}
}

const api = "$JS.API."

// Subjects of JetStream's API for each stream: what it is, and what stands in it.
func info(streams ...string) []string { return each(api+"STREAM.INFO.", streams) }

// get is what it takes to read messages: from any copy, and from the leader, who knows what was acknowledged last.
func get(streams ...string) []string {
	return append(each(api+"DIRECT.GET.", streams), each(api+"STREAM.MSG.GET.", streams)...)
}

func each(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = prefix + name
	}
	return out
}

// logs are the streams of chats, cursors those of read cursors.
func (m Mesh) logs() []string { return m.streams(subject.ChatStream) }

func (m Mesh) cursors() []string { return m.streams(subject.CursorStream) }

func (m Mesh) streams(name func(int) string) []string {
	out := make([]string, m.Partitions)
	for p := range out {
		out[p] = name(p)
	}
	return out
}

// read is what it takes to read keys of buckets.
func read(buckets ...string) []string {
	var out []string
	for _, b := range buckets {
		out = append(out, info(subject.KVStream(b))...)
		out = append(out, get(subject.KVStream(b))...)
	}
	return out
}

// keys is what it takes to read single keys of buckets as the nats CLI does.
func keys(buckets ...string) []string {
	var out []string
	for _, b := range buckets {
		out = append(out, api+"DIRECT.GET."+subject.KVStream(b)+"."+subject.KV(b, ">"))
	}
	return out
}

// watch is what it takes to watch buckets: read them, make and remove a consumer of the whole bucket, which the client names
// itself, and answer its flow control.
func watch(buckets ...string) []string {
	out := read(buckets...)
	for _, b := range buckets {
		s := subject.KVStream(b)
		out = append(out, api+"CONSUMER.CREATE."+s+".*."+subject.KV(b, ">"), api+"CONSUMER.DELETE."+s+".*")
		out = append(out, flow(s)...)
	}
	return out
}

// flow is flow control in both forms of the broker. The number of tokens is exact, so that neither form matches the other's.
func flow(stream string) []string {
	return []string{"$JS.FC." + stream + ".*.*", "$JS.FC.*.*." + stream + ".*.*"}
}

// consume is what it takes to work off a durable consumer that stands already, under the same name on several streams.
// Acks come in two forms, $JS.ACK.<stream>.<consumer>… and $JS.ACK.<domain>.<account>.<stream>.<consumer>…; the number of
// tokens keeps them apart: with an open end, the second would match acks of a consumer that is another's.
func consume(consumer string) []string {
	return []string{
		api + "CONSUMER.INFO.*." + consumer, api + "CONSUMER.MSG.NEXT.*." + consumer,
		"$JS.ACK.*." + consumer + ".*.*.*.*.*", "$JS.ACK.*.*.*." + consumer + ".*.*.*.*.>",
	}
}

// answer is what it takes to answer requests of others. It names whose: the right to answer whatever comes as a reply subject
// could be turned into a right to publish anywhere.
func answer(askers ...string) []string {
	out := make([]string, len(askers))
	for i, a := range askers {
		out[i] = subject.Inbox(a) + ".>"
	}
	return out
}

// listed is what it takes to be found as an instance of the micro service.
func listed() []string {
	var out []string
	for _, verb := range []string{"PING", "INFO", "STATS"} { // by name: the broker takes "$SRV.>" for one that "$SRV.*" allows
		all := "$SRV." + verb
		out = append(out, all, all+"."+subject.Service, all+"."+subject.Service+".*")
	}
	return out
}

// appends is what pkg/chatlog needs of the broker to append to chats and move cursors, and to see how far the store is.
func (m Mesh) appends() []string {
	return slices.Concat([]string{"chat.*.*.log", "chat.*.*.state", "cursor.*.*.*", "cursor.*.*.*.delivered"}, info(m.logs()...), info(m.cursors()...),
		get(m.logs()...), get(m.cursors()...), []string{api + "CONSUMER.INFO.*." + subject.Persister}, read(subject.Places))
}

// older is what pkg/chatlog asks the api for.
func older() []string {
	return []string{subject.StateEndpoint, subject.FindEndpoint, subject.SentEndpoint, subject.CursorEndpoint, subject.HistoryEndpoint}
}

// erases is what it takes to erase texts: to put what stands in their place, and to take them out of the logs.
func erases(m Mesh) []string {
	return append(each(api+"STREAM.MSG.DELETE.", m.logs()), "chat.*.*.erased.*")
}

// node is the key of a service's nodes.
func node(service string) []string { return []string{subject.KV(subject.Nodes, service+".*")} }

func (m Mesh) edge() Role {
	return role(Edge, slices.Concat(m.appends(), older(),
		[]string{subject.ChangeEndpoint, subject.SharesEndpoint, subject.UserChatsEndpoint, subject.PresenceEndpoint, subject.User("*"), subject.KV(subject.Presence, "*.*")}, node(Edge),
		read(subject.Presence, subject.Preferences), watch(subject.Keys, subject.Revoked, subject.Nodes), answer(Ops)),
		append(listed(), subject.User("*"), subject.PresenceOf("*"), subject.PresenceOwn("*"), subject.DrainEndpoint("*")))
}

func (m Mesh) api() Role {
	return role(API, slices.Concat(m.appends(), erases(m), []string{subject.PresenceEndpoint, subject.User("*"), subject.KV(subject.Keys, "*"),
		subject.KV(subject.Revoked, "*"), subject.KV(subject.Leases, subject.StoreLease), subject.KV(subject.Leases, subject.DeletionLease),
		subject.KV(subject.Preferences, "*")}, node(API),
		read(subject.Leases, subject.Preferences), watch(subject.Keys, subject.Revoked, subject.Nodes), answer(append([]string{Edge, FanOut, Ops}, m.bots()...)...)),
		slices.Concat([]string{"svc.chat.*", subject.SharesEndpoint, subject.UserChatsEndpoint, subject.VerifyEndpoint, subject.ChatsEndpoint}, listed()))
}

func (m Mesh) fanout() Role {
	return role(FanOut, slices.Concat(m.works(FanOut), get(m.logs()...),
		[]string{subject.StateEndpoint, subject.HistoryEndpoint, subject.User("*")}),
		append(listed(), subject.FanOutRetryEndpoint))
}

func (m Mesh) persister() Role {
	return role(Persister, slices.Concat(m.works(Persister), read(subject.Leases), get(m.logs()...), each(api+"STREAM.MSG.DELETE.", m.logs())), append(listed(), subject.PersisterRetryEndpoint))
}

// places are the keys of a worker's places.
func places(worker string) []string {
	return []string{subject.KV(subject.Places, subject.PlaceKey(worker, "*"))}
}

// works is what a worker on the logs needs, whose consumers have its name, and which it sets to the places that it keeps.
func (m Mesh) works(worker string) []string {
	return slices.Concat(consume(worker), []string{api + "CONSUMER.UNPIN.*." + worker, api + "CONSUMER.RESET.*." + worker}, read(subject.Places), places(worker), info(m.logs()...), info(m.cursors()...),
		[]string{subject.DeadOf(worker)}, info(subject.DeadLetters), get(subject.DeadLetters),
		[]string{api + "STREAM.MSG.DELETE." + subject.DeadLetters}, node(worker), watch(subject.Nodes), answer(Ops))
}

func (m Mesh) presence() Role {
	return role(Presence, slices.Concat([]string{subject.PresenceOf("*"), subject.PresenceOwn("*"), subject.KV(subject.Presence, "*.*"), subject.KV(subject.LastSeen, "*"),
		subject.KV(subject.Leases, subject.PresenceLease)}, node(Presence), info(m.logs()...), info(m.cursors()...),
		read(subject.LastSeen, subject.Leases, subject.Preferences), watch(subject.Presence), answer(Edge, API, Ops)),
		append(listed(), subject.PresenceEndpoint))
}

// ops makes and changes the layout, copies and restores it, looks at chats and their logs, and sets workers back, but deletes nothing of it
// except workers' consumers, whose places are kept, and writes to no chat: a stream is restored only where there is none.
func (m Mesh) ops() Role {
	logs := append(m.logs(), m.cursors()...)
	buckets := make([]string, 0, len(subject.Buckets))
	for _, b := range subject.Buckets {
		buckets = append(buckets, subject.KVStream(b))
	}
	all := slices.Concat(logs, []string{subject.DeadLetters}, buckets)
	letters := subject.DeadLetters
	return role(Ops, slices.Concat([]string{"svc.>", "$SRV.>", api + "INFO", api + "STREAM.LIST", api + "STREAM.NAMES", api + "STREAM.INFO.*",
		api + "CONSUMER.LIST.*", api + "CONSUMER.NAMES.*", api + "CONSUMER.INFO.*.*", api + "STREAM.LEADER.STEPDOWN.*",
		api + "CONSUMER.LEADER.STEPDOWN.*.*"},
		each(api+"STREAM.CREATE.", all), each(api+"STREAM.UPDATE.", all), suffixed(each(api+"CONSUMER.CREATE.", logs), ".>"),
		get(letters), []string{api + "STREAM.MSG.DELETE." + letters,
			api + "CONSUMER.CREATE." + letters + ".>", api + "CONSUMER.DELETE." + letters + ".*", api + "CONSUMER.MSG.NEXT." + letters + ".*"},
		flow(letters), watch(subject.Nodes, subject.Presence), m.dismisses(), get(m.logs()...), read(subject.Places), places(Persister),
		keys(subject.Nodes, subject.Presence, subject.LastSeen, subject.Leases, subject.Places), each(api+"CONSUMER.DELETE.*.", []string{FanOut, Persister}),
		[]string{api + "CONSUMER.RESET.*." + Persister, api + "CONSUMER.UNPIN.*." + FanOut, api + "CONSUMER.UNPIN.*." + Persister},
		backups(all)),
		append(live(), "$JS.EVENT.ADVISORY.>"))
}

// backups is what it takes to copy streams out of the broker and back into one that does not have them: the pieces go to the inbox of
// who asks, who answers each, and come from him to a subject that the broker names.
func backups(streams []string) []string {
	return slices.Concat(each(api+"STREAM.SNAPSHOT.", streams), each(api+"STREAM.RESTORE.", streams), suffixed(each("$JS.SNAPSHOT.ACK.", streams), ".*"),
		suffixed(each("$JS.SNAPSHOT.RESTORE.", streams), ".*"))
}

// dismisses is the right to remove the consumers of teams, which lose their place by that, and to set them back to another.
func (m Mesh) dismisses() []string {
	var out []string
	for _, name := range slices.Concat(m.Readers, m.Bots) {
		out = append(out, api+"CONSUMER.DELETE.*."+Team(name), api+"CONSUMER.RESET.*."+Team(name))
	}
	return out
}

// live is what it takes to see events as they are tried.
func live() []string { return []string{"chat.*.*.log"} }

// reads is what a team may do: work off its own durable consumers, which operators make.
func (m Mesh) reads(team string) []string { return consume(team) }

func (m Mesh) bots() []string {
	var out []string
	for _, name := range m.Bots {
		out = append(out, Team(name))
	}
	return out
}

func system() Role {
	return role(System, []string{"$SYS.REQ.>", api + "META.LEADER.STEPDOWN", api + "SERVER.REMOVE"}, []string{"$SYS.>"})
}

func suffixed(names []string, suffix string) []string {
	for i := range names {
		names[i] += suffix
	}
	return names
}

// Variable is the name of a role in the broker's configuration; its public key is there as NKEY_ and the variable.
func Variable(role string) string { return strings.ToUpper(strings.ReplaceAll(role, "-", "_")) }
