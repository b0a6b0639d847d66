package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"kin/bench/gauge"
	"kin/protocol"
)

// attacker is a process that troubles a relay from many connections until its standard
// input ends.
type attacker struct {
	relay gauge.Announced
	stats stats
	stop  chan struct{}
	pairs chan *pair // for put and cancel, made before they begin
}

// stats are what an attacker did.
type stats struct {
	Tried   atomic.Int64 // connections, or commands of a flood
	Refused atomic.Int64 // of them, at once or with an error
	Held    atomic.Int64 // connections that are open now
}

type told struct{ Tried, Refused, Held int64 }

// slow attacks hold what they open; each is one connection, until it is closed. The
// first part is written at once, then a byte a second.
var slow = map[string]func(a *attacker) (net.Conn, error){
	"no-byte": func(a *attacker) (net.Conn, error) { return dialTCP(a.relay) },
	"header":  func(a *attacker) (net.Conn, error) { return a.begin("GET / HTTP/1.1\r\nHost: relay\r\nX: ") },
	"body": func(a *attacker) (net.Conn, error) {
		return a.begin("POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 200000\r\n\r\n")
	},
	"keepalive": func(a *attacker) (net.Conn, error) { return a.begin("GET / HTTP/1.1\r\nHost: relay\r\n\r\n") },
	"upgrade": func(a *attacker) (net.Conn, error) {
		ws, err := upgrade(a.relay)
		if err != nil {
			return nil, err
		}
		return ws.NetConn(), nil
	},
	"hello": func(a *attacker) (net.Conn, error) { // a link's answer that never ends
		ws, err := upgrade(a.relay)
		if err != nil {
			return nil, err
		}
		return ws.NetConn(), masked(ws.NetConn(), protocol.ClientHello, make([]byte, 100))
	},
	"chunk": func(a *attacker) (net.Conn, error) { // a frame of 64 KiB that never ends
		c, err := dial("kin", a.relay)
		if err != nil {
			return nil, err
		}
		return c.ws.NetConn(), masked(c.ws.NetConn(), 1+protocol.ChunkFrame+16, append([]byte{2}, make([]byte, 2000)...))
	},
}

// floods send as fast as the relay takes it, on one connection.
var floods = map[string]func(a *attacker) error{
	"connect": func(a *attacker) error {
		c, err := dialTCP(a.relay)
		if err != nil {
			return err
		}
		a.stats.Tried.Add(1)
		return c.Close()
	},
	"link":  linkAndLeave,
	"crowd": linkAndLeave,
	"deaf": func(a *attacker) error { // never reads an answer
		c, err := dial("kin", a.relay)
		if err != nil {
			return err
		}
		return a.commands(c, func() error { return sixteen(c, manyQueues) })
	},
	"sub": func(a *attacker) error {
		return a.reading(manyQueues)
	},
	"unsub": func(a *attacker) error {
		return a.reading(func(c *client) protocol.Command { return &protocol.Unsub{Corr: c.number(), Handle: 1} })
	},
	"new": func(a *attacker) error {
		return a.reading(func(c *client) protocol.Command {
			n := &protocol.New{Corr: c.number()}
			n.Key[0] = byte(c.corr.Number())
			n.Key[1] = 9
			return n
		})
	},
	"issue": func(a *attacker) error { // with a grant that there is not
		return a.reading(func(c *client) protocol.Command {
			return &protocol.Issue{Corr: c.number(), Hashes: make([][32]byte, 1)}
		})
	},
	"fetch": func(a *attacker) error {
		return a.reading(func(c *client) protocol.Command { return &protocol.Fetch{Corr: c.number()} })
	},
	"put": func(a *attacker) error { // over the pace of a queue of their own
		messages := slices.Repeat([][]byte{make([]byte, protocol.EnvelopeSize)}, 16)
		return a.putting(func(p *pair) error { return p.Put(messages) })
	},
	"cancel": func(a *attacker) error { // what was put, or refused, just now
		message := make([]byte, protocol.EnvelopeSize)
		return a.putting(func(p *pair) error {
			for range 8 {
				p.queuePut(message)
				c := &protocol.Cancel{Corr: p.from.number(), Sender: p.put.Sender, Message: p.put.Message}
				c.Proof = p.key.Prove(p.from.sid, c.Corr, c.SignedBytes())
				p.from.queue(c.Type(), c.Body())
			}
			return p.from.flush()
		})
	},
	"ping": func(a *attacker) error { // of websockets: nothing is shorter, and each is answered
		c, err := dial("kin", a.relay)
		if err != nil {
			return err
		}
		go a.drain(c)
		return a.commands(c, func() error {
			for range 16 {
				if err := c.ws.WriteControl(websocket.PingMessage, nil, time.Time{}); err != nil {
					return err
				}
			}
			return nil
		})
	},
	"garbage": func(a *attacker) error {
		c, err := dial("kin", a.relay)
		if err != nil {
			return err
		}
		defer c.ws.Close()
		a.stats.Tried.Add(1)
		return c.ws.WriteMessage(websocket.BinaryMessage, make([]byte, 1+protocol.MessageFrame+16))
	},
	"oversize": func(a *attacker) error {
		c, err := dial("kin", a.relay)
		if err != nil {
			return err
		}
		defer c.ws.Close()
		a.stats.Tried.Add(1)
		return masked(c.ws.NetConn(), 1<<40, make([]byte, 64<<10))
	},
}

func linkAndLeave(a *attacker) error {
	c, err := dial("kin", a.relay)
	if err != nil {
		return err
	}
	a.stats.Tried.Add(1)
	return c.ws.Close()
}

// many are the attacks for which it matters that their connections are more than the
// relay lets be without a link: those that hold them, and a crowd that comes in.
func many(kind string) bool { return slow[kind] != nil || kind == "crowd" }

// attacks are the names of all, slow ones first.
func attacks() []string {
	return append(slices.Sorted(maps.Keys(slow)), slices.Sorted(maps.Keys(floods))...)
}

// manyQueues asks for 40 queues that there are not.
func manyQueues(c *client) protocol.Command {
	return &protocol.Sub{Corr: c.number(), Queues: make([]protocol.ID, protocol.MaxSub), Proofs: make([]protocol.Proof, protocol.MaxSub)}
}

// masked writes the head of a client's binary websocket message of n bytes, and the
// first of them.
func masked(c net.Conn, n uint64, b []byte) error {
	head := binary.BigEndian.AppendUint64([]byte{0x82, 0x80 | 127}, n)
	_, err := c.Write(append(append(head, 0, 0, 0, 0), b...))
	return err
}

func (a *attacker) begin(text string) (net.Conn, error) {
	c, err := dialTCP(a.relay)
	if err == nil {
		_, err = io.WriteString(c, text)
	}
	return c, err
}

// pair is one that was made before, or a new one in place of one that broke.
func (a *attacker) pair() (*pair, error) {
	select {
	case p := <-a.pairs:
		return p, nil
	default:
		p, err := newPair("kin", a.relay, 0)
		if err != nil {
			return nil, err
		}
		return p.(*pair), nil
	}
}

// hold opens a connection and keeps it for as long as it lasts.
func (a *attacker) hold(open func(*attacker) (net.Conn, error)) {
	a.stats.Tried.Add(1)
	c, err := open(a)
	if err != nil {
		a.stats.Refused.Add(1)
		a.pause(100 * time.Millisecond)
		return
	}
	defer c.Close()
	a.stats.Held.Add(1)
	defer a.stats.Held.Add(-1)
	go func() {
		for a.pause(time.Second) {
			if _, err := c.Write([]byte{'0'}); err != nil {
				return
			}
		}
		c.Close()
	}()
	io.Copy(io.Discard, c)
}

// pause tells whether the attack goes on.
func (a *attacker) pause(d time.Duration) bool {
	select {
	case <-a.stop:
		return false
	case <-time.After(d):
		return true
	}
}

func (a *attacker) drain(c *client) {
	for c.read(func(f protocol.Frame) error {
		if f.Type == protocol.TypeError {
			a.stats.Refused.Add(1)
		}
		return nil
	}) == nil {
	}
}

// reading is a flood of commands whose answers are read.
func (a *attacker) reading(next func(*client) protocol.Command) error {
	c, err := dial("kin", a.relay)
	if err != nil {
		return err
	}
	go a.drain(c)
	return a.commands(c, func() error { return sixteen(c, next) })
}

// putting is a flood into a queue of the attacker's own, which is collected.
func (a *attacker) putting(send func(*pair) error) error {
	p, err := a.pair()
	if err != nil {
		return err
	}
	defer p.to.ws.Close()
	go a.drain(p.from)
	go func() {
		for p.Receive(func([]byte) {}) == nil {
		}
	}()
	return a.commands(p.from, func() error { return send(p) })
}

// sixteen sends as many commands.
func sixteen(c *client, next func(*client) protocol.Command) error {
	for range 16 {
		cmd := next(c)
		c.queue(cmd.Type(), cmd.Body())
	}
	return c.flush()
}

// commands has send send sixteen at a time until the connection or the attack ends.
func (a *attacker) commands(c *client, send func() error) error {
	a.stats.Held.Add(1)
	defer a.stats.Held.Add(-1)
	defer c.ws.Close()
	go func() { <-a.stop; c.ws.Close() }()
	for a.pause(0) {
		if err := send(); err != nil {
			return err
		}
		a.stats.Tried.Add(16)
	}
	return nil
}

// attack is the attacker's process.
func attack(kind string, connections int, relay gauge.Announced) error {
	a := &attacker{relay: relay, stop: make(chan struct{})}
	if a.pairs = make(chan *pair, connections); kind == "put" || kind == "cancel" {
		err := gauge.Eight(connections, func(int) error {
			p, err := newPair("kin", relay, 0)
			if err != nil { // turned away, as after another attack; it is made later
				a.stats.Refused.Add(1)
				return nil
			}
			a.pairs <- p.(*pair)
			return nil
		})
		if err != nil {
			return err
		}
	}
	tell := func() {
		json.NewEncoder(os.Stdout).Encode(told{a.stats.Tried.Load(), a.stats.Refused.Load(), a.stats.Held.Load()})
	}
	tell() // begun
	for range connections {
		go func() {
			for a.pause(0) {
				if open := slow[kind]; open != nil {
					a.hold(open)
				} else if floods[kind](a) != nil {
					a.stats.Refused.Add(1)
					a.pause(10 * time.Millisecond)
				}
			}
		}()
	}
	for in := bufio.NewReader(os.Stdin); ; {
		_, err := in.ReadString('\n')
		tell()
		if err != nil {
			os.Exit(0)
		}
	}
}
