package capacity

import (
	"math"
	"strconv"
)

// Bytes is an amount of memory or of disk. Its prefixes are decimal: 1 GB is 10^9 bytes.
type Bytes float64

// BytesPerSecond is a flow as programs count it.
type BytesPerSecond float64

// BitsPerSecond is a flow as networks are sold: eight for each byte.
type BitsPerSecond float64

// PerSecond is how often something happens.
type PerSecond float64

// Cores is processors that are busy all the time.
type Cores float64

// Micros is microseconds of one core.
type Micros float64

// Decimal sizes.
const (
	KB Bytes = 1e3
	MB Bytes = 1e6
	GB Bytes = 1e9
	TB Bytes = 1e12
	PB Bytes = 1e15

	Gbit BitsPerSecond = 1e9
)

// secondsPerDay is what turns a day's amount into a mean rate.
const secondsPerDay = 86_400

// Bits is the same flow in bits.
func (b BytesPerSecond) Bits() BitsPerSecond { return BitsPerSecond(8 * b) }

// At is what so many bytes each make of a rate.
func (b Bytes) At(r PerSecond) BytesPerSecond { return BytesPerSecond(float64(b) * float64(r)) }

// At is the cores that are busy when something of this cost happens so often.
func (m Micros) At(r PerSecond) Cores { return Cores(float64(m) * float64(r) / 1e6) }

// String gives three digits and a prefix, such as "1.23 TB".
func (b Bytes) String() string { return scaled(float64(b), "B") }

// String gives three digits and a prefix, such as "1.23 Gbit/s".
func (b BitsPerSecond) String() string { return scaled(float64(b), "bit/s") }

// String gives three digits and a prefix, such as "1.23 MB/s".
func (b BytesPerSecond) String() string { return scaled(float64(b), "B/s") }

// String gives three digits and a word, such as "1.23 million/s".
func (r PerSecond) String() string { return Count(float64(r)) + "/s" }

// String gives three digits, such as "1.23".
func (c Cores) String() string { return Count(float64(c)) }

// String gives three digits and the unit.
func (m Micros) String() string { return digits(float64(m)) + " µs" }

// Count writes a number with three digits, a small whole one exactly: "12", "1,024", "1.23 million".
func Count(n float64) string {
	for _, w := range []struct {
		size float64
		name string
	}{{1e15, " quadrillion"}, {1e12, " trillion"}, {1e9, " billion"}, {1e6, " million"}} {
		if round3(n) >= w.size {
			return digits(n/w.size) + w.name
		}
	}
	return digits(n)
}

func scaled(n float64, unit string) string {
	prefixes := []string{"", "k", "M", "G", "T", "P", "E"}
	i := 0
	for i < len(prefixes)-1 && round3(n) >= 1000 {
		n /= 1000
		i++
	}
	return digits(n) + " " + prefixes[i] + unit
}

// round3 keeps three digits.
func round3(n float64) float64 {
	if n == 0 || math.IsInf(n, 0) || math.IsNaN(n) {
		return n
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(n)))-2)
	return math.Round(n/unit) * unit
}

// digits writes a number with three digits and commas between thousands; whole ones below 100,000 with all theirs.
func digits(n float64) string {
	if n == math.Trunc(n) && math.Abs(n) < 100_000 {
		return commas(int64(n))
	}
	n = round3(n)
	switch {
	case math.IsInf(n, 0):
		return "∞"
	case math.Abs(n) < 0.1:
		return trim(strconv.FormatFloat(n, 'f', 5, 64))
	case math.Abs(n) < 10:
		return trim(strconv.FormatFloat(n, 'f', 2, 64))
	case math.Abs(n) < 100:
		return trim(strconv.FormatFloat(n, 'f', 1, 64))
	}
	return commas(int64(math.Round(n)))
}

// trim takes zeros at the end of a fraction away.
func trim(s string) string {
	for len(s) > 0 && s[len(s)-1] == '0' {
		s = s[:len(s)-1]
	}
	if len(s) > 0 && s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	return s
}

func commas(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
