// Package web owns the chat page: its sources, which npm builds into dist, and the handler that serves what was built. It
// promises that the page comes from this binary alone, under a content security policy that lets nothing else run.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// policy lets the page load and run what comes from this server, and lets its texts become nothing but text.
const policy = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self'; " +
	"script-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'"

// types are the content types of what a build consists of. They are fixed here because the system's own table differs
// from machine to machine.
var types = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file is one file of the build, ready to be sent.
type file struct {
	contentType  string
	cacheControl string
	etag         string
	plain        []byte
	// packed is plain under gzip; nil where that would not be smaller.
	packed []byte
}

// Handler serves the page at "/" and the files that it needs; anything else is not found, for the page keeps its own
// places behind a "#". Files below /assets/ carry a hash of their content in their names and may be kept for ever; the
// page itself is asked for each time. It panics when the embedded build has a file of an unknown type.
func Handler() http.Handler {
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(fmt.Sprintf("web: embedded build: %v", err))
	}
	files, err := read(root)
	if err != nil {
		panic(fmt.Sprintf("web: embedded build: %v", err))
	}
	return site(files)
}

// site answers requests from a fixed set of files, by path.
type site map[string]*file

// ServeHTTP implements http.Handler.
func (s site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	f := s[r.URL.Path]
	if f == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f.serve(w, r)
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", f.cacheControl)
	h.Set("Vary", "Accept-Encoding")
	body, etag := f.plain, f.etag
	packed := f.packed != nil && acceptsGzip(r.Header.Get("Accept-Encoding"))
	if packed {
		body, etag = f.packed, f.etag+"-gz"
	}
	h.Set("ETag", `"`+etag+`"`)
	if matches(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if packed {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", f.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // the client may have gone, which is its own affair
	}
}

// acceptsGzip tells whether the header names gzip and does not refuse it.
func acceptsGzip(header string) bool {
	for item := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(item), ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		q, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !found || err == nil && weight > 0
	}
	return false
}

// matches tells whether an If-None-Match header names the file, in whatever coding it was sent before.
func matches(header, etag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		tag := strings.Trim(strings.TrimPrefix(strings.TrimSpace(item), "W/"), `"`)
		if tag == "*" || strings.TrimSuffix(tag, "-gz") == etag {
			return true
		}
	}
	return false
}

// read loads every file of a build, by the path under which it is served.
func read(root fs.FS) (site, error) {
	files := site{}
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := newFile(name, body)
		if err != nil {
			return err
		}
		files["/"+name] = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	index := files["/index.html"]
	if index == nil {
		return nil, fmt.Errorf("no index.html: %w", fs.ErrNotExist)
	}
	files["/"] = index
	return files, nil
}

func newFile(name string, body []byte) (*file, error) {
	contentType := types[path.Ext(name)]
	if contentType == "" {
		return nil, fmt.Errorf("%s: no content type for this kind of file", name)
	}
	sum := sha256.Sum256(body)
	f := &file{contentType: contentType, cacheControl: "no-cache", etag: hex.EncodeToString(sum[:12]), plain: body}
	if strings.HasPrefix(name, "assets/") {
		f.cacheControl = "public, max-age=31536000, immutable"
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if buf.Len() < len(body) {
		f.packed = buf.Bytes()
	}
	return f, nil
}
