// Package subject owns every name on the mesh: subjects, streams, buckets, consumers, services, headers, and the function
// that assigns a chat to its partition. It promises that nothing but a parsed id ever becomes a token of a subject, and
// that subjects.md lists exactly what is here (a test holds the two together).
package subject

import (
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Headers of the events in the log, beside those of NATS.
const (
	// HeaderSeq carries the seq of the event, so that a reader need not parse the body.
	HeaderSeq = "Chat-Seq"
	// HeaderStream carries, on a person's subject, the sequence of the event in its partition's stream, from fan-outs that do not say it
	// with Event yet.
	HeaderStream = "Chat-Stream"
	// HeaderReason says on a dead letter why it could not be handled.
	HeaderReason = "Chat-Reason"
	// HeaderOrigin says on a dead letter which subject and stream sequence it came from.
	HeaderOrigin = "Chat-Origin"
	// HeaderTrace carries, where a message is traced, its place in the trace, as W3C Trace Context has it. Package trace reads and writes it.
	HeaderTrace = "traceparent"
	// HeaderServiceError carries the code of a refused request to a micro service, as the NATS micro protocol has it.
	HeaderServiceError = "Nats-Service-Error-Code"
)

// Buckets of the JetStream key-value store.
const (
	// Presence has a key for each person on each edge, and the lease of each edge.
	Presence = "presence"
	// LastSeen has the moment when a person was last online.
	LastSeen = "lastseen"
	// Nodes has a key for each live node of each service.
	Nodes = "nodes"
	// Leases has a key for each task that one process of several does.
	Leases = "leases"
	// Keys has the public keys that access tokens are verified with.
	Keys = "keys"
	// Revoked has the sessions that ended while access tokens of theirs were still valid.
	Revoked = "revoked"
	// Preferences has, for each person who has said so, what others may learn of them.
	Preferences = "preferences"
	// Places has, where there are several brokers, how far each worker is in each stream.
	Places = "places"
)

// Buckets lists every bucket.
var Buckets = []string{Presence, LastSeen, Nodes, Leases, Keys, Revoked, Preferences, Places}

// Keys of Leases.
const (
	// PresenceLease names the process whose presence service tells changes.
	PresenceLease = "presence"
	// StoreLease is the id of the mesh, which the store that holds its history has as well.
	StoreLease = "store"
	// DeletionLease names the process that erases what people wrote whose accounts are deleted.
	DeletionLease = "deletions"
)

// DeadLetters is the stream of what no worker could handle, with the reason; its subjects are dead.<worker>.<partition>.
const DeadLetters = "DEADLETTERS"

// AllDead matches the subjects of all dead letters.
const AllDead = "dead.>"

// Consumers of the streams; PinGroup is the priority group in which one of several workers is active.
const (
	FanOut    = "fanout"
	Persister = "persister"
	PinGroup  = "active"
)

// Service is the name of the micro service; its endpoints follow.
const (
	Service = "chatmesh"

	SendEndpoint    = "svc.chat.send"
	ChangeEndpoint  = "svc.chat.change"
	HistoryEndpoint = "svc.chat.history"
	StateEndpoint   = "svc.chat.state"
	FindEndpoint    = "svc.chat.find"
	SentEndpoint    = "svc.chat.sent"
	CursorEndpoint  = "svc.chat.cursor"
	SharesEndpoint  = "svc.user.shares"
	// UserChatsEndpoint lists the chats of a person.
	UserChatsEndpoint = "svc.user.chats"
	PresenceEndpoint  = "svc.presence.get"

	// For operators.
	VerifyEndpoint         = "svc.ops.verify"
	ChatsEndpoint          = "svc.ops.chats"
	PersisterRetryEndpoint = "svc.persister.retry"
	FanOutRetryEndpoint    = "svc.fanout.retry"
)

// Endpoints lists every endpoint of Service.
var Endpoints = []string{SendEndpoint, ChangeEndpoint, HistoryEndpoint, StateEndpoint, FindEndpoint, SentEndpoint, CursorEndpoint, SharesEndpoint,
	UserChatsEndpoint, PresenceEndpoint, VerifyEndpoint, ChatsEndpoint, PersisterRetryEndpoint, FanOutRetryEndpoint}

// DrainEndpoint is the endpoint of one edge by which operators move its clients away.
func DrainEndpoint(node string) string { return "svc.edge." + node + ".drain" }

// EdgeLease is the first token of the keys in Presence that are leases of edges, not of people. No user id equals it.
const EdgeLease = "edge"

// Partition returns the partition of a chat among n. n is fixed for the life of a cluster.
func Partition(id chat.ID, n int) int {
	h := fnv.New64a()
	h.Write([]byte(id)) // never fails
	return int(h.Sum64() % uint64(n))
}

// ChatStream is the stream of a partition's logs and states.
func ChatStream(partition int) string { return "CHAT_" + strconv.Itoa(partition) }

// CursorStream is the stream of a partition's cursors: what was read and what was delivered.
func CursorStream(partition int) string { return "CURSOR_" + strconv.Itoa(partition) }

func partitioned(prefix string, partition int, rest string) string {
	return prefix + strconv.Itoa(partition) + "." + rest
}

// Log is the subject of a chat's events.
func Log(partition int, id chat.ID) string { return partitioned("chat.", partition, string(id)+".log") }

// State is the subject of a chat's state, of which only the last is kept.
func State(partition int, id chat.ID) string {
	return partitioned("chat.", partition, string(id)+".state")
}

// Erased is the subject of what stands at seq in place of an event whose text was erased.
func Erased(partition int, id chat.ID, seq chat.Seq) string {
	return partitioned("chat.", partition, string(id)+".erased."+strconv.FormatUint(uint64(seq), 10))
}

// IsErased tells whether a subject is an Erased subject.
func IsErased(subj string) bool {
	parts := strings.Split(subj, ".")
	return len(parts) == 5 && parts[0] == "chat" && parts[3] == "erased"
}

// LogAndState matches both subjects of a chat.
func LogAndState(partition int, id chat.ID) string {
	return partitioned("chat.", partition, string(id)+".*")
}

// ChatOf is the chat of a Log or State subject, or of a Cursor or Delivered subject.
func ChatOf(subj string) chat.ID {
	_, rest, _ := strings.Cut(subj, ".")
	_, rest, _ = strings.Cut(rest, ".")
	id, _, _ := strings.Cut(rest, ".")
	return chat.ID(id)
}

// AllOf matches every chat subject of a partition; Logs only the logs.
func AllOf(partition int) string { return partitioned("chat.", partition, ">") }

// Logs matches the logs of all chats of a partition.
func Logs(partition int) string { return partitioned("chat.", partition, "*.log") }

// Cursor is the subject of the read cursor of a person in a chat.
func Cursor(partition int, id chat.ID, user chat.UserID) string {
	return partitioned("cursor.", partition, string(id)+"."+string(user))
}

// Delivered is the subject of up to which event a person has a chat on a device.
func Delivered(partition int, id chat.ID, user chat.UserID) string {
	return Cursor(partition, id, user) + ".delivered"
}

// CursorsOf matches both subjects of all people of a chat.
func CursorsOf(partition int, id chat.ID) string {
	return partitioned("cursor.", partition, string(id)+".>")
}

// Cursors matches every cursor of a partition.
func Cursors(partition int) string { return partitioned("cursor.", partition, ">") }

// User is the subject of everything that the devices of a person receive.
func User(user chat.UserID) string { return "user." + string(user) }

// UserOf is the person of a User subject.
func UserOf(subj string) chat.UserID { return chat.UserID(strings.TrimPrefix(subj, "user.")) }

// Event is the reply subject of an event on a User subject, on which nobody listens: it carries the sequence of the event in its
// partition's stream and the id under which the broker knows it, as headers would, which cost the broker and every edge far more. An id
// that is no token is left out.
func Event(stream uint64, id string) string {
	b := make([]byte, 0, len(eventPrefix)+21+len(id))
	b = strconv.AppendUint(append(b, eventPrefix...), stream, 10)
	if token(id) {
		b = append(append(b, '.'), id...)
	}
	return string(b)
}

const eventPrefix = "ev."

// EventOf takes an Event subject apart; it is not ok for anything else.
func EventOf(subj string) (stream uint64, id string, ok bool) {
	rest, ok := strings.CutPrefix(subj, eventPrefix)
	if !ok {
		return 0, "", false
	}
	n, id, more := strings.Cut(rest, ".")
	stream, err := strconv.ParseUint(n, 10, 64)
	return stream, id, err == nil && stream > 0 && more == token(id)
}

// token tells whether s can be one token of a subject, as ids are.
func token(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= chat.MaxID
}

// PresenceOf is the subject of a person's changes between online and offline.
func PresenceOf(user chat.UserID) string { return "presence." + string(user) }

// PresenceOwn is the subject of how a person is who does not want others to know, for the person's own devices.
func PresenceOwn(user chat.UserID) string { return PresenceOf(user) + ".own" }

// PresentOf is the person of a PresenceOf subject, or of a PresenceOwn subject, which it tells.
func PresentOf(subj string) (user chat.UserID, own bool) {
	rest, own := strings.CutSuffix(strings.TrimPrefix(subj, "presence."), ".own")
	return chat.UserID(rest), own
}

// Dead is the subject of the dead letters of a worker in a partition.
func Dead(worker string, partition int) string {
	return "dead." + worker + "." + strconv.Itoa(partition)
}

// DeadOf matches the dead letters of a worker in all partitions.
func DeadOf(worker string) string { return "dead." + worker + ".*" }

// WorkerOf is the worker and the partition of a Dead subject; ok is false where it is none.
func WorkerOf(subj string) (worker string, partition int, ok bool) {
	parts := strings.Split(subj, ".")
	if len(parts) != 3 || parts[0] != "dead" {
		return "", 0, false
	}
	partition, err := strconv.Atoi(parts[2])
	return parts[1], partition, err == nil && partition >= 0
}

// PresenceKey is the key of a person on an edge; LeaseKey the key of an edge's lease; NodeKey that of a node.
func PresenceKey(user chat.UserID, edge string) string { return string(user) + "." + edge }

// LeaseKey is the key of the lease of an edge in Presence.
func LeaseKey(edge string) string { return EdgeLease + "." + edge }

// NodeKey is the key of a node in Nodes.
func NodeKey(service, node string) string { return service + "." + node }

// NodeOf returns of which node of which service a key in Nodes is. It is not ok for anything else.
func NodeOf(key string) (service, node string, ok bool) {
	service, node, ok = strings.Cut(key, ".")
	return service, node, ok && service != "" && node != "" && !strings.Contains(node, ".")
}

// PlaceKey is the key of a worker's place in a stream, in Places.
func PlaceKey(worker, stream string) string { return worker + "." + stream }

// KV is the subject behind a key of a bucket.
func KV(bucket, key string) string { return "$KV." + bucket + "." + key }

// KVStream is the stream behind a bucket.
func KVStream(bucket string) string { return "KV_" + bucket }

// Inbox is the first token of all subjects on which a role gets answers, on a broker with accounts: no other role may listen there.
func Inbox(role string) string { return "_INBOX_" + role }
