package relay

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/time/rate"

	"kin/protocol"
	"kin/relay/spool"
)

// hash names what the relay keeps about an id: no id is on the disk.
type hash [32]byte

func hashOf(id protocol.ID) hash { return sha256.Sum256(id[:]) }

// keys are the relay's own, made at its first start.
type keys struct {
	Static  [32]byte // RS, private
	IDs     [32]byte // the secret that queue ids follow from
	Spool   [32]byte
	Numbers uint64        // batch numbers that were given out
	Epoch   time.Duration // of what is in the spool
	Slots   bool          // its keys are in the file epochs
}

// queue is a queue's record. It is changed with store.mu held.
type queue struct {
	Receiver  hash
	Sender    hash
	Key       [32]byte  // the receiver's
	SenderKey *[32]byte `json:",omitempty"`
	Claim     *[32]byte `json:",omitempty"` // its hash
	Day       uint32    // of the last use
	Gone      bool      `json:",omitempty"` // deleted; kept for the invite's sake
	Invite    *invite   `json:",omitempty"`

	used  bool          // Day is not written yet
	paced *rate.Limiter // nil until something is put
}

// invite is what was offered on a queue.
type invite struct {
	Location hash
	Blob     []byte `json:",omitempty"`
	TTL      uint32
	Expires  int64 // Unix seconds, the end of an epoch
	State    protocol.InviteState
	Fetches  uint8
	Tries    uint8
}

// state is an invite's at a time. An open one without its blob was swept by a clock that was
// ahead: it has expired, though the clock is right again.
func (i *invite) state(now time.Time) protocol.InviteState {
	if i.State == protocol.InviteOpen && (i.Blob == nil || now.Unix() >= i.Expires) {
		return protocol.InviteExpired
	}
	return i.State
}

// store holds queues, grants, tickets and invites: few and long-lived. Queues are
// in RAM too.
type store struct {
	db     *bbolt.DB
	keys   keys
	static *ecdh.PrivateKey
	pace   rate.Limit

	leftovers atomic.Bool // free pages may hold something: there was a commit, or this is a start

	mu        sync.Mutex
	receivers map[hash]*queue
	senders   map[hash]*queue
	locations map[hash]*queue
	swept     uint32 // the day whose expired tickets are gone

	committing sync.Mutex // held for a commit
	unsure     bool       // the last one failed: the file may show what is not durable

	erasing sync.Mutex
	erased  []hash // deleted queues of which nothing waits any more; still in bucketDeleted
}

var (
	bucketKeys    = []byte("keys")
	bucketQueues  = []byte("queues")
	bucketDeleted = []byte("deleted") // queues whose envelopes may not all be erased yet
	bucketTickets = []byte("tickets")
	bucketGrants  = []byte("grants")

	buckets = [][]byte{bucketKeys, bucketQueues, bucketDeleted, bucketTickets, bucketGrants}
)

// ErrDamaged is returned by Open for a relay.db that is not as it was written.
var ErrDamaged = errors.New("it is damaged; put a copy back, an older one if there is no other: nothing that waits is erased")

// ErrInUse is returned by Open for a folder that another relay has open.
var ErrInUse = errors.New("another relay has this data folder open")

// openStore opens relay.db. Its keys are made anew, if there are none and mayMake is set.
func openStore(name string, mayMake bool, pace rate.Limit) (*store, error) {
	if err := reachesItsEnd(name); err != nil {
		return nil, fmt.Errorf("relay.db: %w", err)
	}
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{Timeout: time.Second})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum):
		return nil, fmt.Errorf("relay.db: %w (%w)", ErrDamaged, err)
	case err != nil:
		return nil, err
	}
	s := &store{db: db, pace: pace, receivers: map[hash]*queue{}, senders: map[hash]*queue{}, locations: map[hash]*queue{}}
	s.leftovers.Store(true)
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		k, err := get[keys](tx, bucketKeys, bucketKeys)
		switch {
		case err != nil:
			return err
		case k != nil:
			s.keys = *k
			return nil
		case !mayMake:
			return errNoKeys
		}
		rand.Read(s.keys.Static[:])
		rand.Read(s.keys.IDs[:])
		rand.Read(s.keys.Spool[:])
		return s.putKeys(tx)
	})
	if err == nil {
		err = s.load()
	}
	if err == nil {
		s.static, err = ecdh.X25519().NewPrivateKey(s.keys.Static[:])
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("relay.db: %w", err)
	}
	return s, nil
}

// update is a commit, unless f returns errUnchanged.
func (s *store) update(f func(*bbolt.Tx) error) error {
	s.committing.Lock()
	defer s.committing.Unlock()
	err := s.db.Update(f)
	if err != errUnchanged {
		s.unsure = err != nil
		s.leftovers.Store(true)
	}
	return err
}

func (s *store) putKeys(tx *bbolt.Tx) error { return put(tx, bucketKeys, bucketKeys, &s.keys) }

// load puts queues into RAM, and checks what is not.
func (s *store) load() error {
	return s.db.View(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bucketQueues).ForEach(func(k, b []byte) error {
			q := new(queue)
			if err := parse(k, b, q); err != nil {
				return err
			}
			s.index(q)
			return nil
		})
		for _, bucket := range [][]byte{bucketDeleted, bucketTickets, bucketGrants} {
			err = errors.Join(err, tx.Bucket(bucket).ForEach(func(k, b []byte) error { return parse(k, b, new(any)) }))
		}
		return err
	})
}

// index makes a queue findable. mu is held, or nobody else is there.
func (s *store) index(q *queue) {
	s.receivers[q.Receiver], s.senders[q.Sender] = q, q
	if q.Invite != nil {
		s.locations[q.Invite.Location] = q
	}
}

func (s *store) unindex(q *queue) {
	delete(s.receivers, q.Receiver)
	delete(s.senders, q.Sender)
	if q.Invite != nil {
		delete(s.locations, q.Invite.Location)
	}
}

// change makes next the record in place of q, durably. mu is held.
func (s *store) change(q, next *queue, more ...func(*bbolt.Tx) error) error {
	err := s.update(func(tx *bbolt.Tx) error {
		for _, f := range more {
			if err := f(tx); err != nil {
				return err
			}
		}
		return put(tx, bucketQueues, next.Receiver[:], next)
	})
	if err == nil {
		*q = *next
		s.index(q)
	}
	return err
}

// shown tells whether the file shows a queue that was not deleted. A commit that fails in the
// last of its syncs is seen by the next, but what it holds is not durable before that, and
// not in RAM: it is committed once more.
func (s *store) shown(receiver hash) (shown bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		q, err := get[queue](tx, bucketQueues, receiver[:])
		shown = err == nil && q != nil && !q.Gone
		return err
	})
	return shown, err
}

// delete removes a record, of a queue whose envelopes are to be erased. mu is held.
func (s *store) delete(q *queue) error {
	err := s.update(func(tx *bbolt.Tx) error {
		if err := q.markDeleted(tx); err != nil {
			return err
		}
		return tx.Bucket(bucketQueues).Delete(q.Receiver[:])
	})
	if err == nil {
		s.unindex(q)
	}
	return err
}

// reserve gives out batch numbers for the spool, once for ever: the next ones that are
// above a number.
func (s *store) reserve(n, above uint64) (first uint64, err error) {
	err = s.update(func(tx *bbolt.Tx) error {
		next := s.keys
		first = max(next.Numbers, above) + 1
		next.Numbers = first + n - 1
		if err := put(tx, bucketKeys, bucketKeys, &next); err != nil {
			return err
		}
		s.keys.Numbers = next.Numbers
		return nil
	})
	return first, err
}

// ids are a queue's receiver and sender id: the same ticket and key have the same.
func (s *store) ids(t protocol.ID, key [32]byte) (receiver, sender protocol.ID) {
	from := protocol.LP(t[:], key[:])
	b := protocol.Expand(protocol.Extract(s.keys.IDs[:], from), "kin/1 ids", 2*protocol.IDSize)
	defer clear(b)
	clear(from)
	return protocol.ID(b), protocol.ID(b[protocol.IDSize:])
}

func (q *queue) spoolID() spool.QueueID { return spool.QueueID(q.Receiver) }

func today(now time.Time) uint32 { return uint32(max(0, now.Unix()) / 86400) }

// find returns a copy of the record that a map has for an id, and notes the day; it
// is written with the next sweep. ok: the queue is there.
func (s *store) find(m map[hash]*queue, id protocol.ID) (q queue, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := m[hashOf(id)]
	if r == nil {
		return queue{}, false
	}
	if d := today(time.Now()); d != r.Day {
		r.Day, r.used = d, true
	}
	return *r, !r.Gone
}

// allow tells whether a queue may get one more envelope now.
func (s *store) allow(receiver hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.receivers[receiver]
	if r == nil {
		return true // deleted meanwhile
	}
	if r.paced == nil {
		r.paced = rate.NewLimiter(s.pace, sendBurst)
	}
	return r.paced.Allow()
}

// sweep forgets tickets that expired, and deleted queues whose invite did. Where
// there is nothing to forget or to note, the disk is left alone.
func (s *store) sweep(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gone, changed []*queue
	for _, q := range s.receivers {
		if q.Invite != nil && q.Invite.Blob != nil && now.Unix() >= q.Invite.Expires {
			inv := *q.Invite
			inv.Blob, q.Invite, q.used = nil, &inv, true
		}
		switch {
		case q.Gone && (q.Invite == nil || now.Unix() >= q.Invite.Expires):
			gone = append(gone, q)
		case q.used:
			changed = append(changed, q)
		}
	}
	var tickets [][]byte
	day := today(now)
	if day != s.swept { // tickets expire at the end of a day
		var err error
		if tickets, err = s.expiredTickets(now); err != nil {
			return err
		}
	}
	erased := s.takeErased()
	if len(gone)+len(changed)+len(tickets)+len(erased) == 0 {
		s.swept = day
		return nil
	}
	err := s.update(func(tx *bbolt.Tx) error {
		for _, h := range erased {
			if err := tx.Bucket(bucketDeleted).Delete(h[:]); err != nil {
				return err
			}
		}
		for _, q := range gone {
			if err := tx.Bucket(bucketQueues).Delete(q.Receiver[:]); err != nil {
				return err
			}
		}
		for _, q := range changed {
			if err := put(tx, bucketQueues, q.Receiver[:], q); err != nil {
				return err
			}
		}
		for _, t := range tickets {
			if err := tx.Bucket(bucketTickets).Delete(t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, q := range gone {
		s.unindex(q)
	}
	for _, q := range changed {
		q.used = false
	}
	s.swept = day
	return nil
}
