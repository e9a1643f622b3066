package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// What a new hash costs: 19 MiB and two passes, the least that OWASP's cheat sheet recommends. More memory would halve
// the log-ins that a node can do; the gate of Hasher counts on it, so a stored hash may ask for less but not for more.
const (
	hashMemory  = 19 * 1024 // KiB
	hashPasses  = 2
	hashThreads = 1
	saltLen     = 16
	keyLen      = 32
)

// errDamagedHash says nothing of the hash: it is a secret of its own.
var errDamagedHash = errors.New("auth: stored password hash is damaged")

// phc is a hash of a password as the PHC string format writes it: $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
type phc struct {
	memory, passes uint32 // KiB, passes
	threads        uint8
	salt, key      []byte
}

// String returns the one way to write p.
func (p phc) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", p.memory, p.passes, p.threads,
		b64.EncodeToString(p.salt), b64.EncodeToString(p.key))
}

// parsePHC reads what String writes and nothing else. A hash that would cost more than a new one is damaged too:
// otherwise one bad row could take all memory.
func parsePHC(s string) (phc, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return phc{}, errDamagedHash
	}
	params := strings.Split(parts[3], ",")
	if len(params) != 3 {
		return phc{}, errDamagedHash
	}
	var n [3]uint64
	for i, prefix := range []string{"m=", "t=", "p="} {
		text, found := strings.CutPrefix(params[i], prefix)
		v, err := strconv.ParseUint(text, 10, 32)
		if !found || err != nil {
			return phc{}, errDamagedHash
		}
		n[i] = v
	}
	if n[2] < 1 || n[2] > 4 || n[1] < 1 || n[1] > 10 || n[0] < 8*n[2] || n[0] > hashMemory {
		return phc{}, errDamagedHash
	}
	p := phc{memory: uint32(n[0]), passes: uint32(n[1]), threads: uint8(n[2])}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	p.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(p.salt) < 8 || len(p.salt) > 64 || len(p.key) < 16 || len(p.key) > 64 {
		return phc{}, errDamagedHash
	}
	if p.String() != s { // leading zeros, signs, stray bits or line breaks in the base64
		return phc{}, errDamagedHash
	}
	return p, nil
}
