package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
)

// file is where the lines go. It knows which events it has, as far as they can come again, so that each stands in it once.
type file struct {
	mu    sync.Mutex // guards the following fields
	to    *os.File
	synch bool
	has   map[string]map[uint64]bool
}

// open opens a file to add to, and learns what it has; without a name it is standard output, which is not known from before.
func open(name string) (*file, error) {
	f := &file{to: os.Stdout, has: map[string]map[uint64]bool{}}
	if name == "" {
		return f, nil
	}
	to, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	f.to, f.synch = to, true
	if err := f.learn(); err != nil {
		return nil, errors.Join(err, to.Close())
	}
	return f, nil
}

func (f *file) close() {
	if f.synch {
		_ = f.to.Close() // everything was synced
	}
}

// learn reads the file. A line without an end was being written when the process died: it is cut off, and its event comes again.
func (f *file) learn() error {
	r := bufio.NewReader(f.to)
	end := int64(0)
	for {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		end += int64(len(text))
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return err
		}
		f.know(l.Stream, l.StreamSeq)
	}
	if err := f.to.Truncate(end); err != nil {
		return err
	}
	_, err := f.to.Seek(end, io.SeekStart)
	return err
}

func (f *file) know(stream string, seq uint64) {
	if f.has[stream] == nil {
		f.has[stream] = map[uint64]bool{}
	}
	f.has[stream][seq] = true
}

// add writes the lines that the file does not have. When it returns they are on disk.
func (f *file) add(lines []line) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	for _, l := range lines {
		if f.has[l.Stream][l.StreamSeq] {
			continue
		}
		if err := enc.Encode(l); err != nil {
			return err
		}
		f.know(l.Stream, l.StreamSeq)
	}
	if text.Len() == 0 {
		return nil
	}
	if _, err := f.to.Write(text.Bytes()); err != nil {
		return err
	}
	if f.synch {
		return f.to.Sync()
	}
	return nil
}

// forget drops what can not come again: everything of the stream up to the floor is acked.
func (f *file) forget(stream string, floor uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for seq := range f.has[stream] {
		if seq <= floor {
			delete(f.has[stream], seq)
		}
	}
}
