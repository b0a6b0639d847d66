//go:build unix

package main

import (
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
