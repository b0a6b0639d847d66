package main

import (
	"bufio"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kin/internal/span"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kin-relay": main})
}

func TestScripts(t *testing.T) {
	type key struct{}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			running := map[string]*exec.Cmd{}
			e.Values[key{}] = running
			e.Defer(func() {
				for _, c := range running {
					c.Process.Kill()
					c.Wait()
				}
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// serve DIR ARG... starts a relay and waits until it listens; $RELAY is the
			// address that it printed.
			"serve": func(s *testscript.TestScript, _ bool, args []string) {
				bin, err := exec.LookPath("kin-relay")
				s.Check(err)
				c := exec.Command(bin, append([]string{"--data", s.MkAbs(args[0]), "serve", "--listen", "127.0.0.1:0"}, args[1:]...)...)
				out, err := c.StdoutPipe()
				s.Check(err)
				s.Check(c.Start())
				s.Value(key{}).(map[string]*exec.Cmd)[args[0]] = c
				line, err := bufio.NewReader(out).ReadString('\n')
				s.Check(err)
				address, ok := strings.CutPrefix(strings.TrimSpace(line), "relay: ")
				if !ok {
					s.Fatalf("it printed %q", line)
				}
				s.Setenv("RELAY", address)
			},
			// kill-relay DIR ends one with SIGKILL.
			"kill-relay": func(s *testscript.TestScript, _ bool, args []string) {
				running := s.Value(key{}).(map[string]*exec.Cmd)
				running[args[0]].Process.Kill()
				running[args[0]].Wait()
				delete(running, args[0])
			},
			// code N CMD ARG... runs a command and compares its exit code.
			"code": func(s *testscript.TestScript, _ bool, args []string) {
				err := s.Exec(args[1], args[2:]...)
				code := "0"
				if err != nil {
					code = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if code != args[0] {
					s.Fatalf("exit code %s, want %s", code, args[0])
				}
			},
			// same-key compares the fingerprints of two addresses.
			"same-key": func(s *testscript.TestScript, _ bool, args []string) {
				_, one, _ := strings.Cut(args[0], "#")
				_, two, _ := strings.Cut(args[1], "#")
				if one == "" || one != two {
					s.Fatalf("%s and %s", args[0], args[1])
				}
			},
			// certify DAYS [HOST...] writes a certificate, and its key, that is good for so many days.
			"certify": func(s *testscript.TestScript, _ bool, args []string) {
				days, err := strconv.Atoi(args[0])
				s.Check(err)
				_, err = writeCertificate(s.MkAbs("cert"), s.MkAbs("key"), time.Now().Add(time.Duration(days)*span.Day), args[1:]...)
				s.Check(err)
			},
			// keep NAME stores the first word of the last stdout in a variable.
			"keep": func(s *testscript.TestScript, _ bool, args []string) {
				s.Setenv(args[0], strings.Fields(s.ReadFile("stdout"))[0])
			},
		},
	})
}

func TestConnectionsFitTheDescriptors(t *testing.T) {
	for descriptors, want := range map[int]int{256: 192, 1024: 768, 4096: 3072, 8192: 7168, 20000: 10000, 1 << 20: 10000} {
		if got := connections(10000, descriptors, math.MaxInt64); got != want {
			t.Errorf("%d of %d descriptors; want %d", got, descriptors, want)
		}
	}
	if got := connections(1<<20, 1<<20, 128<<20); got != (128<<20)/connectionMemory {
		t.Errorf("%d in 128 MiB", got)
	}
	if got := connections(10000, 1<<20, 1000); got != 1 {
		t.Errorf("%d in 1,000 bytes; 0 would be 10,000", got)
	}
}

func TestTheDoorHasLessRoomThanStrangers(t *testing.T) {
	for _, x := range []struct{ descriptors, strangers, want int }{
		{1 << 20, 2500, 128}, {1 << 20, 100, 50}, {1 << 20, 1, 1}, {256, 48, 24}, {256, 2500, 32},
	} {
		if got := doorRoom(x.descriptors, x.strangers); got != x.want {
			t.Errorf("%d in the door, of %d descriptors and %d strangers; want %d", got, x.descriptors, x.strangers, x.want)
		}
	}
}
