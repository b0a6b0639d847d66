package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"kin/protocol"
)

// TestWhoReadsSlowlyHoldsUpNoEnd: the relay ends when it is to, and meanwhile tells the
// others that it does; what it acknowledged is there.
func TestWhoReadsSlowlyHoldsUpNoEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(26 * 365 * 24 * time.Hour) // a bubble begins in 2000
		r, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		s := &stand{t: t, relay: r}
		s.grantIt()
		l := make(pipes)
		server := &http.Server{Handler: r}
		go server.Serve(l)
		dial := func() *peer {
			ws, err := l.dial()
			if err != nil {
				t.Fatal(err)
			}
			return link(t, ws, r.Fingerprint())
		}
		p := dial()
		s.queue(p, true)
		var slow []net.Conn
		for range 3 {
			q := dial()
			for range 50 {
				q.send(&protocol.Fetch{Corr: q.corr()})
			}
			slow = append(slow, q.ws.NetConn())
		}
		synctest.Wait() // their answers wait
		var reading sync.WaitGroup
		for _, c := range slow {
			reading.Go(func() {
				for b, err := make([]byte, 1), error(nil); err == nil; time.Sleep(time.Second) {
					_, err = io.ReadFull(c, b)
				}
			})
		}
		begun := time.Now()
		told := make(chan time.Duration, 1)
		go func() {
			_, _, err := p.ws.ReadMessage()
			if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
				t.Error("the other one was told", err)
			}
			told <- time.Since(begun)
		}()
		const least = 5 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), least)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != least {
			t.Errorf("it ended after %v, want %v", took, least)
		}
		if after := <-told; after != 0 {
			t.Errorf("the other one was told after %v", after)
		}
		close(l)
		server.Close()
		reading.Wait()
		if r, err = Open(Config{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		if n := r.Status().Envelopes; n != 1 {
			t.Errorf("%d of 1 envelope is there", n)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestWorkThatDoesNotEndHoldsUpNoEnd: a disk that stands still, say.
func TestWorkThatDoesNotEndHoldsUpNoEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		free := make(chan bool)
		r.work.Go(func() { <-free })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(free)
		synctest.Wait()
		if err := errors.Join(r.lot.close(), r.closeData()); err != nil {
			t.Error(err)
		}
	})
}
