package people

import "fmt"

// Drain has everything sent, collected and shown that can be: one process for each
// profile acts in turn until nothing more comes. Then each says what became of what it
// sent. What a relay asked to be patient with is waited for, but not for ever.
func Drain(ps []*Process) error {
	const soon, patient = 1000, 65_000 // milliseconds; longer than a relay asks for
	wait, before := soon, 0
	for round, quiet := 0, 0; quiet < 2 && round < 50; round++ {
		shown, queued := 0, 0
		for _, p := range ps {
			for _, o := range []Order{{Act: "sync", Millis: wait}, {Act: "receive"}} {
				a, err := p.Do(o)
				if err != nil {
					return fmt.Errorf("%s: %w", p.Actor, err)
				}
				shown += a.Shown
				if o.Act == "receive" {
					queued += a.Queued
				}
			}
		}
		wait = soon
		switch {
		case shown > 0 || queued < before:
			quiet = 0
		case queued > 0:
			wait = patient
			fallthrough
		default:
			quiet++
		}
		before = queued
	}
	for _, p := range ps {
		if _, err := p.Do(Order{Act: "status"}); err != nil {
			return err
		}
	}
	return nil
}
