package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"kin/bench/gauge"
)

// siege is who is there while honest users' waiting times are measured.
type siege struct {
	active, idle, visitors int
	holders, flooders      int    // connections of an attack by many, and of a flood
	only                   string // kind of trouble
}

// underSiege measures honest users' waiting times while the relay is troubled, against
// the same without the trouble and with the same trouble for another relay, which takes
// the time of this machine alone, in turn: all on a relay with little memory, then on one
// with few descriptors.
func underSiege(o *options) error {
	if err := gauge.RaiseLimit(); err != nil {
		return err
	}
	processor, err := leaveFirst()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kin-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin, err := buildRelay(dir)
	if err != nil {
		return err
	}
	const memory, descriptors = 128 << 20, 256
	fmt.Printf("%d active and %d idle connections, %d visitors a second, as many with a round trip of a second, 128 MiB of memory\n", o.active, o.idle, o.visitors)
	worse, err := o.run(bin, confined{memory: memory, connections: 20000, processor: processor})
	if err != nil {
		return err
	}
	few := *o
	few.active, few.idle, few.visitors = 64, 64, 4
	few.holders, few.flooders = 400, 20
	fmt.Printf("\n%d active and %d idle connections, %d visitors a second, %d descriptors\n", few.active, few.idle, few.visitors, descriptors)
	more, err := few.run(bin, confined{descriptors: descriptors, connections: 10000, processor: processor})
	if err != nil {
		return err
	}
	if worse+more > 0 {
		return fmt.Errorf("%d promises were not kept", worse+more)
	}
	return nil
}

// run is one relay under all attacks. It returns how many promises were not kept: what
// was lost, came twice or was refused, connections that broke, visitors who did not get
// through, memory above the limit. Ratios are printed and not judged.
func (o *options) run(bin string, c confined) (worse int, err error) {
	s, err := startRelay(bin, c)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	other, err := startRelay(bin, confined{descriptors: c.descriptors, connections: c.connections, processor: foes})
	if err != nil {
		return 0, err
	}
	defer other.stop()
	h, err := newHonest(s.Announced, o.active/2, o.visitors)
	if err != nil {
		return 0, err
	}
	fmt.Printf("ms: p50, p99 | p99 while another relay is attacked, p99 under attack: ratio to the first, to the second\n%-10s %38s %38s %38s %12s %8s  the attackers'\n", "", timed[putOK], timed[putMSG], timed[visit], "slow line", "peak MiB")
	hold := func(a gauge.Announced) (*generator, error) { return generate(a, "hold", strconv.Itoa(o.idle)) }
	var idlers *generator
	if o.only == "" || o.only == "idle" {
		worse += o.underTrouble(s, other, h, "idle", c, hold)
	}
	if idlers, err = hold(s.Announced); err != nil {
		return 0, err
	}
	for _, kind := range attacks() {
		if o.only != "" && o.only != kind {
			continue
		}
		n := o.flooders
		if many(kind) {
			n = o.holders
		}
		worse += o.underTrouble(s, other, h, kind, c, func(a gauge.Announced) (*generator, error) { return generate(a, "attack", kind, strconv.Itoa(n)) })
		if !s.alive() {
			return worse, fmt.Errorf("the relay is gone: %s", s.err)
		}
	}
	if t, err := idlers.ask(); err == nil {
		fmt.Printf("idle connections that are still there: %d of %d\n", t.Held, t.Tried)
		worse += int(t.Tried - t.Held)
	}
	idlers.end()
	a := h.end()
	fmt.Println(a)
	worse += a.lost + a.twice + a.wrong + a.refused + a.broken + a.turned
	if s.err.Len() > 0 {
		fmt.Printf("the relay's log:\n%.2000s\n", s.err)
	}
	return worse, nil
}

// underTrouble measures without a kind of trouble, with it for another relay, and with it
// here, in turn. What was due in a measurement counts there, whenever it came.
func (o *options) underTrouble(s, other *server, h *honest, kind string, c confined, trouble func(gauge.Announced) (*generator, error)) (worse int) {
	var windows [3][]window // quiet, elsewhere, here
	var t told
	s.resetPeak()
	h.forget()
	measure := func() (w window) {
		time.Sleep(o.span / 4)
		w.from = time.Now()
		time.Sleep(o.span)
		w.to = time.Now()
		return w
	}
	for range o.rounds {
		windows[0] = append(windows[0], measure())
		for i, at := range []*server{other, s} {
			g, err := trouble(at.Announced)
			if err == nil {
				windows[1+i] = append(windows[1+i], measure())
				t, err = g.end()
			}
			if err != nil {
				fmt.Println(err)
				return 1
			}
			time.Sleep(o.span / 2) // what is late comes
		}
	}
	tries, through := 0, 0
	var p50, quiet, elsewhere, here, toQuiet, toElsewhere [3][]float64
	for i := range o.rounds {
		var times [3][3][]time.Duration
		for w := range windows {
			times[w] = h.between(windows[w][i])
		}
		a, b := h.slowIn(windows[2][i])
		tries, through = tries+a, through+b
		for k := range timed {
			q, e, u := percentile(times[0][k], 0.99), percentile(times[1][k], 0.99), percentile(times[2][k], 0.99)
			p50[k] = append(p50[k], percentile(times[0][k], 0.5))
			quiet[k], elsewhere[k], here[k] = append(quiet[k], q), append(elsewhere[k], e), append(here[k], u)
			toQuiet[k], toElsewhere[k] = append(toQuiet[k], u/q), append(toElsewhere[k], u/e)
		}
	}
	fmt.Printf("%-10s", kind)
	for k := range timed {
		fmt.Printf(" %38s", fmt.Sprintf("%.1f %.1f | %.1f, %.1f: %.2f, %.2f", median(p50[k]), median(quiet[k]), median(elsewhere[k]), median(here[k]), median(toQuiet[k]), median(toElsewhere[k])))
	}
	peak := s.peak()
	if c.memory > 0 && peak > c.memory {
		worse++
	}
	fmt.Printf(" %4d of %4d %8.1f  %d tried, %d refused, %d open; %s\n", through, tries, float64(peak)/(1<<20), t.Tried, t.Refused, t.Held, s.pressure())
	return worse
}

// percentile is of sorted durations, in milliseconds. It is no number if nothing was
// due, or nothing came; the account counts those who did not get through.
func percentile(d []time.Duration, share float64) float64 {
	if len(d) == 0 {
		return math.NaN()
	}
	return float64(d[int(share*float64(len(d)-1))].Microseconds()) / 1000
}
