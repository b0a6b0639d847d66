package relay

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"kin/internal/scrub"
	"kin/protocol"
)

// proofKey is what proofs under a queue's key are checked with.
type proofKey struct {
	of     [32]byte // the queue's key
	shared protocol.ProofKey
}

var errNoRoom = errors.New("no room for a chunk")

// buffers of sealed frames, by class.
var buffers = [3]sync.Pool{}

// frames takes the frames of one websocket message.
func (s *session) frames(r io.Reader) error {
	for {
		var class [1]byte
		if _, err := io.ReadFull(r, class[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.frame(r, class[0]); err != nil {
			return err
		}
		if err := s.throttle(); err != nil {
			return err
		}
		if !s.useful {
			s.slow()
		}
	}
}

// slow has who asks for what comes to nothing wait for the pace of that.
func (s *session) slow() { time.Sleep(s.idle.Reserve().Delay()) }

// frame reads and carries out one frame, and leaves none of its ids on the stack. That
// begins when it is here: the stack is large from then on, and some frames come slowly.
func (s *session) frame(r io.Reader, class byte) error {
	size, err := protocol.SealedSize(class)
	if err != nil {
		return err
	}
	if size > protocol.MessageFrame+16 { // one that is slow holds a lot of memory
		if s.rank != proven {
			return errNoRoom
		}
		select {
		case s.relay.chunks <- struct{}{}:
		default:
			return errNoRoom
		}
		defer func() { <-s.relay.chunks }()
		s.ws.SetReadDeadline(time.Now().Add(chunkWait))
		defer s.ws.SetReadDeadline(time.Time{})
	}
	b, _ := buffers[class].Get().(*[]byte)
	if b == nil {
		fresh := make([]byte, size)
		b = &fresh
	}
	defer func() { clear(*b); buffers[class].Put(b) }()
	if _, err := io.ReadFull(r, *b); err != nil {
		return err
	}
	scrub.Do(func() {
		var f protocol.Frame
		if f, err = s.link.Open(class, *b); err == nil {
			err = s.command(f)
		}
	})
	return err
}

// command carries out one frame. An error ends the connection; a refusal is an
// answer.
func (s *session) command(f protocol.Frame) error {
	s.useful = false
	cmd, err := protocol.ParseCommand(f)
	var unknown protocol.ErrUnknownType
	if errors.As(err, &unknown) {
		if err := s.count(unknown.Corr); err != nil {
			return err
		}
		s.refuse(unknown.Corr, protocol.CodeNotBuilt, 0)
		return nil
	}
	if err != nil {
		return err
	}
	defer forget(cmd)
	switch c := cmd.(type) {
	case *protocol.Ack:
		s.ack(c)
		return nil
	case *protocol.Issue:
		return s.numbered(c.Corr, true, func() { s.issue(c) })
	case *protocol.New:
		return s.numbered(c.Corr, true, func() { s.newQueue(c) })
	case *protocol.Offer:
		return s.numbered(c.Corr, true, func() { s.offer(c) })
	case *protocol.Del:
		return s.numbered(c.Corr, true, func() { s.del(c) })
	case *protocol.Fetch:
		return s.numbered(c.Corr, true, func() { s.fetch(c) })
	case *protocol.First:
		return s.numbered(c.Corr, false, func() { s.first(c) }) // which looks at the pace itself
	case *protocol.Put:
		return s.numbered(c.Corr, false, func() { s.put(c) })
	case *protocol.Cancel:
		return s.numbered(c.Corr, false, func() { s.cancel(c) })
	case *protocol.Sub:
		return s.numbered(c.Corr, false, func() { s.sub(c) })
	case *protocol.Unsub:
		return s.numbered(c.Corr, false, func() { s.unsub(c) })
	}
	return protocol.ErrMalformed
}

// numbered checks a command's number, and the pace of what takes no queue's key.
func (s *session) numbered(n protocol.Corr, paced bool, f func()) error {
	if err := s.count(n); err != nil {
		return err
	}
	if paced && !s.paced() {
		s.refuse(n, protocol.CodeSlowDown, paceWait)
		return nil
	}
	f()
	return nil
}

// paced tells whether one more comes within the pace of what takes no queue's key.
func (s *session) paced() bool {
	if s.free == nil {
		s.free = rate.NewLimiter(freeRate, freeBurst)
	}
	return s.free.Allow()
}

// count checks that a command's number is above the last.
func (s *session) count(n protocol.Corr) error {
	if n.Number() <= s.number {
		return protocol.ErrMalformed
	}
	s.number = n.Number()
	return nil
}

// allowed tells whether a command's queue is there (found) and its proof right under
// key, the receiver's or the sender's, nil where none is registered yet. If not, the
// command is refused.
func (s *session) allowed(found bool, key *[32]byte, p protocol.Proof, n protocol.Corr, cmd protocol.Command) bool {
	switch {
	case !found || key == nil:
		s.refuse(n, protocol.CodeUnknownQueue, 0)
	case !s.proved(*key, p, n, cmd):
		s.refuse(n, protocol.CodeProof, 0)
	default:
		s.relay.known(s, *key)
		return true
	}
	return false
}

// proved checks a command's proof under a key, which may be one that the command brings:
// then it says nothing of who sent it.
func (s *session) proved(key [32]byte, p protocol.Proof, n protocol.Corr, cmd protocol.Command) bool {
	i := slices.IndexFunc(s.proofKeys, func(k proofKey) bool { return k.of == key })
	if i < 0 {
		pub, err := protocol.ParsePublicKey(key[:])
		if err != nil {
			return false
		}
		k, err := protocol.NewProofKey(s.minute.ra, pub)
		if err != nil {
			return false
		}
		if len(s.proofKeys) >= maxProofKeys {
			s.proofKeys = s.proofKeys[:0]
		}
		i, s.proofKeys = len(s.proofKeys), append(s.proofKeys, proofKey{key, *k})
	}
	signed := cmd.SignedBytes()
	ok := s.proofKeys[i].shared.Verify(p, s.link.SID, n, signed)
	clear(signed)
	return ok
}
