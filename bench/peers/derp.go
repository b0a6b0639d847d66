package main

import (
	"context"
	"io"
	"net"
	"net/http"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/derp/derpserver"
	"tailscale.com/net/netmon"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"

	"kin/bench/gauge"
)

// derpKind is Tailscale's relay: it forwards to who is connected, and stores
// nothing. It answers nothing either, and drops what a receiver is too slow for: so a
// message is answered here when its receiver has it, and none is dropped.
func derpKind() *gauge.Kind {
	return &gauge.Kind{
		Serve: func(string) (gauge.Announced, error) {
			s := derpserver.New(key.NewNode(), logger.Discard)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return gauge.Announced{}, err
			}
			go http.Serve(l, derpserver.Handler(s))
			return gauge.Announced{Address: l.Addr().String()}, nil
		},
		Pair: func(a gauge.Announced, i int) (gauge.Pair, error) {
			p := &derpPair{own: key.NewNode(), received: make(chan struct{}, gauge.Outstanding)}
			var err error
			if p.from, err = dialDERP(a, key.NewNode()); err != nil {
				return nil, err
			}
			p.to, err = dialDERP(a, p.own)
			return p, err
		},
		Connect: func(a gauge.Announced) (io.Closer, error) { return dialDERP(a, key.NewNode()) },
	}
}

func dialDERP(a gauge.Announced, own key.NodePrivate) (*derphttp.Client, error) {
	c, err := derphttp.NewClient(own, "http://"+a.Address+"/derp", logger.Discard, netmon.NewStatic())
	if err != nil {
		return nil, err
	}
	if err := c.Connect(context.Background()); err != nil {
		return nil, err
	}
	_, err = c.Recv() // the server's greeting: from then on it knows the client
	return c, err
}

type derpPair struct {
	from, to *derphttp.Client
	own      key.NodePrivate
	received chan struct{}
}

func (p *derpPair) Put(messages [][]byte) error {
	for _, m := range messages {
		if err := p.from.Send(p.own.Public(), m); err != nil {
			return err
		}
	}
	return nil
}

func (p *derpPair) Answered() (int, error) {
	<-p.received
	for n := 1; ; n++ {
		select {
		case <-p.received:
		default:
			return n, nil
		}
	}
}

func (p *derpPair) Receive(f func([]byte)) error {
	m, err := p.to.Recv()
	if got, ok := m.(derp.ReceivedPacket); ok && err == nil {
		f(got.Data)
		p.received <- struct{}{}
	}
	return err
}

func (p *derpPair) Close() {
	p.from.Close()
	p.to.Close()
}
