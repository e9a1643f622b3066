package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"sync"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// ours is chatmesh within this process.
type ours struct {
	// url is where clients call, broker where NATS is.
	url, broker string
	partitions  int
	stop        func() error
}

var whereLine = regexp.MustCompile(`open (http://\S+?)/? .*(nats://[^\s)]+)`)

// startOurs starts services with the broker and the store under dir, and returns when they are ready.
func startOurs(ctx context.Context, dir string, services ...mesh.Service) (*ours, error) {
	var cli struct{ config.Settings }
	if _, err := config.Parse([]string{"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--nats-listen=127.0.0.1:0", "--rate-limits=off",
		"--data=" + dir, "--node=bench"}, &cli); err != nil {
		return nil, err
	}
	m, err := mesh.New(&cli.Settings, "0.0.0-bench", slog.New(slog.DiscardHandler), services...)
	if err != nil {
		return nil, err
	}
	back, cancel := context.WithCancel(context.WithoutCancel(ctx))
	said, ended := make(said, 1), make(chan struct{})
	var endErr error
	go func() { defer close(ended); endErr = m.Run(back, said) }()
	stop := sync.OnceValue(func() error { cancel(); <-ended; return endErr })
	select {
	case line := <-said:
		found := whereLine.FindStringSubmatch(line)
		if found == nil {
			return nil, errors.Join(fmt.Errorf("a mesh said %q", line), stop())
		}
		return &ours{url: found[1], broker: found[2], partitions: cli.Partitions, stop: stop}, nil
	case <-ended:
		cancel()
		return nil, errors.Join(errors.New("the mesh ended"), endErr)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), stop())
	}
}

// said takes what is written, as much as it holds.
type said chan string

// Write takes a line, or drops it.
func (s said) Write(b []byte) (int, error) {
	select {
	case s <- string(b):
	default:
	}
	return len(b), nil
}

// call calls the API and reads the answer into out, which may be nil, or takes it as it came.
func (m *ours) call(ctx context.Context, method, path, token string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, m.url+path, body)
	if err != nil {
		return err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *[]byte: // as it came
		*out = b
		return nil
	}
	return json.Unmarshal(b, out)
}

// person registers somebody.
func (m *ours) person(ctx context.Context, name string) (id, token string, err error) {
	var a struct {
		User struct {
			ID string `json:"id"`
		} `json:"user"`
		Token string `json:"access_token"`
	}
	err = m.call(ctx, http.MethodPost, "/v1/users", "", map[string]string{"username": name, "password": "a password of the bench"}, &a)
	return a.User.ID, a.Token, err
}
