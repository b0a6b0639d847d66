// Package gauge measures message servers of any kind in one way. A server and its
// load are processes of their own, started by the program that compares them.
//
// A program with servers calls Child first thing in main, with its kinds; the one
// that compares calls Start, and then Server.Throughput, Latency and Idle.
package gauge

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// Size is the payload of every message.
const Size = 4096

// Outstanding is how many messages of a pair may be unanswered.
const Outstanding = 16

// Announced is what a server's process says when it is ready.
type Announced struct {
	Address string
	PID     int    // of the process that serves
	Key     string // what its clients have to know
	Grant   string
}

// Kind is a kind of server and how it is used. A kind with only a part leaves out
// the others.
type Kind struct {
	// Serve starts the server with its data in dir.
	Serve func(dir string) (Announced, error)
	// Stop, if any, ends it and returns when its data is whole.
	Stop func() error
	// Pair makes the i-th sender and its receiver.
	Pair func(a Announced, i int) (Pair, error)
	// Connect opens a connection that only waits.
	Connect func(a Announced) (io.Closer, error)
}

// Pair is a sender and its receiver, each with a connection of its own. One
// goroutine sends, one waits for answers and one receives.
type Pair interface {
	// Put sends messages and does not wait for their answers.
	Put(messages [][]byte) error
	// Answered waits until the server took over some of them, and returns how many.
	Answered() (int, error)
	// Receive waits for messages, gives each to f and acknowledges them.
	Receive(f func(message []byte)) error
	Close()
}

// Child is the main of the processes that Start and Server start: it does not return
// from them.
func Child(kinds map[string]*Kind) {
	if len(os.Args) < 4 || os.Args[1] != "serve" && os.Args[1] != "measure" {
		return
	}
	k := kinds[os.Args[2]]
	err := fmt.Errorf("no kind %q", os.Args[2])
	if k != nil && os.Args[1] == "serve" {
		err = serve(k, os.Args[3])
	} else if k != nil {
		err = load(k, os.Args[3])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s %s: %v\n", os.Args[1], os.Args[2], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// order is what a load process is told to do.
type order struct {
	Announced
	Do    string // throughput, latency, idle or fill
	Pairs int
	First int // number of the first pair: those of an order before it are others
	For   time.Duration
	Rate  int // messages a second
	Count int
}

// Result is what a load process found.
type Result struct {
	Rate     float64       // messages a second
	CPU      time.Duration // of the server, a message
	P50, P99 time.Duration // from when a message is due to its receiver
	Memory   int64         // of the server, a connection
}

func load(k *Kind, text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	var r Result
	var err error
	switch o.Do {
	case "throughput":
		r, err = throughput(k, o)
	case "latency":
		r, err = latency(k, o)
	case "idle":
		r, err = idle(k, o)
	case "fill":
		err = fill(k, o)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
