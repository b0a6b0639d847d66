package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kin/protocol"
	"kin/relay"
)

// relayArgument makes this program a relay: so that a kill is a kill.
const relayArgument = "relay-process"

const (
	epoch  = time.Second
	maxTTL = 6 * time.Second
)

// runRelay serves the relay in dir until the context ends.
func runRelay(ctx context.Context, dir, listen string) error {
	r, err := relay.Open(relay.Config{Dir: dir, Epoch: epoch, MaxTTL: maxTTL})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	grant, err := r.FirstGrant(10, 24*time.Hour)
	if err != nil {
		return err
	}
	a := protocol.Address{Hosts: []protocol.Host{{Name: l.Addr().String()}}, Fingerprint: r.Fingerprint()}
	fmt.Printf("%s %s %s\n", l.Addr(), a, grant)
	server := &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(r.InTurn(l))
	<-ctx.Done()
	server.Close()
	return r.Shutdown(context.Background())
}

// relayProcess is a running relay.
type relayProcess struct {
	cmd                    *exec.Cmd
	listen, address, grant string
}

func startRelay(ctx context.Context, dir, listen string) (*relayProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, relayArgument, dir, listen)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	field := strings.Split(strings.TrimSpace(line), " ")
	p := &relayProcess{cmd: c}
	if err != nil || len(field) < 2 {
		p.kill()
		return nil, errors.Join(errors.New("the relay did not start"), err)
	}
	p.listen, p.address = field[0], field[1]
	if len(field) == 3 {
		p.grant = field[2]
	}
	return p, nil
}

// kill is SIGKILL.
func (p *relayProcess) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// seen is what lies on the relay's disk.
type seen struct {
	slots  []byte // the file of epoch keys
	keys   int    // slots that hold something
	key    []byte // the first of them
	offset int    // where it lies
	body   []byte // of the newest batch in the spool
}

func (s seen) at(offset int) []byte { return s.slots[offset:] }

const (
	slotSize  = 4096
	batchSize = 4096 // batches begin on this boundary
)

// look reads the relay's files as a thief would.
func look(dir string) (s seen, err error) {
	if s.slots, err = os.ReadFile(filepath.Join(dir, "epochs")); err != nil {
		return s, err
	}
	for at := slotSize; at+slotSize <= len(s.slots); at += slotSize { // the first is the file's header
		slot := s.slots[at : at+slotSize]
		if len(bytes.Trim(slot, "\x00")) > 0 {
			if s.keys++; s.keys == 1 {
				s.key, s.offset = slot, at
			}
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "spool", "*.seg"))
	if err != nil {
		return s, err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return s, err
		}
		for at := 0; at+2*batchSize <= len(b); at += batchSize {
			if bytes.HasPrefix(b[at:], []byte("kinspl")) {
				s.body = b[at+batchSize/2:][:64] // inside the sealed envelope
			}
		}
	}
	return s, nil
}
