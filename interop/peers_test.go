package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// ran counts what the journeys did.
var ran struct {
	commands, invites, texts, bytes, delivered, parts, kills, cutOff, repeated, takenBack, held, waited, gaps, stopped, digits, alone atomic.Int64
}

// programs builds kin and kin-relay once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kin-interop")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir, "./cmd/kin", "./cmd/kin-relay")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := programs(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// relay is the real kin-relay, behind a front that can cut clients off.
type relay struct {
	t              *testing.T
	data           string
	cmd            *exec.Cmd
	listens        atomic.Value // a string; a port of its own each time it starts
	front          net.Listener
	cut            atomic.Bool
	address, grant string
}

func startRelay(t *testing.T) *relay {
	r := &relay{t: t, data: t.TempDir()}
	var err error
	if r.front, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.front.Close() })
	r.start()
	t.Cleanup(r.kill)
	go r.serve()
	return r
}

// start runs the relay until it listens.
func (r *relay) start() {
	r.t.Helper()
	r.cmd = exec.Command(program(r.t, "kin-relay"), "serve", "--data", r.data, "--listen", "127.0.0.1:0")
	var stderr strings.Builder
	r.cmd.Stderr = &stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	said := map[string]string{"grant": r.grant} // which a relay says once
	for s := bufio.NewScanner(out); (said["relay"] == "" || said["grant"] == "") && s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ": ")
		said[name] = value
	}
	listens, key, _ := strings.Cut(strings.TrimPrefix(said["relay"], "ws://"), "#")
	if key == "" {
		r.t.Fatalf("the relay did not start: %v\n%s", r.cmd.Wait(), &stderr)
	}
	r.listens.Store(listens)
	r.address = "ws://" + r.front.Addr().String() + "#" + key
	r.grant = said["grant"]
}

// kill is SIGKILL.
func (r *relay) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

func (r *relay) restart() {
	ran.kills.Add(1)
	r.kill()
	r.start()
}

// serve passes connections on to the relay. While cut is set, a client that has sent
// an envelope gets no answer to it: the connection ends.
func (r *relay) serve() {
	for {
		client, err := r.front.Accept()
		if err != nil {
			return
		}
		go r.pass(client)
	}
}

// enough is more than a client sends before an envelope, and less than with one.
const enough = 5000

func (r *relay) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.listens.Load().(string))
	if err != nil {
		return
	}
	defer server.Close()
	var sent atomic.Int64
	go func() {
		defer server.Close()
		b := make([]byte, 1<<16)
		for {
			n, err := client.Read(b)
			sent.Add(int64(n))
			if _, werr := server.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	}()
	b := make([]byte, 1<<16)
	for {
		n, err := server.Read(b)
		if r.cut.Load() && sent.Load() >= enough {
			ran.cutOff.Add(1)
			return
		}
		if _, werr := client.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// peer is somebody with one of the two clients.
type peer struct {
	t       *testing.T
	js      bool
	profile string
	argv    []string
}

func newPeer(t *testing.T, js bool) *peer {
	return peerIn(t, js, filepath.Join(t.TempDir(), "profile"))
}

func peerIn(t *testing.T, js bool, profile string) *peer {
	if js {
		return &peer{t, js, profile, []string{"node", "client/kin.js", "--profile", profile}}
	}
	pass := filepath.Join(filepath.Dir(profile), "passphrase")
	if err := os.WriteFile(pass, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &peer{t, js, profile, []string{program(t, "kin"), "--profile", profile, "--passphrase-file", pass}}
}

// copied is the same person with a copy of their profile as it is now.
func (p *peer) copied() *peer {
	p.t.Helper()
	profile := filepath.Join(p.t.TempDir(), "profile")
	if err := os.CopyFS(profile, os.DirFS(p.profile)); err != nil {
		p.t.Fatal(err)
	}
	return peerIn(p.t, p.js, profile)
}

// try runs a command and returns its lines on stdout and its exit code.
func (p *peer) try(args ...string) ([]string, int) {
	p.t.Helper()
	ran.commands.Add(1)
	cmd := exec.Command(p.argv[0], append(p.argv[1:len(p.argv):len(p.argv)], args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Error(err)
		return nil, -1
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Logf("%v: exit %d: %s", args, code, stderr.String())
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), cmd.ProcessState.ExitCode()
}

func (p *peer) run(args ...string) []string {
	p.t.Helper()
	lines, code := p.try(args...)
	if code != 0 {
		p.t.Fatalf("%v failed", args)
	}
	return lines
}

// object is a line of --json.
type object struct {
	Type, ID, Contact, Label, State, Text, Note, Digits string
	Gap                                                 int
	Quarantined, Duplicates                             int
	Waits                                               bool
	Notes                                               []string
}

func (p *peer) objects(args ...string) (out []object) {
	p.t.Helper()
	for _, line := range p.run(append(args, "--json")...) {
		var o object
		if line == "" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			p.t.Fatalf("%v: %q: %v", args, line, err)
		}
		out = append(out, o)
	}
	return out
}

// send returns the message's id; the relay has it.
func (p *peer) send(to, text string, more ...string) string {
	p.t.Helper()
	o := p.objects(append([]string{"send", to, text}, more...)...)
	want := "on_relay"
	if len(more) > 0 {
		want = "queued"
	}
	if len(o) != 1 || o[0].State != want {
		p.t.Fatalf("%+v; want %s", o, want)
	}
	ran.parts.Add(int64(1 + len(text)/1400))
	return o[0].ID
}

// receive wants exactly these texts, notes as [note], gaps as [gap n] before a text.
func (p *peer) receive(want ...string) {
	p.t.Helper()
	var got []string
	for _, o := range p.objects("receive") {
		if o.Gap > 0 {
			got = append(got, fmt.Sprintf("[gap %d]", o.Gap))
			ran.gaps.Add(1)
		}
		if o.Note != "" {
			got = append(got, "["+o.Note+"]")
			ran.takenBack.Add(1)
			continue
		}
		got = append(got, o.Text)
		ran.texts.Add(1)
		ran.bytes.Add(int64(len(o.Text)))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		p.t.Fatalf("received %.200q; want %.200q", got, want)
	}
}

// state wants a message that was sent to be in a state.
func (p *peer) state(id, want string) {
	p.t.Helper()
	for _, o := range p.objects("status") {
		if o.ID == id {
			if o.State != want {
				p.t.Fatalf("the message is %s; want %s", o.State, want)
			}
			if want == "delivered" {
				ran.delivered.Add(1)
			}
			return
		}
	}
	p.t.Fatal("no status of the message")
}

func (p *peer) digits(contact string) string {
	p.t.Helper()
	o := p.objects("check", contact)
	if len(o) != 1 || len(o[0].Digits) != 71 {
		p.t.Fatalf("%+v", o)
	}
	return o[0].Digits
}

// duplicates is how many envelopes came twice, where the client says so.
func (p *peer) duplicates() (n int) {
	p.t.Helper()
	for _, o := range p.objects("contacts") {
		n += o.Duplicates
	}
	return n
}

// waits is with how many contacts the relay has asked to wait, where the client says so.
func (p *peer) waits() (n int) {
	p.t.Helper()
	for _, o := range p.objects("contacts") {
		if o.Waits {
			n++
		}
	}
	return n
}

// unharmed wants that nothing was quarantined, where the client says so.
func (p *peer) unharmed() {
	p.t.Helper()
	for _, o := range p.objects("contacts") {
		if o.Quarantined > 0 {
			p.t.Errorf("%d envelopes in quarantine: %v", o.Quarantined, o.Notes)
		}
	}
}
