package relay

import (
	"runtime"
	"testing"
	"time"

	"kin/relay/spool"
)

// TestARelayThatStandsStillIsAwaited: as long as it does.
func TestARelayThatStandsStillIsAwaited(t *testing.T) {
	s := newStand(t, nil)
	s.relay.Await()
	for name, stop := range map[string]func() (goOn func()){
		"the spool's writer": func() func() {
			inside, free := make(chan bool), make(chan bool)
			p := spool.Put{Expiry: spool.EpochOf(time.Now(), time.Hour), Body: sealed(1), Told: s.relay.spool.Told()}
			s.relay.spool.Put(spool.QueueID{1}, p, func(error) { close(inside); <-free })
			<-inside
			return func() { close(free) }
		},
		"the store": func() func() {
			s.relay.store.mu.Lock()
			return s.relay.store.mu.Unlock
		},
	} {
		goOn, over := stop(), make(chan bool)
		go func() { s.relay.Await(); close(over) }()
		for range 1000 {
			runtime.Gosched()
		}
		select {
		case <-over:
			t.Errorf("%s stands still, and was not awaited", name)
		default:
		}
		goOn()
		<-over
	}
}
