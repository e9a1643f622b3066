package capacity_test

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// lz4 compresses a block as the fast LZ4 does: greedily, with a table of the last place of each four bytes. Only its ratio matters here, so
// that it need not be fast; unlz4 proves that the block is one.
func lz4(src []byte) []byte {
	const (
		least    = 4  // the shortest match
		lastPart = 5  // bytes at the end that are never part of a match
		noMatch  = 12 // and so many in which none begins
	)
	var dst []byte
	var table [1 << 14]int32 // place + 1
	hash := func(i int) uint32 { return binary.LittleEndian.Uint32(src[i:]) * 2654435761 >> 18 }
	length := func(n int) { // what of a length does not fit into the token
		for ; n >= 255; n -= 255 {
			dst = append(dst, 255)
		}
		dst = append(dst, byte(n))
	}
	emit := func(literals []byte, offset, match int) {
		token := byte(min(len(literals), 15)) << 4
		if match > 0 {
			token |= byte(min(match-least, 15))
		}
		dst = append(dst, token)
		if len(literals) >= 15 {
			length(len(literals) - 15)
		}
		dst = append(dst, literals...)
		if match > 0 {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(offset))
			if match-least >= 15 {
				length(match - least - 15)
			}
		}
	}
	begin, i := 0, 0
	for i < len(src)-noMatch {
		h := hash(i)
		at := int(table[h]) - 1
		table[h] = int32(i + 1)
		if at < 0 || i-at > 65535 || !bytes.Equal(src[at:at+least], src[i:i+least]) {
			i++
			continue
		}
		for i > begin && at > 0 && src[i-1] == src[at-1] {
			i, at = i-1, at-1
		}
		n := least
		for i+n < len(src)-lastPart && src[at+n] == src[i+n] {
			n++
		}
		emit(src[begin:i], i-at, n)
		i += n
		begin = i
	}
	emit(src[begin:], 0, 0)
	return dst
}

func unlz4(t *testing.T, src []byte) []byte {
	t.Helper()
	var dst []byte
	take := func(n int) []byte {
		if n > len(src) {
			t.Fatal("the block ends too early")
		}
		b := src[:n]
		src = src[n:]
		return b
	}
	length := func(n int) int {
		if n < 15 {
			return n
		}
		for {
			b := take(1)[0]
			if n += int(b); b < 255 {
				return n
			}
		}
	}
	for {
		token := take(1)[0]
		dst = append(dst, take(length(int(token>>4)))...)
		if len(src) == 0 {
			return dst
		}
		at := len(dst) - int(binary.LittleEndian.Uint16(take(2)))
		if at < 0 || at >= len(dst) {
			t.Fatal("a match begins where nothing is")
		}
		for range length(int(token&15)) + 4 {
			dst = append(dst, dst[at])
			at++
		}
	}
}
