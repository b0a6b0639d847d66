package protocol

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// vector is one file (testdata/vectors/README.md).
type vector struct {
	name, kind, expect, comment string

	names  []string
	fields map[string][]byte
}

func (v *vector) add(name string, value []byte) {
	if v.fields == nil {
		v.fields = map[string][]byte{}
	}
	if _, twice := v.fields[name]; twice {
		panic("field " + name + " twice")
	}
	v.names = append(v.names, name)
	v.fields[name] = bytes.Clone(value)
}

// outcomes are the words for errors in the files.
var outcomes = map[string]error{
	"ok": nil, "malformed": ErrMalformed, "low-order": ErrLowOrder, "version": ErrVersion, "fingerprint": ErrFingerprint, "seal": ErrSeal,
	"proof": errProof, "unknown": ErrUnknownType{}, "none": ErrNoInvite, "cut": ErrInviteCut{}, "checksum": ErrInviteChecksum,
	"newer": ErrInviteVersion, "address": ErrAddress, "plain": ErrPlain, "grant": ErrGrant,
}

var errProof = errors.New("the proof is refused")

func outcome(err error) string {
	var unknown ErrUnknownType
	var cut ErrInviteCut
	switch {
	case errors.As(err, &unknown):
		return "unknown"
	case errors.As(err, &cut):
		return "cut"
	case errors.Is(err, ErrPlain): // which is an ErrAddress too
		return "plain"
	}
	for word, e := range outcomes {
		if errors.Is(err, e) && (err == nil) == (e == nil) {
			return word
		}
	}
	return err.Error()
}

// TestVectors runs the code on every file: those that it wrote, and those that the
// second implementation wrote (interop/make-vectors.js), which shares nothing with it
// and reads the same files.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	ours, _ := filepath.Glob("testdata/vectors/*.txt")
	theirs, _ := filepath.Glob("testdata/vectors/interop/*.txt")
	if len(ours) < 60 || len(theirs) < 200 {
		t.Fatalf("%d vectors of our own, %d of the second implementation", len(ours), len(theirs))
	}
	paths, refused := append(ours, theirs...), 0
	for _, path := range paths {
		v := readVector(t, path)
		t.Run(v.name, func(t *testing.T) {
			if _, known := outcomes[v.expect]; !known {
				t.Fatalf("expect %q", v.expect)
			}
			if v.expect != "ok" {
				refused++
			}
			if got := outcome(check(t, v)); got != v.expect {
				t.Fatalf("%s; want %s (%s)", got, v.expect, v.comment)
			}
		})
	}
	t.Logf("%d files by the Go, %d by the second implementation; %d were refused, each for its reason", len(ours), len(theirs), refused)
}

func check(t *testing.T, v *vector) error {
	f := v.fields
	equal := func(name string, got []byte) {
		t.Helper()
		if !bytes.Equal(got, f[name]) {
			t.Errorf("%s: %x; want %x", name, got, f[name])
		}
	}
	switch v.kind {
	case "hello":
		_, _, h, err := Connect(f["hello"], Fingerprint(f["pin"]))
		if err == nil {
			equal("hello", h.Marshal())
		}
		return err
	case "link":
		relay, err := Accept(f["hello"], private(f["rs"]), private(f["re"]), kem(f["ek_seed"]), f["answer"])
		if err != nil {
			return err
		}
		equal("sid", relay.SID[:])
		for i := 1; f[fmt.Sprintf("c2s%d.wire", i)] != nil; i++ {
			of := fmt.Sprintf("c2s%d.", i)
			if err := checkCommand(t, relay, f, of); err != nil {
				return err
			}
		}
		for i := 1; f[fmt.Sprintf("s2c%d.wire", i)] != nil; i++ {
			of := fmt.Sprintf("s2c%d.", i)
			a, err := ParseAnswer(Frame{Type(f[of+"type"][0]), f[of+"body"]})
			if err != nil {
				return err
			}
			equal(of+"wire", relay.Seal(nil, a.Type(), a.Body()))
		}
		return nil
	case "frame":
		wire := bytes.Clone(f["wire"])
		l := newLink(make([]byte, 32), f["key"], make([]byte, 32))
		l.opened = binary.BigEndian.Uint64(f["counter"])
		frame, err := l.Open(wire[0], wire[1:])
		if err == nil {
			equal("type", []byte{byte(frame.Type)})
			equal("body", frame.Body)
		}
		return err
	case "command":
		c, err := ParseCommand(Frame{Type(f["type"][0]), f["body"]})
		if err == nil {
			equal("body", c.Body())
			equal("signed", c.SignedBytes())
		}
		return err
	case "answer":
		a, err := ParseAnswer(Frame{Type(f["type"][0]), f["body"]})
		if err == nil {
			equal("body", a.Body())
		}
		return err
	case "invite":
		i, err := ParseInvite(string(f["text"]))
		if err == nil {
			equal("h", i.Hash[:])
			equal("fingerprint", i.Relay.Fingerprint[:])
			equal("hosts", []byte(urls(i.Relay.Hosts)))
		}
		return err
	case "address":
		a, err := ParseAddress(string(f["text"]))
		if err == nil {
			equal("fingerprint", a.Fingerprint[:])
			equal("hosts", []byte(urls(a.Hosts)))
		}
		return err
	case "grant":
		g, err := ParseGrant(string(f["text"]))
		if err == nil {
			equal("grant", g[:])
		}
		return err
	}
	t.Fatalf("kind %q", v.kind)
	return nil
}

func urls(hosts []Host) string {
	var all []string
	for _, h := range hosts {
		all = append(all, h.URL())
	}
	return strings.Join(all, " ")
}

// checkCommand opens a client's frame and verifies its proof.
func checkCommand(t *testing.T, relay *Link, f map[string][]byte, of string) error {
	wire := bytes.Clone(f[of+"wire"])
	frame, err := relay.Open(wire[0], wire[1:])
	if err != nil {
		return err
	}
	if !bytes.Equal(frame.Body, f[of+"body"]) || byte(frame.Type) != f[of+"type"][0] {
		t.Errorf("%s is another frame", of)
	}
	c, err := ParseCommand(frame)
	if err != nil {
		return err
	}
	key := f[of+"key"]
	if key == nil {
		return nil
	}
	k, err := NewProofKey(private(f["ra"]), private(key).PublicKey())
	if err != nil {
		return err
	}
	corr, proofs := proofOf(c)
	for _, p := range proofs {
		if !k.Verify(p, relay.SID, corr, c.SignedBytes()) {
			return errProof
		}
	}
	return nil
}

func proofOf(c Command) (Corr, []Proof) {
	switch c := c.(type) {
	case *New:
		return c.Corr, []Proof{c.Proof}
	case *Offer:
		return c.Corr, []Proof{c.Proof}
	case *Put:
		return c.Corr, []Proof{c.Proof}
	case *First:
		return c.Corr, []Proof{c.Proof}
	case *Cancel:
		return c.Corr, []Proof{c.Proof}
	case *Del:
		return c.Corr, []Proof{c.Proof}
	case *Sub:
		return c.Corr, c.Proofs
	}
	return Corr{}, nil
}

func private(b []byte) *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		panic(err)
	}
	return k
}

func readVector(t *testing.T, path string) *vector {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := &vector{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
	head, rest, ok := strings.Cut(string(b), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) != 3 {
		t.Fatalf("%s: no header", path)
	}
	v.kind, v.expect, v.comment = strings.TrimPrefix(lines[0], "kind: "), strings.TrimPrefix(lines[1], "expect: "), strings.TrimPrefix(lines[2], "comment: ")
	for line := range strings.Lines(rest) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		bin, err := hex.DecodeString(strings.TrimSpace(value))
		if err != nil {
			t.Fatalf("%s: %s: %v", path, name, err)
		}
		v.add(name, bin)
	}
	return v
}

func writeVectors(t *testing.T) {
	old, _ := filepath.Glob("testdata/vectors/*.txt")
	for _, path := range old {
		os.Remove(path)
	}
	seen := map[string]bool{}
	emit := func(v *vector) {
		if seen[v.name] {
			t.Fatalf("%s twice", v.name)
		}
		seen[v.name] = true
		var b strings.Builder
		fmt.Fprintf(&b, "kind: %s\nexpect: %s\ncomment: %s\n\n", v.kind, v.expect, v.comment)
		for _, n := range v.names {
			fmt.Fprintln(&b, strings.TrimRight(n+": "+hex.EncodeToString(v.fields[n]), " "))
		}
		if err := os.WriteFile(filepath.Join("testdata/vectors", v.name+".txt"), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range recipes {
		t.Run("update "+r.name, func(t *testing.T) {
			seed := fnv.New64a()
			seed.Write([]byte(r.name))
			cryptotest.SetGlobalRandom(t, seed.Sum64())
			r.make(t, emit)
		})
	}
}

// recipes make the files; each draws from a random source that is seeded with its
// name.
var recipes = []struct {
	name string
	make func(t *testing.T, emit func(*vector))
}{
	{"link", linkVectors}, {"hello", helloVectors}, {"frame", frameVectors}, {"command", commandVectors}, {"answer", answerVectors}, {"text", textVectors},
}

// linkVectors is a whole connection, seen with the relay's private keys, and what
// must end one.
func linkVectors(t *testing.T, emit func(*vector)) {
	one := func(name, expect, comment string, change func(v *vector, f map[string][]byte)) {
		seed := random(mlkem.SeedSize)
		dk := kem(seed)
		rs, re, ra, queue, sender := newX25519(t), newX25519(t), newX25519(t), newX25519(t), newX25519(t)
		h := &Hello{Versions: []byte{1}, RS: rs.PublicKey(), RE: re.PublicKey(), RA: ra.PublicKey(), EK: dk.EncapsulationKey(),
			Limits: Limits{Epoch: time.Hour, MaxTTL: 336, Durable: true, Window: 16}}
		rand.Read(h.Nonce[:])
		hello := h.Marshal()
		answer, client, _, err := Connect(hello, FingerprintOf(h.RS))
		if err != nil {
			t.Fatal(err)
		}
		relay, err := Accept(hello, rs, re, dk, answer)
		if err != nil {
			t.Fatal(err)
		}
		v := &vector{name: name, kind: "link", expect: expect, comment: comment}
		for _, f := range []struct {
			name  string
			value []byte
		}{{"rs", rs.Bytes()}, {"re", re.Bytes()}, {"ra", ra.Bytes()}, {"ek_seed", seed}, {"hello", hello}, {"answer", answer}, {"sid", client.SID[:]}} {
			v.add(f.name, f.value)
		}
		say := func(i int, c Command, key *ecdh.PrivateKey) {
			of := fmt.Sprintf("c2s%d.", i)
			v.add(of+"type", []byte{byte(c.Type())})
			v.add(of+"body", c.Body())
			if key != nil {
				v.add(of+"key", key.Bytes())
			}
			v.add(of+"wire", client.Seal(nil, c.Type(), c.Body()))
		}
		var corr Corr
		rand.Read(corr[:16])
		number := func() Corr {
			corr[CorrSize-1]++
			return corr
		}
		prove := func(c Command, key *ecdh.PrivateKey) Proof {
			k, err := NewProofKey(key, h.RA)
			if err != nil {
				t.Fatal(err)
			}
			n, _ := proofOf(c)
			return k.Prove(client.SID, n, c.SignedBytes())
		}
		issue := &Issue{Corr: number(), Grant: id(), Hashes: [][32]byte{TicketHash(id())}}
		say(1, issue, nil)
		made := &New{Corr: number(), Ticket: id(), Key: [32]byte(queue.PublicKey().Bytes())}
		made.Proof = prove(made, queue)
		say(2, made, queue)
		offer := &Offer{Corr: number(), Receiver: id(), TTL: 24, Location: id(), Blob: random(EnvelopeSize)}
		rand.Read(offer.ClaimHash[:])
		offer.Proof = prove(offer, queue)
		say(3, offer, queue)
		sub := &Sub{Corr: number(), Queues: []ID{offer.Receiver}, Proofs: []Proof{{}}}
		sub.Proofs[0] = prove(sub, queue)
		say(4, sub, queue)
		first := &First{Corr: number(), Sender: id(), Key: [32]byte(sender.PublicKey().Bytes()), Message: MessageID(random(16)), Class: 3, Envelope: random(EnvelopeSize)}
		rand.Read(first.Claim[:])
		first.Proof = prove(first, sender)
		say(5, first, sender)
		put := &Put{Corr: number(), Sender: first.Sender, Message: MessageID(random(16)), Class: 3, Flags: FlagUrgent, Envelope: random(EnvelopeSize)}
		put.Proof = prove(put, sender)
		say(6, put, sender)
		cancel := &Cancel{Corr: number(), Sender: first.Sender, Message: put.Message}
		cancel.Proof = prove(cancel, sender)
		say(7, cancel, sender)
		say(8, &Ack{Handle: 1, Sequences: []uint64{65536, 65537}}, nil)
		del := &Del{Corr: number(), Receiver: offer.Receiver}
		del.Proof = prove(del, queue)
		say(9, del, queue)
		for i, a := range []Answer{
			&Issued{1, 63}, &IDs{2, offer.Receiver, first.Sender}, &OK{3}, &Subbed{4, []Subscription{{Handle: 1, Waiting: 2, Invite: InviteOpen}}},
			&OK{5}, &Msg{1, 65536, 0, first.Envelope}, &Error{6, CodeQueueFull, 60},
		} {
			of := fmt.Sprintf("s2c%d.", i+1)
			v.add(of+"type", []byte{byte(a.Type())})
			v.add(of+"body", a.Body())
			v.add(of+"wire", relay.Seal(nil, a.Type(), a.Body()))
		}
		if change != nil {
			change(v, v.fields)
		}
		emit(v)
	}
	one("link-good", "ok", "a connection from hello to the last frame, with the relay's private keys", nil)
	one("link-answer-low-order", "low-order", "CE has a low order", func(v *vector, f map[string][]byte) {
		copy(f["answer"][1:], lowOrderKeys(t)[2])
	})
	one("link-answer-short", "malformed", "the answer lacks its last byte", func(v *vector, f map[string][]byte) {
		f["answer"] = f["answer"][:ClientHello-1]
	})
	one("link-answer-version", "version", "the client has chosen version 2", func(v *vector, f map[string][]byte) { f["answer"][0] = 2 })
	one("link-answer-ct", "seal", "a bit of ctR: the keys differ", func(v *vector, f map[string][]byte) {
		f["answer"][ClientHello-1] ^= 1
		l, err := Accept(f["hello"], private(f["rs"]), private(f["re"]), kem(f["ek_seed"]), f["answer"])
		if err != nil {
			t.Fatal(err)
		}
		copy(f["sid"], l.SID[:])
	})
	one("link-frame-order", "seal", "the second frame comes first", func(v *vector, f map[string][]byte) {
		f["c2s1.wire"], f["c2s2.wire"] = f["c2s2.wire"], f["c2s1.wire"]
	})
	one("link-proof-key", "proof", "the proof of PUT is under another key", func(v *vector, f map[string][]byte) {
		f["c2s6.key"] = newX25519(t).Bytes()
	})
}

func kem(seed []byte) *mlkem.DecapsulationKey768 {
	dk, err := mlkem.NewDecapsulationKey768(seed)
	if err != nil {
		panic(err)
	}
	return dk
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func id() ID { return ID(random(IDSize)) }

func helloVectors(t *testing.T, emit func(*vector)) {
	r := newRelaySide(t)
	pin := r.pin()
	keys := map[string]int{"rs": 2, "re": 2 + 32, "ra": 2 + 64}
	one := func(name, expect, comment string, change func(b []byte) []byte) {
		v := &vector{name: "hello-" + name, kind: "hello", expect: expect, comment: comment}
		v.add("hello", change(bytes.Clone(r.hello)))
		v.add("pin", pin[:])
		emit(v)
	}
	one("good", "ok", "a relay's hello", func(b []byte) []byte { return b })
	for i, low := range lowOrderKeys(t)[:7] {
		for _, which := range []string{"ra", "re", "rs"} {
			one(fmt.Sprintf("low-order-%s-%d", which, i+1), "low-order", "a key of low order", func(b []byte) []byte {
				copy(b[keys[which]:], low)
				return b
			})
		}
	}
	one("kem", "malformed", "ekR has a coefficient above the modulus", func(b []byte) []byte { b[2+96], b[2+97] = 0xff, 0xff; return b })
	one("short", "malformed", "the last byte is missing", func(b []byte) []byte { return b[:len(b)-1] })
	one("long", "malformed", "a byte too many", func(b []byte) []byte { return append(b, 0) })
	one("empty", "malformed", "nothing", func([]byte) []byte { return []byte{} })
	one("no-version", "malformed", "no versions", func(b []byte) []byte { return append([]byte{0}, b[2:]...) })
	one("nine-versions", "malformed", "nine versions", func(b []byte) []byte { return append([]byte{9, 1, 2, 3, 4, 5, 6, 7, 8, 9}, b[2:]...) })
	one("versions-descend", "malformed", "versions 2 and 1", func(b []byte) []byte { return append([]byte{2, 2, 1}, b[2:]...) })
	one("version-2", "version", "version 2 alone", func(b []byte) []byte { b[1] = 2; return b })
	one("versions-1-2", "ok", "versions 1 and 2", func(b []byte) []byte { return append([]byte{2, 1, 2}, b[2:]...) })
	one("epoch-0", "malformed", "an epoch of no seconds", func(b []byte) []byte { clear(b[len(b)-8 : len(b)-4]); return b })
	one("ttl-0", "malformed", "no epoch as the longest life", func(b []byte) []byte { clear(b[len(b)-4 : len(b)-2]); return b })
	one("flags", "malformed", "an unknown flag", func(b []byte) []byte { b[len(b)-2] |= 2; return b })
	one("window-0", "malformed", "a window of none", func(b []byte) []byte { b[len(b)-1] = 0; return b })
	one("other-relay", "fingerprint", "another relay's key", func(b []byte) []byte { copy(b[2:], newX25519(t).PublicKey().Bytes()); return b })
}

func frameVectors(t *testing.T, emit func(*vector)) {
	one := func(name, expect, comment string, class byte, plain []byte, counter uint64, change func(wire []byte) []byte) {
		key := random(32)
		l := newLink(key, key, make([]byte, 32))
		num := nonce(counter)
		wire := l.seal.Seal([]byte{class}, num[:], plain, []byte{class})
		v := &vector{name: "frame-" + name, kind: "frame", expect: expect, comment: comment}
		v.add("key", key)
		v.add("counter", binary.BigEndian.AppendUint64(nil, counter))
		if change != nil {
			wire = change(wire)
		}
		v.add("wire", wire)
		if expect == "ok" {
			v.add("type", plain[:1])
			v.add("body", plain[frameHeader:frameHeader+int(binary.BigEndian.Uint32(plain[1:]))])
		}
		emit(v)
	}
	plain := func(size, n int, pad byte) []byte {
		b := make([]byte, size)
		b[0] = byte(TypeFetch)
		binary.BigEndian.PutUint32(b[1:], uint32(n))
		if n <= size-frameHeader {
			rand.Read(b[frameHeader : frameHeader+n])
		}
		b[size-1] = pad
		return b
	}
	one("small", "ok", "a body of 48 bytes in class 0, frame 0", 0, plain(SmallFrame, 48, 0), 0, nil)
	one("empty", "ok", "no body", 0, plain(SmallFrame, 0, 0), 1, nil)
	full := plain(SmallFrame, SmallFrame-frameHeader, 0)
	full[SmallFrame-1] = 7
	one("full", "ok", "a body that fills class 0; frame 2^40", 0, full, 1<<40, nil)
	one("message", "ok", "class 1 begins where class 0 ends", 1, plain(MessageFrame, SmallFrame-frameHeader+1, 0), 5, nil)
	one("class-too-large", "malformed", "class 1 for a body that fits class 0", 1, plain(MessageFrame, SmallFrame-frameHeader, 0), 0, nil)
	one("padding", "malformed", "the last byte of the padding is not zero", 0, plain(SmallFrame, 10, 1), 0, nil)
	one("length", "malformed", "a length beyond the end", 0, plain(SmallFrame, SmallFrame-frameHeader+1, 0), 0, nil)
	one("length-huge", "malformed", "a length of 2^32 - 1", 0, plain(SmallFrame, 1<<32-1, 0), 0, nil)
	one("mac", "seal", "a bit of the authenticator", 0, plain(SmallFrame, 10, 0), 0, func(w []byte) []byte { w[len(w)-1] ^= 1; return w })
	one("class-byte", "malformed", "class 1 in front of a frame of class 0", 0, plain(SmallFrame, 10, 0), 0, func(w []byte) []byte { w[0] = 1; return w })
	one("class-3", "malformed", "there is no class 3", 0, plain(SmallFrame, 10, 0), 0, func(w []byte) []byte { w[0] = 3; return w })
	one("short", "malformed", "the last byte is missing", 0, plain(SmallFrame, 10, 0), 0, func(w []byte) []byte { return w[:len(w)-1] })
}

// eachCommand is one of each.
func eachCommand(t *testing.T) []Command {
	key := [32]byte(newX25519(t).PublicKey().Bytes())
	proof := Proof(random(ProofSize))
	corr := Corr(random(CorrSize))
	return []Command{
		&Issue{corr, id(), [][32]byte{[32]byte(random(32)), [32]byte(random(32))}}, &New{corr, id(), key, proof},
		&Offer{corr, id(), [32]byte(random(32)), 24, id(), proof, random(EnvelopeSize)}, &Del{corr, id(), proof}, &Fetch{corr, id()},
		&Put{corr, id(), MessageID(random(16)), 5, 1, proof, random(EnvelopeSize)},
		&First{corr, id(), [32]byte(random(32)), key, MessageID(random(16)), 0, 0, proof, random(EnvelopeSize)},
		&Cancel{corr, id(), MessageID(random(16)), proof}, &Sub{corr, []ID{id(), id()}, []Proof{proof, proof}}, &Unsub{corr, 3}, &Ack{3, []uint64{1, 1 << 40}},
	}
}

func commandVectors(t *testing.T, emit func(*vector)) {
	one := func(name, expect, comment string, typ Type, body, signed []byte) {
		v := &vector{name: "command-" + name, kind: "command", expect: expect, comment: comment}
		v.add("type", []byte{byte(typ)})
		v.add("body", body)
		if expect == "ok" {
			v.add("signed", signed)
		}
		emit(v)
	}
	for _, c := range eachCommand(t) {
		name := fmt.Sprintf("%02x", byte(c.Type()))
		one(name, "ok", "S is in signed", c.Type(), c.Body(), c.SignedBytes())
		one(name+"-short", "malformed", "the last byte is missing", c.Type(), c.Body()[:len(c.Body())-1], nil)
		one(name+"-long", "malformed", "a byte too many", c.Type(), append(bytes.Clone(c.Body()), 0), nil)
	}
	offer := &Offer{Corr(random(CorrSize)), id(), [32]byte(random(32)), 0, ID{}, Proof(random(ProofSize)), nil}
	one("03-claim", "ok", "an OFFER without a blob", offer.Type(), offer.Body(), offer.SignedBytes())
	one("09-none", "malformed", "SUB to no queue", TypeSub, append(random(CorrSize), 0), nil)
	one("0b-none", "malformed", "ACK of nothing", TypeAck, []byte{0, 1, 0, 0}, nil)
	one("0c", "unknown", "a type of a later version", 0x0c, random(CorrSize+8), nil)
	one("10", "unknown", "the types of attachment chunks are reserved", 0x10, random(CorrSize+8), nil)
}

func answerVectors(t *testing.T, emit func(*vector)) {
	one := func(name, expect, comment string, typ Type, body []byte) {
		v := &vector{name: "answer-" + name, kind: "answer", expect: expect, comment: comment}
		v.add("type", []byte{byte(typ)})
		v.add("body", body)
		emit(v)
	}
	for _, a := range []Answer{
		&OK{7}, &Error{8, CodeSlowDown, 30}, &Issued{9, 1}, &IDs{10, id(), id()}, &Blob{11, 1 << 31, random(EnvelopeSize)},
		&Subbed{12, []Subscription{{CodeOK, 1, 17, InviteUsed, 2, 1}, {Code: CodeUnknownQueue}}}, &Msg{1, 65536, 1, random(EnvelopeSize)}, &Tried{2, InviteOpen, 3, 4},
	} {
		name := fmt.Sprintf("%02x", byte(a.Type()))
		one(name, "ok", "one of each", a.Type(), a.Body())
		one(name+"-short", "malformed", "the last byte is missing", a.Type(), a.Body()[:len(a.Body())-1])
		one(name+"-long", "malformed", "a byte too many", a.Type(), append(bytes.Clone(a.Body()), 0))
	}
}

func textVectors(t *testing.T, emit func(*vector)) {
	fp := Fingerprint(random(FingerprintSize))
	inv := Invite{Relay: Address{Hosts: []Host{{true, "relay.example.org"}, {true, "other.example.net:8443"}}, Fingerprint: fp}, Hash: [32]byte(random(32))}
	text, err := inv.Text()
	if err != nil {
		t.Fatal(err)
	}
	one := func(name, expect, comment, text string) {
		v := &vector{name: "invite-" + name, kind: "invite", expect: expect, comment: comment}
		v.add("text", []byte(text))
		if expect == "ok" {
			v.add("h", inv.Hash[:])
			v.add("fingerprint", fp[:])
			v.add("hosts", []byte(urls(inv.Relay.Hosts)))
		}
		emit(v)
	}
	one("good", "ok", "two hosts", text)
	one("pasted", "ok", "capitals, a line break, quotes, words around it", "Here it is: «"+strings.ToUpper(text[:40])+"\n> "+text[40:]+"» - love, K")
	one("look-alikes", "ok", "o for 0, l for 1", strings.NewReplacer("0", "O", "1", "l").Replace(text))
	one("cut", "cut", "the last twenty characters are missing", text[:len(text)-20])
	one("typo", "checksum", "one character is another", text[:60]+string(rune(alphabet[(strings.IndexByte(alphabet, text[60])+1)%32]))+text[61:])
	one("none", "none", "no invite at all", "call me when you can")
	raw := func(change func(body []byte) []byte) string {
		body, ok := decode32(text[inviteHead:])
		if !ok {
			t.Fatal("the text does not decode")
		}
		body = change(body[:len(body)-4])
		s := encode32(append(body, inviteChecksum(body)...))
		total := inviteHead + len(s)
		return invitePrefix + string([]byte{alphabet[total>>5], alphabet[total&31]}) + s
	}
	one("version", "newer", "version 2, with a right checksum", raw(func(b []byte) []byte { b[0] = 2; return b }))
	one("scheme", "malformed", "scheme 2", raw(func(b []byte) []byte { b[2] = 2; return b }))
	one("host-length", "malformed", "a host's length beyond the end", raw(func(b []byte) []byte { b[3] = 200; return b }))
	one("plain-host", "malformed", "ws to a host that is neither loopback nor onion", raw(func(b []byte) []byte { b[2] = 1; return b }))
	one("trailing", "malformed", "a byte behind h", raw(func(b []byte) []byte { return append(b, 0) }))

	address := func(name, expect, comment, text, hosts string) {
		v := &vector{name: "address-" + name, kind: "address", expect: expect, comment: comment}
		v.add("text", []byte(text))
		if expect == "ok" {
			v.add("fingerprint", fp[:])
			v.add("hosts", []byte(hosts))
		}
		emit(v)
	}
	address("good", "ok", "TLS, the default port", "wss://relay.example.org#"+fp.String(), "wss://relay.example.org")
	address("loopback", "ok", "without TLS on loopback", "ws://127.0.0.1:7000#"+fp.String(), "ws://127.0.0.1:7000")
	address("onion", "ok", "without TLS to an onion name", "ws://abcdefghijklmnop.onion#"+fp.String(), "ws://abcdefghijklmnop.onion")
	address("plain", "plain", "without TLS to anything else", "ws://relay.example.org#"+fp.String(), "")
	address("no-fingerprint", "address", "no fingerprint", "wss://relay.example.org", "")
	address("short-fingerprint", "address", "25 characters", "wss://relay.example.org#"+fp.String()[:25], "")
	address("bits", "address", "the two unused bits of the last character are not zero", "wss://relay.example.org#"+fp.String()[:25]+"z", "")
	address("scheme", "address", "another scheme", "https://relay.example.org#"+fp.String(), "")

	grant := func(name, expect, comment, text string, g ID) {
		v := &vector{name: "grant-" + name, kind: "grant", expect: expect, comment: comment}
		v.add("text", []byte(text))
		if expect == "ok" {
			v.add("grant", g[:])
		}
		emit(v)
	}
	g := id()
	s := GrantText(g)
	grant("good", "ok", "54 characters", s, g)
	grant("capitals", "ok", "capitals and spaces", strings.ToUpper(s[:20])+" "+s[20:], g)
	grant("cut", "grant", "a character is missing", s[:len(s)-1], g)
	grant("typo", "grant", "one character is another", s[:30]+string(rune(alphabet[(strings.IndexByte(alphabet, s[30])+1)%32]))+s[31:], g)
}
