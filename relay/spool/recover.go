package spool

import (
	"bytes"
	"path/filepath"

	"kin/internal/disk"
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
	for _, name := range names {
		if err := s.recoverSegment(filepath.Join(s.Dir, name)); err != nil {
			return err
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.syncZeros(); err != nil {
		return err
	}
	return s.free()
}

// found is a batch that recovery found.
type found struct {
	*layout
	at int64
}

func (s *Spool) recoverSegment(name string) error {
	f, err := s.FS.Open(name)
	if err != nil {
		return err
	}
	g := s.addSegment(&segment{file: f, name: name})
	if g.size, err = f.Size(); err != nil {
		return err
	}
	batches, err := s.scan(g)
	if err != nil {
		return err
	}
	for _, b := range batches { // batches of an earlier life have a smaller id
		g.id = max(g.id, b.segment)
	}
	var last *found
	for i := range batches {
		if batches[i].segment == g.id {
			last = &batches[i]
		}
	}
	for i := range batches {
		b := &batches[i]
		if b.segment != g.id {
			continue
		}
		if err := s.recoverBatch(g, b, b == last); err != nil {
			return err
		}
	}
	g.dirty = true
	if last == nil {
		return nil
	}
	return rewrite(f, last.at, min(g.end, g.size)-last.at)
}

// rewrite writes length bytes again as they are.
func rewrite(f disk.File, at, length int64) error {
	b := make([]byte, length)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	_, err := f.WriteAt(b, at)
	return err
}

// scan finds the valid batch headers of a segment, of all its lives. It tries every
// boundary, for what lies between may be torn.
func (s *Spool) scan(g *segment) ([]found, error) {
	var out []found
	head := make([]byte, align(batchFixed+maxRecords*batchRecord+macSize, boundary))
	for at := int64(0); at+boundary <= g.size; {
		b := head[:min(int64(len(head)), g.size-at)]
		if _, err := g.file.ReadAt(b[:len(magic)], at); err != nil {
			return nil, err
		}
		var l *layout
		if string(b[:len(magic)]) == magic {
			if _, err := g.file.ReadAt(b, at); err != nil {
				return nil, err
			}
			l = parseHead(b, &s.Key)
		}
		if l == nil {
			at += boundary
			continue
		}
		out = append(out, found{l, at})
		_, length := l.bodies()
		at += int64(length)
	}
	return out, nil
}

// recoverBatch indexes a batch's records: a zeroed salt is a tombstone, an epoch
// without a key has expired, and what does not open is damaged. Of a segment's
// last batch, which a crash may have torn, the bodies are opened too.
func (s *Spool) recoverBatch(g *segment, b *found, last bool) error {
	n := len(b.epochs)
	bodies, length := b.bodies()
	g.end = b.at + int64(length)
	g.records += n
	head := make([]byte, b.header(n)-b.salt(0))
	if b.at+int64(b.header(n)) > g.size {
		g.gone += n
		return nil
	}
	if _, err := g.file.ReadAt(head, b.at+int64(b.salt(0))); err != nil {
		return err
	}
	var tombstone [saltSize]byte
	for i := range n {
		salt := head[i*saltSize:][:saltSize]
		k := s.epochs.keys[b.epochs[i]]
		if k == nil || bytes.Equal(salt, tombstone[:]) {
			g.gone++
			continue
		}
		key := recordKey(&k.key, salt, b.segment, b.number, i)
		plain, err := openPart(&key, headerNonce, head[n*saltSize+i*sealedHead:][:sealedHead])
		clear(key[:])
		p := place{g.number, uint32(b.at) + uint32(b.salt(i))}
		if err != nil {
			s.Log.Error("a stored envelope was damaged and is lost")
			g.gone++
			continue
		}
		r := parseRecord(plain)
		e := entry{id: r.id, place: p, seq: r.seq, body: uint32(b.at) + uint32(bodies[i]), batch: uint32(b.number - b.segment),
			epoch: r.epoch, index: uint16(i), class: b.classes[i], flags: r.flags}
		if last {
			if _, err := s.body(&e); err != nil {
				g.gone++
				s.zeros = append(s.zeros, p)
				continue
			}
		}
		if s.index.find(r.queue, r.id) != nil { // a copy, of which one was not yet erased
			g.gone++
			s.zeros = append(s.zeros, p)
			continue
		}
		s.index.add(r.queue, e)
		g.live += int64(bodySizes[e.class])
	}
	return nil
}
