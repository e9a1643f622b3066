package driver

import (
	"errors"
	"io"
	"net"
	"testing"
)

// exchange is what a server expects to read, and what it writes then.
type exchange struct{ want, answer string }

// serves takes one connection and goes through the exchanges; what was not as expected comes at the end, nil where all was.
func serves(t *testing.T, steps ...exchange) (address string, ended <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		defer l.Close()
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		for _, s := range steps {
			got := make([]byte, len(s.want))
			if _, err := io.ReadFull(c, got); err != nil {
				done <- err
				return
			}
			if string(got) != s.want {
				done <- errors.New("got " + string(got) + "; want " + s.want)
				return
			}
			if _, err := io.WriteString(c, s.answer); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return l.Addr().String(), done
}

func TestWhatABrokerSendsAgainWhileMQTTConnectsIsAcknowledgedAndNotDelivered(t *testing.T) {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address, ended := serves(t,
		exchange{"\x10\x0e\x00\x04MQTT\x04\x00\x00\x00\x00\x02u1", "\x20\x02\x01\x00\x3a\x09\x00\x02u1\x00\x05old"},
		exchange{"\x82\x0c\x00\x01\x00\x02u1\x01\x00\x02g1\x01", "\x90\x04\x00\x01\x01\x01\x32\x09\x00\x02u1\x00\x06new"},
		exchange{"\x40\x02\x00\x05", ""},
		exchange{"\x40\x02\x00\x06", ""})
	sink := &kept{notice: make(chan struct{}, 10)}
	s, err := l.MQTT(t.Context(), address, "u1", []string{"u1", "g1"}, sink)
	if err != nil {
		t.Fatal(err)
	}
	<-sink.notice
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(sink.texts) != 1 || sink.texts[0] != "new" {
		t.Errorf("got %q; want what is new", sink.texts)
	}
}

func TestARefusedSubscriptionEndsAnMQTTConnection(t *testing.T) {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address, _ := serves(t, exchange{"\x10\x0e\x00\x04MQTT\x04\x00\x00\x00\x00\x02u1", "\x20\x02\x00\x00"},
		exchange{"\x82\x07\x00\x01\x00\x02u1\x01", "\x90\x03\x00\x01\x80"})
	if _, err := l.MQTT(t.Context(), address, "u1", []string{"u1"}, &kept{}); err == nil {
		t.Error("got no error")
	}
}
