//go:build linux

package sim

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"kin/client"
	"kin/internal/disk/disktest"
	"kin/protocol"
)

// founding is the town as every seed finds it: a relay that gave out its grants,
// and profiles without contacts. The relay's folder is the same for all.
type founding struct {
	dir     string
	db      []byte
	disk    *disktest.FS
	keys    map[string][]byte
	address protocol.Address
}

var (
	hosts  = []string{"Host1", "Host2"}
	guests = []string{"Ari", "Bo", "Cho", "Dae"}
)

const queues = 100 // of the first host's grant; the next has one more

// bubble runs f in virtual time from a day on that is always the same, with all that
// is random from a seed.
func bubble(t *testing.T, f func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)))
		f(t)
	})
}

// found makes the founding in dir.
func found(t *testing.T, dir string) *founding {
	w := &founding{dir: dir, keys: map[string][]byte{}}
	bubble(t, func(t *testing.T) {
		town := w.newTown(0, "", io.Discard)
		if err := os.Mkdir(town.relay.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		disk := disktest.New()
		if err := disk.MkdirAll(town.relay.dir); err != nil {
			t.Fatal(err)
		}
		for d := town.relay.dir; d != filepath.Dir(d); d = filepath.Dir(d) { // whoever installed the relay made it durable
			if err := disk.SyncDir(filepath.Dir(d)); err != nil {
				t.Fatal(err)
			}
		}
		if err := town.relay.start(disk); err != nil {
			t.Fatal(err)
		}
		w.address = protocol.Address{Hosts: []protocol.Host{{Name: "127.0.0.1:1"}}, Fingerprint: town.relay.relay.Fingerprint()}
		l := &line{net: town.net, rng: rand.New(rand.NewPCG(0, 0)), lag: time.Millisecond}
		keep := func(name string, p *client.Profile, err error) {
			if err != nil {
				t.Fatal(err)
			}
			w.keys[name] = p.Key()
			p.Close()
		}
		for i, name := range hosts {
			text, err := town.relay.relay.NewGrant(queues+i, 1000*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			grant, err := protocol.ParseGrant(text)
			if err != nil {
				t.Fatal(err)
			}
			p, err := client.Create(t.Context(), filepath.Join(dir, name), []byte("correct horse"), client.Setup{Name: name, Relay: w.address,
				Grant: grant, Keep: 30 * 24 * time.Hour, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }})
			keep(name, p, err)
		}
		for _, name := range guests {
			p, err := client.CreateGuest(t.Context(), filepath.Join(dir, name), []byte("correct horse"), name, 30*24*time.Hour)
			keep(name, p, err)
		}
		town.relay.shutDown()
		w.db, w.disk = town.relay.found, town.relay.disk.FS.AfterKill()
	})
	return w
}

// settle makes the town as it was founded, for so many people.
func (w *founding) settle(t *town, nHosts, nGuests int) error {
	for i, name := range append(hosts[:nHosts:nHosts], guests[:nGuests]...) {
		p := &person{t: t, name: name, host: i < nHosts, rng: t.stream(1, uint64(i)), key: w.keys[name], looked: t.begun,
			line:   &line{net: t.net, rng: t.stream(2, uint64(i)), lag: 10 * time.Millisecond, byte: time.Microsecond},
			labels: map[*person]string{}, bonds: map[*person]*bond{}}
		home := p.home()
		if err := copyFolder(filepath.Join(w.dir, name), home); err != nil {
			return err
		}
		q := p.open(home)
		if q == nil {
			return nil
		}
		p.life.Store(q)
		t.people = append(t.people, p)
	}
	if err := os.WriteFile(t.relay.db(), w.db, 0o600); err != nil {
		return err
	}
	return t.relay.start(w.disk.AfterPowerLoss(t.stream(5))) // all of it is durable: a copy
}
