package spool

import (
	"bytes"
	"cmp"
	"errors"
	"hash"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kin/internal/disk"
	"kin/internal/scrub"
)

// recover reads the headers of every segment. New batches go to a fresh segment.
//
// A program that was killed leaves what it wrote in the kernel's cache, where it
// can be read and yet be lost with the power. So what is believed is made durable
// first: each segment's last batch is written again, as it is, since a sync that
// failed may have made the kernel forget that it has to be; then all are synced, and
// their names.
func (s *Spool) recover() error {
	if err := s.FS.SyncDir(s.Dir); err != nil {
		return err
	}
	names, err := s.segmentNames()
	if err != nil {
		return err
	}
	// Opening headers takes a processor's time, so many segments are shared out.
	var all sync.WaitGroup
	var turn atomic.Int64
	errs := make([]error, min(runtime.GOMAXPROCS(0), 1+len(names)/8))
	for w := range errs {
		all.Go(func() {
			r := &recovery{Spool: s, heads: newMAC(&s.Key)}
			defer func() { clear(r.buf[:cap(r.buf)]); clear(r.live[:cap(r.live)]) }() // they held salts and ids
			scrub.Do(func() {
				for errs[w] == nil {
					i := int(turn.Add(1)) - 1
					if i >= len(names) {
						return
					}
					errs[w] = r.segment(filepath.Join(s.Dir, names[i]))
				}
			})
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if s.highest == 0 && s.foreign > 1 { // one may be damaged
		return ErrKey
	}
	s.settle()
	s.writing.Lock()
	err = s.syncZeros()
	s.writing.Unlock()
	if err != nil {
		return err
	}
	return s.free()
}

// recovery reads one segment after the other.
type recovery struct {
	*Spool
	heads  hash.Hash   // under the spool key
	buf    []byte      // what was read of the segment
	at     int64       // where that begins
	live   []recovered // of the segment's present life
	number uint64      // the highest of a batch
	others int         // batches in the segment that were not authenticated, and may not have expired
	zeroed []place     // salts to be overwritten: of records that were never acknowledged
}

type recovered struct {
	queue QueueID
	entry
}

// segment reads a segment. It tries every boundary for a batch, for what lies
// between may be torn. Batches of an earlier life have a smaller id. What can't be read now
// is passed over, and the file kept for a start that can.
func (r *recovery) segment(name string) error {
	f, err := r.FS.Open(name)
	if err != nil {
		return err
	}
	g := r.addSegment(&segment{file: f, name: name})
	if g.size, err = f.Size(); err != nil {
		return err
	}
	r.buf, r.live, r.zeroed, r.others = r.buf[:0], r.live[:0], nil, 0
	last, lastLive := int64(-1), 0
	length := boundary
	for at := int64(0); at+boundary <= g.size; at += int64(length) {
		l, head, err := r.head(g, at, length)
		if err != nil {
			r.passOver(g, err)
		}
		if l == nil {
			length = boundary
			continue
		}
		var bodies []int
		bodies, length = l.bodies()
		r.number = max(r.number, l.number)
		if l.segment > g.id {
			g.id, g.records, g.gone = l.segment, 0, 0
			r.live = r.live[:0]
		}
		if l.segment == g.id {
			last, lastLive = at, len(r.live)
			g.end = at + int64(length)
			if err := r.batch(g, l, head, at, bodies); err != nil {
				return err
			}
		}
	}
	g.dirty = true
	if last >= 0 {
		r.openBodies(g, lastLive)
		if err := rewrite(f, last, min(g.end, g.size)-last); err != nil {
			return err
		}
		if err := r.sync(g); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.highest = max(r.highest, r.number)
	if last < 0 && r.others > 0 {
		r.Log.Error("no batch of a segment is of this relay; its file is kept until a start at which all have expired")
		g.unread = true
		r.foreign += r.others
	}
	for i := range r.live {
		r.index.load(r.live[i].queue, r.live[i].entry)
		g.live += int64(bodySizes[r.live[i].class])
	}
	r.zeros = append(r.zeros, r.zeroed...)
	return nil
}

// passOver notes that a part of a segment can't be read.
func (r *recovery) passOver(g *segment, err error) {
	if g.unread {
		return
	}
	r.Log.Error("a part of a segment can't be read, and is left as it is", "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	g.unread, r.passedOver = true, true
}

// unproven notes a head that is not authenticated, if there is one. It is believed as to when
// its records expire, so that nothing is unlinked for want of the right key.
func (r *recovery) unproven(l *layout) {
	if l == nil {
		return
	}
	now := EpochOf(time.Now(), r.Epoch)
	if slices.ContainsFunc(l.epochs, func(n uint32) bool { return n >= now || r.epochs.keys[n] != nil }) {
		r.others++
	}
}

// head reads a batch up to its bodies, from a boundary; nil if there is none. before is
// how long the batch before it is: among short ones, several are read at once.
func (r *recovery) head(g *segment, at int64, before int) (*layout, []byte, error) {
	ahead := boundary
	if before <= shortBatch {
		ahead = readAhead
	}
	b, err := r.peek(g, at, boundary, ahead)
	if err != nil {
		return nil, nil, err
	}
	l, proven := parseHead(b, r.heads)
	if !proven {
		r.unproven(l)
		return nil, nil, nil
	}
	if end := l.header(len(l.epochs)); end > boundary && at+int64(end) <= g.size {
		if b, err = r.peek(g, at, end, end); err != nil {
			return nil, nil, err
		}
	}
	return l, b, nil
}

const (
	shortBatch = 8 << 10 // of one envelope
	readAhead  = 32 << 10
)

// peek returns length bytes of the segment from at on. If they were not read yet, as many
// as ahead are, if that can be done.
func (r *recovery) peek(g *segment, at int64, length, ahead int) ([]byte, error) {
	if off := at - r.at; off < 0 || off+int64(length) > int64(len(r.buf)) {
		err := r.load(g, at, int(min(int64(ahead), g.size-at)))
		if err != nil {
			err = r.load(g, at, length)
		}
		if err != nil {
			return nil, err
		}
	}
	return r.buf[at-r.at:][:length], nil
}

// load reads into buf.
func (r *recovery) load(g *segment, at int64, n int) error {
	if cap(r.buf) < n {
		clear(r.buf[:cap(r.buf)])
		r.buf = make([]byte, n)
	}
	r.buf, r.at = r.buf[:n], at
	_, err := g.file.ReadAt(r.buf, at)
	if err != nil {
		r.buf = r.buf[:0]
	}
	return err
}

// rewrite writes length bytes again as they are. What can't be read stays: it is not in
// the kernel's cache.
func rewrite(f disk.File, at, length int64) error {
	b := make([]byte, length)
	defer clear(b)
	if _, err := f.ReadAt(b, at); err == nil {
		_, err = f.WriteAt(b, at)
		return err
	}
	if length <= boundary {
		return nil
	}
	half := int64(align(int(length/2), boundary))
	return errors.Join(rewrite(f, at, half), rewrite(f, at+half, length-half))
}

var tombstone [saltSize]byte

// batch takes a batch's records: a zeroed salt is a tombstone, an epoch without a key has
// expired, and what does not open is damaged. Tombstones are written once more, with the
// salts between them, for a sync of theirs may have failed before a kill. head is the
// batch up to its bodies.
func (r *recovery) batch(g *segment, l *layout, head []byte, at int64, bodies []int) error {
	n := len(l.epochs)
	g.records += n
	if at+int64(l.header(n)) > g.size {
		g.gone += n
		return nil
	}
	var tombs []byte // from the first to the last
	first := 0
	for i := range n {
		salt := head[l.salt(i):][:saltSize]
		k := r.epochs.keys[l.epochs[i]]
		if k == nil {
			g.gone++
			continue
		}
		if bytes.Equal(salt, tombstone[:]) {
			g.gone++
			if tombs == nil {
				first = l.salt(i)
			}
			tombs = head[first : l.salt(i)+saltSize]
			continue
		}
		key := recordKey(&k.key, salt, l.segment, l.number, i)
		plain, err := openPart(&key, headerNonce, head[l.header(i):][:sealedHead])
		clear(key[:])
		if err != nil {
			r.Log.Error("a stored envelope was damaged and is lost")
			g.gone++
			continue
		}
		h := parseRecord(plain)
		clear(plain)
		r.live = append(r.live, recovered{h.queue, entry{id: h.id, place: place{g.number, uint32(at) + uint32(l.salt(i))}, seq: h.seq,
			body: uint32(at) + uint32(bodies[i]), batch: uint32(l.number - l.segment), epoch: h.epoch, index: uint16(i), class: l.classes[i], flags: h.flags}})
	}
	if tombs == nil {
		return nil
	}
	_, err := g.file.WriteAt(tombs, at+int64(first))
	return err
}

// openBodies opens the bodies of a segment's last batch, which a crash may have
// torn. What does not open was never acknowledged; what can't be read may have been.
func (r *recovery) openBodies(g *segment, from int) {
	last := r.live[from:]
	r.live = r.live[:from]
	for _, e := range last {
		body, err := r.read(&e.entry)
		if errors.Is(err, errLost) {
			g.gone++
			r.zeroed = append(r.zeroed, e.place)
			continue
		}
		forget(body)
		r.live = append(r.live, e)
	}
}

// settle puts each queue in order. Of two records with one id, of which one was not
// yet erased, it keeps the better one.
func (s *Spool) settle() {
	x := &s.index
	seen := map[MessageID]uint32{}
	for _, l := range x.queues {
		clear(seen)
		kept := l.items[:0]
		for _, i := range l.items {
			other, twice := seen[x.slab.at(i).id]
			if !twice {
				seen[x.slab.at(i).id] = i
				kept = append(kept, i)
				continue
			}
			better, worse, sure := s.better(other, i)
			seen[x.slab.at(i).id] = better
			kept[slices.Index(kept, other)] = better
			s.lost(x.slab.at(worse))
			if e := x.slab.at(worse); sure {
				s.zeros = append(s.zeros, e.place)
			} else { // for a start that can read it
				s.segments[e.segment].unread, s.passedOver = true, true
			}
			x.drop(worse)
		}
		l.items = kept
		slices.SortFunc(l.items, func(a, b uint32) int { return cmp.Compare(x.slab.at(a).seq, x.slab.at(b).seq) })
	}
}

// better tells which of two records is to be kept: the one that lives longer, if its body
// opens. It is not sure while that can't be read: it may be torn, or what was promised.
func (s *Spool) better(a, b uint32) (better, worse uint32, sure bool) {
	if s.index.slab.at(b).epoch > s.index.slab.at(a).epoch {
		a, b = b, a
	}
	switch err := s.tryBody(a); {
	case err == nil:
		return a, b, true
	case errors.Is(err, errLost):
		return b, a, true
	case s.tryBody(b) == nil:
		return b, a, false
	}
	return a, b, false
}

// tryBody tells whether a record's body opens.
func (s *Spool) tryBody(i uint32) error {
	body, err := s.body(s.index.slab.at(i))
	forget(body)
	return err
}
