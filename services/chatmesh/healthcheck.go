package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthcheckCmd is the command healthcheck, for images that have no shell and no other client.
type healthcheckCmd struct {
	URL     string        `name:"url" placeholder:"URL" help:"Page to ask. Default: none, /readyz of --admin-listen on this machine."`
	Timeout time.Duration `name:"timeout" default:"3s" placeholder:"DURATION" help:"How long the answer may take. Default ${default}."`
}

// Help tells what the command does.
func (healthcheckCmd) Help() string {
	return `Asks a process of chatmesh on this machine whether it is ready. The exit code is 0 if it is; otherwise one line says what it waits for.`
}

// Run asks.
func (h healthcheckCmd) Run(ctx context.Context, cli *commands, out io.Writer) error {
	url := h.URL
	if url == "" {
		url = "http://" + local(cli.AdminListen) + "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("--url: %q is not a URL such as http://127.0.0.1:8081/readyz", url)
	}
	t := &http.Transport{DisableKeepAlives: true} // and no proxy: it is this machine
	res, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		_, err := fmt.Fprintln(out, "healthy")
		return err
	}
	var answer struct {
		Waiting []string `json:"waiting"`
	}
	body := io.LimitReader(res.Body, 64<<10)
	if json.NewDecoder(body).Decode(&answer) != nil || len(answer.Waiting) == 0 {
		return errors.New("not healthy: " + url + " answers " + res.Status)
	}
	return errors.New("not healthy: it waits for " + strings.Join(answer.Waiting, "; "))
}

// local is the address under which a listener of this machine is reached from it.
func local(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
