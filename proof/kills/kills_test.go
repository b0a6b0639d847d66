// Package kills kills real relays and clients at random moments under load, and has
// the checker judge what their users saw.
//
//	go test ./proof/kills -run Killed -v -args -kills 1000
//
// It prints its seed; -seed takes one. The same seed chooses the same moments, victims
// and messages; what runs at those moments is the operating system's choice.
package kills

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kin/proof/history"
	"kin/proof/people"
)

var (
	kills   = flag.Int("kills", 12, "processes to kill")
	seed    = flag.Uint64("seed", 0, "of the moments, the victims and the messages; 0: any")
	keep    = flag.String("histories", "", "folder in which the histories are kept")
	overlay = flag.String("overlay", "", "what go build takes for the relay's -overlay")
)

func TestMain(m *testing.M) {
	people.Main()
	os.Exit(m.Run())
}

// perTown is how many kills there are in one town, before the next begins with empty
// profiles and an empty relay.
const perTown = 100

// seats are the processes that act for each profile at once.
const (
	guests       = 3
	ofCaseworker = 3
	ofGuest      = 2
)

// TestKilled: whatever is killed at whatever moment, nothing that was accepted is lost,
// shown twice or out of order, and nothing is shown as delivered that did not arrive.
func TestKilled(t *testing.T) {
	if testing.Short() { // as under the race detector
		*kills = min(*kills, 4)
	}
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	bin := t.TempDir()
	if err := people.Build(bin, *overlay, "kin/cmd/kin-relay"); err != nil {
		t.Fatal(err)
	}
	if err := people.Build(bin, "", "kin/proof/checker"); err != nil {
		t.Fatal(err)
	}
	histories := *keep
	if histories == "" {
		histories = t.TempDir()
	}
	t.Logf("seed %d", from)
	begun := time.Now()
	killed := 0
	for n := uint64(0); killed < *kills; n++ {
		file := filepath.Join(histories, fmt.Sprintf("kills-%d.jsonl", from+n))
		c := &chaos{r: rand.New(rand.NewPCG(from+n, 3)), want: min(perTown, *kills-killed)}
		err := c.run(t.TempDir(), file, filepath.Join(bin, "kin-relay"))
		words, ok, cerr := people.Checker(filepath.Join(bin, "checker"), file)
		t.Log(strings.TrimSpace(words))
		if err := errors.Join(err, cerr); err != nil {
			t.Fatalf("seed %d: %v", from+n, err)
		}
		if !ok {
			t.Fatalf("seed %d: the checker found violations", from+n)
		}
		killed += c.killed
	}
	t.Logf("%d kills (%.1f a second), no violation", killed, float64(killed)/time.Since(begun).Seconds())
}

// chaos is a town in which processes are killed.
type chaos struct {
	r      *rand.Rand
	town   *people.Town
	seats  []*seat
	want   int
	killed int

	repairs sync.WaitGroup // starts that are under way
	mu      sync.Mutex
	errs    []error
	relayUp chan struct{} // closed when the relay runs

	stop chan struct{} // closed when nobody begins anything new
}

// seat is where one process after another acts for a profile.
type seat struct {
	folder *people.Folder
	name   string
	r      *rand.Rand
	life   int

	mu  sync.Mutex
	now *people.Process
	up  chan struct{} // closed when now runs
}

func (c *chaos) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

func (c *chaos) run(dir, file, relay string) (err error) {
	if c.town, err = people.MakeTown(dir, file, relay, guests); err != nil {
		return err
	}
	defer c.town.Close()
	c.stop = make(chan struct{})
	c.relayUp = closed()
	for name, n := range map[string]int{people.Caseworker: ofCaseworker, "G1": ofGuest, "G2": ofGuest, "G3": ofGuest} {
		for i := range n {
			c.seats = append(c.seats, &seat{folder: c.town.Profiles[name], name: fmt.Sprintf("%s.%d", name, i)})
		}
	}
	slices.SortFunc(c.seats, func(a, b *seat) int { return strings.Compare(a.name, b.name) })
	defer func() {
		c.repairs.Wait()
		for _, s := range c.seats {
			if s.now != nil {
				err = errors.Join(err, s.now.Close())
			}
		}
	}()
	for _, s := range c.seats {
		s.r = rand.New(rand.NewPCG(c.r.Uint64(), 4))
		if err := c.sit(s); err != nil {
			return err
		}
	}
	var load sync.WaitGroup
	for _, s := range c.seats {
		load.Go(func() { c.act(s) })
	}
	c.kill()
	close(c.stop)
	load.Wait()
	c.repairs.Wait()
	if err := errors.Join(c.errs...); err != nil {
		return err
	}
	var one []*people.Process
	for _, s := range c.seats {
		if strings.HasSuffix(s.name, ".0") {
			one = append(one, s.now)
		}
	}
	if err := people.Drain(one); err != nil {
		return err
	}
	c.town.Log.Write(history.Event{Kind: history.End})
	return nil
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// sit starts the next process of a seat.
func (c *chaos) sit(s *seat) error {
	s.life++
	p, err := c.town.Start(s.folder, fmt.Sprintf("%s.%d", s.name, s.life))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.up = p, closed()
	return nil
}

// process is the one that acts now, once it runs.
func (s *seat) process() *people.Process {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	<-up
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// act gives the processes of a seat one order after another.
func (c *chaos) act(s *seat) {
	var last string // what was sent last
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return
		default:
		}
		o := people.Order{Act: "receive"}
		switch s.r.IntN(12) {
		case 0, 1, 2, 3, 4:
			last = fmt.Sprintf("%s#%d", s.name, n)
			o = people.Order{Act: "send", To: s.folder.Contacts[s.r.IntN(len(s.folder.Contacts))], ID: last,
				Text: people.Text(last, s.size()), Urgent: s.r.IntN(8) == 0, Queue: s.r.IntN(3) == 0}
		case 5:
			o = people.Order{Act: "sync"}
		case 6, 7:
			o = people.Order{Act: "follow", Millis: 100 + s.r.IntN(900)}
		case 8:
			if last != "" {
				o = people.Order{Act: "cancel", ID: last}
			}
		case 9:
			if s.r.IntN(4) == 0 {
				o = people.Order{Act: "status"}
			}
		}
		if _, err := s.process().Do(o); err != nil && !errors.Is(err, people.ErrKilled) {
			c.fail(err)
			return
		}
	}
}

// size is how long a text is: most fit one envelope.
func (s *seat) size() int {
	if s.r.IntN(10) == 0 {
		return 1400 + s.r.IntN(6000)
	}
	return s.r.IntN(1400)
}

// kill kills what it wants, and has it start again.
func (c *chaos) kill() {
	for c.killed < c.want {
		<-time.After(time.Duration(1+c.r.IntN(500)) * time.Millisecond)
		victim := c.seats[c.r.IntN(len(c.seats))]
		what := c.r.IntN(3)
		if what != 0 { // the relay; or, with 2, both
			<-c.relayUp
			c.town.Relay.Kill()
			c.killed++
		}
		if what != 1 {
			p, up := victim.process(), make(chan struct{})
			victim.mu.Lock()
			victim.up = up // nobody gives orders to a dead process
			victim.mu.Unlock()
			p.Kill()
			c.killed++
			c.repairs.Go(func() {
				if err := c.sit(victim); err != nil {
					c.fail(err)
				}
				close(up)
			})
		}
		if what != 0 {
			up := make(chan struct{})
			c.relayUp = up
			c.repairs.Go(func() {
				if err := c.town.Relay.Start(); err != nil {
					c.fail(err)
				}
				close(up)
			})
		}
	}
	<-c.relayUp
}
