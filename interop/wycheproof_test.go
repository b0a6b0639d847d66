package interop

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/c2sp/wycheproof"

	"kin/client/ratchet"
	"kin/protocol"
)

// hexBytes is a JSON string of hexadecimal digits.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	var err error
	*h, err = hex.DecodeString(s)
	return err
}

// wyche is a test of any of the files that are used here.
type wyche struct {
	TcID   int
	Flags  []string
	Result string

	Public, Private, Shared hexBytes // X25519
	IKM, Salt, Info, OKM    hexBytes // HKDF
	Size                    int
	Seed, EK, C, K, M       hexBytes // ML-KEM
}

func (w *wyche) has(flag string) bool { return slices.Contains(w.Flags, flag) }

func tests(t *testing.T, file string, least int) []wyche {
	b, err := fs.ReadFile(wycheproof.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ TestGroups []struct{ Tests []wyche } }
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	var all []wyche
	for _, g := range f.TestGroups {
		all = append(all, g.Tests...)
	}
	if len(all) < least {
		t.Fatalf("%s has %d tests", file, len(all))
	}
	return all
}

func TestWycheproofX25519(t *testing.T) {
	refused := 0
	for _, w := range tests(t, "x25519_test.json", 500) {
		pub, err := protocol.ParsePublicKey(w.Public)
		if w.has("ZeroSharedSecret") {
			refused++
			if !errors.Is(err, protocol.ErrLowOrder) {
				t.Errorf("%d: %v; the secret is zero", w.TcID, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d: %v", w.TcID, err)
			continue
		}
		own, err := ecdh.X25519().NewPrivateKey(w.Private)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := own.ECDH(pub); err != nil || !bytes.Equal(got, w.Shared) {
			t.Errorf("%d: %x, %v; want %x", w.TcID, got, err, w.Shared)
		}
	}
	if refused < 30 {
		t.Fatalf("%d keys of low order", refused)
	}
}

// places puts a public key wherever one is parsed that is not behind a seal; the
// vectors of client/ratchet have those that are.
func places(t *testing.T, key []byte) map[string]error {
	found := map[string]error{}
	rs, re, ra := newKey(t), newKey(t), newKey(t)
	dk, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	h := &protocol.Hello{Versions: []byte{1}, RS: rs.PublicKey(), RE: re.PublicKey(), RA: ra.PublicKey(), EK: dk.EncapsulationKey(),
		Limits: protocol.Limits{Epoch: time.Hour, MaxTTL: 336, Durable: true, Window: 16}}
	hello := h.Marshal()
	for i, name := range []string{"RS", "RE", "RA"} {
		b := bytes.Clone(hello)
		copy(b[2+32*i:], key)
		_, found["hello "+name] = protocol.ParseHello(b)
	}
	answer, _, _, err := protocol.Connect(hello, protocol.FingerprintOf(h.RS))
	if err != nil {
		t.Fatal(err)
	}
	copy(answer[1:], key)
	_, found["CE"] = protocol.Accept(hello, rs, re, dk, answer)

	keys, err := ratchet.NewHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := keys.Bundle([16]byte{}, [24]byte{}, []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	padded := append(bundle.Marshal(), make([]byte, 4056)...)[:4056]
	if _, err := ratchet.ParseBundle(padded); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]int{"IKb": 20, "OPKb": 56, "RKb": 92, "QEb": 2504} {
		b := bytes.Clone(padded)
		copy(b[at:], key)
		_, found["bundle "+name] = ratchet.ParseBundle(b)
	}
	s, envelope, _, err := ratchet.Begin(bundle, nil)
	if err != nil {
		t.Fatal(err)
	}
	copy(envelope, key)
	_, _, _, found["envelope"] = keys.Accept(bundle.Hash(), envelope)
	_, _, _, found["QE"] = s.Seal(key, nil)

	// NEW's and FIRST's key, as the relay takes it for the proof.
	pub, err := ecdh.X25519().NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	_, found["proof"] = protocol.NewProofKey(ra, pub)
	return found
}

func TestWycheproofLowOrderEverywhere(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range tests(t, "x25519_test.json", 500) {
		if !w.has("ZeroSharedSecret") || seen[string(w.Public)] {
			continue
		}
		seen[string(w.Public)] = true
		for place, err := range places(t, w.Public) {
			if err == nil {
				t.Errorf("%x is taken in %s", []byte(w.Public), place)
			}
		}
	}
	if len(seen) < 7 {
		t.Fatalf("%d keys", len(seen))
	}
	// With a good key each place takes it, or fails for another reason than the key.
	for place, err := range places(t, newKey(t).PublicKey().Bytes()) {
		if err != nil && place != "envelope" {
			t.Errorf("a good key in %s: %v", place, err)
		}
	}
}

func TestWycheproofHKDF(t *testing.T) {
	for _, w := range tests(t, "hkdf_sha256_test.json", 80) {
		if w.Result != "valid" {
			continue // longer than HKDF can give; no length in Kin is not a constant
		}
		if got := protocol.Expand(protocol.Extract(w.Salt, w.IKM), string(w.Info), w.Size); !bytes.Equal(got, w.OKM) {
			t.Errorf("%d: %x; want %x", w.TcID, got, w.OKM)
		}
	}
}

func TestWycheproofMLKEM(t *testing.T) {
	for _, w := range tests(t, "mlkem_768_keygen_seed_test.json", 100) {
		dk, err := mlkem.NewDecapsulationKey768(w.Seed)
		if err != nil || !bytes.Equal(dk.EncapsulationKey().Bytes(), w.EK) {
			t.Errorf("keygen %d: %v", w.TcID, err)
		}
	}
	for _, w := range tests(t, "mlkem_768_test.json", 200) {
		dk, err := mlkem.NewDecapsulationKey768(w.Seed)
		var k []byte
		if err == nil {
			k, err = dk.Decapsulate(w.C)
		}
		if (err == nil) != (w.Result == "valid") || err == nil && !bytes.Equal(k, w.K) {
			t.Errorf("decaps %d: %x, %v; want %x, %s", w.TcID, k, err, w.K, w.Result)
		}
	}
}

// TestWycheproofMLKEMKeys: what fails the modulus check, or has another length, is
// refused in the hello and in both places of a bundle.
func TestWycheproofMLKEMKeys(t *testing.T) {
	keys, err := ratchet.NewHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := keys.Bundle([16]byte{}, [24]byte{}, []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	padded := append(bundle.Marshal(), make([]byte, 4056)...)[:4056]
	dk, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	hello := (&protocol.Hello{Versions: []byte{1}, RS: newKey(t).PublicKey(), RE: newKey(t).PublicKey(), RA: newKey(t).PublicKey(), EK: dk.EncapsulationKey(),
		Limits: protocol.Limits{Epoch: time.Hour, MaxTTL: 336, Window: 16}}).Marshal()
	splice := func(b []byte, at int, key []byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], key)
		return b
	}
	refused := 0
	for _, w := range tests(t, "mlkem_768_encaps_test.json", 200) {
		if len(w.EK) != mlkem.EncapsulationKeySize768 {
			continue // Kin's fields have their length
		}
		_, helloErr := protocol.ParseHello(splice(hello, 2+96, w.EK))
		_, hsErr := ratchet.ParseBundle(splice(padded, 128, w.EK))
		_, rErr := ratchet.ParseBundle(splice(padded, 1316, w.EK))
		for place, err := range map[string]error{"hello": helloErr, "ek_hs": hsErr, "ek_r": rErr} {
			if (err == nil) != (w.Result == "valid") {
				t.Errorf("%d: %v in %s; it is %s", w.TcID, err, place, w.Result)
			}
		}
		if w.Result != "valid" {
			refused++
			continue
		}
		ek, err := mlkem.NewEncapsulationKey768(w.EK)
		if err != nil {
			t.Fatal(err)
		}
		k, c, err := mlkemtest.Encapsulate768(ek, w.M)
		if err != nil || !bytes.Equal(c, w.C) || !bytes.Equal(k, w.K) {
			t.Errorf("encaps %d: %v", w.TcID, err)
		}
	}
	if refused == 0 {
		t.Fatal("no bad key among them")
	}
}
