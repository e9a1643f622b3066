// Package stack loads compose.yaml as a container engine does and runs its command lines as processes of this machine, without
// containers: the same programs, arguments, environment and files, where names of services, addresses and paths of a container become
// those of the machine. It promises that nothing else is changed, that what it cannot map is an error, and that no process it started
// outlives the test.
package stack

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// Stack is a loaded compose.yaml, in a folder of its own with secrets of its own.
type Stack struct {
	Project *types.Project
	// Dir is the folder that the file was loaded in: links to what it mounts, and its own secrets.
	Dir string
	// image is the environment that the Dockerfile gives the image of chatmesh.
	image map[string]string
	// ports are the addresses of this machine, by service and port: "nats-1:4222".
	ports map[string]string
	// folders are those of named volumes, by name.
	folders map[string]string
}

// Load makes secrets with the documented command, which calls the program chatmesh, and loads the compose.yaml of the checkout at root
// with all of its profiles and the variables given, as NAME=VALUE. Everything that is made lies under dir.
func Load(ctx context.Context, root, dir, chatmesh string, variables ...string) (*Stack, error) {
	for _, name := range []string{"compose.yaml", "nats", "deploy"} {
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "compose-secrets"), filepath.Join(dir, "secrets"))
	cmd.Env = append(cmd.Environ(), "CHATMESH="+chatmesh)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("stack: compose-secrets: %w\n%s", err, out)
	}
	opts, err := cli.NewProjectOptions([]string{filepath.Join(dir, "compose.yaml")}, cli.WithWorkingDirectory(dir), cli.WithEnv(variables),
		cli.WithInterpolation(true), cli.WithNormalization(true), cli.WithConsistency(true), cli.WithResolvedPaths(true),
		cli.WithProfiles([]string{"*"}))
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	p, err := opts.LoadProject(ctx)
	if err != nil {
		return nil, fmt.Errorf("stack: compose.yaml: %w", err)
	}
	image, err := dockerEnv(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	return &Stack{Project: p, Dir: dir, image: image, ports: map[string]string{}, folders: map[string]string{}}, nil
}

var envLine = regexp.MustCompile(`(?m)^ENV (\w+)=(\S+)$`)

// dockerEnv reads what a Dockerfile sets in the environment.
func dockerEnv(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	out := map[string]string{}
	for _, m := range envLine.FindAllStringSubmatch(string(text), -1) {
		out[m[1]] = m[2]
	}
	if n := strings.Count("\n"+string(text), "\nENV "); n != len(out) || n == 0 {
		return nil, fmt.Errorf("stack: the Dockerfile has %d lines of ENV, of which %d are read", n, len(out))
	}
	return out, nil
}

// Services of an image whose name begins so, sorted.
func (s *Stack) Services(image string) []string {
	var out []string
	for name, c := range s.Project.Services {
		if strings.HasPrefix(c.Image, image) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Map says that a port of a service is an address of this machine.
func (s *Stack) Map(service string, port int, address string) {
	s.ports[fmt.Sprintf("%s:%d", service, port)] = address
}

// Address is where a port of a service is on this machine; empty where it was not mapped.
func (s *Stack) Address(service string, port int) string {
	return s.ports[fmt.Sprintf("%s:%d", service, port)]
}

// Volume says which folder of this machine a named volume is.
func (s *Stack) Volume(name, folder string) { s.folders[name] = folder }

// environment of a service, with that of its image, translated, as NAME=VALUE.
func (s *Stack) environment(service string) ([]string, error) {
	c := s.Project.Services[service]
	env := map[string]string{}
	if strings.HasPrefix(c.Image, "chatmesh:") {
		maps.Copy(env, s.image)
	}
	for name, value := range c.Environment {
		if value == nil {
			return nil, fmt.Errorf("stack: %s: %s has no value", service, name)
		}
		env[name] = *value
	}
	out := []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range env {
		text, err := s.Translate(service, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, name+"="+text)
	}
	slices.Sort(out)
	return out, nil
}

// Command is the command line of a service, with program in place of what the container begins with: the entrypoint of the image, or
// the first word. skip words of the command are that.
func (s *Stack) Command(ctx context.Context, service, program string, skip int) (*exec.Cmd, error) {
	c, ok := s.Project.Services[service]
	if !ok {
		return nil, fmt.Errorf("stack: there is no service %s", service)
	}
	var args []string
	for _, word := range c.Command[skip:] {
		text, err := s.Translate(service, word)
		if err != nil {
			return nil, err
		}
		args = append(args, text)
	}
	env, err := s.environment(service)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = env, s.Dir
	return cmd, nil
}
