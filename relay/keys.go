package relay

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"time"

	"kin/protocol"
)

// kemKey is a minute's ML-KEM key. It is dropped when its minute is over and every
// link that was begun with it is up or has failed; links have 20 seconds.
type kemKey struct {
	dk      *mlkem.DecapsulationKey768
	public  *mlkem.EncapsulationKey768
	pending int // links begun and not up; guarded by Relay.mu
	over    bool
}

// release gives back a kemKey that a link was begun with. Relay.mu is held.
func (k *kemKey) release() {
	if k.pending--; k.over && k.pending <= 0 {
		k.dk = nil
	}
}

// current returns this minute's keys, counted as in use by one more link.
func (r *Relay) current() (*minute, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.minute == nil {
		ra, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		dk, err := mlkem.GenerateKey768()
		if err != nil {
			return nil, err
		}
		r.minute = &minute{ra, &kemKey{dk: dk, public: dk.EncapsulationKey()}}
		time.AfterFunc(minuteKeys, r.endMinute)
	}
	r.minute.ek.pending++
	return r.minute, nil
}

// endMinute forgets the minute's keys, also where nobody else comes.
func (r *Relay) endMinute() {
	r.mu.Lock()
	defer r.mu.Unlock()
	ek := r.minute.ek
	r.minute, ek.over = nil, true
	if ek.pending <= 0 {
		ek.dk = nil
	}
}

// hello makes a connection's hello and the private half of RE.
func (r *Relay) hello(m *minute) (hello []byte, re *ecdh.PrivateKey, err error) {
	if re, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		return nil, nil, err
	}
	h := &protocol.Hello{Versions: []byte{protocol.Version}, RS: r.store.static.PublicKey(), RE: re.PublicKey(),
		RA: m.ra.PublicKey(), EK: m.ek.public, Limits: r.limits}
	rand.Read(h.Nonce[:])
	return h.Marshal(), re, nil
}
