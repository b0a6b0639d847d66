package people

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"kin/client"
	"kin/proof/history"
	"kin/protocol"
)

// Build builds programs of this module into dir; overlay, if it is not "", is what
// go build takes for it.
func Build(dir, overlay string, packages ...string) error {
	args := []string{"build", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)} // such links take half the time
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if out, err := exec.Command("go", append(args, packages...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

// Checker has the checker program judge histories. Its words are returned; ok: it
// found no violation.
func Checker(program string, files ...string) (words string, ok bool, err error) {
	c := exec.Command(program, files...)
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState.ExitCode() == 1 {
		return string(out), false, nil
	}
	return string(out), err == nil, err
}

// Relay is a real kin-relay, in the same place whenever it runs.
type Relay struct {
	program, dir, listen string
	log                  *history.Log
	errors               *os.File

	mu      sync.Mutex
	cmd     *exec.Cmd
	address protocol.Address
	grant   protocol.ID
}

// loopback is an address that nobody else here has: a port of 127.0.0.1 could be
// taken as that of an outgoing connection while the relay is down.
func loopback() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
}

// StartRelay starts the program kin-relay with its data in dir.
func StartRelay(log *history.Log, program, dir string) (*Relay, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback(), "0"))
	if err != nil {
		return nil, err
	}
	r := &Relay{program: program, dir: dir, listen: l.Addr().String(), log: log}
	l.Close()
	if r.errors, err = os.Create(dir + ".log"); err != nil {
		return nil, err
	}
	return r, r.Start()
}

// Start starts it, again.
func (r *Relay) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.Write(history.Event{Kind: history.Start, Actor: "relay"})
	c := exec.Command(r.program, "serve", "--data", r.dir, "--listen", r.listen)
	c.Stderr = r.errors
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	r.cmd = c
	first := r.address.Hosts == nil
	lines := bufio.NewReader(out)
	for _, want := range []string{"relay: ", "grant: "}[:1+map[bool]int{true: 1}[first]] {
		line, err := lines.ReadString('\n')
		word, ok := strings.CutPrefix(strings.TrimSpace(line), want)
		switch {
		case err != nil || !ok:
			err = fmt.Errorf("the relay did not start: %q, %v", line, err)
		case want == "grant: ":
			r.grant, err = protocol.ParseGrant(word)
		default:
			r.address, err = protocol.ParseAddress(word)
		}
		if err != nil {
			c.Process.Kill()
			c.Wait()
			return err
		}
	}
	go io.Copy(io.Discard, lines)
	return nil
}

// Kill is SIGKILL. The history has it before it happens.
func (r *Relay) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.Write(history.Event{Kind: history.Crash, State: "kill", Actor: "relay"})
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

// Close ends the relay.
func (r *Relay) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd.Process.Kill()
	r.cmd.Wait()
	r.errors.Close()
}

// Town is a relay and people who know each other: a caseworker, and guests.
type Town struct {
	File     string // the history
	Log      *history.Log
	Relay    *Relay
	Profiles map[string]*Folder
}

// Folder is a profile on the disk.
type Folder struct {
	Name, Dir string
	Key       []byte
	Contacts  []string
}

// Caseworker is the name of the one whom all guests know.
const Caseworker = "K"

// MakeTown makes one in dir, with its history in file. Everybody has compared the
// digits, so that receipts go out within the minute.
func MakeTown(dir, file, relayProgram string, guests int) (t *Town, err error) {
	t = &Town{File: file, Profiles: map[string]*Folder{}}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if t.Log, err = history.Append(file); err != nil {
		return nil, err
	}
	if t.Relay, err = StartRelay(t.Log, relayProgram, filepath.Join(dir, "relay")); err != nil {
		return nil, err
	}
	if err := t.settle(dir, guests); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Town) settle(dir string, guests int) error {
	ctx := context.Background()
	pass := []byte("correct horse battery")
	const keep = 30 * 24 * time.Hour
	add := func(name string, p *client.Profile, contacts ...string) {
		t.Profiles[name] = &Folder{name, filepath.Join(dir, name), p.Key(), contacts}
	}
	k, err := client.Create(ctx, filepath.Join(dir, Caseworker), pass, client.Setup{Name: Caseworker, Relay: t.Relay.address, Grant: t.Relay.grant, Keep: keep})
	if err != nil {
		return err
	}
	defer k.Close()
	var names []string
	for n := range guests {
		name := fmt.Sprintf("G%d", n+1)
		names = append(names, name)
		g, err := client.CreateGuest(ctx, filepath.Join(dir, name), pass, name, keep)
		if err != nil {
			return err
		}
		defer g.Close()
		token, _, err := k.Invite(ctx, name, 0)
		if err != nil {
			return err
		}
		inv, err := protocol.ParseInvite(token)
		if err != nil {
			return err
		}
		if _, err := g.Join(ctx, inv, "", Caseworker); err != nil {
			return err
		}
		if _, err := g.SetChecked(Caseworker); err != nil {
			return err
		}
		add(name, g, Caseworker)
	}
	if _, err := k.Receive(ctx, client.ReceiveOptions{}, func([]client.Message) error { return nil }); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := k.SetChecked(name); err != nil {
			return err
		}
	}
	add(Caseworker, k, names...)
	return nil
}

// Again is the same town at the moment at which its folders are as they lie now, in dir:
// its people know each other, and nothing was said. The relay must not run.
func (t *Town) Again(dir string) (*Town, error) {
	again := &Town{File: t.File, Log: t.Log, Profiles: map[string]*Folder{}}
	for name, f := range t.Profiles {
		to := filepath.Join(dir, name)
		if err := os.CopyFS(to, os.DirFS(f.Dir)); err != nil {
			return nil, err
		}
		again.Profiles[name] = &Folder{name, to, f.Key, f.Contacts}
	}
	os.Remove(filepath.Join(t.Relay.dir, "admin.sock")) // which can't be copied
	to := filepath.Join(dir, "relay")
	if err := os.CopyFS(to, os.DirFS(t.Relay.dir)); err != nil {
		return nil, err
	}
	again.Relay = &Relay{program: t.Relay.program, dir: to, listen: t.Relay.listen, log: t.Log, errors: t.Relay.errors, address: t.Relay.address}
	return again, again.Relay.Start()
}

// Start starts a client for a profile.
func (t *Town) Start(f *Folder, actor string) (*Process, error) {
	return Start(t.Log, t.File, f.Dir, f.Name, actor, f.Key)
}

// Close ends the relay and the history.
func (t *Town) Close() {
	t.Relay.Close()
	t.Log.Close()
}
