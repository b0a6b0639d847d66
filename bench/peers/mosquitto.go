package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"

	"kin/bench/gauge"
)

// mosquittoKind is the MQTT broker Mosquitto with persistence, sessions that stay
// and QoS 1. It keeps what waits in memory, and saves it every half hour and at its
// end, which is its default.
func mosquittoKind() *gauge.Kind {
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
			conf := filepath.Join(dir, "conf")
			text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nuser root\nlog_type error\n", port, dir)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				return gauge.Announced{}, err
			}
			program, err := exec.LookPath("mosquitto")
			if err != nil {
				program = "/usr/sbin/mosquitto"
			}
			cmd = exec.Command(program, "-c", conf)
			return begin(cmd, address, func(net.Conn) bool { return true })
		},
		Stop: func() error { return end(cmd) },
		Pair: newMQTTPair,
		Connect: func(a gauge.Announced) (io.Closer, error) {
			n := names.Add(1)
			m, err := dialMQTT(a, fmt.Sprintf("waits%d", n))
			if err != nil {
				return nil, err
			}
			return m.c, m.subscribe(fmt.Sprintf("waits/%d", n))
		},
	}
}

var names atomic.Int64

// mqtt is a connection in MQTT 3.1.1.
type mqtt struct {
	c   net.Conn
	in  *bufio.Reader
	out []byte
}

func dialMQTT(a gauge.Announced, id string) (*mqtt, error) {
	c, err := net.Dial("tcp", a.Address)
	if err != nil {
		return nil, err
	}
	m := &mqtt{c: c, in: bufio.NewReaderSize(c, 64<<10)}
	m.packet(0x10, text("MQTT"), []byte{4, 0, 0, 0}, text(id)) // a session that stays
	if err := m.flush(); err != nil {
		return nil, err
	}
	kind, b, err := m.read()
	if err == nil && (kind != 0x20 || b[1] != 0) {
		err = fmt.Errorf("CONNECT was answered %x %x", kind, b)
	}
	return m, err
}

func text(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func (m *mqtt) packet(kind byte, parts ...[]byte) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	m.out = binary.AppendUvarint(append(m.out, kind), uint64(n))
	for _, p := range parts {
		m.out = append(m.out, p...)
	}
}

func (m *mqtt) flush() error {
	_, err := m.c.Write(m.out)
	m.out = m.out[:0]
	return err
}

func (m *mqtt) read() (kind byte, b []byte, err error) {
	if kind, err = m.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(m.in)
	if err != nil {
		return 0, nil, err
	}
	b = make([]byte, n)
	_, err = io.ReadFull(m.in, b)
	return kind, b, err
}

func (m *mqtt) subscribe(topic string) error {
	m.packet(0x82, []byte{0, 1}, text(topic), []byte{1})
	if err := m.flush(); err != nil {
		return err
	}
	kind, b, err := m.read()
	if err == nil && (kind != 0x90 || b[2] != 1) {
		err = fmt.Errorf("SUBSCRIBE was answered %x %x", kind, b)
	}
	return err
}

type mqttPair struct {
	from, to *mqtt
	topic    string
	number   uint16
}

func newMQTTPair(a gauge.Announced, i int) (gauge.Pair, error) {
	p := &mqttPair{topic: fmt.Sprintf("queue/%d", i)}
	var err error
	if p.from, err = dialMQTT(a, fmt.Sprintf("from%d", i)); err != nil {
		return nil, err
	}
	if p.to, err = dialMQTT(a, fmt.Sprintf("to%d", i)); err != nil {
		return nil, err
	}
	return p, p.to.subscribe(p.topic)
}

func (p *mqttPair) Put(messages [][]byte) error {
	for _, m := range messages {
		if p.number++; p.number == 0 {
			p.number = 1
		}
		p.from.packet(0x32, text(p.topic), binary.BigEndian.AppendUint16(nil, p.number), m)
	}
	return p.from.flush()
}

// Answered counts PUBACKs.
func (p *mqttPair) Answered() (n int, err error) {
	for n == 0 || p.from.in.Buffered() > 0 {
		kind, b, err := p.from.read()
		if err != nil {
			return n, err
		}
		if kind != 0x40 {
			return n, fmt.Errorf("PUBLISH was answered %x %x", kind, b)
		}
		n++
	}
	return n, nil
}

// Receive takes what has arrived and acknowledges it in one write.
func (p *mqttPair) Receive(f func([]byte)) error {
	for n := 0; n == 0 || p.to.in.Buffered() > 0; n++ {
		kind, b, err := p.to.read()
		if err != nil {
			return err
		}
		if kind&0xf0 != 0x30 {
			continue
		}
		at := 2 + int(binary.BigEndian.Uint16(b))
		f(b[at+2:])
		p.to.packet(0x40, b[at:at+2])
	}
	return p.to.flush()
}

func (p *mqttPair) Close() {
	p.from.c.Close()
	p.to.c.Close()
}
