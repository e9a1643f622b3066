// Package pki makes the keys and certificates of a broker with accounts: an NKey for each role, an authority for clients and one
// for routes, and a certificate of both for each server. It promises to overwrite nothing: run again, it makes what is missing.
// It is for development and tests, and shows what production needs; there the authorities' keys belong on a machine of their own.
package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nkeys"
)

// Server is a server of the cluster, under the names and addresses by which it is reached.
type Server struct {
	Name  string
	Hosts []string
}

// Files in the folder, beside <server>.pem, <server>-route.pem and <role>.nk; the key of NAME.pem is NAME-key.pem.
const (
	// CA signs what servers show to clients, and clients to servers; RoutesCA what servers show each other.
	CA       = "ca.pem"
	RoutesCA = "routes-ca.pem"
	// Client is a certificate for clients, for brokers that ask for one.
	Client = "client.pem"
	// Env has the public keys of the roles as variables of the broker's configuration.
	Env = "nkeys.env"
)

// Lives of certificates.
const (
	caLife   = 10 * 365 * 24 * time.Hour
	certLife = 365 * 24 * time.Hour
)

// Write makes what is missing in dir: the authorities, a pair of certificates for each server, a certificate for clients, a seed
// for each role. variable names a role in the file Env, which is written anew.
func Write(dir string, servers []Server, roles []string, variable func(role string) string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	ca, err := authority(dir, CA, "chatmesh")
	if err != nil {
		return err
	}
	routes, err := authority(dir, RoutesCA, "chatmesh routes")
	if err != nil {
		return err
	}
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, s := range servers {
		if err := ca.sign(dir, s.Name+".pem", s.Name, s.Hosts, server); err != nil {
			return err
		}
		if err := routes.sign(dir, s.Name+"-route.pem", s.Name, s.Hosts, append(server, client...)); err != nil {
			return err
		}
	}
	if err := ca.sign(dir, Client, "chatmesh client", nil, client); err != nil {
		return err
	}
	var env bytes.Buffer
	for _, r := range roles {
		public, err := seed(filepath.Join(dir, r+".nk"))
		if err != nil {
			return err
		}
		fmt.Fprintf(&env, "NKEY_%s=%s\n", variable(r), public)
	}
	if err := os.WriteFile(filepath.Join(dir, Env), env.Bytes(), 0o644); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	return nil
}

// Key is the name of the file with the key of a certificate.
func Key(cert string) string { return cert[:len(cert)-len(".pem")] + "-key.pem" }

// signer is an authority.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// authority reads an authority, or makes it.
func authority(dir, name, subject string) (*signer, error) {
	certFile, keyFile := filepath.Join(dir, name), filepath.Join(dir, Key(name))
	if _, err := os.Stat(certFile); errors.Is(err, fs.ErrNotExist) {
		t, key, err := template(subject, caLife)
		if err != nil {
			return nil, err
		}
		t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
		t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		if err := write(certFile, keyFile, t, t, key, key); err != nil {
			return nil, err
		}
	}
	cert, err := block(certFile)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: %w", certFile, err)
	}
	key, err := block(keyFile)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParseECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: not the key of an authority that was made here", keyFile) // the cause may quote the key
	}
	return &signer{cert: c, key: k}, nil
}

// sign makes a certificate unless it is there.
func (s *signer) sign(dir, name, subject string, hosts []string, usage []x509.ExtKeyUsage) error {
	certFile := filepath.Join(dir, name)
	if _, err := os.Stat(certFile); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t, key, err := template(subject, certLife)
	if err != nil {
		return err
	}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, usage
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return write(certFile, filepath.Join(dir, Key(name)), t, s.cert, key, s.key)
}

func template(subject string, life time.Duration) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("pki: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("pki: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: subject}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(life)}, key, nil
}

// write signs a certificate and writes it after its key, so that one without its key is never there.
func write(certFile, keyFile string, t, parent *x509.Certificate, key, by *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, by)
	if err != nil {
		return fmt.Errorf("pki: %s: %w", certFile, err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("pki: %s: %w", keyFile, err)
	}
	err = os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600)
	if err == nil {
		err = os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	}
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	return nil
}

// block reads the first block of a PEM file.
func block(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	b, _ := pem.Decode(text)
	if b == nil {
		return nil, fmt.Errorf("pki: %s holds no PEM", file)
	}
	return b.Bytes, nil
}

// seed reads the seed of a user, or makes it, and returns the public key.
func seed(file string) (public string, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		var pair nkeys.KeyPair
		if pair, err = nkeys.CreateUser(); err == nil {
			text, err = pair.Seed()
		}
		if err == nil {
			err = os.WriteFile(file, append(bytes.Clone(text), '\n'), 0o600)
		}
	}
	if err != nil {
		return "", fmt.Errorf("pki: %w", err)
	}
	pair, err := nkeys.FromSeed(bytes.TrimSpace(text))
	if err != nil {
		return "", fmt.Errorf("pki: %s holds no seed of an NKey", file)
	}
	defer pair.Wipe()
	if public, err = pair.PublicKey(); err != nil || !nkeys.IsValidPublicUserKey(public) {
		return "", fmt.Errorf("pki: %s is not the seed of a user", file)
	}
	return public, nil
}
