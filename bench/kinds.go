package main

import (
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"kin/bench/gauge"
	"kin/protocol"
	"kin/relay"
)

// floors are servers of our own that Kin is compared with, the barest first.
var floors = []string{"bare", "aead", "append"}

// kinds are the servers of this program.
func kinds() map[string]*gauge.Kind {
	all := map[string]*gauge.Kind{"kin": {Serve: serveKin, Connect: connectKin}}
	all["link"] = &gauge.Kind{Serve: serveKin, Connect: func(a gauge.Announced) (io.Closer, error) {
		c, err := dial("kin", a)
		if err != nil {
			return nil, err
		}
		return c.ws, nil
	}}
	for _, kind := range floors {
		all[kind] = &gauge.Kind{Serve: func(dir string) (gauge.Announced, error) {
			f, err := newForwarder(kind, dir)
			if err != nil {
				return gauge.Announced{}, err
			}
			return listen(f, protocol.FingerprintOf(f.rs.PublicKey()), "")
		}}
	}
	for _, kind := range append(slices.Clone(floors), "kin") {
		all[kind].Pair = func(a gauge.Announced, i int) (gauge.Pair, error) { return newPair(kind, a, i) }
	}
	return all
}

func serveKin(dir string) (a gauge.Announced, err error) {
	// A queue of 128 would be full where a busy machine lets a receiver wait.
	r, err := relay.Open(relay.Config{Dir: dir, Pace: 1 << 30, Unread: 1 << 20, Connections: 20000, Unlinked: 20000, Queues: 20000})
	if err != nil {
		return a, err
	}
	grant, err := r.NewGrant(20000, 24*time.Hour)
	if err != nil {
		return a, err
	}
	return listen(r, r.Fingerprint(), grant)
}

func listen(h http.Handler, fp protocol.Fingerprint, grant string) (gauge.Announced, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return gauge.Announced{}, err
	}
	go http.Serve(l, h)
	return gauge.Announced{Address: l.Addr().String(), Key: hex.EncodeToString(fp[:]), Grant: grant}, nil
}

// connectKin opens a connection that reads a queue of its own, as a client does.
func connectKin(a gauge.Announced) (io.Closer, error) {
	c, err := dial("kin", a)
	if err != nil {
		return nil, err
	}
	ids, key, err := c.newQueue(a, [32]byte{1})
	if err != nil {
		return nil, err
	}
	_, err = c.subscribe(ids.Receiver, key)
	return c.ws, err
}
