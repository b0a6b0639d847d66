package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// slowLine is a line between a client and the town: so many bits a second each way,
// and a round trip. A packet carries 1,360 bytes of TCP and costs 40 more; each end
// has 64 KiB of socket buffer. It counts bytes of TCP and packets, and how often the
// client had to wait for an answer before it could go on.
type slowLine struct {
	bits  int
	round time.Duration

	mu       sync.Mutex
	up, down int // bytes of TCP
	turns    int
	upLast   bool
}

const (
	segment    = 1360
	ipHeader   = 40
	socketSize = 64 << 10
)

// dialer puts the line in front of a dialer. A connection costs a round trip.
func (l *slowLine) dialer(d Dialer) Dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		far, err := d(ctx, network, address)
		if err != nil {
			return nil, err
		}
		time.Sleep(l.round)
		l.mu.Lock()
		l.turns++
		l.mu.Unlock()
		near, end := net.Pipe()
		go l.carry(far, end, true)
		go l.carry(end, far, false)
		return near, nil
	}
}

type packet struct {
	bytes []byte
	at    time.Time
}

// carry moves packets one way: through the sender's buffer, onto the line at its
// speed, and half a round trip later to the other end.
func (l *slowLine) carry(to, from net.Conn, up bool) {
	buffer, flying := make(chan []byte, socketSize/segment), make(chan packet, 1<<16)
	go func() {
		defer close(buffer)
		for {
			b := make([]byte, segment)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			buffer <- b[:n]
		}
	}()
	go func() {
		defer close(flying)
		for b := range buffer {
			time.Sleep(time.Duration(len(b)+ipHeader) * 8 * time.Second / time.Duration(l.bits))
			l.count(len(b), up)
			flying <- packet{b, time.Now().Add(l.round / 2)}
		}
	}()
	defer from.Close()
	defer to.Close()
	for p := range flying {
		time.Sleep(time.Until(p.at))
		if _, err := to.Write(p.bytes); err != nil {
			break
		}
	}
	for range flying { // nobody is there any more
	}
}

func (l *slowLine) count(n int, up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if up {
		l.up += n
	} else {
		l.down += n
		if l.upLast {
			l.turns++
		}
	}
	l.upLast = up
}

// usage returns what passed since it was last asked.
func (l *slowLine) usage() (up, down, turns int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	up, down, turns = l.up, l.down, l.turns
	l.up, l.down, l.turns, l.upLast = 0, 0, 0, false
	return up, down, turns
}

// certificates returns a server's TLS configuration whose chain has as many bytes as
// the larger ones of Let's Encrypt have, 4,000, and the root as a file.
func certificates(t *testing.T, host string) (c *tls.Config, rootFile string) {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	make1 := func(n int64, name string, ca bool, size int, by *x509.Certificate, k, signer *ecdsa.PrivateKey) (der []byte, parsed *x509.Certificate) {
		for filler := 0; ; filler = size - len(der) {
			temp := &x509.Certificate{SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
				NotAfter: time.Now().Add(90 * 24 * time.Hour), IsCA: ca, BasicConstraintsValid: true, DNSNames: []string{name},
				ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999}, Value: make([]byte, max(0, filler))}}}
			issuer := by
			if issuer == nil {
				issuer = temp
			}
			var err error
			if der, err = x509.CreateCertificate(rand.Reader, temp, issuer, &k.PublicKey, signer); err != nil {
				t.Fatal(err)
			}
			if parsed, err = x509.ParseCertificate(der); err != nil {
				t.Fatal(err)
			}
			if filler > 0 || size == 0 {
				return der, parsed
			}
		}
	}
	rk, ik, lk := key(), key(), key()
	rootDER, root := make1(1, "root", true, 0, nil, rk, rk)
	interDER, inter := make1(2, "intermediate", true, 1800, root, ik, rk)
	leafDER, _ := make1(3, host, false, 2200, inter, lk, ik)
	rootFile = filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(rootFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER, interDER}, PrivateKey: lk}}, MinVersion: tls.VersionTLS13}, rootFile
}
