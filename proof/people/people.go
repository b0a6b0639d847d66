// Package people is the processes of a proof: clients that act for a profile until
// they are killed, and relays. What they do is written into a history (kin/proof/history).
//
// A test's TestMain calls Main first: with Argument as its first argument the program is
// a client. Start starts one, Do has it act, Kill kills it. StartRelay starts a real
// kin-relay, MakeTown a relay and profiles that know each other, and Checker runs the
// checker over a history.
package people

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"kin/proof/history"
)

// Argument makes a program a client.
const Argument = "proof-client"

// ErrKilled is returned by Do when the process ended before it could answer.
var ErrKilled = errors.New("the process was killed")

// Order is what a client is told to do.
type Order struct {
	Act    string // "send", "receive", "follow", "sync", "cancel", "status"
	To     string // whom to
	ID     string // of the text
	Text   string
	Urgent bool
	Queue  bool // send: into the outbox alone
	Millis int  // follow, sync: how long at most
	Pieces int  // that may be written to the network; behind the last the client stops for good. 0: any
}

// Answer is what came of it.
type Answer struct {
	Err     string // why it did not, if it did not: no relay, a refusal, a stop
	Shown   int
	Queued  int // texts that are not out yet
	Fault   string
	Stopped bool // behind the last of Order.Pieces: now it can only be killed
}

// begin is what a client needs to know.
type begin struct {
	Dir, Name, Actor, History string
	Key                       []byte
}

// Process is a client.
type Process struct {
	Name  string // of the profile
	Actor string
	log   *history.Log
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader

	mu   sync.Mutex // one order at a time
	once sync.Once
}

// Start starts a client of the profile in dir; actor is its name in the history file,
// which log writes to.
func Start(log *history.Log, file, dir, name, actor string, key []byte) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{Name: name, Actor: actor, log: log, cmd: exec.Command(self, Argument)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	err = json.NewEncoder(p.in).Encode(begin{dir, name, actor, file, key})
	if err != nil && !errors.Is(err, os.ErrClosed) {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		return nil, err
	}
	return p, nil
}

// Do has the client do something, and waits for its answer.
func (p *Process) Do(o Order) (Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := json.NewEncoder(p.in).Encode(o); err != nil {
		return Answer{}, ErrKilled
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return Answer{}, ErrKilled
	}
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil {
		return Answer{}, fmt.Errorf("%s answers %q: %w", p.Actor, line, err)
	}
	return a, nil
}

// Kill is SIGKILL. The history has it before it happens.
func (p *Process) Kill() {
	p.once.Do(func() {
		p.log.Write(history.Event{Kind: history.Crash, State: "kill", Actor: p.Actor, Of: p.Name})
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
}

// Close ends the client between two acts.
func (p *Process) Close() error {
	var err error
	p.once.Do(func() {
		p.in.Close()
		err = p.cmd.Wait()
	})
	return err
}
