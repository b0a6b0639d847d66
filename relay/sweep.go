package relay

import (
	"errors"
	"time"

	"kin/relay/spool"
)

// sweep destroys what has expired, for as long as the relay runs.
func (r *Relay) sweep() {
	t := time.NewTicker(min(r.cfg.Epoch, time.Minute))
	defer t.Stop()
	for {
		if err := r.sweepOnce(time.Now()); err != nil {
			r.cfg.Log.Error("the sweep failed and is tried again", "error", err)
		}
		select {
		case <-r.stop:
			return
		case <-t.C:
		}
	}
}

func (r *Relay) sweepOnce(now time.Time) error {
	r.mu.Lock()
	r.prefixes.sweep(now)
	r.mu.Unlock()
	err := r.spool.Sweep(now)
	if errors.Is(err, spool.ErrClock) {
		return err // nothing is expired by a clock that can't be right
	}
	return errors.Join(err, r.store.sweep(now), r.store.overwriteFree())
}
