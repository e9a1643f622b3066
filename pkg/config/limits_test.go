package config

import (
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/limit"
)

func TestLimitsAreAListOnTheCommandLineAndAMappingInTheFile(t *testing.T) {
	for where, start := range map[string]func(t *testing.T) *program{
		"flags": func(t *testing.T) *program {
			return mustParse(t, "--limits=send=3/m:7, login.address=off", "--limits", "connections=50")
		},
		"variable": func(t *testing.T) *program {
			t.Setenv("CHATMESH_LIMITS", "send=3/m:7,login.address=off,connections=50")
			return mustParse(t)
		},
		"list": func(t *testing.T) *program {
			write(t, "a.yaml", "limits: [send=3/m:7, login.address=off, connections=50]")
			return mustParse(t, "--config=a.yaml")
		},
		"mapping": func(t *testing.T) *program {
			write(t, "a.yaml", "limits:\n  send: 3/m:7\n  login.address: off\n  connections: 50\n")
			return mustParse(t, "--config=a.yaml")
		},
	} {
		t.Run(where, func(t *testing.T) {
			clean(t)
			r, err := start(t).Rules()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := r.Rates[limit.Send][limit.Person], (limit.Rate{Count: 3, Per: time.Minute, Burst: 7}); got != want {
				t.Errorf("got %v; want %v", got, want)
			}
			if got := r.Rates[limit.Login][limit.Address]; got != (limit.Rate{}) || r.Connections != 50 {
				t.Errorf("got %v, %d connections; want off, 50", got, r.Connections)
			}
			if got, want := r.Rates[limit.Edit], limit.DefaultRules().Rates[limit.Edit]; got[limit.Person] != want[limit.Person] {
				t.Errorf("got %v; want what was not set as it is by default", got)
			}
		})
	}
}

func TestWrongLimitsAreOneClearLine(t *testing.T) {
	clean(t)
	write(t, "a.yaml", "\nlimits: {sned: 1/s:1}")
	write(t, "b.yaml", "limits: {send: [1/s:1]}")
	write(t, "c.yaml", "limits: {send: '1/s:1,edit=off'}")
	for _, c := range []struct{ arg, want string }{
		{"--limits=sned=1/s:1", `--limits: there is no limit "sned"; they are send, edit, `},
		{"--limits=send", `--limits: "send" is not NAME=VALUE, such as send=20/s:100`},
		{"--limits=send=20", `--limits: send: "20" is neither off nor COUNT/UNIT:BURST, such as 20/s:100`},
		{"--limits=register=1/s:1", `--limits: there is no limit "register"; of register there are register.address`},
		{"--limits=connections=0", `--limits: connections: "0" is no number from 1 to 100000, nor off`},
		{"--limits=keys=off", `--limits: keys: "off" is no number from 1000 to 10000000`},
		{"--limits=send=1/s:1,send.person=2/s:2", `--limits: send stands there twice`},
		{"--config=a.yaml", `--limits: there is no limit "sned"; they are `},
		{"--config=b.yaml", `--config: b.yaml:1: limits: takes lines of the form name: value, such as send: 20/s:100`},
		{"--config=c.yaml", `--config: c.yaml:1: limits: takes lines of the form name: value, such as send: 20/s:100`},
	} {
		_, err := parse(t, c.arg)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v; want %s", c.arg, err, c.want)
		}
	}
	if _, err := parse(t, "--config=a.yaml"); err == nil || !strings.HasSuffix(err.Error(), "(from a.yaml:2)") {
		t.Errorf("got %v; want the line of the file", err)
	}
}
