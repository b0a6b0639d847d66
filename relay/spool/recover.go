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
			r := &recovery{Spool: s, heads: newMAC(&s.Key), buf: make([]byte, boundary)}
			defer func() { clear(r.buf); clear(r.live[:cap(r.live)]) }() // they held salts and ids
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
	heads hash.Hash   // under the spool key
	buf   []byte      // a batch up to its bodies
	live  []recovered // of the segment's present life
	torn  []place     // salts of records that were never acknowledged
}

type recovered struct {
	queue QueueID
	entry
}

// segment reads a segment. It tries every boundary for a batch, for what lies
// between may be torn. Batches of an earlier life have a smaller id.
func (r *recovery) segment(name string) error {
	f, err := r.FS.Open(name)
	if err != nil {
		return err
	}
	g := r.addSegment(&segment{file: f, name: name})
	if g.size, err = f.Size(); err != nil {
		return err
	}
	r.live, r.torn = r.live[:0], nil
	last, lastLive := int64(-1), 0
	for at := int64(0); at+boundary <= g.size; {
		l, err := r.head(g, at)
		if err != nil {
			return err
		}
		if l == nil {
			at += boundary
			continue
		}
		bodies, length := l.bodies()
		if l.segment > g.id {
			g.id, g.records, g.gone = l.segment, 0, 0
			r.live = r.live[:0]
		}
		if l.segment == g.id {
			last, lastLive = at, len(r.live)
			g.end = at + int64(length)
			r.batch(g, l, at, bodies)
		}
		at += int64(length)
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
	for i := range r.live {
		r.index.load(r.live[i].queue, r.live[i].entry)
		g.live += int64(bodySizes[r.live[i].class])
	}
	r.zeros = append(r.zeros, r.torn...)
	return nil
}

// head reads a batch up to its bodies, from a boundary; nil if there is none. One
// read does for a small batch.
func (r *recovery) head(g *segment, at int64) (*layout, error) {
	if _, err := g.file.ReadAt(r.buf[:boundary], at); err != nil {
		return nil, err
	}
	l := parseHead(r.buf[:boundary], r.heads)
	if l == nil {
		return nil, nil
	}
	end := l.header(len(l.epochs))
	if end <= boundary || at+int64(end) > g.size {
		return l, nil
	}
	if len(r.buf) < end {
		larger := make([]byte, end)
		copy(larger, r.buf)
		clear(r.buf)
		r.buf = larger
	}
	_, err := g.file.ReadAt(r.buf[boundary:end], at+boundary)
	return l, err
}

// rewrite writes length bytes again as they are.
func rewrite(f disk.File, at, length int64) error {
	b := make([]byte, length)
	defer clear(b)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	_, err := f.WriteAt(b, at)
	return err
}

var tombstone [saltSize]byte

// batch takes a batch's records: a zeroed salt is a tombstone, an epoch without a
// key has expired, and what does not open is damaged.
func (r *recovery) batch(g *segment, l *layout, at int64, bodies []int) {
	n := len(l.epochs)
	g.records += n
	if at+int64(l.header(n)) > g.size {
		g.gone += n
		return
	}
	for i := range n {
		salt := r.buf[l.salt(i):][:saltSize]
		k := r.epochs.keys[l.epochs[i]]
		if k == nil || bytes.Equal(salt, tombstone[:]) {
			g.gone++
			continue
		}
		key := recordKey(&k.key, salt, l.segment, l.number, i)
		plain, err := openPart(&key, headerNonce, r.buf[l.header(i):][:sealedHead])
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
}

// openBodies opens the bodies of a segment's last batch, which a crash may have
// torn. What does not open was never acknowledged.
func (r *recovery) openBodies(g *segment, from int) {
	last := r.live[from:]
	r.live = r.live[:from]
	for _, e := range last {
		body, err := r.read(&e.entry)
		if err != nil {
			g.gone++
			r.torn = append(r.torn, e.place)
			continue
		}
		forget(body)
		r.live = append(r.live, e)
	}
}

// settle puts each queue in order. Of two records with one id, of which one was not
// yet erased, it keeps one whose body opens.
func (s *Spool) settle() {
	x := &s.index
	seen := map[MessageID]uint32{}
	for _, l := range x.queues {
		clear(seen)
		kept := l.items[:0]
		for _, i := range l.items {
			other, twice := seen[x.slab[i].id]
			if !twice {
				seen[x.slab[i].id] = i
				kept = append(kept, i)
				continue
			}
			if body, err := s.body(&x.slab[other]); err == nil {
				forget(body)
			} else {
				seen[x.slab[i].id] = i
				kept[slices.Index(kept, other)] = i
				i = other
			}
			s.lost(&x.slab[i])
			s.zeros = append(s.zeros, x.slab[i].place)
			x.drop(i)
		}
		l.items = kept
		slices.SortFunc(l.items, func(a, b uint32) int { return cmp.Compare(x.slab[a].seq, x.slab[b].seq) })
	}
}
