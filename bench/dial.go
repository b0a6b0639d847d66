package main

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"kin/bench/gauge"
	"kin/protocol"
)

// writeBuffers are those of the connections that write now: most of them wait.
var writeBuffers sync.Pool

// dialTCP connects from any of loopback's addresses: each has ports of its own. Like kin,
// it wants no keepalives.
func dialTCP(a gauge.Announced) (net.Conn, error) {
	from := net.IPv4(127, byte(rand.N(255)), byte(rand.N(255)), byte(1+rand.N(254)))
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 20 * time.Second, KeepAlive: -1}).Dial("tcp", a.Address)
}

// upgrade opens a websocket.
func upgrade(a gauge.Announced) (*websocket.Conn, error) {
	d := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}, ReadBufferSize: 16 << 10, WriteBufferSize: 16 << 10,
		WriteBufferPool: &writeBuffers, NetDial: func(string, string) (net.Conn, error) { return dialTCP(a) }}
	ws, _, err := d.Dial("ws://"+a.Address, nil)
	return ws, err
}
