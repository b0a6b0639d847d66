package client

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// TestAnswersAreReadWhileACommandIsWritten: a relay that has answers to write reads
// nothing more until they are read. A client that waits to write, and reads nothing until
// then, would wait with it until both gave up.
func TestAnswersAreReadWhileACommandIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := newLiar() // which does not lie here
		if err != nil {
			t.Fatal(err)
		}
		l.start()
		defer l.stop()
		goOn := make(chan struct{})
		l.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			up := websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}}
			ws, err := up.Upgrade(w, q, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer ws.Close()
			s := &liarSession{liar: l, ws: ws}
			if err := s.handshake(); err != nil {
				t.Error(err)
				return
			}
			for range 2 {
				_, b, err := ws.ReadMessage()
				if err != nil {
					t.Error(err)
					return
				}
				f, err := s.link.Open(b[0], b[1:])
				if err != nil {
					t.Error(err)
					return
				}
				cmd, err := protocol.ParseCommand(f)
				if err != nil {
					t.Error(err)
					return
				}
				<-goOn
				ok := &protocol.OK{Corr: cmd.(*protocol.Unsub).Corr.Number()}
				ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute)) // whose pong has to wait, too
				if err := ws.WriteMessage(websocket.BinaryMessage, s.link.Seal(nil, ok.Type(), ok.Body())); err != nil {
					t.Error(err)
					return
				}
			}
			ws.ReadMessage() // a pong, and the end
		})

		c, err := dial(t.Context(), l.dial, l.address, 0)
		if err != nil {
			t.Fatal(err)
		}
		unsub := func(corr protocol.Corr, _ prover) (protocol.Command, error) {
			return &protocol.Unsub{Corr: corr, Handle: 1}, nil
		}
		first, err := c.start(unsub)
		if err != nil {
			t.Fatal(err)
		}
		second := make(chan error)
		go func() {
			_, err := c.do(t.Context(), unsub)
			second <- err
		}()
		synctest.Wait() // the second is being written, on a line that holds nothing
		select {
		case <-second:
			t.Fatal("the second command was read before the first was answered")
		default:
		}
		close(goOn)
		if _, err := c.wait(t.Context(), first); err != nil {
			t.Errorf("the first answer: %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("the second answer: %v", err)
		}
		c.close()
	})
}
