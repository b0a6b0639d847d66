// Bench measures Kin's relay through real websockets beside floors of our own, in
// one run on one machine, and prints ratios.
//
//	go run . relay    durable PUT → MSG → ACK of 4 KiB envelopes by 64 pairs
//	go run . idle     memory of 10,000 idle connections
//
// The server is always a process of its own; the load is this one.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: bench relay|idle [flags]")
		os.Exit(2)
	}
	f := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var err error
	switch os.Args[1] {
	case "relay":
		rounds := f.Int("rounds", 5, "interleaved rounds")
		span := f.Duration("for", 3*time.Second, "length of a measurement")
		pairs := f.Int("pairs", 64, "senders, each with a receiver")
		f.Parse(os.Args[2:])
		err = throughput(*rounds, *span, *pairs)
	case "idle":
		n := f.Int("connections", 10000, "connections")
		f.Parse(os.Args[2:])
		err = idle(*n)
	case "serve": // one of kinds, in a folder; the parent starts it
		f.Parse(os.Args[2:])
		err = serve(f.Arg(0), f.Arg(1))
	default:
		err = fmt.Errorf("no %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
