package spool

import "time"

const (
	rememberFor = 10 * time.Minute // longer than a relay keeps a connection that is silent
	rememberMax = 1 << 14
)

// takenBack are the ids that were taken back less than rememberFor ago, or a little more:
// a PUT of one may still be on its way, on a slower connection than the CANCEL was. They
// are not on the disk, for no connection outlives the relay. The zero value has none.
type takenBack struct {
	now, before map[pendingKey]struct{}
	since       time.Time // when now began
}

func (t *takenBack) add(k pendingKey) {
	t.forget(len(t.now) == rememberMax)
	if t.now == nil {
		t.now = map[pendingKey]struct{}{}
	}
	t.now[k] = struct{}{}
}

func (t *takenBack) has(k pendingKey) bool {
	_, now := t.now[k]
	_, before := t.before[k]
	return now || before
}

// forget drops what is old, and makes room if there is none.
func (t *takenBack) forget(full bool) {
	if now := time.Now(); full || now.Sub(t.since) >= rememberFor {
		clear(t.before)
		t.now, t.before, t.since = nil, t.now, now
	}
}
