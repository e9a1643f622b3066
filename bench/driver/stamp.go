package driver

import "time"

// Stamp is what a message says of itself. It stands at the beginning of its payload.
type Stamp struct {
	// Sender is who sent it, Address where to: numbers that the scenario gives. Only the low 24 bits are kept.
	Sender, Address uint32
	// Number counts the messages of the sender to that address: 1, 2, 3 …
	Number uint32
	// Due is when it should have been sent, Sent when it was, as Clock tells. Only the low 48 bits are kept, which is 78 hours.
	Due, Sent time.Duration
}

// StampSize is the length of a stamp in bytes: a mark, two numbers of 6 digits, one of 8, two of 12, all hexadecimal.
const StampSize = 1 + 6 + 6 + 8 + 12 + 12

const (
	mark   = '~'
	digits = "0123456789abcdef"
	// padding makes a payload as long as is wished. It looks like text so that whoever compresses gains what is usual.
	padding = " see you at the station at ten, take the train from platform four and bring the map, it will rain later"
)

var began = time.Now()

// Clock is the time since the process began. All stamps of a process are of this clock.
func Clock() time.Duration { return time.Since(began) }

// Append appends a payload of size bytes that begins with the stamp; it is never shorter than that.
func (s Stamp) Append(out []byte, size int) []byte {
	from := len(out)
	out = append(out, mark)
	out = appendHex(out, uint64(s.Sender), 6)
	out = appendHex(out, uint64(s.Address), 6)
	out = appendHex(out, uint64(s.Number), 8)
	out = appendHex(out, uint64(s.Due), 12)
	out = appendHex(out, uint64(s.Sent), 12)
	for missing := size - (len(out) - from); missing > 0; missing = size - (len(out) - from) {
		out = append(out, padding[:min(missing, len(padding))]...)
	}
	return out
}

func appendHex(out []byte, v uint64, width int) []byte {
	for at := 4 * (width - 1); at >= 0; at -= 4 {
		out = append(out, digits[v>>at&15])
	}
	return out
}

// ParseStamp reads the stamp at the beginning of a payload; ok is false where there is none.
func ParseStamp(payload []byte) (s Stamp, ok bool) {
	if len(payload) < StampSize || payload[0] != mark {
		return Stamp{}, false
	}
	bad := byte(0)
	number := func(from, to int) (v uint64) {
		for _, c := range payload[from:to] {
			d := hexValue[c]
			bad |= d
			v = v<<4 | uint64(d&15)
		}
		return v
	}
	s = Stamp{
		Sender:  uint32(number(1, 7)),
		Address: uint32(number(7, 13)),
		Number:  uint32(number(13, 21)),
		Due:     time.Duration(number(21, 33)),
		Sent:    time.Duration(number(33, 45)),
	}
	return s, bad&0x80 == 0
}

// hexValue is the value of a digit, with the highest bit set for what is none.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0x80
	}
	for i, c := range digits {
		t[c] = byte(i)
	}
	return t
}()
