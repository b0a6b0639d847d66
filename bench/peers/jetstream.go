package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kin/bench/gauge"
)

// jetstreamKind is NATS JetStream over websocket, with a work queue in files: a
// subject and a durable consumer for each receiver, messages published with a window
// of unanswered ones, pulled, and acknowledged one by one. By default it syncs every
// two minutes; with always, each message.
func jetstreamKind(always bool) *gauge.Kind {
	var s *server.Server
	return &gauge.Kind{
		Serve: func(dir string) (gauge.Announced, error) {
			o := &server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, SyncAlways: always, NoSigs: true, NoLog: true,
				JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 64 << 30, MaxConn: 64 << 10,
				Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: -1, NoTLS: true}}
			var err error
			if s, err = server.NewServer(o); err != nil {
				return gauge.Announced{}, err
			}
			s.Start()
			if !s.ReadyForConnections(5 * time.Minute) {
				return gauge.Announced{}, errors.New("not ready")
			}
			return gauge.Announced{Address: fmt.Sprintf("ws://127.0.0.1:%d", o.Websocket.Port)}, nil
		},
		Stop: func() error {
			s.Shutdown()
			s.WaitForShutdown()
			return nil
		},
		Pair: newJetPair,
		Connect: func(a gauge.Announced) (io.Closer, error) {
			c, err := nats.Connect(a.Address)
			if err != nil {
				return nil, err
			}
			_, err = c.Subscribe(nats.NewInbox(), func(*nats.Msg) {})
			return closer{c}, err
		},
	}
}

type closer struct{ *nats.Conn }

func (c closer) Close() error {
	c.Conn.Close()
	return nil
}

type jetPair struct {
	from, to *nats.Conn
	js       jetstream.JetStream
	subject  string
	pull     jetstream.Consumer
	messages jetstream.MessagesContext
	answers  chan jetstream.PubAckFuture
}

func newJetPair(a gauge.Announced, i int) (gauge.Pair, error) {
	p := &jetPair{subject: fmt.Sprintf("queue.%d", i), answers: make(chan jetstream.PubAckFuture, gauge.Outstanding)}
	var err error
	if p.from, err = nats.Connect(a.Address); err != nil {
		return nil, err
	}
	if p.to, err = nats.Connect(a.Address); err != nil {
		return nil, err
	}
	if p.js, err = jetstream.New(p.from, jetstream.WithPublishAsyncMaxPending(gauge.Outstanding)); err != nil {
		return nil, err
	}
	js, err := jetstream.New(p.to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "queues", Subjects: []string{"queue.*"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage}); err != nil {
		return nil, err
	}
	p.pull, err = js.CreateOrUpdateConsumer(ctx, "queues", jetstream.ConsumerConfig{Durable: fmt.Sprintf("receiver%d", i), FilterSubject: p.subject, AckPolicy: jetstream.AckExplicitPolicy})
	return p, err
}

func (p *jetPair) Put(messages [][]byte) error {
	for _, m := range messages {
		f, err := p.js.PublishAsync(p.subject, m)
		if err != nil {
			return err
		}
		p.answers <- f
	}
	return nil
}

func (p *jetPair) Answered() (int, error) {
	for n := 0; ; n++ {
		var f jetstream.PubAckFuture
		select {
		case f = <-p.answers:
		default:
			if n > 0 {
				return n, nil
			}
			f = <-p.answers
		}
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return n, err
		}
	}
}

func (p *jetPair) Receive(f func([]byte)) error {
	if p.messages == nil {
		var err error
		if p.messages, err = p.pull.Messages(); err != nil {
			return err
		}
	}
	m, err := p.messages.Next()
	if err != nil {
		return err
	}
	f(m.Data())
	return m.Ack()
}

func (p *jetPair) Close() {
	p.from.Close()
	p.to.Close()
}
