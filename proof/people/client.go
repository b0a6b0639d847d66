package people

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"kin/client"
	"kin/proof/history"
	"kin/protocol"
)

// Main is a client if the program was started as one, and then does not return.
func Main() {
	if len(os.Args) < 2 || os.Args[1] != Argument {
		return
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	var b begin
	if !in.Scan() || json.Unmarshal(in.Bytes(), &b) != nil {
		os.Exit(0) // the harness has gone
	}
	log, err := history.Append(b.History)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	log.Write(history.Event{Kind: history.Start, Actor: b.Actor, Of: b.Name})
	p, err := client.OpenKey(b.Dir, b.Key)
	if err != nil {
		log.Write(history.Event{Kind: history.Fault, Actor: b.Actor, Of: b.Name, State: "open: " + err.Error()})
		os.Exit(1)
	}
	c := NewClient(p, log, b.Name, b.Actor)
	network := p.Dial
	for in.Scan() {
		var o Order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if p.Dial = network; o.Pieces > 0 {
			p.Dial = behind(o.Pieces, network, func() { answer(Answer{Stopped: true}) })
		}
		answer(c.Do(o))
	}
	p.Close()
	os.Exit(0)
}

func answer(a Answer) {
	line, _ := json.Marshal(a)
	os.Stdout.Write(append(line, '\n'))
}

// Client acts for a profile, and writes down what it does and sees.
type Client struct {
	*client.Profile
	name, actor string
	log         *history.Log
	states      map[string]client.State // of texts, as far as they were written down
	taken       map[uuid.UUID]string    // texts that were taken back, until the relay has said that they can't come
	shown       bool                    // and not yet noted
}

// NewClient acts for a profile that is open in this process.
func NewClient(p *client.Profile, log *history.Log, name, actor string) *Client {
	return &Client{Profile: p, name: name, actor: actor, log: log, states: map[string]client.State{}, taken: map[uuid.UUID]string{}}
}

func (c *Client) write(k history.Kind, e history.Event) {
	e.Kind, e.Actor, e.Of = k, c.actor, c.name
	c.log.Write(e)
}

// Do carries out an order.
func (c *Client) Do(o Order) (a Answer) {
	var err error
	ctx := context.Background()
	limit := time.Duration(o.Millis) * time.Millisecond
	switch o.Act {
	case "send":
		err = c.send(ctx, o)
	case "receive":
		if a, err = c.receive(ctx, client.ReceiveOptions{}); err == nil {
			err = c.gone()
		}
	case "follow":
		ctx, cancel := context.WithTimeout(ctx, limit)
		a, err = c.receive(ctx, client.ReceiveOptions{Follow: true})
		cancel()
	case "sync":
		var r client.Report
		r, err = c.Sync(ctx, limit)
		a.Queued = r.Queued
		c.alarms(r)
	case "cancel":
		if err = c.cancel(ctx, o); err == nil {
			err = c.gone()
		}
	case "status":
		err = c.status()
	default:
		err = fmt.Errorf("no such act: %q", o.Act)
	}
	if err == nil {
		return a
	}
	a.Err = err.Error()
	var refusal *protocol.Refusal
	if !errors.Is(err, client.ErrOffline) && !errors.Is(err, client.ErrStopped) && !errors.As(err, &refusal) {
		a.Fault = err.Error()
		c.write(history.Fault, history.Event{State: o.Act + ": " + err.Error()})
	}
	return a
}

// Text is what is sent: its id, and something to fill an envelope or several with.
func Text(id string, size int) string {
	return id + " " + strings.Repeat("the words of "+id+" ", size/16)
}

func (c *Client) send(ctx context.Context, o Order) error {
	e := history.Event{Queue: o.To, ID: o.ID, Hash: history.Hash([]byte(o.Text)), Urgent: o.Urgent,
		Until: time.Now().Add(client.DefaultUntil).UnixNano()}
	c.write(history.Send, e)
	s, err := c.Send(ctx, o.To, o.Text, client.SendOptions{Urgent: o.Urgent, QueueOnly: o.Queue})
	if s.Contact == "" {
		c.write(history.Refused, history.Event{Queue: o.To, ID: o.ID, State: err.Error()})
		return err
	}
	c.write(history.Sent, history.Event{Queue: o.To, ID: o.ID, State: string(s.State)})
	return err
}

// receive shows what is new. It counts as shown only when that was committed.
func (c *Client) receive(ctx context.Context, o client.ReceiveOptions) (a Answer, err error) {
	r, err := c.Receive(ctx, o, func(ms []client.Message) error {
		c.noted() // the showing before this one was committed
		a.Shown += c.show(ms)
		return nil
	})
	a.Queued = r.Queued
	if err == nil || errors.Is(err, client.ErrOffline) || errors.Is(err, client.ErrStopped) {
		c.noted()
	}
	c.alarms(r)
	return a, err
}

// show writes down what is shown, with one write.
func (c *Client) show(ms []client.Message) int {
	events := make([]history.Event, 0, len(ms))
	for _, m := range ms {
		e := history.Event{Kind: history.Show, Actor: c.actor, Of: c.name, Queue: m.Contact, N: m.Gap}
		switch m.Note {
		case "":
			e.ID, _, _ = strings.Cut(m.Text, " ")
			e.Hash = history.Hash([]byte(m.Text))
		case client.NoteTakenBack:
			continue
		default:
			e.Kind, e.State = history.Alarm, m.Note
		}
		events = append(events, e)
	}
	c.shown = true
	c.log.Write(events...)
	return len(events)
}

func (c *Client) noted() {
	if c.shown {
		c.write(history.Noted, history.Event{})
	}
	c.shown = false
}

func (c *Client) alarms(r client.Report) {
	for _, e := range r.Events {
		if e.Kind != client.EventJoined {
			c.write(history.Alarm, history.Event{Queue: e.Contact, State: string(e.Kind), N: e.Count})
		}
	}
}

// outgoing are the texts that this profile sent, with their ids.
func (c *Client) outgoing(f func(id string, m client.Message) error) error {
	contacts, err := c.Contacts()
	if err != nil {
		return err
	}
	for _, contact := range contacts {
		all, err := c.History(contact.Label)
		if err != nil {
			return err
		}
		for _, m := range all {
			if m.Direction != client.Out {
				continue
			}
			id, _, _ := strings.Cut(m.Text, " ")
			if err := f(id, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// status writes down the states that have changed.
func (c *Client) status() error {
	return c.outgoing(func(id string, m client.Message) error {
		if c.states[id] != m.State {
			c.states[id] = m.State
			c.write(history.Status, history.Event{Queue: m.Contact, ID: id, State: string(m.State)})
		}
		return nil
	})
}

// cancel takes a text back.
func (c *Client) cancel(ctx context.Context, o Order) error {
	return c.outgoing(func(id string, m client.Message) error {
		if id != o.ID {
			return nil
		}
		c.write(history.Cancel, history.Event{Queue: m.Contact, ID: id})
		st, err := c.Cancel(ctx, m.ID)
		if st.Contact != "" {
			c.write(history.Status, history.Event{Queue: m.Contact, ID: id, State: string(st.State)})
		}
		c.taken[m.ID] = id
		return err
	})
}

// gone writes down what the relay has said is gone: the exchange before had all its
// answers, and none that asked for patience.
func (c *Client) gone() error {
	if len(c.taken) == 0 {
		return nil
	}
	all, err := c.Status()
	for _, st := range all {
		id, ok := c.taken[st.ID]
		if !ok || st.State == client.StateCancelled && st.Reason != "" {
			continue
		}
		delete(c.taken, st.ID)
		if st.State == client.StateCancelled {
			c.write(history.Gone, history.Event{Queue: st.Contact, ID: id})
		}
	}
	return err
}
