package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kin/bench/gauge"
	"kin/protocol"
)

// server is a kin-relay that runs.
type server struct {
	gauge.Announced
	cmd         *exec.Cmd
	err         *bytes.Buffer // its log
	dir, cgroup string
}

// confined says what the real kin-relay may use.
type confined struct {
	memory      int64 // bytes of its cgroup; 0: no limit
	descriptors int   // 0: as many as here
	connections int
	processor   int // the one that it has; foes: those of the attackers, and their priority
}

const foes = -1

// buildRelay builds kin-relay as operators do.
func buildRelay(dir string) (string, error) {
	bin := filepath.Join(dir, "kin-relay")
	out, err := exec.Command("go", "build", "-C", "..", "-o", bin, "./cmd/kin-relay").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return bin, nil
}

// startRelay starts the real kin-relay in a process of its own, on one processor.
func startRelay(bin string, c confined) (*server, error) {
	dir, err := os.MkdirTemp("", "kin-bench-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, err: &bytes.Buffer{}}
	args := []string{bin, "--data", filepath.Join(dir, "data"), "serve", "--listen", "127.0.0.1:0", "--connections", strconv.Itoa(c.connections)}
	first := []string{"taskset", "-c", strconv.Itoa(c.processor)}
	if c.processor == foes {
		first = backward
	}
	args = slices.Concat(first, args)
	if c.descriptors > 0 {
		args = append([]string{"prlimit", "--nofile=" + strconv.Itoa(c.descriptors)}, args...)
	}
	script := `exec "$@"`
	if c.memory > 0 {
		if s.cgroup, err = newCgroup(c.memory); err != nil {
			fmt.Println("memory: no cgroup here, GOMEMLIMIT and the peak of RSS alone:", err)
		} else {
			script = "echo $$ > " + filepath.Join(s.cgroup, "cgroup.procs") + " && " + script
		}
	}
	s.cmd = exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...)
	if c.memory > 0 && s.cgroup == "" {
		s.cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", c.memory*4/5))
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: c.processor == foes}
	s.cmd.Stderr = s.err
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if s.PID = s.cmd.Process.Pid; c.processor == foes {
		backwardSession(s.PID)
	}
	for lines := bufio.NewReader(out); s.Grant == ""; {
		line, err := lines.ReadString('\n')
		if err != nil {
			s.stop()
			return nil, fmt.Errorf("kin-relay did not start: %w: %s", err, s.err)
		}
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "relay: "); ok {
			a, err := protocol.ParseAddress(text)
			if err != nil {
				return nil, err
			}
			s.Address, s.Key = strings.TrimPrefix(a.Hosts[0].URL(), "ws://"), hex.EncodeToString(a.Fingerprint[:])
		}
		if text, ok := strings.CutPrefix(line, "grant: "); ok {
			s.Grant = text
		}
	}
	return s, nil
}

// stop kills the relay, and removes what it had.
func (s *server) stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.endCgroup()
	os.RemoveAll(s.dir)
}

// niceFoes is for attackers, in sessions of their own: they must not take the time of
// those who measure. All others have 0, as they would: above the kernel's own threads,
// the relay would keep from running what writes for it.
const niceFoes = 10

var backward = []string{"nice", "-n", strconv.Itoa(niceFoes)}

// backwardSession gives the session that such a process leads its share, where sessions
// have one.
func backwardSession(pid int) {
	os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(niceFoes)), 0)
}

// leaveFirst has this process use all processors but the first, and returns its
// number; the relay has that one alone. With one processor they share it.
func leaveFirst() (first int, err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return 0, err
	}
	for !all.IsSet(first) {
		first++
	}
	if all.Count() > 1 {
		all.Clear(first)
	}
	threads, err := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		id, _ := strconv.Atoi(t.Name())
		err = errors.Join(err, unix.SchedSetaffinity(id, &all))
	}
	return first, err
}

// newCgroup makes a cgroup (version 1 or 2) that may use so many bytes.
func newCgroup(memory int64) (string, error) {
	for root, limit := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		dir := filepath.Join(root, fmt.Sprintf("kin-bench-%d", os.Getpid()))
		if os.Mkdir(dir, 0o700) != nil {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, limit), os.O_WRONLY, 0) // which a mere folder does not have
		if err == nil {
			_, err = f.WriteString(strconv.FormatInt(memory, 10))
			err = errors.Join(err, f.Close())
		}
		if err == nil {
			return dir, nil
		}
		os.Remove(dir)
	}
	return "", fmt.Errorf("none could be made")
}

// pressure is what the relay's cgroup holds now, sockets and page cache too, and how
// often it came to its limit.
func (s *server) pressure() string {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(s.cgroup, name))
		if err != nil {
			return "?"
		}
		return strings.TrimSpace(string(b))
	}
	if s.cgroup == "" {
		return ""
	}
	n, _ := strconv.ParseInt(read("memory.usage_in_bytes"), 10, 64)
	k, _ := strconv.ParseInt(read("memory.kmem.usage_in_bytes"), 10, 64)
	return fmt.Sprintf("cgroup %d MiB, of it the kernel's %d", n>>20, k>>20)
}

// resetPeak begins a new peak of the relay's memory.
func (s *server) resetPeak() {
	os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.PID), []byte("5"), 0)
}

// peak is the most memory that it had, 0 if it is gone.
func (s *server) peak() int64 {
	n, _ := gauge.Status(s.PID, "VmHWM")
	return n
}

// alive tells whether the relay still runs.
func (s *server) alive() bool {
	return s.peak() > 0
}

// endCgroup removes the cgroup once the relay has ended.
func (s *server) endCgroup() {
	for i := 0; s.cgroup != "" && i < 50 && os.Remove(s.cgroup) != nil; i++ {
		time.Sleep(20 * time.Millisecond)
	}
}
