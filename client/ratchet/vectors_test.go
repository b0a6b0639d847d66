package ratchet

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// vector is one file of testdata/vectors; README.md there says what the fields are.
type vector struct {
	name, kind, expect, comment string

	fields []field
}

type field struct {
	name  string
	value []byte
}

func (v *vector) add(name string, value []byte) { v.fields = append(v.fields, field{name, value}) }

func (v *vector) has(name string) bool {
	return slices.ContainsFunc(v.fields, func(f field) bool { return f.name == name })
}

func (v *vector) get(t testing.TB, name string) []byte {
	t.Helper()
	i := slices.IndexFunc(v.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("no field %q", name)
	}
	return v.fields[i].value
}

func (v *vector) key(t testing.TB, name string) key {
	t.Helper()
	b := v.get(t, name)
	if len(b) != keySize {
		t.Fatalf("%s has %d bytes", name, len(b))
	}
	return key(b)
}

func (v *vector) number(t testing.TB, name string) uint64 {
	t.Helper()
	return binary.BigEndian.Uint64(append(make([]byte, 8-len(v.get(t, name))), v.get(t, name)...))
}

func (v *vector) x25519(t testing.TB, name string) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(v.get(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v *vector) kem(t testing.TB, name string) *mlkem.DecapsulationKey768 {
	t.Helper()
	k, err := mlkem.NewDecapsulationKey768(v.get(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// equal compares a field with what was computed.
func (v *vector) equal(t testing.TB, name string, got []byte) {
	t.Helper()
	if want := v.get(t, name); !bytes.Equal(got, want) {
		t.Errorf("%s: %x; want %x", name, got, want)
	}
}

func (v *vector) write(t testing.TB) {
	var b strings.Builder
	fmt.Fprintf(&b, "kind: %s\nexpect: %s\ncomment: %s\n\n", v.kind, v.expect, v.comment)
	for _, f := range v.fields {
		fmt.Fprintln(&b, strings.TrimRight(f.name+": "+hex.EncodeToString(f.value), " "))
	}
	if err := os.WriteFile(filepath.Join("testdata/vectors", v.name+".txt"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readVector(t testing.TB, path string) *vector {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := &vector{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
	head, rest, ok := strings.Cut(string(b), "\n\n")
	if _, err := fmt.Sscanf(head, "kind: %s\nexpect: %s\ncomment:", &v.kind, &v.expect); err != nil || !ok {
		t.Fatalf("%s: its header: %v", path, err)
	}
	for line := range strings.Lines(rest) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		bin, err := hex.DecodeString(strings.TrimSpace(value))
		if !ok || err != nil || v.has(name) {
			t.Fatalf("%s: the line of %q", path, name)
		}
		v.add(name, bin)
	}
	return v
}

// expectations are the words for errors in the files.
var expectations = map[string]error{
	"ok": nil, "envelope": ErrEnvelope, "type": ErrType, "tag": ErrTag, "identity": ErrIdentity, "key": ErrKey,
	"rollback": ErrRollback, "no-key": ErrNoKey, "header": ErrHeader, "chain": ErrChain, "jump": ErrJump,
	"used": ErrUsed, "commitment": ErrCommitment, "body": ErrBody, "padding": ErrPadding, "bundle": ErrBundle,
	"chain-full": ErrChainFull,
}

// TestVectors checks every file against the code, those that it wrote and those that
// the second implementation wrote (interop/make-vectors.js), and the good ones against
// reference_test.go as well.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	ours, _ := filepath.Glob("testdata/vectors/*.txt")
	theirs, _ := filepath.Glob("testdata/vectors/interop/*.txt")
	count := make(map[bool]int)
	for _, path := range append(ours, theirs...) {
		v := readVector(t, path)
		want, known := expectations[v.expect]
		check := map[string]func(*testing.T, *vector) error{
			"bundle": checkBundle, "blob": checkBlob, "handshake": checkHandshake,
			"seal": checkSeal, "open": checkOpen, "digits": checkDigits,
		}[v.kind]
		if !known || check == nil {
			t.Fatalf("%s: expect %q of %q", path, v.expect, v.kind)
		}
		count[want == nil]++
		t.Run(v.name, func(t *testing.T) {
			if err := check(t, v); !errors.Is(err, want) {
				t.Errorf("%v; want %v", err, want)
			}
		})
	}
	t.Logf("%d files by the Go, %d by the second implementation: %d good, %d bad", len(ours), len(theirs), count[true], count[false])
	if len(ours) < 170 || len(theirs) < 200 || count[true] < 50 || count[false] < 300 {
		t.Fatal("files are missing")
	}
}

func checkBundle(t *testing.T, v *vector) error {
	b, err := ParseBundle(v.get(t, "bundle"))
	if err != nil {
		return err
	}
	h, id, f := b.Hash(), b.SenderID(), b.Fingerprint()
	v.equal(t, "bundle", b.Marshal())
	v.equal(t, "h", h[:])
	v.equal(t, "sender_id", id[:])
	v.equal(t, "fingerprint", f[:])
	v.equal(t, "meta", b.Meta())
	v.equal(t, "QEb", b.QueueKey())
	v.equal(t, "B", v.get(t, "bundle")[:len(v.get(t, "B"))])
	refBundle(t, v)
	return nil
}

func checkBlob(t *testing.T, v *vector) error {
	b, err := OpenBundle(v.key(t, "h"), v.get(t, "blob"))
	if err != nil {
		return err
	}
	v.equal(t, "bundle", b.Marshal())
	s := DeriveInvite(v.key(t, "h"))
	v.equal(t, "location", s.Location[:])
	v.equal(t, "key", s.Key[:])
	v.equal(t, "claim", s.Claim[:])
	refBlob(t, v)
	return nil
}

func hostKeys(t testing.TB, v *vector) *HostKeys {
	b := []byte{hostKeysVersion}
	for _, name := range []string{"ikb", "opkb", "rkb", "qeb", "ek_hs_seed", "ek_r_seed"} {
		b = append(b, v.get(t, name)...)
	}
	k, err := ParseHostKeys(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func checkHandshake(t *testing.T, v *vector) error {
	k := hostKeys(t, v)
	s, first, f, err := k.Accept(v.key(t, "h"), v.get(t, "envelope"))
	if err != nil {
		return err
	}
	v.equal(t, "plaintext", first)
	v.equal(t, "th2", f.ID[:])
	v.equal(t, "com", f.Commitment[:])
	id, err := FlightID(v.key(t, "h"), k.QueueKey(), v.get(t, "envelope"))
	if err != nil {
		return err
	}
	v.equal(t, "th2", id[:])
	sameBeforeOwnKeys(t, v, "host", s)
	v.equal(t, "digits", []byte(s.Digits()))
	refHandshake(t, v)
	return nil
}

func checkSeal(t *testing.T, v *vector) error {
	s := loadSession(t, v, "before")
	next, envelope, sealed, err := s.Seal(v.get(t, "qe_public"), v.get(t, "plaintext"))
	if err != nil {
		return err
	}
	// The nonces differ from the file's; the state behind it does not.
	if len(envelope) != EnvelopeSize || sealed.Seq != v.number(t, "seq") {
		t.Errorf("seq %d", sealed.Seq)
	}
	v.sameState(t, "after", next)
	refMessage(t, v)
	return nil
}

func checkOpen(t *testing.T, v *vector) error {
	s := loadSession(t, v, "before")
	before := s.Marshal()
	next, m, err := s.Open(v.x25519(t, "qe"), v.get(t, "envelope"), time.Unix(int64(v.number(t, "now")), 0))
	if !bytes.Equal(s.Marshal(), before) {
		t.Error("the state changed")
	}
	if err != nil {
		var oe *OpenError
		if errors.As(err, &oe) && (oe.Seq != v.number(t, "seq") || oe.Echo != v.number(t, "echo")) {
			t.Errorf("%v", err)
		}
		return err
	}
	v.equal(t, "plaintext", m.Plaintext)
	v.equal(t, "com", m.Commitment[:])
	if m.Seq != v.number(t, "seq") || m.Echo != v.number(t, "echo") {
		t.Errorf("seq %d, echo %d", m.Seq, m.Echo)
	}
	if v.has("step.rk1") {
		sameBeforeOwnKeys(t, v, "after", next)
	} else {
		v.sameState(t, "after", next)
	}
	refMessage(t, v)
	return nil
}

func checkDigits(t *testing.T, v *vector) error {
	ad := v.key(t, "AD")
	v.equal(t, "digits", []byte(digits(&ad)))
	v.equal(t, "digits", []byte(refDigits(ad[:])))
	return nil
}

// addState writes a session as plain fields.
func (v *vector) addState(prefix string, s *Session) {
	v.fields = append(v.fields, stateFields(prefix, s)...)
}

func stateFields(prefix string, s *Session) []field {
	u32 := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	u64 := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	fields := []field{
		{"ad", s.ad[:]}, {"tag_send", s.tagSend[:]}, {"tag_recv", s.tagRecv[:]},
		{"root", s.root[:]}, {"dh", s.dh.Bytes()}, {"kem_seed", s.kem.Bytes()}, {"ct", s.ct},
		{"send_hk", s.send.hk[:]}, {"send_ck", s.send.ck[:]}, {"send_nhk", s.send.next[:]},
		{"send_n", u32(s.send.n)}, {"send_pn", u32(s.send.pn)}, {"sent", u64(s.sent)},
		{"recv_nhk", s.recvNext[:]}, {"recv_n", u32(s.recv.n)},
	}
	if s.recv.n > 0 {
		fields = append(fields, field{"recv_ck", s.recv.ck[:]})
		fields = append(fields, chainFields("recv", s.recv.skipChain)...)
	}
	for i, c := range s.old {
		fields = append(fields, chainFields(fmt.Sprintf("old%d", i+1), c)...)
	}
	for i := range fields {
		fields[i].name = prefix + "." + fields[i].name
	}
	return fields
}

func chainFields(prefix string, c skipChain) []field {
	fields := []field{
		{prefix + "_hk", c.hk[:]}, {prefix + "_fixed", c.fixed[:]},
		{prefix + "_base", binary.BigEndian.AppendUint64(nil, c.base)},
	}
	var keys []byte
	for _, k := range c.skipped {
		keys = binary.BigEndian.AppendUint32(keys, k.n)
		keys = append(keys, k.mk[:]...)
		keys = binary.BigEndian.AppendUint64(keys, uint64(k.at))
	}
	return append(fields, field{prefix + "_skipped", keys})
}

// sameState compares a session with its plain fields.
func (v *vector) sameState(t testing.TB, prefix string, s *Session) {
	t.Helper()
	for _, f := range stateFields(prefix, s) {
		v.equal(t, f.name, f.value)
	}
}

// sameBeforeOwnKeys compares all but what this side's fresh keys went into.
func sameBeforeOwnKeys(t testing.TB, v *vector, prefix string, s *Session) {
	t.Helper()
	fresh := []string{"root", "dh", "kem_seed", "ct", "send_ck", "send_nhk"}
	for _, f := range stateFields(prefix, s) {
		if !slices.Contains(fresh, strings.TrimPrefix(f.name, prefix+".")) {
			v.equal(t, f.name, f.value)
		}
	}
}

func loadSession(t testing.TB, v *vector, prefix string) *Session {
	t.Helper()
	get := func(name string) string { return prefix + "." + name }
	s := &Session{
		ad: v.key(t, get("ad")), tagSend: v.key(t, get("tag_send")), tagRecv: v.key(t, get("tag_recv")),
		root: v.key(t, get("root")), dh: v.x25519(t, get("dh")), kem: v.kem(t, get("kem_seed")), ct: v.get(t, get("ct")),
		send: sendChain{
			hk: v.key(t, get("send_hk")), ck: v.key(t, get("send_ck")), next: v.key(t, get("send_nhk")),
			n: uint32(v.number(t, get("send_n"))), pn: uint32(v.number(t, get("send_pn"))),
		},
		sent: v.number(t, get("sent")), recvNext: v.key(t, get("recv_nhk")),
		recv: recvChain{skipChain: skipChain{base: 1}, n: uint32(v.number(t, get("recv_n")))},
	}
	chain := func(name string) skipChain {
		c := skipChain{hk: v.key(t, get(name+"_hk")), fixed: v.key(t, get(name+"_fixed")), base: v.number(t, get(name+"_base"))}
		for b := range slices.Chunk(v.get(t, get(name+"_skipped")), skippedSize) {
			c.skipped = append(c.skipped, skippedKey{
				n: binary.BigEndian.Uint32(b), mk: key(b[4:]), at: int64(binary.BigEndian.Uint64(b[36:])),
			})
		}
		return c
	}
	if s.recv.n > 0 {
		s.recv.ck, s.recv.skipChain = v.key(t, get("recv_ck")), chain("recv")
	}
	for i := 1; v.has(get(fmt.Sprintf("old%d_hk", i))); i++ {
		s.old = append(s.old, chain(fmt.Sprintf("old%d", i)))
	}
	parsed, err := ParseSession(s.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
