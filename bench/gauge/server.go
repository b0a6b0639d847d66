package gauge

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// serve runs a server until its standard input ends. A line asks for the memory to
// be given back, so that what is left is in use.
func serve(k *Kind, dir string) error {
	a, err := k.Serve(dir)
	if err != nil {
		return err
	}
	if a.PID == 0 {
		a.PID = os.Getpid()
	}
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		return err
	}
	for in := bufio.NewReader(os.Stdin); ; {
		if _, err := in.ReadString('\n'); err != nil {
			break
		}
		for range 3 { // what one collection frees, the next one returns
			debug.FreeOSMemory()
		}
		fmt.Println("ok")
	}
	if k.Stop == nil {
		return nil
	}
	return k.Stop()
}

// Server is a running server.
type Server struct {
	Announced
	program, kind, temporary string
	pairs                    int // that were made
	cmd                      *exec.Cmd
	in                       io.WriteCloser
	out                      *bufio.Reader
}

// Start starts a server of a kind that the program has, with its data in dir, or
// in a folder that goes with it if dir is empty.
func Start(program, kind, dir string) (*Server, error) {
	s := &Server{program: program, kind: kind}
	if dir == "" {
		var err error
		if s.temporary, err = os.MkdirTemp("", "kin-bench-"); err != nil {
			return nil, err
		}
		dir = filepath.Join(s.temporary, "data")
	}
	s.cmd = exec.Command(program, "serve", kind, dir)
	s.cmd.Stderr = os.Stderr
	var err error
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
		err = json.Unmarshal(line, &s.Announced)
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("%s did not start: %w", kind, err)
	}
	return s, nil
}

// Stop ends the server as its operator would, and removes its folder if that is
// temporary.
func (s *Server) Stop() error {
	s.in.Close()
	err := s.cmd.Wait()
	if s.temporary != "" {
		os.RemoveAll(s.temporary)
	}
	return err
}

// do has a load process carry out an order.
func (s *Server) do(o order) (r Result, err error) {
	o.Announced, o.First = s.Announced, s.pairs
	s.pairs += o.Pairs
	text, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	cmd := exec.Command(s.program, "measure", s.kind, string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return r, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	found := fmt.Errorf("%s: nothing was measured", s.kind)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "trim" {
			io.WriteString(s.in, "\n")
			if _, err := s.out.ReadString('\n'); err != nil {
				found = err
			}
			io.WriteString(in, "ok\n")
			continue
		}
		found = json.Unmarshal(lines.Bytes(), &r)
	}
	if err := cmd.Wait(); err != nil {
		return r, fmt.Errorf("%s: %w", s.kind, err)
	}
	return r, found
}

// Throughput has pairs send as fast as the server takes.
func (s *Server) Throughput(pairs int, span time.Duration) (Result, error) {
	return s.do(order{Do: "throughput", Pairs: pairs, For: span})
}

// Latency has pairs send rate messages a second together.
func (s *Server) Latency(pairs, rate int, span time.Duration) (Result, error) {
	return s.do(order{Do: "latency", Pairs: pairs, For: span, Rate: rate})
}

// Idle opens n connections.
func (s *Server) Idle(n int) (Result, error) { return s.do(order{Do: "idle", Count: n}) }

// Fill stores n messages in all for the receivers of pairs, who collect nothing.
func (s *Server) Fill(pairs, n int) error {
	_, err := s.do(order{Do: "fill", Pairs: pairs, Count: n})
	return err
}

// CPU is the time that a process, and what it waited for, has had a processor.
func CPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var ticks int64
	for _, f := range fields[11:15] {
		n, _ := strconv.ParseInt(f, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Status is a line of a process's status, in bytes: VmRSS is its memory, VmHWM the
// most that it was.
func Status(pid int, name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, name)
}
