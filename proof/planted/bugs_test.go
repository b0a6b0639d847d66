//go:build unix

package planted

// bug is a mistake that is planted into a copy of the product's source.
type bug struct {
	name  string
	run   string // the harness that must show it
	kind  string // of violation that the checker must report
	edits []edit
}

// edit replaces a text that stands once in a file.
type edit struct{ file, old, new string }

// bugs are the twelve of the plan, of which the fifth has two faces, and one that the
// product had.
var bugs = []bug{
	{"ack before fsync", "spool", "lost", []edit{{"relay/spool/batch.go", `
	if err == nil {
		err = s.sync(g)
	}
	if err != nil {
		s.open = nil
`, `
	if err != nil {
		s.open = nil
`}}},
	{"no directory fsync", "spool", "lost", []edit{{"relay/spool/segment.go", `
	if err := s.FS.SyncDir(s.Dir); err != nil {
		return nil, errors`, `
	if err := error(nil); err != nil {
		return nil, errors`}}},
	{"no dedupe", "spool", "duplicated", []edit{{"relay/spool/put.go",
		`e := s.index.find(q, p.ID)`, `e := (*entry)(nil)`}}},
	{"reorder", "kills", "reordered", []edit{{"client/flush.go",
		`a.Made.Compare(b.Made)`, `b.Made.Compare(a.Made)`}}},
	{"early/late expiry: early", "spool", "early expiry", []edit{{"relay/spool/sweep.go",
		`s.expire(EpochOf(now.Add(time.Since(begun)), s.Epoch))`, `s.expire(EpochOf(now.Add(time.Since(begun)), s.Epoch)+1)`}}},
	{"early/late expiry: late", "spool", "late expiry", []edit{{"relay/spool/sweep.go",
		`s.expire(EpochOf(now.Add(time.Since(begun)), s.Epoch))`, `s.expire(EpochOf(now.Add(time.Since(begun)), s.Epoch)-1)`}}},
	{"slot not wiped", "slots", "remains", []edit{{"internal/slots/slots.go", `
		if err == nil {
			err = zero(f.f, i+1, 1)
		}
`, "\n"}}},
	{"ACK before inbox commit", "pieces", "lost", []edit{{"client/collect.go", `
	acks := map[uint16][]uint64{}
`, `
	for _, m := range msgs {
		if err := v.conn.ack(m.Handle, []uint64{m.Sequence}); err != nil {
			return err
		}
	}
	acks := map[uint16][]uint64{}
`}}},
	{"re-encrypt on retry", "kills", "re-encrypted", []edit{{"client/flush.go", `
	err := v.p.view(func(w *work) error {
		err := eachRecord(w, tableOutbox,`, `
	err := v.p.update(nil, func(w *work) error {
		err := eachRecord(w, tableOutbox,`}, {"client/flush.go", `
			out = append(out, g)
`, `
			if o.Message != nil && !o.Cancel {
				r, err := w.row(c, false, *o.Message)
				if err != nil {
					return err
				}
				if r != nil && len(r.Sent) == 1 {
					b := &body{kind: kindText, id: r.ID, sent: r.Made, deadline: r.Until}
					b.items.text = r.Text
					if g.Envelope, err = w.seal(s, b); err != nil {
						return err
					}
				}
			}
			out = append(out, g)
`}}},
	{"stale generation", "races", "alarm", []edit{{"client/work.go", `
	if r := w.ratchets[s.ID]; r != nil {
		return r, nil
	}
`, `
	if r := w.ratchets[s.ID]; r != nil {
		return r, nil
	}
	if r, ok := stale.Load(s.ID); ok { // what this process saw last
		w.ratchets[s.ID] = r.(*ratchet.Session)
		return w.ratchets[s.ID], nil
	}
`}, {"client/work.go", `
	w.ratchets[s.ID] = next
`, `
	w.ratchets[s.ID] = next
	stale.Store(s.ID, next)
`}, {"client/work.go", `
func newWork(`, `
var stale sync.Map

func newWork(`}, {"client/work.go", `
	"slices"
`, `
	"slices"
	"sync"
`}}},
	{"torn tail", "spool, long", "lost", []edit{{"relay/spool/recover.go", `
		body, err := r.read(&e.entry)
		if errors.Is(err, errLost) {
`, `
		body, err := r.read(&e.entry)
		if errors.Is(err, errLost) && false {
`}, {"relay/spool/put.go",
		`body, err := s.read(&stored)`, `body, err := append([]byte(nil), p.Body...), error(nil)`}}},
	{"quota miscount", "spool", "quota", []edit{{"relay/spool/write.go",
		`if s.waiting[p.queue]--; s.waiting[p.queue] <= 0 {`, `if s.waiting[p.queue] <= 0 {`}}},
	{"lost wake-up", "spool", "not woken", []edit{{"relay/spool/write.go", `
			ready = append(ready, p.queue)
`, `
			if len(ready) == 0 {
				ready = append(ready, p.queue)
			}
`}}},
	{"CANCEL before fsync", "spool", "back", []edit{{"relay/spool/erase.go", `
	s.whenGone(done)
	s.mu.Unlock()
}

// whenGone`, `
	s.mu.Unlock()
	done(nil)
}

// whenGone`}}},
}

// tap has the relay write down which bytes it is handed under which id, which nobody
// outside can see. It is in every relay here, with a bug or without.
var tap = []edit{{"relay/commands.go", `
	p := spool.Put{ID: spool.MessageID(id),`, `
	tapped.Write(history.Event{Kind: history.Put, Queue: fmt.Sprintf("%x", q.Receiver[:4]), ID: fmt.Sprintf("%x", id[:]), Hash: history.Hash(envelope)})
	p := spool.Put{ID: spool.MessageID(id),`}, {"relay/commands.go", `
const (
	sendBurst`, `
var tapped, _ = history.Append(os.Getenv("KIN_PROOF_TAP"))

const (
	sendBurst`}, {"relay/commands.go", `
	"errors"
	"sync"
	"time"
`, `
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"kin/proof/history"
`}}
