package vault

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"runtime/debug"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"

	"kin/protocol"
)

// Params are the costs of Argon2id (RFC 9106).
type Params struct {
	MemoryKiB uint32
	Time      uint32 // passes
	Threads   uint8  // lanes
}

// DefaultParams are 64 MiB, 3 passes and 4 lanes.
func DefaultParams() Params { return Params{64 << 10, 3, 4} }

// Bounds of Params. Stored ones outside them are refused before any memory is
// taken.
const (
	MinMemoryKiB = 8 << 10
	MaxMemoryKiB = 1 << 20
	MaxTime      = 16
	MaxThreads   = 16
)

func (p Params) check() error {
	if p.MemoryKiB < MinMemoryKiB || p.MemoryKiB > MaxMemoryKiB ||
		p.Time < 1 || p.Time > MaxTime || p.Threads < 1 || p.Threads > MaxThreads {
		return fmt.Errorf("argon2id with %d KiB, %d passes and %d lanes is not in %d to %d, 1 to %d and 1 to %d",
			p.MemoryKiB, p.Time, p.Threads, MinMemoryKiB, MaxMemoryKiB, MaxTime, MaxThreads)
	}
	return nil
}

const (
	saltSize = 32

	// The payload of the passphrase's slot:
	// version u8 ‖ memory u32 ‖ passes u32 ‖ lanes u8 ‖ salt32 ‖ sealed master key.
	passphraseHeadSize = 1 + 4 + 4 + 1 + saltSize
	passphraseSize     = passphraseHeadSize + sealOverhead + keySize
)

// wrapMaster wraps the master key under a passphrase (docs/vault-format.md,
// Passphrase).
func wrapMaster(master, passphrase []byte, p Params) []byte {
	head := make([]byte, 0, passphraseSize)
	head = append(head, wrapVersion)
	head = binary.BigEndian.AppendUint32(head, p.MemoryKiB)
	head = binary.BigEndian.AppendUint32(head, p.Time)
	head = append(head, p.Threads)
	head = head[:passphraseHeadSize]
	rand.Read(head[passphraseHeadSize-saltSize:])
	kek := stretch(passphrase, head, p)
	defer clear(kek)
	return append(head, seal(kek, passphraseInfo(head), master)...)
}

// unwrapMaster is its inverse: ErrPassphrase, ErrNewer, ErrDamaged.
func unwrapMaster(wrapped, passphrase []byte) ([]byte, error) {
	if len(wrapped) > 0 && wrapped[0] > wrapVersion {
		return nil, ErrNewer
	}
	if len(wrapped) != passphraseSize || wrapped[0] != wrapVersion {
		return nil, damaged("the passphrase's slot is malformed")
	}
	p := Params{binary.BigEndian.Uint32(wrapped[1:]), binary.BigEndian.Uint32(wrapped[5:]), wrapped[9]}
	if err := p.check(); err != nil {
		return nil, damaged("%v", err)
	}
	head := wrapped[:passphraseHeadSize]
	kek := stretch(passphrase, head, p)
	defer clear(kek)
	master, err := open(kek, passphraseInfo(head), wrapped[passphraseHeadSize:])
	if err == errCommitment {
		err = ErrPassphrase
	}
	return master, err
}

// stretch makes the key from a passphrase. The memory that was filled, and what the hash
// function chained, are as good as the key: they go back to the system.
func stretch(passphrase, head []byte, p Params) []byte {
	salt := padded(head[passphraseHeadSize-saltSize:], len(passphrase))
	key := argon2.IDKey(passphrase, salt, p.Time, p.MemoryKiB, p.Threads, keySize)
	debug.FreeOSMemory()
	return key
}

// padded is the salt for a passphrase of so many bytes: zeros follow it, so that nothing
// of the passphrase is in the last block that BLAKE2b takes in, which is what its buffer
// keeps (docs/vault-format.md, Slots).
func padded(salt []byte, passphrase int) []byte {
	const (
		block  = blake2b.BlockSize
		before = 6*4 + 4 // six numbers, and how long the passphrase is (RFC 9106, section 3.2)
		after  = 4 + 4   // how long the secret and the associated data are: there are none
	)
	hashed := before + passphrase + 4 // with how long the salt is
	b := make([]byte, (hashed+block-1)/block*block+block-hashed-after)
	copy(b, salt)
	return b
}

func passphraseInfo(head []byte) []byte {
	return protocol.LP([]byte("kin/1 vault passphrase"), head)
}

// ChangePassphrase wraps the master key anew: into a free slot, whose number is
// committed before the old slot is destroyed. The master key stays, so a process
// that keeps the profile unlocked goes on.
func (v *Vault) ChangePassphrase(passphrase []byte, p Params) error {
	if err := p.check(); err != nil {
		return err
	}
	master := v.Key()
	if master == nil {
		return errClosed
	}
	// Without the lock, for it takes long.
	wrapped := wrapMaster(master, passphrase, p)
	clear(master)
	return v.commit(func(tx *Tx) error {
		i, err := tx.take()
		if err != nil {
			return err
		}
		tx.root.slots[tx.root.slot(usePassphrase, 0)] = entry{}
		tx.root.slots[i] = entry{use: usePassphrase}
		tx.fresh[i] = wrapped
		tx.changed = true
		return tx.bucket.Put(headKey, head{i}.marshal())
	})
}
