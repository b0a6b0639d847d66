package client

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// A relay, or who stands in its place, that takes a connection and says nothing keeps nobody
// for longer than they wait, nor from giving up.
func TestASilentRelayKeepsNobody(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		k, g := w.couple()
		w.invite(k, "N")
		time.Sleep(time.Minute) // nobody has just heard anything
		g.Dial = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go io.Copy(io.Discard, far)
			return near, nil
		}
		k.Dial = g.Dial
		for name, f := range map[string]func() error{
			"sync --wait": func() error { _, err := g.Sync(t.Context(), 2*time.Second); return err },
			"send --wait": func() error {
				_, err := g.Send(t.Context(), "K", "update", SendOptions{Wait: 2 * time.Second})
				return err
			},
			"send --wait to who has not joined": func() error {
				_, err := k.Send(t.Context(), "N", "update", SendOptions{Wait: 2 * time.Second})
				return err
			},
			"Ctrl-C": func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := g.Receive(ctx, ReceiveOptions{}, func([]Message) error { return nil })
				return err
			},
			"Ctrl-C without a deadline": func() error {
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(2*time.Second, cancel).Stop()
				_, err := dial(ctx, g.Dial, w.address, 0)
				return err
			},
		} {
			begun := time.Now()
			if err := f(); !errors.Is(err, ErrOffline) {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
		}
	})
}
