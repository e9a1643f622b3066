package scylla

import (
	"hash/fnv"
	"math/bits"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// The buckets, which keep partitions small; the files of the schema do the arithmetic. None of these numbers can change.
const (
	// bucketSize is how many events are in a partition of messages.
	bucketSize = 256
	// foundShift is the binary logarithm of how many rows are in a partition of client_ids.
	foundShift = 18
	// indexBuckets is how many partitions the index of all chats has.
	indexBuckets = 256
	// mentionShift is the binary logarithm of how many seqs are in a partition of mentions.
	mentionShift = 18
	// deletionBuckets is how many partitions the list of deletions has.
	deletionBuckets = 16
)

func bucketOf(seq chat.Seq) int64 { return int64(seq / bucketSize) }

// generation numbers the spans of seqs that double: 0 is below 2^18, 1 below 2^19 and so on. Each has partitions of its own.
func generation(seq chat.Seq) int { return bits.Len64(uint64(seq) >> foundShift) }

// foundBucket is where the client id of the message at seq is kept.
func foundBucket(seq chat.Seq, client chat.ClientID) int64 { return foundIn(generation(seq), client) }

// foundIn is where a client id is kept if its message is in that generation: generation g > 0 has 2^(g-1) buckets, from 2^(g-1) on.
func foundIn(g int, client chat.ClientID) int64 {
	if g == 0 {
		return 0
	}
	n := uint64(1) << (g - 1)
	return int64(n + hash(string(client))%n)
}

// foundBuckets is how many buckets the generations up to that of seq have, from 0 on.
func foundBuckets(seq chat.Seq) int64 { return 1 << generation(seq) }

func mentionBucket(seq chat.Seq) int64 { return int64(seq >> mentionShift) }

func deletionBucket(user chat.UserID) int { return int(hash(string(user)) % deletionBuckets) }

func indexBucket(id chat.ID) int { return int(hash(string(id)) % indexBuckets) }

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	// FNV mixes its low bits poorly for strings that differ at their end only.
	v := h.Sum64()
	return v ^ v>>32
}
