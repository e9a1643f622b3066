// Package docs owns the descriptions of the server that programs read: OpenAPI for HTTP, AsyncAPI for the WebSocket and
// NATS. It promises that the program serves them as they stand here; tests hold them against the code.
package docs

import "embed"

//go:embed *.yaml
var files embed.FS

// OpenAPI is openapi.yaml: every call under /v1.
func OpenAPI() []byte { return read("openapi.yaml") }

// AsyncAPI is asyncapi.yaml: the frames of the WebSocket, and everything on NATS.
func AsyncAPI() []byte { return read("asyncapi.yaml") }

func read(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic("docs: " + err.Error()) // it would not have been built without
	}
	return b
}
