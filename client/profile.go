package client

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"kin/client/vault"
	"kin/protocol"
)

// Profile is an open profile. Its methods may be called by several goroutines.
type Profile struct {
	// Dial opens the network connections to relays: the operating system's, unless it
	// was replaced before the first use.
	Dial Dialer

	v     *vault.Vault
	heard atomic.Int64 // when a byte last came from a relay, Unix nanoseconds

	mu        sync.Mutex // guards reports
	overheard Report     // of exchanges that nobody got the report of
}

// Setup is what Create needs to know.
type Setup struct {
	Name  string // what contacts are told; may be empty
	Relay protocol.Address
	Grant protocol.ID
	Keep  time.Duration // how long messages are kept
	Dial  Dialer        // the operating system's network if nil
}

// netDialer is the operating system's network. The relay's pings tell whether it is still
// there, and TCP's keepalives would wake a phone four times as often.
var netDialer = (&net.Dialer{Timeout: dialTimeout, KeepAlive: -1}).DialContext

// Exists tells whether there is a profile in dir, whole or not.
func Exists(dir string) bool { return vault.Exists(dir) }

// Wipe ends the profile in dir. It needs no passphrase and waits for nobody.
func Wipe(dir string) error { return vault.Wipe(dir) }

// Create makes a caseworker's profile in dir. The relay is asked first, and
// nothing is made if it can't be reached, has another key, or refuses the grant.
func Create(ctx context.Context, dir string, passphrase []byte, s Setup) (*Profile, error) {
	if s.Dial == nil {
		s.Dial = netDialer
	}
	return create(ctx, dir, passphrase, vault.DefaultParams(), s, s.Dial)
}

func create(ctx context.Context, dir string, passphrase []byte, params vault.Params, s Setup, d Dialer) (*Profile, error) {
	if vault.Exists(dir) {
		return nil, vault.ErrExists
	}
	if err := checkName(s.Name); err != nil {
		return nil, err
	}
	c, err := dial(ctx, d, s.Relay, 0)
	if err != nil {
		return nil, err
	}
	defer c.close()
	tickets := []protocol.ID{newTicket(), newTicket()}
	if err := c.issue(ctx, s.Grant, tickets); err != nil {
		return nil, err
	}
	return makeProfile(dir, passphrase, params, s.Keep, &self{Name: s.Name, Relay: &s.Relay, Grant: s.Grant, Tickets: tickets}, d)
}

// CreateGuest makes a relative's profile in dir: it has no relay of its own and
// makes no invites.
func CreateGuest(_ context.Context, dir string, passphrase []byte, name string, keep time.Duration) (*Profile, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return makeProfile(dir, passphrase, vault.DefaultParams(), keep, &self{Name: name}, netDialer)
}

func makeProfile(dir string, passphrase []byte, params vault.Params, keep time.Duration, s *self, d Dialer) (*Profile, error) {
	v, err := vault.Create(dir, passphrase, params, keep, func(tx *vault.Tx) error { return newWork(tx, new(Report)).putSelf(s) })
	if err != nil {
		return nil, err
	}
	return &Profile{v: v, Dial: d}, nil
}

// Open opens the profile in dir.
func Open(dir string, passphrase []byte) (*Profile, error) {
	return opened(vault.Open(dir, passphrase))
}

// OpenKey opens the profile in dir with what Key returned.
func OpenKey(dir string, key []byte) (*Profile, error) { return opened(vault.OpenKey(dir, key)) }

func opened(v *vault.Vault, err error) (*Profile, error) {
	if err != nil {
		return nil, err
	}
	return &Profile{v: v, Dial: netDialer}, nil
}

// Key is the profile's master key, 32 bytes, for a process that keeps it unlocked.
func (p *Profile) Key() []byte { return p.v.Key() }

// Close overwrites the profile's keys in memory.
func (p *Profile) Close() { p.v.Close() }

// Lock makes what was replaced or deleted unreadable at once; to be called when an
// unlocked profile is locked.
func (p *Profile) Lock() error { return p.v.Rotate(time.Now()) }

// ChangePassphrase replaces the passphrase.
func (p *Profile) ChangePassphrase(passphrase []byte) error {
	return p.v.ChangePassphrase(passphrase, vault.DefaultParams())
}

// Name is what contacts are told; it may be empty.
func (p *Profile) Name() string {
	var name string
	p.view(func(w *work) error {
		s, err := w.self()
		if err == nil {
			name = s.Name
		}
		return err
	})
	return name
}

// ErrName is returned for a name that doesn't fit a first message.
var ErrName = fmt.Errorf("a name has at most %d bytes of UTF-8", maxName)
