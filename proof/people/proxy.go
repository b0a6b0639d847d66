package people

import (
	"io"
	"net"
	"sync"
)

// Proxy stands between clients and a relay, and does something when a certain piece has
// gone to the relay.
type Proxy struct {
	listener net.Listener

	mu   sync.Mutex
	to   string
	left int // pieces from clients until then
	then func()
}

// NewProxy starts a proxy, for MakeTown.
func NewProxy() (*Proxy, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback(), "0"))
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			to := p.to
			p.mu.Unlock()
			r, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			go pass(c, r, func() {})
			go pass(r, c, p.passed)
		}
	}()
	return p, nil
}

func (p *Proxy) address() string {
	if p == nil {
		return ""
	}
	return p.listener.Addr().String()
}

func (p *Proxy) forwardTo(address string) {
	if p != nil {
		p.mu.Lock()
		p.to = address
		p.mu.Unlock()
	}
}

func pass(to io.WriteCloser, from io.ReadCloser, passed func()) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			return
		}
		passed()
	}
}

func (p *Proxy) passed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left == 0 && p.then != nil {
		p.then()
		p.then = nil
	}
}

// At has then called when the n-th piece from now on has gone to the relay.
func (p *Proxy) At(n int, then func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.then = n, then
}

// Close ends the proxy.
func (p *Proxy) Close() error { return p.listener.Close() }
