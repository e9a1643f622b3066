package chat_test

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

var timeForm = regexp.MustCompile(`^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"$`)

func TestTimeComesBackFromJSONAsItWas(t *testing.T) {
	first := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", rapid.IntRange(-14*3600, 14*3600).Draw(t, "zone"))
		raw := time.Unix(rapid.Int64Range(first, last).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).In(zone)
		want := chat.TimeOf(raw)
		if d := raw.Sub(want.Time); d < 0 || d >= time.Microsecond || want.Location() != time.UTC {
			t.Fatalf("got %v of %v; want it in UTC, cut to microseconds", want, raw)
		}
		b, err := json.Marshal(want)
		if err != nil || !timeForm.Match(b) {
			t.Fatalf("got %s, %v; want RFC 3339 in UTC with six digits", b, err)
		}
		var got chat.Time
		if err := json.Unmarshal(b, &got); err != nil || !got.Equal(want.Time) || got.Location() != time.UTC {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
		if again, _ := json.Marshal(got); string(again) != string(b) {
			t.Fatalf("got %s; want %s", again, b)
		}
	})
}

func TestNowSurvivesItsEncoding(t *testing.T) {
	want := chat.Now()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got chat.Time
	if err := json.Unmarshal(b, &got); err != nil || !got.Equal(want.Time) {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
}

func TestAnyRFC3339TimeIsRead(t *testing.T) {
	for in, want := range map[string]string{
		`"2026-11-23T18:12:55Z"`:                "2026-11-23T18:12:55.000000Z",
		`"2026-11-23T18:12:55.5Z"`:              "2026-11-23T18:12:55.500000Z",
		`"2026-11-23T18:12:55.123456789Z"`:      "2026-11-23T18:12:55.123456Z",
		`"2026-11-23T20:12:55.123+02:00"`:       "2026-11-23T18:12:55.123000Z",
		`"2026-11-23T12:42:55.123-05:30"`:       "2026-11-23T18:12:55.123000Z",
		`"2024-02-29T00:00:00Z"`:                "2024-02-29T00:00:00.000000Z",
		`"2025-02-29T00:00:00Z"`:                "",
		`"2026-11-23 18:12:55Z"`:                "",
		`"2026-11-23T18:12:55"`:                 "",
		`"2026-11-23"`:                          "",
		`""`:                                    "",
		`"`:                                     "",
		`1795457575`:                            "",
		`null`:                                  "",
		`{}`:                                    "",
		`"2026-11-23T18:12:55.000000Z"garbage"`: "",
	} {
		var got chat.Time
		err := json.Unmarshal([]byte(in), &got)
		if want == "" {
			if err == nil {
				t.Errorf("%s: got %v; want an error", in, got)
			}
			continue
		}
		if b, _ := json.Marshal(got); err != nil || string(b) != `"`+want+`"` {
			t.Errorf("%s: got %s, %v; want %s", in, b, err, want)
		}
	}
}
