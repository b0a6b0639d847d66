package vault

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"

	"kin/protocol"
)

const (
	keySize    = 32
	nonceSize  = chacha20poly1305.NonceSizeX // 24
	commitSize = 32

	// sealed = nonce24 ‖ commitment32 ‖ ciphertext ‖ tag16
	sealOverhead = nonceSize + commitSize + chacha20poly1305.Overhead
)

// errCommitment is open's answer to another key or another purpose.
var errCommitment = errors.New("sealed under another key")

func newKey() []byte {
	k := make([]byte, keySize)
	rand.Read(k)
	return k
}

// seal seals a plaintext for one purpose, info. The key that encrypts and the
// commitment are both derived from the nonce, so that no two seals share either
// (docs/vault-format.md, Sealing).
func seal(key, info, plaintext []byte) []byte {
	out := make([]byte, nonceSize, sealOverhead+len(plaintext))
	rand.Read(out)
	return sealTo(out, key, info, plaintext)
}

// sealTo appends to nonce, which is the first part of what is sealed.
func sealTo(nonce, key, info, plaintext []byte) []byte {
	k, commitment := sealKeys(key, info, nonce)
	defer clear(k)
	aead, err := chacha20poly1305.NewX(k)
	if err != nil {
		panic(err) // k has the right length
	}
	out := append(nonce, commitment...)
	return aead.Seal(out, nonce, plaintext, nil)
}

// open is the inverse of seal: errCommitment if the key or the purpose is
// another, ErrDamaged if the bytes were altered.
func open(key, info, sealed []byte) ([]byte, error) {
	if len(sealed) < sealOverhead {
		return nil, damaged("sealed value of %d bytes", len(sealed))
	}
	nonce, rest := sealed[:nonceSize], sealed[nonceSize:]
	k, commitment := sealKeys(key, info, nonce)
	defer clear(k)
	if subtle.ConstantTimeCompare(commitment, rest[:commitSize]) != 1 {
		return nil, errCommitment
	}
	aead, err := chacha20poly1305.NewX(k)
	if err != nil {
		panic(err)
	}
	plaintext, err := aead.Open(nil, nonce, rest[commitSize:], nil)
	if err != nil {
		return nil, damaged("sealed value does not open")
	}
	return plaintext, nil
}

func sealKeys(key, info, nonce []byte) (k, commitment []byte) {
	prk := protocol.Extract(nonce, key)
	defer clear(prk)
	okm := protocol.Expand(prk, string(info), keySize+commitSize)
	return okm[:keySize:keySize], okm[keySize:]
}

// ring is the master key and what is derived from it for good
// (docs/vault-format.md, Keys).
type ring struct {
	master []byte
	slots  []byte // wraps the keys in slots
	root   []byte // seals the root record
	names  []byte // turns tables and ids into names
	refs   []byte // masks which key a record is sealed under
	sums   []byte // authenticates the set of records
}

func newRing(master []byte) ring {
	return ring{
		master: master,
		slots:  protocol.Expand(master, "kin/1 vault slots", keySize),
		root:   protocol.Expand(master, "kin/1 vault root", keySize),
		names:  protocol.Expand(master, "kin/1 vault names", keySize),
		refs:   protocol.Expand(master, "kin/1 vault refs", keySize),
		sums:   protocol.Expand(master, "kin/1 vault sums", keySize),
	}
}

func (r *ring) clear() {
	for _, k := range [][]byte{r.master, r.slots, r.root, r.names, r.refs, r.sums} {
		clear(k)
	}
	*r = ring{}
}

// Slots.

const wrapVersion = 1

// wrappedSize is version1 ‖ sealed key.
const wrappedSize = 1 + sealOverhead + keySize

func slotInfo(i int, e entry) []byte {
	var n [9]byte
	binary.BigEndian.PutUint32(n[:], uint32(i))
	n[4] = byte(e.use)
	binary.BigEndian.PutUint32(n[5:], e.day)
	return protocol.LP([]byte("kin/1 vault slot"), n[:])
}

// wrap makes the payload of slot i.
func (r *ring) wrap(i int, e entry, key []byte) []byte {
	return append([]byte{wrapVersion}, seal(r.slots, slotInfo(i, e), key)...)
}

func (r *ring) unwrap(i int, e entry, payload []byte) ([]byte, error) {
	if len(payload) > 0 && payload[0] > wrapVersion {
		return nil, ErrNewer
	}
	if len(payload) != wrappedSize || payload[0] != wrapVersion {
		return nil, damaged("slot %d holds no wrapped key", i)
	}
	key, err := open(r.slots, slotInfo(i, e), payload[1:])
	if err == errCommitment {
		err = damaged("slot %d holds another key", i)
	}
	return key, err
}

// Records.

const (
	tableSize = 16
	nameSize  = tableSize + 32 // table16 ‖ record32
	refSize   = 5              // use u8 ‖ number u32
)

// ref says which key seals a record: number is the day of useDay and the slot
// of useRotating, else 0.
type ref struct {
	use    use
	number uint32
}

func (f ref) marshal() []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(f.use)}, f.number)
}

// mac is HMAC-SHA256 of LP(parts), which is what HKDF-Extract computes.
func mac(key []byte, parts ...[]byte) []byte { return protocol.Extract(key, protocol.LP(parts...)) }

// prefix is what the names of a table's records begin with.
func (r *ring) prefix(table string) []byte {
	return mac(r.names, []byte("table"), []byte(table))[:tableSize]
}

// name is the key of a record in the database.
func (r *ring) name(table string, id []byte) []byte {
	return append(r.prefix(table), mac(r.names, []byte("record"), []byte(table), id)...)
}

// mask is its own inverse.
func (r *ring) mask(nonce, ref []byte) []byte {
	out := make([]byte, refSize)
	subtle.XORBytes(out, ref, mac(r.refs, nonce)[:refSize])
	return out
}

func recordInfo(name []byte, f ref) []byte {
	return protocol.LP([]byte("kin/1 vault record"), name, f.marshal())
}

// sealRecord makes a value of the database: masked ref5 ‖ sealed(LP(id) ‖ value).
func (r *ring) sealRecord(key, name []byte, f ref, id, value []byte) []byte {
	plaintext := append(protocol.LP(id), value...)
	defer clear(plaintext)
	sealed := seal(key, recordInfo(name, f), plaintext)
	return append(r.mask(sealed[:nonceSize], f.marshal()), sealed...)
}

// refOf reads which key a value of the database is sealed under.
func (r *ring) refOf(stored []byte) (ref, error) {
	if len(stored) < refSize+sealOverhead {
		return ref{}, damaged("record of %d bytes", len(stored))
	}
	b := r.mask(stored[refSize:refSize+nonceSize], stored[:refSize])
	return ref{use(b[0]), binary.BigEndian.Uint32(b[1:])}, nil
}

// openRecord opens a value whose ref is f.
func (r *ring) openRecord(key, name []byte, f ref, stored []byte) (id, value []byte, err error) {
	plaintext, err := open(key, recordInfo(name, f), stored[refSize:])
	if err == errCommitment {
		err = damaged("record is sealed under another key")
	}
	if err != nil {
		return nil, nil, err
	}
	return splitRecord(plaintext)
}

// splitRecord is the inverse of LP(id) ‖ value.
func splitRecord(plaintext []byte) (id, value []byte, err error) {
	if len(plaintext) < 4 {
		return nil, nil, damaged("record of %d bytes", len(plaintext))
	}
	n, rest := binary.BigEndian.Uint32(plaintext), plaintext[4:]
	if uint64(n) > uint64(len(rest)) {
		return nil, nil, damaged("record with an id of %d bytes", n)
	}
	return rest[:n:n], rest[n:], nil
}

// sumPart is what a record contributes to the root's sum: its name, ref, nonce
// and commitment, which no other record ever has.
func (r *ring) sumPart(name, stored []byte) [sha256.Size]byte {
	stored = stored[:min(len(stored), refSize+nonceSize+commitSize)]
	return [sha256.Size]byte(mac(r.sums, name, stored))
}
