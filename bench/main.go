// Bench measures Kin's relay through real websockets, in one run on one machine,
// beside floors of our own and beside what one would use instead, and prints ratios.
//
//	go run . relay    durable PUT → MSG → ACK of 4 KiB envelopes by 64 pairs, and the floors
//	go run . idle     memory of 10,000 idle connections
//	go run . start    start of a relay with a million envelopes stored
//	go run . load     what honest users wait for while a confined kin-relay is attacked
//	go run . peers    all of this beside DERP, NATS JetStream, Mosquitto and Redis; or
//	                  one part of it: go run . peers [flags] speed, idle or start
//
// Every server is a process of its own, and so is every load. The peers are built
// from peers/, a module of its own; Mosquitto and Redis are Debian's, and installed
// if they are not there.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"kin/bench/gauge"
)

// options are how long and how much.
type options struct {
	rounds, pairs, rate, connections, stored int
	span                                     time.Duration
	part                                     string // of peers
	siege
}

func main() {
	gauge.Child(kinds())
	child()
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: bench relay|idle|start|load|peers [flags]")
		os.Exit(2)
	}
	f := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var o options
	f.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	f.DurationVar(&o.span, "for", 3*time.Second, "length of a measurement")
	f.IntVar(&o.pairs, "pairs", 64, "senders, each with a receiver")
	f.IntVar(&o.rate, "rate", 2000, "messages a second while latency is measured")
	f.IntVar(&o.connections, "connections", 10000, "idle connections")
	f.IntVar(&o.stored, "stored", 1000000, "envelopes stored before a start")
	f.IntVar(&o.active, "active", 1000, "load: connections of people who write to each other")
	f.IntVar(&o.idle, "idle", 13000, "load: connections that wait; in 128 MiB kin-relay takes about 15,600 in all")
	f.IntVar(&o.visitors, "visitors", 20, "load: people who come each second, write and go")
	f.IntVar(&o.holders, "holders", 2000, "load: connections of an attack that holds them, and of a crowd")
	f.IntVar(&o.flooders, "flooders", 50, "load: connections of a flood")
	f.StringVar(&o.only, "only", "", "load: one kind of trouble alone")
	f.Parse(os.Args[2:])
	o.part = f.Arg(0)
	commands := map[string]func(*options) error{"relay": ownRelay, "idle": ownIdle, "start": ownStart, "load": underSiege, "peers": peers}
	err := fmt.Errorf("no %q", os.Args[1])
	if run := commands[os.Args[1]]; run != nil {
		err = run(&o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
