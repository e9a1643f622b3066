package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxKeyFile is the size in bytes above which a file holds no key of ours. One has 119.
const maxKeyFile = 16 << 10

// KeyID names a public key, as the kid of a token does: the first 9 bytes of its SHA-256 as 12 of [A-Za-z0-9_-].
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// LoadOrCreateKey returns the private key in the PKCS#8 PEM file at path. Where there is no file it makes a key and
// writes one, readable by its owner only; the directory must exist. The file appears whole or not at all, is on disk
// when this returns, and of processes that race to make it all get the same key. It fails when the file is readable
// or writable by group or others, or holds anything but one Ed25519 key.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return loadKey(path)
}

func loadKey(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("auth: key: %w", err)
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("auth: key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("auth: key: %s is not a file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" { // Windows has no such bits
		return nil, fmt.Errorf("auth: key: %s is open to others (mode %04o): chmod 600 it", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("auth: key: %w", err)
	}
	key, ok := parseKey(text)
	if !ok {
		return nil, fmt.Errorf("auth: key: %s does not hold one Ed25519 private key in PKCS#8 PEM", path)
	}
	return key, nil
}

func parseKey(text []byte) (ed25519.PrivateKey, bool) {
	if len(text) > maxKeyFile {
		return nil, false
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, false
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, false
	}
	private, ok := key.(ed25519.PrivateKey)
	return private, ok
}

// createKey writes a new key. It fails with fs.ErrExist when another was faster.
func createKey(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("auth: new key: %w", err)
		}
	}()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // the link below is what stays
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename it does not replace another's key
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // cannot open directories
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
