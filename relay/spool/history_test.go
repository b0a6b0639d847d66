package spool

import (
	"errors"
	"fmt"
	"time"

	"kin/proof/history"
)

// What the power loss test writes down for the checker, which judges it beside the
// test's own comparison.

// reader is who reads the queues.
const reader = "reader"

// tell writes events down, but not what a program does or sees whose disk has stopped:
// it is dead.
func (w *world) tell(events ...history.Event) {
	if !w.fs.Stopped() {
		w.record(events...)
	}
}

// record writes events down, whatever became of the disk.
func (w *world) record(events ...history.Event) {
	if historyLog == nil {
		return
	}
	for i := range events {
		events[i].At = time.Now().UnixNano() // on the bubble's clock
	}
	historyLog.Write(events...)
}

func queueName(q QueueID) string { return fmt.Sprintf("queue %d", q[0]) }

// endOf is when what expires in an epoch is over.
func endOf(epoch uint32) int64 { return (int64(epoch) + 1) * int64(time.Hour) }

func (p *promised) event(k history.Kind) history.Event {
	return history.Event{Kind: k, Queue: queueName(p.queue), ID: fmt.Sprintf("%x", p.ID[:4]), Hash: history.Hash(p.Body), Until: endOf(p.Expiry), Urgent: p.Urgent}
}

func (p *promised) answered(err error) history.Event {
	e := p.event(history.OK)
	var full *FullError
	switch {
	case errors.As(err, &full):
		e.Kind, e.State = history.Refused, "full"
	case err != nil:
		e.Kind, e.State = history.Refused, err.Error()
	}
	return e
}

// given is a record that the reader got.
func given(q QueueID, r Record) history.Event {
	return history.Event{Kind: history.Deliver, Actor: reader, Queue: queueName(q), Hash: history.Hash(r.Body), Seq: r.Sequence}
}

// keyEvent tells of an epoch's key.
func keyEvent(k history.Kind, key []byte) history.Event {
	h := history.Hash(key)
	return history.Event{Kind: k, Queue: "epoch keys", ID: h, Hash: h}
}

// list reads all that waits.
func (w *world) list() (all [2][]Record) {
	for q := range byte(2) {
		e := history.Event{Kind: history.List, Actor: reader, Queue: queueName(QueueID{q})}
		w.tell(e)
		all[q] = w.spool.Next(QueueID{q}, 0, 1000)
		for _, r := range all[q] {
			w.tell(given(QueueID{q}, r))
		}
		e.Kind = history.Listed
		w.tell(e)
	}
	return all
}
