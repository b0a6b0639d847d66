// Package history is what the harness of a proof saw, written down as it happened:
// one JSON object a line, never changed, only appended to. The checker (kin/proof/checker)
// reads nothing else.
//
// A harness calls Append to open a file and Write for each event; several processes
// may write to one file, for every call is one write at its end. Read reads it again.
//
// Whatever is only known before an act is written before it (put, send, ack, cancel,
// crash), and what an act has told is written after it (ok, sent, noted, flushed): so a
// process that was killed leaves at most an act that may have happened.
//
// Two kinds of history are spoken of, and one file may hold both. An event
//
//	world    id              begins a new history, in which nothing before it counts
//
// A store (a relay, a spool, a slot file) has queues, and in each messages:
//
//	quota    n, seq          a queue holds n messages, of which seq are kept for urgent ones
//	put      queue id hash   a message is handed in; until: when it expires
//	ok       queue id        the store answered: it is durable; until: as it was put
//	refused  queue id state  the store refused it; state "full": the queue holds what it may
//	list     queue actor     a reader begins to read all that waits in the queue
//	deliver  queue hash seq  a reader was given a message
//	listed   queue actor     and that was all
//	follow   queue actor     a reader wants to be told of what comes from now on
//	idle                     nothing more will happen by itself: readers have what they were told of
//	ack      queue id        a message is erased, having been collected
//	cancel   queue id        a message is erased, whether or not it was collected, and what is put of it until a crash
//	gone     queue id        and is so for good
//	flushed  [queue]         what was erased before is gone for good
//	swept    until           what expires at until or before is gone for good
//	trace    queue id        the message's bytes were found on the raw disk
//	crash    [actor] state   "kill" or "power": what was not durable may be gone
//	start    [actor]         it runs again
//
// People are profiles, each with contacts; several processes may act for one profile:
//
//	send     of queue id hash      a text for the contact queue is handed in; until: its deadline
//	sent     of queue id state     it was accepted; state: where it is
//	refused  of queue id state     it was not
//	cancel   of queue id           it is taken back
//	gone     of queue id           the relay said that what was taken back can't come
//	show     of queue id hash n    a text from the contact was shown; n are missing before it
//	noted    actor                 what this process was shown so far counts as shown
//	status   of queue id state     what the profile says of a message that it sent
//	alarm    of queue state        what the profile tells of a contact: forked, stopped, lost, quarantined, gone
//	fault    of state              an act failed in a way that nothing explains
//	copy     of id                 the profile's folder was copied; the copy is called id
//	abandon  of                    nobody uses this profile any more
//	crash    actor                 a process is killed
//	start    actor of              a process begins
//	end                            everything that could be sent, collected and shown was
package history

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// Kind names an event.
type Kind string

// The kinds of events.
const (
	World Kind = "world"

	Put     Kind = "put"
	OK      Kind = "ok"
	Refused Kind = "refused"
	List    Kind = "list"
	Deliver Kind = "deliver"
	Listed  Kind = "listed"
	Follow  Kind = "follow"
	Idle    Kind = "idle"
	Ack     Kind = "ack"
	Cancel  Kind = "cancel"
	Gone    Kind = "gone"
	Flushed Kind = "flushed"
	Swept   Kind = "swept"
	Trace   Kind = "trace"
	Quota   Kind = "quota"
	Crash   Kind = "crash"
	Start   Kind = "start"

	Send    Kind = "send"
	Sent    Kind = "sent"
	Show    Kind = "show"
	Noted   Kind = "noted"
	Status  Kind = "status"
	Alarm   Kind = "alarm"
	Fault   Kind = "fault"
	Copy    Kind = "copy"
	Abandon Kind = "abandon"
	End     Kind = "end"
)

// Event is a line.
type Event struct {
	At     int64  `json:"at"` // Unix nanoseconds, on the clock of the thing that is judged
	Kind   Kind   `json:"event"`
	Actor  string `json:"actor,omitempty"` // the process or reader
	Of     string `json:"of,omitempty"`    // the profile
	Queue  string `json:"queue,omitempty"` // the queue; of people: the other person
	ID     string `json:"id,omitempty"`
	Hash   string `json:"hash,omitempty"` // Hash of the text or envelope
	Seq    uint64 `json:"seq,omitempty"`
	N      int    `json:"n,omitempty"`
	Until  int64  `json:"until,omitempty"` // Unix nanoseconds; 0: never
	State  string `json:"state,omitempty"`
	Urgent bool   `json:"urgent,omitempty"`
}

// Hash is how a text or an envelope is known again.
func Hash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

// Log is a history that is being written.
type Log struct{ w io.WriteCloser }

// Append opens a file to append to it, and makes it if there is none.
func Append(name string) (*Log, error) {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &Log{f}, nil
}

// Write appends events with one write. An event without a time happens now. A
// history that can't be written is worth nothing: Write panics.
func (l *Log) Write(events ...Event) {
	var b []byte
	for _, e := range events {
		if e.At == 0 {
			e.At = time.Now().UnixNano()
		}
		line, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		// The line break stands in front, so that a line of which a killed process wrote a
		// part spoils no other.
		b = append(append(b, '\n'), line...)
	}
	if _, err := l.w.Write(b); err != nil {
		panic(fmt.Errorf("history: %w", err))
	}
}

// Close closes the file.
func (l *Log) Close() error { return l.w.Close() }

// Read reads a history. A line that a killed process left torn is left out, and counted.
func Read(r io.Reader) (events []Event, torn int, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var e Event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Kind == "" {
			torn++
			continue
		}
		events = append(events, e)
	}
	return events, torn, lines.Err()
}
