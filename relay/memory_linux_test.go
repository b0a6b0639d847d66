package relay

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kin/protocol"
)

var cycles = flag.Int("cycles", 3, "cycles of put, collect and expire; a kill in every second")

// process is the real kin-relay, in a process of its own.
type process struct {
	t   *testing.T
	bin string
	dir string
	cmd *exec.Cmd
	stand
}

// startProcess builds kin-relay and starts it.
func startProcess(t *testing.T) *process {
	p := &process{t: t, bin: filepath.Join(t.TempDir(), "kin-relay"), dir: t.TempDir(), stand: stand{t: t}}
	if out, err := exec.Command("go", "build", "-o", p.bin, "kin/cmd/kin-relay").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.start()
	return p
}

func (p *process) kill() { p.cmd.Process.Kill(); p.cmd.Wait() }

// start starts kin-relay with epochs of a second, and returns when it listens.
func (p *process) start() {
	p.t.Helper()
	t := p.t
	p.address = protocol.Address{}
	p.cmd = exec.Command(p.bin, "--data", p.dir, "serve", "--listen", "127.0.0.1:0", "--epoch", "1s")
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	for s := bufio.NewScanner(out); (p.address.Hosts == nil || p.grant == (protocol.ID{})) && s.Scan(); {
		kind, text, _ := strings.Cut(s.Text(), ": ")
		switch kind {
		case "relay":
			p.address, err = protocol.ParseAddress(text)
		case "grant":
			p.grant, err = protocol.ParseGrant(text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// settle returns when nobody is connected, nothing waits any more, and the last epoch
// that anything was to expire in is over.
func (p *process) settle() {
	p.t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		over := len(p.epochs()) == 0
		out, err := exec.Command(p.bin, "--data", p.dir, "status", "--json").Output()
		var st struct{ Connections, Envelopes *int }
		if err == nil {
			err = json.Unmarshal(out, &st)
		}
		if err != nil || st.Connections == nil || st.Envelopes == nil {
			p.t.Fatalf("%v: %s", err, out)
		}
		if over && *st.Connections == 0 && *st.Envelopes == 0 {
			return
		}
		<-tick.C
	}
}

// memory counts where each of the needles lies in what the process can write to.
func (p *process) memory(needles map[string][]byte) map[string]int {
	p.t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	defer mem.Close()
	found := map[string]int{}
	const overlap = 128
	b := make([]byte, 4<<20)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode)
		if !strings.HasPrefix(mode, "rw") {
			continue
		}
		for at := from; at < to; at += int64(len(b)) - overlap {
			n, _ := mem.ReadAt(b[:min(int64(len(b)), to-at)], at) // a guard page can't be read
			for name, x := range needles {
				found[name] += bytes.Count(b[:n], x)
			}
		}
	}
	return found
}

// epochs reads the keys of epochs from the disk.
func (p *process) epochs() map[uint32][]byte {
	p.t.Helper()
	slots, err := os.ReadFile(filepath.Join(p.dir, "epochs"))
	if err != nil {
		p.t.Fatal(err)
	}
	epochs := map[uint32][]byte{}
	for at := 4096; at < len(slots); at += 4096 {
		if s := slots[at:]; binary.BigEndian.Uint16(s) == 36 {
			epochs[binary.BigEndian.Uint32(s[2:])] = bytes.Clone(s[6:38])
		}
	}
	return epochs
}

// keys reads the keys of epochs and records from the disk, as docs/spool-format.md
// lays them out.
func (p *process) keys(needles map[string][]byte) {
	p.t.Helper()
	epochs := p.epochs()
	for n, key := range epochs {
		needles[fmt.Sprint("epoch key ", n)] = key
		for _, pad := range []byte{0x36, 0x5c} { // HMAC keeps a key so
			needles[fmt.Sprintf("epoch key %d ^ %x", n, pad)] = xor(key, pad)
		}
	}
	names, err := filepath.Glob(filepath.Join(p.dir, "spool", "*.seg"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, name := range names {
		g, err := os.ReadFile(name)
		if err != nil {
			p.t.Fatal(err)
		}
		for at := 0; at < len(g); at += 4096 {
			b := g[at:]
			if string(b[:8]) != "kinspl\x00\x01" {
				continue
			}
			n := int(binary.BigEndian.Uint32(b[24:]))
			salts := (32 + 5*n + 32 + 31) / 32 * 32
			for i := range n {
				key, salt := epochs[binary.BigEndian.Uint32(b[32+5*i:])], b[salts+32*i:][:32]
				if key == nil || bytes.Equal(salt, make([]byte, 32)) {
					continue
				}
				m := hmac.New(sha256.New, key)
				m.Write(salt)
				m.Write(b[8:24])
				m.Write(binary.BigEndian.AppendUint32(nil, uint32(i)))
				record := fmt.Sprintf("%s %d", filepath.Base(name), at+i)
				needles["salt "+record], needles["record key "+record] = bytes.Clone(salt), m.Sum(nil)
			}
		}
	}
}

func xor(b []byte, pad byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= pad
	}
	return out
}

// TestNothingIsLeftInMemory: once envelopes were collected or have expired, neither
// they, nor their keys, nor the ids they were put and collected with are in the memory
// of the relay, nor in that of one that was killed before and started again. That they
// were there before shows that the scan finds them.
func TestNothingIsLeftInMemory(t *testing.T) {
	p := startProcess(t)
	left := map[string]int{}
	needlesInAll := 0
	if testing.Short() { // as under the race detector
		*cycles = min(*cycles, 2)
	}
	var shown [2]int // cycles in which the scan found what was there before: none that expired first; without a kill, and with one
	cycle := 0
	for ; cycle < *cycles || shown[0]*shown[1] == 0 && cycle < 3**cycles; cycle++ {
		killed := cycle % 2
		needles := map[string][]byte{}
		s, r := p.dial(), p.dial()
		b := p.queue(r, false)
		needles["receiver id"], needles["sender id"], needles["claim"], needles["ticket"] = b.receiver[:], b.sender[:], b.claim[:], b.ticket[:]
		for i := range 8 {
			e := make([]byte, protocol.EnvelopeSize)
			rand.Read(e)
			for at := 0; at < len(e); at += 1024 {
				needles[fmt.Sprintf("envelope %d at %d", i, at)] = e[at:][:64]
			}
			var c protocol.Command
			if i == 0 {
				f := s.firstCmd(b, b.skey, byte(i), e)
				f.Class = 1
				f.Proof = s.proof(b.skey, f.Corr, f)
				c = f
			} else {
				u := s.putCmd(b, byte(i), e)
				u.Class = 1
				u.Proof = s.proof(b.skey, u.Corr, u)
				c = u
			}
			if got := s.code(c); got != protocol.CodeOK {
				t.Fatal(got)
			}
			if i == 0 {
				p.keys(needles)
			}
			if i == 7 {
				again := s.putCmd(b, byte(i), e)
				again.Class = 1
				again.Proof = s.proof(b.skey, again.Corr, again)
				if got := s.code(again); got != protocol.CodeOK {
					t.Fatal("put again: ", got)
				}
			}
		}
		p.keys(needles)
		if killed == 1 {
			s.ws.Close()
			r.ws.Close()
			p.kill()
			p.start()
			s, r = p.dial(), p.dial()
		}
		r.send(r.subCmd(b))
		for got := 0; got < 8; {
			as, err := r.frames()
			if err != nil {
				t.Log("a cycle that may show nothing, for something expired first: ", err)
				break
			}
			for _, a := range as {
				if m, ok := a.(*protocol.Msg); ok {
					if got++; got%2 == 0 {
						r.send(&protocol.Ack{Handle: m.Handle, Sequences: []uint64{m.Sequence}})
					}
				}
			}
		}
		before := p.memory(needles)
		s.ws.Close()
		r.ws.Close()
		p.settle()
		after := p.memory(needles)
		kinds := map[string]int{}
		for name := range needles {
			kind := strings.TrimRight(strings.SplitN(name, " at", 2)[0], " 0123456789")
			if strings.HasPrefix(kind, "epoch key") {
				kind = "epoch key"
			} else if i := strings.Index(kind, " 0"); i > 0 {
				kind = kind[:i]
			}
			kinds[kind] += before[name]
			left[kind] += after[name]
		}
		if kinds["epoch key"] > 0 && (kinds["envelope"] > 0 || killed == 1) {
			shown[killed]++
		}
		needlesInAll += len(needles)
	}
	for kind, n := range left {
		if n > 0 {
			t.Errorf("%s: in the relay's memory %d times", kind, n)
		}
	}
	for killed, n := range shown {
		if n == 0 {
			t.Errorf("the scan found no key, or no envelope, in any of %d cycles (with a kill: %d), while there were some", cycle, killed)
		}
	}
	t.Logf("%d cycles, in %d of them the scan found what was there before, in %d after a kill; %d things looked for; found after: %v", cycle, shown[0], shown[1], needlesInAll, left)
}
