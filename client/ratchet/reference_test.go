package ratchet

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/big"
	"testing"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// What follows derives everything in a vector from its private keys, line by line
// as docs/protocol.md says it, with nothing from the package's own code.

func refLP(items ...[]byte) (out []byte) {
	for _, it := range items {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(it))), it...)
	}
	return out
}

func refH(items ...[]byte) []byte {
	h := sha256.Sum256(refLP(items...))
	return h[:]
}

func refExtract(t testing.TB, salt []byte, ikm ...[]byte) []byte {
	out, err := hkdf.Extract(sha256.New, bytes.Join(ikm, nil), salt)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func refExpand(t testing.TB, prk []byte, info string, n int) []byte {
	out, err := hkdf.Expand(sha256.New, prk, info, n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func refDH(t testing.TB, private, public []byte) []byte {
	out, err := curve25519.X25519(private, public)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func refPublic(t testing.TB, private []byte) []byte { return refDH(t, private, curve25519.Basepoint) }

func refUnbox(t testing.TB, what string, k, b []byte) []byte {
	t.Helper()
	out, ok := secretbox.Open(nil, b[24:], (*[24]byte)(b), (*[32]byte)(k))
	if !ok {
		t.Fatalf("%s does not open", what)
	}
	return out
}

func refHMAC(k []byte, b byte) []byte {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte{b})
	return mac.Sum(nil)
}

func refBundle(t testing.TB, v *vector) {
	for private, public := range map[string]string{"ikb": "IKb", "opkb": "OPKb", "rkb": "RKb", "qeb": "QEb"} {
		v.equal(t, public, refPublic(t, v.get(t, private)))
	}
	v.equal(t, "ek_hs", v.kem(t, "ek_hs_seed").EncapsulationKey().Bytes())
	v.equal(t, "ek_r", v.kem(t, "ek_r_seed").EncapsulationKey().Bytes())
	B := refLP([]byte("kin/1 bundle"), v.get(t, "IKb"), v.get(t, "OPKb"), v.get(t, "RKb"), v.get(t, "ek_hs"), v.get(t, "ek_r"),
		v.get(t, "QEb"), append(v.get(t, "fingerprint"), v.get(t, "sender_id")...), v.get(t, "meta"), v.get(t, "rand32"))
	v.equal(t, "B", B)
	v.equal(t, "bundle", append(B, make([]byte, 4056-len(B))...))
	h := sha256.Sum256(B)
	v.equal(t, "h", h[:])
}

func refBlob(t testing.TB, v *vector) {
	prk := refExtract(t, []byte("kin/1 invite"), v.get(t, "h"))
	v.equal(t, "location", refExpand(t, prk, "kin/1 invite location", 24))
	v.equal(t, "key", refExpand(t, prk, "kin/1 invite key", 32))
	v.equal(t, "claim", refExpand(t, prk, "kin/1 invite claim", 32))
	v.equal(t, "bundle", refUnbox(t, "blob", v.get(t, "key"), v.get(t, "blob")))
}

// refOuter opens an envelope's outer box.
func refOuter(t testing.TB, qe, envelope []byte) []byte {
	inner, ok := box.OpenAnonymous(nil, envelope, (*[32]byte)(refPublic(t, qe)), (*[32]byte)(qe))
	if !ok || len(envelope) != 4096 || len(inner) != 4048 {
		t.Fatal("the outer box does not open")
	}
	return inner
}

func refHandshake(t testing.TB, v *vector) {
	eka, ika := v.get(t, "eka"), v.get(t, "ika")
	v.equal(t, "EKa", refPublic(t, eka))
	v.equal(t, "IKa", refPublic(t, ika))
	IKb, OPKb := refPublic(t, v.get(t, "ikb")), refPublic(t, v.get(t, "opkb"))
	v.equal(t, "d1", refDH(t, eka, IKb))
	v.equal(t, "d2", refDH(t, eka, OPKb))
	v.equal(t, "d3", refDH(t, ika, OPKb))

	inner := refOuter(t, v.get(t, "qeb"), v.get(t, "envelope"))
	if inner[0] != 1 {
		t.Error("not a first flight")
	}
	v.equal(t, "EKa", inner[1:33])
	v.equal(t, "ct", inner[33:1121])
	v.equal(t, "cid", inner[1121:1193])
	ss, err := v.kem(t, "ek_hs_seed").Decapsulate(inner[33:1121])
	if err != nil {
		t.Fatal(err)
	}
	v.equal(t, "ss", ss)

	v.equal(t, "th1", refH([]byte("kin/1 hs1"), v.get(t, "h"), v.get(t, "EKa"), v.get(t, "ct")))
	v.equal(t, "p1", refExtract(t, v.get(t, "th1"), bytes.Repeat([]byte{0xff}, 32), v.get(t, "d1"), v.get(t, "d2"), ss))
	v.equal(t, "IKa", refUnbox(t, "cid", refExpand(t, v.get(t, "p1"), "kin/1 hs identity", 32), v.get(t, "cid")))
	v.equal(t, "th2", refH([]byte("kin/1 hs2"), v.get(t, "th1"), v.get(t, "cid")))
	v.equal(t, "p2", refExtract(t, v.get(t, "th2"), v.get(t, "p1"), v.get(t, "d3")))
	out := refExpand(t, v.get(t, "p2"), "kin/1 hs session", 160)
	for i, name := range []string{"SK", "HKa", "NHKb", "Sa", "Sb"} {
		v.equal(t, name, out[32*i:32*i+32])
	}
	v.equal(t, "AD", refH([]byte("kin/1 ad"), v.get(t, "IKa"), IKb, v.get(t, "th2")))
	v.equal(t, "digits", []byte(refDigits(v.get(t, "AD"))))

	// What the two sides hold behind it.
	for name, want := range map[string]string{
		"guest.tag_send": "Sa", "guest.tag_recv": "Sb", "guest.send_hk": "HKa", "guest.recv_nhk": "NHKb",
		"host.tag_send": "Sb", "host.tag_recv": "Sa", "host.recv_hk": "HKa", "host.send_hk": "NHKb",
		"guest.ad": "AD", "host.ad": "AD",
	} {
		v.equal(t, name, v.get(t, want))
	}
	h := refUnbox(t, "encHdr", v.get(t, "HKa"), inner[1193:3549])
	v.equal(t, "header", h)
	v.equal(t, "header", bytes.Join([][]byte{
		refPublic(t, v.get(t, "guest.dh")), v.kem(t, "guest.kem_seed").EncapsulationKey().Bytes(), v.get(t, "guest.ct"),
		make([]byte, 8), {1, 0, 0, 0},
	}, nil))
	refStep(t, v, step{
		root: v.get(t, "SK"), dh: v.get(t, "rkb"), seed: "ek_r_seed", header: h, peerSeed: "guest.kem_seed", after: "host",
	})
	v.equal(t, "guest.root", v.get(t, "step.rk1"))
	v.equal(t, "guest.send_nhk", v.get(t, "step.nhk1"))
	v.equal(t, "guest.send_ck", refHMAC(v.get(t, "step.ck1"), 2))
	v.equal(t, "host.recv_ck", refHMAC(v.get(t, "step.ck1"), 2))
	v.equal(t, "mk", refHMAC(v.get(t, "step.ck1"), 1))
	refBody(t, v, v.get(t, "AD"), inner[1193:3549], inner[3549:])
}

// step is what a ratchet step begins from.
type step struct {
	root, dh, header []byte
	seed, peerSeed   string // fields: this side's KEM seed, and the peer's of the header's ek
	after            string // prefix of the state behind it
}

func refStep(t testing.TB, v *vector, s step) {
	dh, ek, ct := s.header[:32], s.header[32:1216], s.header[1216:2304]
	v.equal(t, "step.dh1", refDH(t, s.dh, dh))
	ss, err := v.kem(t, s.seed).Decapsulate(ct)
	if err != nil {
		t.Fatal(err)
	}
	v.equal(t, "step.ss1", ss)
	v.equal(t, "step.turn1", refH(dh, refPublic(t, s.dh), v.kem(t, s.seed).EncapsulationKey().Bytes(), ct, ek))
	refRoot(t, v, "1", s.root)

	ownDH := refPublic(t, v.get(t, s.after+".dh"))
	ownEK := v.kem(t, s.after+".kem_seed").EncapsulationKey().Bytes()
	ownCT := v.get(t, s.after+".ct")
	if !bytes.Equal(v.kem(t, s.peerSeed).EncapsulationKey().Bytes(), ek) {
		t.Error("the peer's seed is of another key")
	}
	v.equal(t, "step.dh2", refDH(t, v.get(t, s.after+".dh"), dh))
	if ss, err = v.kem(t, s.peerSeed).Decapsulate(ownCT); err != nil {
		t.Fatal(err)
	}
	v.equal(t, "step.ss2", ss)
	v.equal(t, "step.turn2", refH(ownDH, dh, ek, ownCT, ownEK))
	refRoot(t, v, "2", v.get(t, "step.rk1"))

	v.equal(t, s.after+".recv_nhk", v.get(t, "step.nhk1"))
	v.equal(t, s.after+".root", v.get(t, "step.rk2"))
	v.equal(t, s.after+".send_ck", v.get(t, "step.ck2"))
	v.equal(t, s.after+".send_nhk", v.get(t, "step.nhk2"))
}

// refRoot is KDF_RK, for one half of a step.
func refRoot(t testing.TB, v *vector, half string, root []byte) {
	prk := refExtract(t, root, v.get(t, "step.dh"+half), v.get(t, "step.ss"+half))
	out := refExpand(t, prk, "kin/1 rk"+string(v.get(t, "step.turn"+half)), 96)
	v.equal(t, "step.rk"+half, out[:32])
	v.equal(t, "step.ck"+half, out[32:64])
	v.equal(t, "step.nhk"+half, out[64:])
}

func refBody(t testing.TB, v *vector, ad, encHdr, body []byte) {
	out := refExpand(t, v.get(t, "mk"), "kin/1 msg"+string(refH(ad, encHdr)), 64)
	v.equal(t, "k", out[:32])
	v.equal(t, "com", out[32:])
	v.equal(t, "com", body[24:56])
	padded, ok := box.OpenAfterPrecomputation(nil, body[56:], (*[24]byte)(body), (*[32]byte)(v.get(t, "k")))
	if !ok {
		t.Fatal("the body does not open")
	}
	want := append(bytes.Clone(v.get(t, "plaintext")), 0x80)
	if want = append(want, make([]byte, len(padded)-len(want))...); !bytes.Equal(padded, want) {
		t.Errorf("padded: %x; want %x", padded, want)
	}
}

// refMessage checks a message and, if it is there, the step.
func refMessage(t testing.TB, v *vector) {
	tag, hk := "before.tag_recv", v.get(t, "hk")
	if v.kind == "seal" {
		tag = "before.tag_send"
		v.equal(t, "qe_public", refPublic(t, v.get(t, "qe")))
		v.equal(t, "mk", refHMAC(v.get(t, "before.send_ck"), 1))
		v.equal(t, "after.send_ck", refHMAC(v.get(t, "before.send_ck"), 2))
		v.equal(t, "hk", v.get(t, "before.send_hk"))
	}
	inner := refOuter(t, v.get(t, "qe"), v.get(t, "envelope"))
	if inner[0] != 2 {
		t.Error("not a message")
	}
	v.equal(t, "tag", refUnbox(t, "tag", v.get(t, tag), inner[1:57]))
	v.equal(t, "tag", append(bytes.Clone(v.get(t, "seq")), v.get(t, "echo")...))
	h := refUnbox(t, "encHdr", hk, inner[57:2413])
	v.equal(t, "header", h)
	if v.kind == "seal" {
		v.equal(t, "header", bytes.Join([][]byte{
			refPublic(t, v.get(t, "before.dh")), v.kem(t, "before.kem_seed").EncapsulationKey().Bytes(), v.get(t, "before.ct"),
			v.get(t, "before.send_pn"), v.get(t, "before.send_n"), {1, 0, 0, 0},
		}, nil))
	}
	if v.has("step.rk1") {
		v.equal(t, "hk", v.get(t, "before.recv_nhk"))
		refStep(t, v, step{
			root: v.get(t, "before.root"), dh: v.get(t, "before.dh"), seed: "before.kem_seed",
			header: h, peerSeed: "peer_kem_seed", after: "after",
		})
		ck := v.get(t, "step.ck1")
		for range binary.BigEndian.Uint32(h[2308:]) {
			ck = refHMAC(ck, 2)
		}
		v.equal(t, "mk", refHMAC(ck, 1))
		v.equal(t, "after.recv_ck", refHMAC(ck, 2))
		fixed := sha256.Sum256(h[:2308])
		v.equal(t, "after.recv_fixed", fixed[:])
		v.equal(t, "after.send_hk", v.get(t, "before.send_nhk"))
		v.equal(t, "after.send_pn", v.get(t, "before.send_n"))
	}
	refBody(t, v, v.get(t, "before.ad"), inner[57:2413], inner[2413:])
}

func refDigits(ad []byte) (out string) {
	h := ad
	for range 5200 {
		sum := sha512.Sum512(bytes.Join([][]byte{h, ad}, nil))
		h = sum[:]
	}
	for i := 0; i < 60; i += 5 {
		group := new(big.Int).SetBytes(h[i : i+5])
		out += fmt.Sprintf(" %05d", group.Mod(group, big.NewInt(100_000)))
	}
	return out[1:]
}
