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

// certify writes a certificate of this machine's, and its key.
func certify(t *testing.T, cert, key string) *x509.CertPool {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	of, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: of}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return roots
}
