package main

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kin/internal/span"
	"kin/protocol"
)

// certificate is what the relay serves TLS with. It is read again when its files have
// changed: a renewal takes no restart.
type certificate struct {
	files [2]string // the certificate's and its key's

	mu     sync.Mutex
	served *tls.Certificate
	read   [2]os.FileInfo // the files that served is of
}

func readCertificate(cert, key string) (*certificate, error) {
	c := &certificate{files: [2]string{cert, key}}
	return c, c.readAgain()
}

// readAgain reads the files if they have changed. mu is held, or nobody else is there.
func (c *certificate) readAgain() error {
	var now [2]os.FileInfo
	same := true
	for i, name := range c.files {
		var err error
		if now[i], err = os.Stat(name); err != nil {
			return err
		}
		was := c.read[i]
		same = same && was != nil && os.SameFile(was, now[i]) && was.ModTime().Equal(now[i].ModTime()) && was.Size() == now[i].Size()
	}
	if same {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err == nil {
		c.served, c.read = &pair, now
	}
	return err
}

// current is what is served now: what was read before, while only one of the two files is new.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.readAgain()
	return c.served
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil }}
}

// life is from when to when a certificate is good; zero without TLS.
type life struct{ From, Until time.Time }

func (c *certificate) life() life {
	if c == nil {
		return life{}
	}
	leaf := c.current().Leaf
	return life{leaf.NotBefore, leaf.NotAfter}
}

// renewBefore is how long before its end a certificate should have been renewed: what renews
// by itself does so when a third of its life is left, and has tried for a while by then.
const renewBefore = 14 * span.Day

// inspect tells of a certificate that needs somebody.
func (l life) inspect(now time.Time, say func(string, ...any)) {
	end := l.Until.Format("2006-01-02 15:04")
	switch left := l.Until.Sub(now); {
	case l.Until.IsZero():
	case left <= 0:
		say("relay.check.certificate-over", end)
	case left < min(renewBefore, l.Until.Sub(l.From)/4):
		say("relay.check.certificate-ends", end)
	}
}

// name is the first host that the certificate is for and that can be a relay's; "" if it names
// none.
func (c *certificate) name() string {
	for _, n := range c.current().Leaf.DNSNames {
		if _, err := protocol.ParseHost("wss://" + n); err == nil {
			return n
		}
	}
	return ""
}

// isFor tells whether clients who connect to an IP address take the certificate.
func (c *certificate) isFor(ip string) bool { return c.current().Leaf.VerifyHostname(ip) == nil }

// folders are those in which the files are looked for, by name and by the link that a renewal
// turns to another file.
func (c *certificate) folders() (dirs []string) {
	if c == nil {
		return nil
	}
	for _, name := range c.files {
		dirs = append(dirs, filepath.Dir(name))
		if file, err := filepath.EvalSymlinks(name); err == nil {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return dirs
}

// unspecified tells whether host stands for all addresses of this machine.
func unspecified(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }
