package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"kin/protocol"
	"kin/relay"
)

// kinds of servers: three floors and Kin.
var kinds = []string{"bare", "aead", "append", "kin"}

// announced is what a server prints when it is ready.
type announced struct {
	Address     string
	Fingerprint protocol.Fingerprint
	Grant       string
}

// serve runs one server until its standard input ends.
func serve(kind, dir string) error {
	var handler http.Handler
	var a announced
	if kind == "kin" {
		r, err := relay.Open(relay.Config{Dir: dir, Pace: 1 << 30, Connections: 20000, Unlinked: 20000, Queues: 20000})
		if err != nil {
			return err
		}
		if a.Grant, err = r.NewGrant(20000, 24*time.Hour); err != nil {
			return err
		}
		a.Fingerprint = r.Fingerprint()
		handler = r
	} else {
		f, err := newForwarder(kind, dir)
		if err != nil {
			return err
		}
		a.Fingerprint = protocol.FingerprintOf(f.rs.PublicKey())
		handler = f
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	a.Address = l.Addr().String()
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		return err
	}
	go http.Serve(l, handler)
	// A line asks for the memory to be given back, so that what is left is in use.
	for in := bufio.NewReader(os.Stdin); ; {
		if _, err := in.ReadString('\n'); err != nil {
			return nil
		}
		debug.FreeOSMemory()
		fmt.Println("ok")
	}
}

// server is a running server.
type server struct {
	announced
	kind string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	dir  string
}

func start(kind string) (*server, error) {
	dir, err := os.MkdirTemp("", "kin-bench-")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{kind: kind, dir: dir, cmd: exec.Command(self, "serve", kind, filepath.Join(dir, "data"))}
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	line, err := s.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.announced)
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("%s did not start: %w", kind, err)
	}
	return s, nil
}

func (s *server) stop() {
	s.in.Close()
	s.cmd.Process.Kill()
	s.cmd.Wait()
	os.RemoveAll(s.dir)
}

// trim has the server give back what it does not use.
func (s *server) trim() error {
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return err
	}
	_, err := s.out.ReadString('\n')
	return err
}

// cpu is the time that the server has had a processor.
func (s *server) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident is the server's memory in bytes.
func (s *server) resident() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS")
}
