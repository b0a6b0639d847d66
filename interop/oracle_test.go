// Package interop holds Kin's cryptography against that of others: libraries in
// another language, Debian's argon2, and the Wycheproof vectors.
package interop

import (
	"bufio"
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	mrand "math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"

	"kin/client/ratchet"
	"kin/protocol"
)

// oracle is oracle.js, running.
type oracle struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

type args map[string]any

func start(t *testing.T) *oracle {
	cmd := exec.Command("node", "oracle.js")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &oracle{t, in, bufio.NewReader(out)}
}

func (o *oracle) ask(name string, a args) []byte {
	o.t.Helper()
	req := args{"oracle": name}
	for k, v := range a {
		if b, ok := v.([]byte); ok {
			v = hex.EncodeToString(b)
		}
		req[k] = v
	}
	line, _ := json.Marshal(req)
	if _, err := o.in.Write(append(line, '\n')); err != nil {
		o.t.Fatal(err)
	}
	answer, err := o.out.ReadString('\n')
	if err != nil {
		o.t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(answer))
	if err != nil {
		o.t.Fatalf("%s: %s", name, answer)
	}
	return b
}

func (o *oracle) same(name string, a args, want []byte) {
	o.t.Helper()
	if got := o.ask(name, a); !bytes.Equal(got, want) {
		o.t.Fatalf("%s: %x; Go has %x", name, got, want)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func newKey(t *testing.T) *ecdh.PrivateKey {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestOracles compares random inputs of every length that occurs.
func TestOracles(t *testing.T) {
	o := start(t)
	for range 100 {
		own, peer := newKey(t), newKey(t)
		pub, secret := peer.PublicKey().Bytes(), own.Bytes()
		m, nonce, key := random(mrand.IntN(4100)), random(24), random(32)

		sealed := box.Seal(nil, m, (*[24]byte)(nonce), (*[32]byte)(pub), (*[32]byte)(secret))
		for _, lib := range []string{"tweetnacl box", "libsodium box"} {
			o.same(lib, args{"m": m, "nonce": nonce, "public": pub, "secret": secret}, sealed)
		}
		sealed = secretbox.Seal(nil, m, (*[24]byte)(nonce), (*[32]byte)(key))
		for _, lib := range []string{"tweetnacl secretbox", "libsodium secretbox"} {
			o.same(lib, args{"m": m, "nonce": nonce, "key": key}, sealed)
		}
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			t.Fatal(err)
		}
		ad := random(mrand.IntN(200))
		o.same("libsodium xchacha20poly1305", args{"m": m, "nonce": nonce, "key": key, "ad": ad}, aead.Seal(nil, nonce, m, ad))

		shared, err := own.ECDH(peer.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		o.same("node x25519", args{"secret": secret, "public": pub}, shared)

		salt, ikm, info, n := random(mrand.IntN(70)), random(1+mrand.IntN(200)), string(random(mrand.IntN(80))), 1+mrand.IntN(200)
		o.same("node hkdf", args{"salt": salt, "ikm": ikm, "info": []byte(info), "n": n}, protocol.Expand(protocol.Extract(salt, ikm), info, n))

		mac := hmac.New(sha256.New, key)
		mac.Write(m)
		o.same("node hmac", args{"key": key, "m": m}, mac.Sum(nil))

		seed := random(mlkem.SeedSize)
		dk, err := mlkem.NewDecapsulationKey768(seed)
		if err != nil {
			t.Fatal(err)
		}
		ek := dk.EncapsulationKey()
		o.same("noble keygen", args{"seed": seed}, ek.Bytes())
		coins := random(32)
		ss, ct, err := mlkemtest.Encapsulate768(ek, coins)
		if err != nil {
			t.Fatal(err)
		}
		o.same("noble encaps", args{"ek": ek.Bytes(), "m": coins}, append(bytes.Clone(ct), ss...))
		o.same("noble decaps", args{"seed": seed, "ct": ct}, ss)
		ct[mrand.IntN(len(ct))] ^= 1 // implicit rejection
		if ss, err = dk.Decapsulate(ct); err != nil {
			t.Fatal(err)
		}
		o.same("noble decaps", args{"seed": seed, "ct": ct}, ss)
	}
}

// TestEnvelope: libsodium opens Kin's envelopes as sealed boxes, and Kin opens
// libsodium's.
func TestEnvelope(t *testing.T) {
	o := start(t)
	for range 20 {
		keys, err := ratchet.NewHostKeys()
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := keys.Bundle([16]byte{}, [24]byte{}, []byte{1})
		if err != nil {
			t.Fatal(err)
		}
		_, envelope, _, err := ratchet.Begin(bundle, []byte("first"))
		if err != nil {
			t.Fatal(err)
		}
		qe := keys.QueueKey()
		pair := args{"m": envelope, "public": qe.PublicKey().Bytes(), "secret": qe.Bytes()}
		inner := o.ask("libsodium open", pair)
		if len(inner) != 4048 || inner[0] != 1 {
			t.Fatalf("%d bytes, type %d", len(inner), inner[0])
		}
		again := o.ask("libsodium seal", args{"m": inner, "public": qe.PublicKey().Bytes()})
		if _, first, _, err := keys.Accept(bundle.Hash(), again); err != nil || string(first) != "first" {
			t.Fatalf("%q, %v", first, err)
		}
		again[len(again)-1] ^= 1
		if _, _, _, err := keys.Accept(bundle.Hash(), again); !errors.Is(err, ratchet.ErrEnvelope) {
			t.Fatal(err)
		}
	}
}

// TestArgon2 compares with libsodium (one lane) and Debian's argon2 (four, as the
// vault has).
func TestArgon2(t *testing.T) {
	o := start(t)
	for _, password := range []string{"correct horse", "비밀번호 열두 글자", strings.Repeat("long ", 25)} {
		salt := random(16)
		o.same("libsodium argon2id", args{"password": []byte(password), "salt": salt}, argon2.IDKey([]byte(password), salt, 3, 64<<10, 1, 32))

		text := hex.EncodeToString(salt[:8]) // the program takes its salt as text
		cmd := exec.Command("argon2", text, "-id", "-t", "3", "-k", "65536", "-p", "4", "-l", "32", "-r")
		cmd.Stdin = strings.NewReader(password)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := hex.EncodeToString(argon2.IDKey([]byte(password), []byte(text), 3, 64<<10, 4, 32))
		if got := strings.TrimSpace(string(out)); got != want {
			t.Fatalf("argon2: %s; Go has %s", got, want)
		}
	}
}
