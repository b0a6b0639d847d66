package main

import (
	"fmt"
	"slices"
	"time"
)

// throughput interleaves the servers and compares them within each round.
func throughput(rounds int, span time.Duration, pairs int) error {
	all := map[string][]result{}
	for i := range rounds {
		fmt.Printf("round %d:", i+1)
		for _, kind := range kinds {
			r, err := measure(kind, span, pairs)
			if err != nil {
				return err
			}
			all[kind] = append(all[kind], r)
			fmt.Printf("  %s %.0f/s", kind, r.rate)
		}
		fmt.Println()
	}
	fmt.Printf("\n%d pairs, 4 KiB, medians of %d rounds\n", pairs, rounds)
	for _, kind := range kinds {
		var rates, cpus []float64
		for _, r := range all[kind] {
			rates, cpus = append(rates, r.rate), append(cpus, float64(r.cpu.Nanoseconds())/1000)
		}
		fmt.Printf("%-8s %8.0f messages/s  %6.1f µs of server CPU a message\n", kind, median(rates), median(cpus))
	}
	for _, floor := range kinds[:3] {
		var ratios, cpus []float64
		for i := range rounds {
			ratios = append(ratios, all["kin"][i].rate/all[floor][i].rate)
			cpus = append(cpus, float64(all["kin"][i].cpu)/float64(all[floor][i].cpu))
		}
		fmt.Printf("kin / %-6s  %.2f (%.2f to %.2f)  CPU %.2f\n", floor, median(ratios), slices.Min(ratios), slices.Max(ratios), median(cpus))
	}
	return nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
