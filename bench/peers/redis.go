package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"kin/bench/gauge"
)

// redisKind is Redis with a stream and a consumer group for each receiver. Every
// command is in the append-only file, and that synced, before it is answered. What
// was received is acknowledged and deleted.
func redisKind() *gauge.Kind {
	var cmd *exec.Cmd
	return &gauge.Kind{
		Serve: func(dir string) (gauge.Announced, error) {
			address, port, err := freePort()
			if err != nil {
				return gauge.Announced{}, err
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return gauge.Announced{}, err
			}
			cmd = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxclients", "16000")
			return begin(cmd, address, func(c net.Conn) bool {
				r := &resp{c: c, in: bufio.NewReader(c)}
				r.command("PING")
				return r.flush() == nil && r.skip(1) == nil
			})
		},
		Stop: func() error { return end(cmd) },
		Pair: newRedisPair,
		Connect: func(a gauge.Announced) (io.Closer, error) {
			c, err := net.Dial("tcp", a.Address)
			if err != nil {
				return nil, err
			}
			r := &resp{c: c, in: bufio.NewReader(c)}
			r.command("SUBSCRIBE", c.LocalAddr().String())
			return c, r.flush()
		},
	}
}

// freePort is a port of loopback that nobody listens on.
func freePort() (address, port string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer l.Close()
	_, port, err = net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), port, err
}

// begin starts another's server and waits until it is ready.
func begin(cmd *exec.Cmd, address string, ready func(net.Conn) bool) (a gauge.Announced, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return a, err
	}
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			continue
		}
		ok := ready(c)
		c.Close()
		if ok {
			return gauge.Announced{Address: address, PID: cmd.Process.Pid}, nil
		}
	}
	return a, errors.New("not ready")
}

// end ends another's server as its operator would.
func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}

// resp is a connection in Redis's protocol.
type resp struct {
	c   net.Conn
	in  *bufio.Reader
	out []byte
}

func (r *resp) command(args ...string) {
	r.out = fmt.Appendf(r.out, "*%d\r\n", len(args))
	for _, a := range args {
		r.arg(a)
	}
}

func (r *resp) arg(a string) { r.out = append(fmt.Appendf(r.out, "$%d\r\n%s", len(a), a), "\r\n"...) }

func (r *resp) flush() error {
	_, err := r.c.Write(r.out)
	r.out = r.out[:0]
	return err
}

// value reads a value and gives its strings to f.
func (r *resp) value(f func([]byte)) error {
	line, err := r.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
	switch line[0] {
	case '-':
		return errors.New(string(line))
	case '*':
		for range n {
			if err := r.value(f); err != nil {
				return err
			}
		}
	case '$':
		if n < 0 {
			return nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r.in, b); err != nil {
			return err
		}
		f(b[:n])
	}
	return nil
}

// skip reads n answers.
func (r *resp) skip(n int) error {
	for range n {
		if err := r.value(func([]byte) {}); err != nil {
			return err
		}
	}
	return nil
}

type redisPair struct {
	from, to *resp
	stream   string
	done     []string // received and not yet acknowledged
}

func newRedisPair(a gauge.Announced, i int) (gauge.Pair, error) {
	p := &redisPair{stream: "queue" + strconv.Itoa(i)}
	for _, r := range []**resp{&p.from, &p.to} {
		c, err := net.Dial("tcp", a.Address)
		if err != nil {
			return nil, err
		}
		*r = &resp{c: c, in: bufio.NewReaderSize(c, 64<<10)}
	}
	p.to.command("XGROUP", "CREATE", p.stream, "receiver", "$", "MKSTREAM")
	if err := p.to.flush(); err != nil {
		return nil, err
	}
	return p, p.to.skip(1)
}

func (p *redisPair) Put(messages [][]byte) error {
	for _, m := range messages {
		p.from.command("XADD", p.stream, "*", "m", string(m))
	}
	return p.from.flush()
}

func (p *redisPair) Answered() (int, error) {
	if err := p.from.skip(1); err != nil {
		return 0, err
	}
	n := 1
	for ; p.from.in.Buffered() > 0; n++ {
		if err := p.from.skip(1); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// Receive acknowledges and deletes what came before in the same write with which it
// asks for more.
func (p *redisPair) Receive(f func([]byte)) error {
	acks := 0
	if len(p.done) > 0 {
		p.to.command(append([]string{"XACK", p.stream, "receiver"}, p.done...)...)
		p.to.command(append([]string{"XDEL", p.stream}, p.done...)...)
		acks, p.done = 2, p.done[:0]
	}
	p.to.command("XREADGROUP", "GROUP", "receiver", "one", "COUNT", strconv.Itoa(gauge.Outstanding), "BLOCK", "0", "STREAMS", p.stream, ">")
	if err := p.to.flush(); err != nil {
		return err
	}
	if err := p.to.skip(acks); err != nil {
		return err
	}
	return p.to.value(func(b []byte) { // stream, then of each message its id, "m" and the message
		switch {
		case len(b) == gauge.Size:
			f(b)
		case bytes.IndexByte(b, '-') > 0:
			p.done = append(p.done, string(b))
		}
	})
}

func (p *redisPair) Close() {
	p.from.c.Close()
	p.to.c.Close()
}
