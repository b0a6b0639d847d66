package people

import "fmt"

// drainWait is how long, in milliseconds, a profile tries to get out what a relay asked
// it to be patient with.
const drainWait = 150_000

// Drain has everything sent, collected and shown that can be: one process for each
// profile acts in turn until nothing more comes. Then each says what became of what it
// sent.
func Drain(ps []*Process) error {
	for round, quiet := 0, 0; quiet < 2; round++ {
		if round > 100 {
			return fmt.Errorf("after %d rounds there is still something to send or to show", round)
		}
		quiet++
		for _, p := range ps {
			for _, o := range []Order{{Act: "sync", Millis: drainWait}, {Act: "receive"}} {
				a, err := p.Do(o)
				if err != nil {
					return fmt.Errorf("%s: %w", p.Actor, err)
				}
				if a.Shown > 0 || a.Queued > 0 {
					quiet = 0
				}
			}
		}
	}
	for _, p := range ps {
		if _, err := p.Do(Order{Act: "status"}); err != nil {
			return err
		}
	}
	return nil
}
