package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/chatmesh/chatmesh/bench/inside"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// ours is chatmesh within this process.
type ours struct{ *inside.Mesh }

// startOurs starts services with the broker and the store under dir, and returns when they are ready.
func startOurs(ctx context.Context, dir string, services ...mesh.Service) (*ours, error) {
	m, err := inside.Start(ctx, dir, []string{"--node=bench"}, services...)
	if err != nil {
		return nil, err
	}
	return &ours{m}, nil
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
	r, err := http.NewRequestWithContext(ctx, method, m.URL+path, body)
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
