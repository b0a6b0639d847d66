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
// the same without the trouble, in turn: all on a relay with little memory, then on one
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
	fmt.Printf("%d active and %d idle connections, %d visitors a second, 128 MiB of memory\n", o.active, o.idle, o.visitors)
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
	h, err := newHonest(s.Announced, o.active/2, o.visitors)
	if err != nil {
		return 0, err
	}
	fmt.Printf("p50, p99 | p99 under attack, ratio\n%-10s %30s %30s %30s %8s  the attackers'\n", "", timed[putOK], timed[putMSG], timed[visit], "peak MiB")
	var idlers *generator
	if o.only == "" || o.only == "idle" {
		worse += o.underTrouble(s, h, "idle", c, func() (*generator, error) { return generate(s.Announced, "hold", strconv.Itoa(o.idle)) })
	}
	if idlers, err = generate(s.Announced, "hold", strconv.Itoa(o.idle)); err != nil {
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
		worse += o.underTrouble(s, h, kind, c, func() (*generator, error) { return generate(s.Announced, "attack", kind, strconv.Itoa(n)) })
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

// underTrouble measures without and with one kind of trouble, in turn. What was due in a
// measurement counts there, whenever it came.
func (o *options) underTrouble(s *server, h *honest, kind string, c confined, trouble func() (*generator, error)) (worse int) {
	var quiet, loud []window
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
		quiet = append(quiet, measure())
		g, err := trouble()
		if err == nil {
			loud = append(loud, measure())
			t, err = g.end()
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		time.Sleep(o.span / 2) // what is late comes
	}
	var p50, p99, p99Loud, ratios [3][]float64
	for i := range quiet {
		before, under := h.between(quiet[i]), h.between(loud[i])
		for k := range ratios {
			p50[k] = append(p50[k], percentile(before[k], 0.5))
			p99[k] = append(p99[k], percentile(before[k], 0.99))
			p99Loud[k] = append(p99Loud[k], percentile(under[k], 0.99))
			ratios[k] = append(ratios[k], p99Loud[k][i]/p99[k][i])
		}
	}
	fmt.Printf("%-10s", kind)
	for i := range ratios {
		fmt.Printf(" %30s", fmt.Sprintf("%.1f %.1f | %.1f ms, %.2f", median(p50[i]), median(p99[i]), median(p99Loud[i]), median(ratios[i])))
	}
	peak := s.peak()
	if c.memory > 0 && peak > c.memory {
		worse++
	}
	fmt.Printf(" %8.1f  %d tried, %d refused, %d open; %s\n", float64(peak)/(1<<20), t.Tried, t.Refused, t.Held, s.pressure())
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
