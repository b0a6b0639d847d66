//go:build unix

package main

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// TestASecondSignalEndsAtOnce: while the relay waits for who does not say goodbye.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	for range 5 { // the wait is short
		a, c := startProcess(t)
		d := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}}
		ws, _, err := d.Dial(a.Hosts[0].URL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		ws.SetCloseHandler(func(int, string) error { return nil })
		if _, _, err := ws.ReadMessage(); err != nil { // it is in
			t.Fatal(err)
		}
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
		if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Fatal(err)
		}
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
		if c.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
			return
		}
	}
	t.Error("a second SIGTERM was never heard")
}

// TestWhatEndsTheRelayShowsNoID: systemd's watchdog ends one that stands still by a signal, for
// which Go shows what every goroutine was at, and so the first bytes of each id that waits.
func TestWhatEndsTheRelayShowsNoID(t *testing.T) {
	c := exec.Command("kin-relay", "--data", t.TempDir(), "serve", "--listen", "127.0.0.1:0")
	var told bytes.Buffer
	c.Stderr = &told
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it listens
		t.Fatal(err)
	}
	if err := c.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if s := told.String(); c.ProcessState.ExitCode() != 2 || strings.Contains(s, "goroutine ") {
		t.Errorf("it ended with %v, and said: %s", c.ProcessState, s)
	}
}
