package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"kin/internal/span"
	"kin/protocol"
)

// TestALinkThroughTLS: with a certificate the link comes up through TLS, and commands are
// answered.
func TestALinkThroughTLS(t *testing.T) {
	dir := t.TempDir()
	roots := certify(t, filepath.Join(dir, "cert"), filepath.Join(dir, "key"))
	a := start(t, "--tls-cert", filepath.Join(dir, "cert"), "--tls-key", filepath.Join(dir, "key"))
	d := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}, TLSClientConfig: &tls.Config{RootCAs: roots}}
	ws, _, err := d.Dial(a.Hosts[0].URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	_, hello, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	answer, link, _, err := protocol.Connect(hello, a.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, answer); err != nil {
		t.Fatal(err)
	}
	for i := range byte(3) {
		f := &protocol.Fetch{Corr: protocol.Corr{23: i + 1}}
		if err := ws.WriteMessage(websocket.BinaryMessage, link.Seal(nil, f.Type(), f.Body())); err != nil {
			t.Fatal(err)
		}
		_, b, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		frame, err := link.Open(b[0], b[1:])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := protocol.ParseAnswer(frame); err != nil || got.(*protocol.Error).Code != protocol.CodeUnknown {
			t.Errorf("a FETCH of nothing was answered %v, %v", got, err)
		}
	}
}

// TestNoHTTP2ThroughTLS: it would carry any number of requests past the pace of connections.
func TestNoHTTP2ThroughTLS(t *testing.T) {
	dir := t.TempDir()
	roots := certify(t, filepath.Join(dir, "cert"), filepath.Join(dir, "key"))
	a := start(t, "--tls-cert", filepath.Join(dir, "cert"), "--tls-key", filepath.Join(dir, "key"))
	c, err := tls.Dial("tcp", a.Hosts[0].Name, &tls.Config{RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("%q was agreed on", got)
	}
}

// TestARenewedCertificateIsServed: without a restart, where a link is turned to the new files.
func TestARenewedCertificateIsServed(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	turn := func(to string) {
		t.Helper()
		for _, name := range []string{"cert", "key"} {
			if err := os.Symlink(in(to+name), in("next")); err != nil {
				t.Skip("NOT RUN:", err)
			}
			if err := os.Rename(in("next"), in(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Mkdir(in("archive"), 0o700); err != nil {
		t.Fatal(err)
	}
	old := certify(t, in("archive/1cert"), in("archive/1key"))
	turn("archive/1")
	a := start(t, "--tls-cert", in("cert"), "--tls-key", in("key"))
	dial := func(roots *x509.CertPool) error {
		c, err := tls.Dial("tcp", a.Hosts[0].Name, &tls.Config{RootCAs: roots})
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial(old); err != nil {
		t.Fatal(err)
	}
	renewed := certify(t, in("archive/2cert"), in("archive/2key"))
	turn("archive/2")
	if err := dial(renewed); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(in("archive/2key"), nil, 0o600); err != nil { // half of the next
		t.Fatal(err)
	}
	if err := dial(renewed); err != nil {
		t.Errorf("while it is being renewed: %v", err)
	}
}

// TestTheCertificateNamesTheRelay: where it listens on all addresses, of which none is where
// clients reach it, or on one at which they would refuse the certificate.
func TestTheCertificateNamesTheRelay(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	if _, err := writeCertificate(cert, key, time.Now().Add(time.Hour), "*.example.org", "relay.example.org"); err != nil {
		t.Fatal(err)
	}
	for _, all := range []string{"0.0.0.0:0", ":0"} {
		a := start(t, "--listen", all, "--tls-cert", cert, "--tls-key", key)
		if host, _, err := net.SplitHostPort(a.Hosts[0].Name); err != nil || host != "relay.example.org" {
			t.Errorf("it is at %q, %v", host, err)
		}
	}
	s := serveFlags{}
	var err error
	if s.tls, err = readCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	for _, ip := range []net.IP{net.IPv6unspecified, net.IPv4(203, 0, 113, 5)} { // the certificate is for neither
		if got := s.reachedAt(&net.TCPAddr{IP: ip, Port: 443}); got != "wss://relay.example.org" {
			t.Errorf("on %v it is at %q", ip, got)
		}
	}
	if got := s.reachedAt(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}); got != "wss://127.0.0.1:443" {
		t.Errorf("%q", got)
	}
}

// certify writes a certificate of this machine's, and its key.
func certify(t *testing.T, cert, key string) *x509.CertPool {
	t.Helper()
	roots, err := writeCertificate(cert, key, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

// writeCertificate writes a certificate, for this machine and hosts, and its key.
func writeCertificate(cert, key string, until time.Time, hosts ...string) (*x509.CertPool, error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-90 * span.Day), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: hosts}
	der, err := x509.CreateCertificate(rand.Reader, c, c, secret.Public(), secret)
	if err != nil {
		return nil, err
	}
	of, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return nil, err
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: of}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return roots, nil
}
