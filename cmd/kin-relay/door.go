package main

import (
	"container/list"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"sync"
)

// door counts the connections that are no websockets yet: the relay can't end one of
// them. When there are more than room, the one that came first makes way, so that who
// stands in the door keeps nobody out and takes no descriptor from the spool.
type door struct {
	room int

	mu    sync.Mutex
	order list.List // of net.Conn, the first to come in front
	at    map[net.Conn]*list.Element
}

// server serves those who come through the door.
func (d *door) server(h http.Handler, log *log.Logger) *http.Server {
	s := &http.Server{Handler: h, ReadTimeout: headerWait, WriteTimeout: headerWait, MaxHeaderBytes: headerSize, ErrorLog: log, ConnState: d.note, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)    // on a connection of HTTP/2 any number of requests would count as one
	s.SetKeepAlivesEnabled(false) // a connection becomes a websocket or ends
	return s
}

// note is the server's ConnState.
func (d *door) note(c net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch state {
	case http.StateNew:
		if d.at == nil {
			d.at = map[net.Conn]*list.Element{}
		}
		d.at[c] = d.order.PushBack(c)
		if d.order.Len() > d.room {
			first := d.order.Front().Value.(net.Conn)
			d.forget(first)
			if t, ok := first.(*tls.Conn); ok {
				first = t.NetConn() // says no goodbye, for which it could have to wait
			}
			first.Close()
		}
	case http.StateHijacked, http.StateClosed:
		d.forget(c)
	}
}

// forget takes a connection out. mu is held.
func (d *door) forget(c net.Conn) {
	if e := d.at[c]; e != nil {
		d.order.Remove(e)
		delete(d.at, c)
	}
}
