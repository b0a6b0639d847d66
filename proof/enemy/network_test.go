package enemy

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var lengthsFlag = flag.String("lengths", "some", "of texts whose length is looked for on the wire: some, or all")

const closeFrame = 4 // bytes of the relay's, unmasked

// pattern is all that one connection shows from outside of TLS, and a bit more: the
// size of every websocket message in both directions. The relay's close frame is left
// out: on a busy machine a client may leave before it comes.
func pattern(t *testing.T, flows []*flow) string {
	var b strings.Builder
	for _, f := range flows {
		_, up := payloads(t, f.up.Bytes())
		_, down := payloads(t, f.down.Bytes())
		if last := len(down) - 1; down[last] == closeFrame {
			down = down[:last]
		}
		fmt.Fprintf(&b, "up %v down %v; ", up, down)
	}
	return b.String()
}

// Somebody who records the network: the lengths of texts.
func TestEnemyLearnsNoLength(t *testing.T) {
	s := newStage(t)
	k := s.caseworker()
	g := s.guest(k, "K7")
	var lengths []int
	stride := 47
	if testing.Short() { // as under the race detector
		stride = 470
	}
	for n := 1; n <= 1400; n++ {
		if *lengthsFlag == "all" || n%stride == 0 || n <= 2 || n >= 1399 || n == 1024 {
			lengths = append(lengths, n)
		}
	}
	sends, receives := map[string][]int{}, map[string][]int{}
	measure := func(n int) (sent, received string) {
		// What became due with the full hour goes first: it is no part of the text's pattern.
		if _, err := k.Sync(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Sync(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("x", n)
		sent = pattern(t, s.tap.during(func() { s.send(g, "Mina", text) }))
		received = pattern(t, s.tap.during(func() {
			if got := s.receive(k); got != 1 {
				t.Fatalf("%d messages", got)
			}
		}))
		return sent, received
	}
	again := 0 // a full hour in between shows once: what shows in more lengths than these fails
	for _, n := range lengths {
		sent, received := measure(n)
		if len(sends) > 0 && (sends[sent] == nil || receives[received] == nil) && again < 3 {
			sent, received = measure(n)
			again++
		}
		sends[sent], receives[received] = append(sends[sent], n), append(receives[received], n)
	}
	// The measure sees a difference where there is one.
	if sent, received := measure(2000); sends[sent] != nil || receives[received] != nil {
		t.Error("a text of 2,000 bytes, in two envelopes, looks the same")
	}
	t.Logf("texts of %d lengths from %d to %d bytes: %d distinct pattern of a send on the wire, %d of a receive, %d measured again (a text of 2,000 bytes has another)",
		len(lengths), lengths[0], slices.Max(lengths), len(sends), len(receives), again)
	for what, seen := range map[string]map[string][]int{"send": sends, "receive": receives} {
		if len(seen) != 1 {
			t.Errorf("the pattern of a %s tells lengths apart: %v", what, seen)
		}
		for p := range seen {
			t.Logf("%s: %s", what, p)
		}
	}
}

// window is how long an equal run of bytes must be to count: by chance there is none.
const window = 16

// equal counts the places of b whose next bytes stand somewhere in a.
func equal(a, b [][]byte) (n int) {
	seen := map[string]bool{}
	for _, p := range a {
		for i := 0; i+window <= len(p); i++ {
			seen[string(p[i:i+window])] = true
		}
	}
	for _, p := range b {
		for i := 0; i+window <= len(p); i++ {
			if seen[string(p[i:i+window])] {
				n++
			}
		}
	}
	return n
}

func size(ps [][]byte) (n int) {
	for _, p := range ps {
		n += len(p)
	}
	return n
}

// Who ends TLS: a proxy, a CDN, a state's certificate. Nothing that goes into the relay comes
// out of it as the same bytes.
func TestEnemyLearnsNoEqualBytes(t *testing.T) {
	s := newStage(t)
	k := s.caseworker()
	g := s.guest(k, "K7")
	var in, out [][]byte
	add := func(flows []*flow) {
		for _, f := range flows {
			up, _ := payloads(t, f.up.Bytes())
			down, _ := payloads(t, f.down.Bytes())
			in, out = append(in, up...), append(out, down...)
		}
	}
	add(s.tap.during(func() { s.send(g, "Mina", "They are at the garrison.") }))
	sender := len(in)
	add(s.tap.during(func() { s.receive(k) }))
	n := equal(in, out)
	t.Logf("one message, %d bytes into the relay and %d out of it, both clients, TLS off and unmasked: %d equal runs of %d bytes or more", size(in), size(out), n, window)
	if n != 0 {
		t.Errorf("%d", n)
	}
	if size(in[:sender]) < 4096 || size(out) < 4096 {
		t.Error("the envelope did not pass")
	}
	// The measure sees a run where there is one.
	longest := func(ps [][]byte) []byte {
		return slices.MaxFunc(ps, func(a, b []byte) int { return len(a) - len(b) })
	}
	planted := slices.Clone(longest(in))
	copy(planted[1000:], longest(out)[2000:2000+window])
	if equal([][]byte{planted}, out) == 0 {
		t.Error("a planted run is not found")
	}
}
