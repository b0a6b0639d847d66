// Package relay is the relay as an http.Handler: it keeps queues of sealed
// envelopes, durably and briefly, and hands each to whoever holds the queue's key.
//
// Open opens a relay's folder; the Relay then serves websockets until Shutdown.
// It links no code that could open an envelope, and logs no address, no id and no
// size. Its wire is docs/protocol.md, its disk docs/spool-format.md.
package relay

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"kin/internal/disk"
	"kin/internal/slots"
	"kin/internal/turns"
	"kin/protocol"
	"kin/relay/spool"
)

// Config says how a relay works; it is not changed after Open. Zero values take
// the defaults below.
type Config struct {
	Dir       string        // the data folder; made if there is none
	Epoch     time.Duration // whole seconds
	MaxTTL    time.Duration // the longest life of an envelope
	KeysInRAM bool          // epoch keys die with the process: not durable
	Log       *slog.Logger
	FS        disk.FS

	Queues      int // that may exist
	Connections int
	Unlinked    int // connections whose link is not up; at most a quarter of all
	Unread      int // envelopes a queue
	Urgent      int // of them, kept for urgent ones
	Pace        int // envelopes a second and queue, after a burst of 128
}

// The defaults of Config fit a machine with one core and 512 MB.
const (
	defaultEpoch       = time.Hour
	defaultMaxTTL      = 14 * 24 * time.Hour
	defaultQueues      = 10000
	defaultConnections = 10000
	defaultUnlinked    = 1000
	defaultUnread      = 128
	defaultUrgent      = 16
	defaultPace        = 2

	epochSlots  = 352
	writeWait   = 10 * time.Second
	linkWait    = 20 * time.Second
	slowAnswer  = 1500 * time.Millisecond // that a client may take for its half of the link, whoever else comes
	pingEvery   = 55 * time.Second
	pingSpread  = 20 * time.Second
	deadAfter   = 150 * time.Second
	goodbye     = time.Second // for clients to say theirs
	minuteKeys  = time.Minute
	chunkWait   = time.Minute
	muchEvery   = 400 * time.Microsecond // those who sent more ask who else is there: a turn costs as much as a message
	subscribers = 4
)

// Relay is an open relay.
type Relay struct {
	// Static.
	cfg      Config
	store    *store
	spool    *spool.Spool
	slots    *slots.File
	limits   protocol.Limits
	opened   time.Time
	upgrader websocket.Upgrader
	stop     chan struct{}
	left     chan struct{}  // taken by who waits for a place
	comers   *turns.Turns   // of those who come in, and of strangers at their link's keys
	much     *turns.Turns   // of those who have sent more, at their next message
	chunks   chan struct{}  // taken while a chunk's frame comes in
	work     sync.WaitGroup // sessions, writers and the sweeper
	lot      lot
	waiting  atomic.Int64 // readers of sessions, outside the lot
	mostWait int64        // of them, before sessions wait in the lot

	mu       sync.Mutex // guards what follows
	closed   bool
	sessions map[*session]struct{}
	subs     map[spool.QueueID][]*subscription
	minute   *minute
	coming   int // connections that are no websockets yet
	unlinked int
	unknown  [proven]unknown  // by rank
	proofs   map[[32]byte]int // proven sessions, by key
	prefixes prefixes
	roomIs   float64
	roomAt   time.Time
}

// Open opens the relay whose data is in cfg.Dir, making its keys if there are none.
// Another process that has it open is an error.
func Open(cfg Config) (*Relay, error) {
	setDefault(&cfg.Epoch, defaultEpoch)
	setDefault(&cfg.MaxTTL, defaultMaxTTL)
	setDefault(&cfg.Queues, defaultQueues)
	setDefault(&cfg.Connections, defaultConnections)
	setDefault(&cfg.Unlinked, min(defaultUnlinked, max(1, cfg.Connections/4)))
	setDefault(&cfg.Unread, defaultUnread)
	setDefault(&cfg.Urgent, defaultUrgent)
	setDefault(&cfg.Pace, defaultPace)
	if cfg.FS == nil {
		cfg.FS = disk.OS{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Epoch < time.Second || cfg.Epoch%time.Second != 0 || cfg.Epoch > protocol.MaxEpoch {
		return nil, fmt.Errorf("an epoch of %v: it takes whole seconds, at most a day", cfg.Epoch)
	}
	epochs := cfg.MaxTTL / cfg.Epoch
	if epochs < 1 {
		return nil, fmt.Errorf("a longest life of %v is less than an epoch of %v", cfg.MaxTTL, cfg.Epoch)
	}
	longest := protocol.TTLClasses[len(protocol.TTLClasses)-1]
	r := &Relay{cfg: cfg, opened: time.Now(), mostWait: maxWaiting, stop: make(chan struct{}), left: make(chan struct{}, 1), chunks: make(chan struct{}, chunksAtOnce), sessions: map[*session]struct{}{}, subs: map[spool.QueueID][]*subscription{}, proofs: map[[32]byte]int{}}
	r.limits = protocol.Limits{Epoch: cfg.Epoch, MaxTTL: uint16(min(epochs, time.Duration(longest))), Durable: !cfg.KeysInRAM, Window: protocol.Window}
	r.upgrader = websocket.Upgrader{
		Subprotocols: []string{protocol.Subprotocol}, HandshakeTimeout: linkWait, // it reads through onWire's buffer
		WriteBufferSize: 4096, WriteBufferPool: &sync.Pool{},
		CheckOrigin: func(*http.Request) bool { return true }, // no cookies, no origin to trust
	}
	r.prefixes.reset()
	if err := r.openData(); err != nil {
		r.closeData()
		return nil, err
	}
	r.work.Go(r.sweep)
	return r, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (r *Relay) openData() (err error) {
	if r.comers, err = turns.Open(0, disk.Away); err != nil {
		return err
	}
	if r.much, err = turns.Open(muchEvery, disk.Away); err != nil {
		return err
	}
	if err := makeFolder(r.cfg.FS, r.cfg.Dir); err != nil {
		return err
	}
	mayMake, err := nothingWaits(r.cfg.FS, r.cfg.Dir)
	if err != nil {
		return err
	}
	database := filepath.Join(r.cfg.Dir, "relay.db")
	if !mayMake {
		if err := hasContent(database); err != nil {
			return err
		}
	}
	if r.store, err = openStore(database, mayMake, rate.Limit(r.cfg.Pace)); err != nil {
		return err
	}
	name := filepath.Join(r.cfg.Dir, "epochs")
	mayMake = mayMake || !r.store.keys.Slots
	if r.cfg.KeysInRAM {
		if err := leavesNoKeys(r.cfg.FS, name, mayMake); err != nil {
			return err
		}
		r.slots = slots.Memory(epochSlots)
	} else if r.slots, err = openSlots(r.cfg.FS, name, mayMake); err != nil {
		return err
	}
	if err := r.store.keepEpoch(r.cfg.Epoch, r.slots, !r.cfg.KeysInRAM); err != nil {
		return err
	}
	r.spool, err = spool.Open(spool.Config{
		FS: r.cfg.FS, Dir: filepath.Join(r.cfg.Dir, "spool"), Key: r.store.keys.Spool, Slots: r.slots, Epoch: r.cfg.Epoch,
		MaxUnread: r.cfg.Unread, UrgentReserve: r.cfg.Urgent, Reserve: r.store.reserve, Ready: r.ready, Log: r.cfg.Log,
	})
	if errors.Is(err, spool.ErrKey) {
		return fmt.Errorf("%w: they were stored with another relay.db; put that back, or use another folder", ErrFolder)
	}
	if err != nil {
		return err
	}
	if r.spool.Highest() > r.store.keys.Numbers {
		r.cfg.Log.Error("relay.db is older than the spool: queues made since are not known, and what waits in them is left to expire")
	}
	return r.eraseDeleted()
}

// eraseDeleted erases what waits in queues that were deleted: the relay may have been killed
// before a DEL was done.
func (r *Relay) eraseDeleted() error {
	deleted, err := r.store.deleted()
	for _, h := range deleted {
		r.erase(h, func(error) {})
	}
	return err
}

// erase erases what waits in a deleted queue. done is called once: with nil when it can't
// come back.
func (r *Relay) erase(h hash, done func(error)) {
	r.spool.Drop(spool.QueueID(h), func(err error) {
		if err == nil && r.spool.Whole() {
			r.store.isErased(h)
		}
		done(err)
	})
}

func (r *Relay) closeData() error {
	var errs []error
	for _, t := range []*turns.Turns{r.comers, r.much} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	if r.spool != nil {
		errs = append(errs, r.spool.Close())
	}
	if r.slots != nil {
		errs = append(errs, r.slots.Close())
	}
	if r.store != nil {
		errs = append(errs, r.store.db.Close())
	}
	return errors.Join(errs...)
}

// Fingerprint is what clients know this relay by.
func (r *Relay) Fingerprint() protocol.Fingerprint {
	return protocol.FingerprintOf(r.store.static.PublicKey())
}

// ServeHTTP upgrades to a websocket and returns; a goroutine of the relay's own
// goes on with it.
func (r *Relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if !websocket.IsWebSocketUpgrade(q) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		http.Error(w, "This is not a web page.", http.StatusUpgradeRequired)
		return
	}
	prefix, ok := r.admit(q.RemoteAddr)
	if !ok {
		http.Error(w, "Too many connections. Try again in a minute.", http.StatusServiceUnavailable)
		return
	}
	taken := &onWire{ResponseWriter: w}
	ws, err := r.upgrader.Upgrade(taken, q, nil)
	if err != nil {
		r.dismiss(prefix)
		return
	}
	s := newSession(r, ws, taken.wire, prefix)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		r.dismiss(prefix)
		ws.Close()
		return
	}
	r.sessions[s] = struct{}{}
	r.rank(s, stranger)
	r.work.Add(1)
	r.mu.Unlock()
	go s.run()
}

// Shutdown ends every session and closes the data: what was acknowledged is on the
// disk. It waits for its sessions no longer than ctx, and then hangs up; what does not end
// at that is left as a kill would leave it, which is an error.
func (r *Relay) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	close(r.stop)
	sessions := make([]*session, 0, len(r.sessions))
	for s := range r.sessions {
		sessions = append(sessions, s)
	}
	r.mu.Unlock()
	flushed, told, ended := make(chan error, 1), make(chan struct{}), make(chan struct{})
	go func() {
		flushed <- r.spool.Flush() // what was put is answered
		var each sync.WaitGroup    // one that reads slowly holds up no other
		for _, s := range sessions {
			each.Go(s.goAway)
		}
		each.Wait()
		close(told)
	}()
	go func() { r.work.Wait(); close(ended) }()
	within(ctx, told)
	bye, cancel := context.WithTimeout(ctx, goodbye)
	within(bye, ended)
	cancel()
	for _, s := range sessions {
		s.hangUp()
	}
	if !within(ctx, ended) {
		last, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		if !within(last, ended) {
			return fmt.Errorf("the relay's work did not end: %w", ctx.Err())
		}
	}
	return errors.Join(<-flushed, r.lot.close(), r.closeData())
}

// within tells whether a channel was closed before ctx ended.
func within(ctx context.Context, closed <-chan struct{}) bool {
	select {
	case <-closed:
		return true
	case <-ctx.Done():
		return false
	}
}

// minute is what a minute's connections share: RA, which proves commands, and ekR.
type minute struct {
	ra *ecdh.PrivateKey
	ek *kemKey
}
