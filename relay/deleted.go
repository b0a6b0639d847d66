package relay

import (
	"slices"

	"go.etcd.io/bbolt"
)

// markDeleted notes in a commit that what waits in a queue is to be erased.
func (q *queue) markDeleted(tx *bbolt.Tx) error {
	return put(tx, bucketDeleted, q.Receiver[:], struct{}{})
}

// deleted are the queues that a start has to erase. A queue that is not known is none of
// them: relay.db may be an older one. Nor is one that is there: its DEL failed.
func (s *store) deleted() (out []hash, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketDeleted).ForEach(func(k, _ []byte) error {
			if q := s.receivers[hash(k)]; q == nil || q.Gone {
				out = append(out, hash(k))
			}
			return nil
		})
	})
	for h, q := range s.receivers {
		if q.Gone && !slices.Contains(out, h) { // a PUT may have been on its way
			out = append(out, h)
		}
	}
	return out, err
}

// isErased notes that nothing waits in a deleted queue any more, nor comes back. It is
// written with the next sweep.
func (s *store) isErased(h hash) {
	s.erasing.Lock()
	defer s.erasing.Unlock()
	s.erased = append(s.erased, h)
}

// takeErased returns what isErased has noted.
func (s *store) takeErased() []hash {
	s.erasing.Lock()
	defer s.erasing.Unlock()
	erased := s.erased
	s.erased = nil
	return erased
}
