package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"

	"kin/bench/gauge"
	"kin/protocol"
)

// generator is a process of this program's. It tells once that it has begun, and then
// what it did whenever it is asked.
type generator struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func generate(a gauge.Announced, what string, args ...string) (*generator, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	relay, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	g := &generator{cmd: exec.Command(self, append(append([]string{what}, args...), string(relay))...)}
	if what == "attack" {
		g.cmd = exec.Command(backward[0], slices.Concat(backward[1:], g.cmd.Args)...)
		g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	g.cmd.Stderr = os.Stderr
	if g.in, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	g.out = json.NewDecoder(out)
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	if what == "attack" {
		backwardSession(g.cmd.Process.Pid)
	}
	if err := g.out.Decode(new(told)); err != nil {
		return nil, fmt.Errorf("%s %v did not begin: %w", what, args, err)
	}
	return g, nil
}

// ask has it tell what it did so far.
func (g *generator) ask() (t told, err error) {
	if _, err := fmt.Fprintln(g.in); err != nil {
		return t, err
	}
	return t, g.out.Decode(&t)
}

func (g *generator) end() (t told, err error) {
	g.in.Close()
	err = g.out.Decode(&t)
	g.cmd.Wait()
	return t, err
}

// child is the main of generators: it does not return from them.
func child() {
	if len(os.Args) < 4 || os.Args[1] != "attack" && os.Args[1] != "hold" {
		return
	}
	last := os.Args[len(os.Args)-2:]
	var relay gauge.Announced
	err := errors.Join(gauge.RaiseLimit(), json.Unmarshal([]byte(last[1]), &relay))
	n, atoi := strconv.Atoi(last[0])
	if err = errors.Join(err, atoi); err == nil && os.Args[1] == "hold" {
		err = hold(n, relay)
	} else if err == nil {
		err = attack(os.Args[2], n, relay)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold is a process with so many idle links, until its standard input ends. Each has
// shown a sender's key once.
func hold(connections int, relay gauge.Announced) error {
	all := make([]*client, connections)
	err := gauge.Eight(connections, func(i int) (err error) {
		all[i], err = dial("kin", relay)
		return err
	})
	if err != nil {
		return err
	}
	made, err := newPair("kin", relay, 0)
	if err != nil {
		return err
	}
	p := made.(*pair)
	err = gauge.Eight(connections, func(i int) error {
		key, err := protocol.NewProofKey(p.own, all[i].hello.RA)
		if err != nil {
			return err
		}
		c := &protocol.Cancel{Corr: all[i].number(), Sender: p.put.Sender}
		c.Proof = key.Prove(all[i].sid, c.Corr, c.SignedBytes())
		_, err = ask[*protocol.OK](all[i], c)
		return err
	})
	if err != nil {
		return err
	}
	var open atomic.Int64
	for _, c := range all {
		open.Add(1)
		go func() {
			c.read(func(protocol.Frame) error { return nil })
			open.Add(-1)
		}()
	}
	tell := func() { json.NewEncoder(os.Stdout).Encode(told{Tried: int64(connections), Held: open.Load()}) }
	tell() // all are there
	for in := bufio.NewReader(os.Stdin); ; {
		_, err := in.ReadString('\n')
		tell()
		if err != nil {
			return nil
		}
	}
}
