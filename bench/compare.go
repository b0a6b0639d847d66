package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"kin/bench/gauge"
)

// contender is a kind of server, and the program that has it.
type contender struct {
	program, kind, durable string
}

// own are kinds of this program.
func own(kinds ...string) (all []contender, err error) {
	self, err := os.Executable()
	durable := map[string]string{"bare": "stores nothing, frames in the clear", "aead": "stores nothing, Kin's link", "append": "synced append, Kin's link",
		"kin": "synced before the answer"}
	for _, k := range kinds {
		all = append(all, contender{self, k, durable[k]})
	}
	return all, err
}

// measured are a contender's results, one of each round.
type measured struct {
	rates, cpus, p50s, p99s []float64 // a second, and microseconds
}

// with starts a contender, and has f measure it.
func (c contender) with(f func(*gauge.Server) error) error {
	s, err := gauge.Start(c.program, c.kind, "")
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Stop())
}

// round measures a server: latency when it has run for a while.
func (m *measured) round(s *gauge.Server, o *options, latency bool) error {
	r, err := s.Throughput(o.pairs, o.span)
	if err != nil {
		return err
	}
	m.rates, m.cpus = append(m.rates, r.Rate), append(m.cpus, micros(r.CPU))
	if !latency {
		return nil
	}
	if r, err = s.Latency(o.pairs, o.rate, max(o.span, time.Second)); err != nil {
		return err
	}
	m.p50s, m.p99s = append(m.p50s, micros(r.P50)), append(m.p99s, micros(r.P99))
	return nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// compare measures all contenders in each of several rounds. Latency is measured if
// it is asked for.
func compare(all []contender, o *options, latency bool) (map[string]*measured, error) {
	found := map[string]*measured{}
	for i := range o.rounds {
		fmt.Printf("round %d:", i+1)
		for _, c := range all {
			m := found[c.kind]
			if m == nil {
				m = &measured{}
				found[c.kind] = m
			}
			err := c.with(func(s *gauge.Server) error { return m.round(s, o, latency) })
			if err != nil {
				return nil, err
			}
			fmt.Printf("  %s %.0f/s", c.kind, m.rates[i])
			if latency {
				fmt.Printf(" p99 %.1f ms", m.p99s[i]/1000)
			}
		}
		fmt.Println()
	}
	return found, nil
}

// table prints medians, and Kin's ratios within the rounds with their range.
func table(all []contender, found map[string]*measured, o *options, latency bool) {
	kin := found["kin"]
	fmt.Printf("\n%d pairs, %d under way each, 4 KiB; medians of %d rounds of %v; ratios are Kin's, within a round, with their range\n\n", o.pairs, gauge.Outstanding, o.rounds, o.span)
	fmt.Print("| | durable | messages/s | Kin's of it | server CPU a message | Kin's of it |")
	if latency {
		fmt.Printf(" p50, p99 at %d/s | Kin's p99 of it |", o.rate)
	}
	fmt.Print("\n|---|---|---|---|---|---|")
	if latency {
		fmt.Print("---|---|")
	}
	fmt.Println()
	for _, c := range all {
		m := found[c.kind]
		fmt.Printf("| %s | %s | %.0f | %s | %.1f µs | %s |", c.kind, c.durable, median(m.rates), ratio(kin.rates, m.rates), median(m.cpus), ratio(kin.cpus, m.cpus))
		if latency {
			fmt.Printf(" %.2f ms, %.2f ms | %s |", median(m.p50s)/1000, median(m.p99s)/1000, ratio(kin.p99s, m.p99s))
		}
		fmt.Println()
	}
}

// ratio is the median of a/b within rounds, and its range.
func ratio(a, b []float64) string {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", median(r), slices.Min(r), slices.Max(r))
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

func ownRelay(o *options) error {
	all, err := own(append(slices.Clone(floors), "kin")...)
	if err != nil {
		return err
	}
	found, err := compare(all, o, false)
	if err == nil {
		table(all, found, o, false)
	}
	return err
}

// idle prints what an idle connection takes.
func idle(all []contender, o *options) error {
	for _, c := range all {
		var r gauge.Result
		err := c.with(func(s *gauge.Server) (err error) {
			r, err = s.Idle(o.connections)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Printf("%d idle connections of %s: %d bytes of the server's RSS each\n", o.connections, c.kind, r.Memory)
	}
	return nil
}

func ownIdle(o *options) error {
	all, err := own("link", "kin")
	if err != nil {
		return err
	}
	return idle(all, o)
}
