package ratchet

import (
	"slices"
	"time"
)

// skipChain is what is left of a chain that the peer sent: its header key, and
// the keys of the messages that have not come yet.
type skipChain struct {
	hk      key
	fixed   [32]byte     // header.fixed of every message in it
	base    uint64       // seq of its message 0
	skipped []skippedKey // n ascends
}

type skippedKey struct {
	n  uint32
	mk key
	at int64 // when it was skipped, in Unix seconds
}

// recvChain is the chain that is being received. n counts what was taken or
// skipped; 0 means that the peer has not begun one, and base is 1.
type recvChain struct {
	skipChain
	ck key
	n  uint32
}

// check parses a header that this chain's key opened.
func (c skipChain) check(seq uint64, b []byte) (header, error) {
	h, err := parseHeader(b)
	if err != nil {
		return header{}, err
	}
	if h.fixed() != c.fixed {
		return header{}, ErrChain
	}
	if seq != c.base+uint64(h.n) {
		return header{}, ErrHeader
	}
	return h, nil
}

// take removes the key of message n.
func (c skipChain) take(n uint32) (rest skipChain, mk key, err error) {
	i := slices.IndexFunc(c.skipped, func(k skippedKey) bool { return k.n == n })
	if i < 0 {
		return skipChain{}, key{}, ErrUsed
	}
	mk = c.skipped[i].mk
	c.skipped = slices.Concat(c.skipped[:i], c.skipped[i+1:])
	return c, mk, nil
}

// skip goes on to message n and keeps the newest keys on the way.
func (r recvChain) skip(n uint32, now int64) recvChain {
	r.skipped = slices.Clone(r.skipped)
	for ; r.n < n; r.n++ {
		if n-r.n <= maxSkipStep {
			r.skipped = append(r.skipped, skippedKey{r.n, messageKey(&r.ck), now})
		}
		r.ck = nextChainKey(&r.ck)
	}
	return r
}

// next takes the key of message n.
func (r *recvChain) next() key {
	mk := messageKey(&r.ck)
	r.ck = nextChainKey(&r.ck)
	r.n++
	return mk
}

// withChain returns chains with c at i, or without one there if c has no keys left.
func withChain(chains []skipChain, i int, c skipChain) []skipChain {
	chains = slices.Clone(chains)
	if len(c.skipped) == 0 {
		return slices.Delete(chains, i, i+1)
	}
	chains[i] = c
	return chains
}

// withFirst puts c in front, if it has keys, and drops the oldest chain of too many.
func withFirst(chains []skipChain, c skipChain) []skipChain {
	if len(c.skipped) == 0 {
		return chains
	}
	chains = slices.Concat([]skipChain{c}, chains)
	return chains[:min(len(chains), maxOldChains)]
}

// capSkipped keeps the newest maxSkipped keys of the session.
func (s *Session) capSkipped() {
	room := maxSkipped
	s.recv.skipped, room = newest(s.recv.skipped, room)
	for i, c := range s.old {
		var rest []skippedKey
		if rest, room = newest(c.skipped, room); len(rest) == len(c.skipped) {
			continue
		}
		c.skipped = rest
		s.old = withChain(s.old[:i+1], i, c)
		return
	}
}

// newest keeps the last room keys, and says how much room is left behind them.
func newest(keys []skippedKey, room int) ([]skippedKey, int) {
	n := min(len(keys), room)
	return keys[len(keys)-n:], room - n
}

// Forget drops the keys of messages that were skipped 15 days ago or earlier,
// and returns the seqs of those messages, ascending: they are lost. The state
// that comes back is s itself if nothing was dropped. A clock that was wrong
// when a key was skipped moves its end by as much.
func (s *Session) Forget(now time.Time) (next *Session, lost []uint64) {
	cutoff := now.Unix() - skippedSecs
	next = new(*s)
	next.old = nil
	for _, c := range slices.Backward(s.old) {
		if c, lost = c.forget(cutoff, lost); len(c.skipped) > 0 {
			next.old = append(next.old, c)
		}
	}
	slices.Reverse(next.old)
	next.recv.skipChain, lost = next.recv.forget(cutoff, lost)
	if len(lost) == 0 {
		return s, nil
	}
	return next, lost
}

// forget drops what was skipped at cutoff or before, and appends the seqs of it to lost.
func (c skipChain) forget(cutoff int64, lost []uint64) (skipChain, []uint64) {
	var kept []skippedKey
	for _, k := range c.skipped {
		if k.at <= cutoff {
			lost = append(lost, c.base+uint64(k.n))
		} else {
			kept = append(kept, k)
		}
	}
	c.skipped = kept
	return c, lost
}
