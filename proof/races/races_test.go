// Package races has two processes act for one profile at the same moment, again and
// again, against a real relay, and has the checker judge what their user and the other
// side saw: nothing lost, nothing twice, and nobody tells of a fork.
//
//	go test ./proof/races -v -args -races 1000
package races

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kin/proof/history"
	"kin/proof/people"
)

var (
	races = flag.Int("races", 25, "races to run")
	seed  = flag.Uint64("seed", 0, "of what is done in each; 0: any")
	keep  = flag.String("histories", "", "folder in which the histories are kept")
)

func TestMain(m *testing.M) {
	people.Main()
	os.Exit(m.Run())
}

// perTown is how many races there are before the next town begins, with empty profiles.
const perTown = 80

func TestTwoClientsOnOneProfile(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: what the race detector could see is seen in TestKilled")
	}
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	bin := t.TempDir()
	if err := people.Build(bin, "", "kin/cmd/kin-relay", "kin/proof/checker"); err != nil {
		t.Fatal(err)
	}
	histories := *keep
	if histories == "" {
		histories = t.TempDir()
	}
	t.Logf("seed %d", from)
	for n, done := uint64(0), 0; done < *races; n++ {
		file := filepath.Join(histories, fmt.Sprintf("races-%d.jsonl", from+n))
		want := min(perTown, *races-done)
		err := race(rand.New(rand.NewPCG(from+n, 5)), t.TempDir(), file, filepath.Join(bin, "kin-relay"), want)
		words, ok, cerr := people.Checker(filepath.Join(bin, "checker"), file)
		t.Log(strings.TrimSpace(words))
		if err := errors.Join(err, cerr); err != nil {
			t.Fatalf("seed %d: %v", from+n, err)
		}
		if !ok {
			t.Fatalf("seed %d: the checker found violations", from+n)
		}
		done += want
	}
	t.Logf("%d races, no fork, nothing lost, nothing twice", *races)
}

// race runs some races in one town.
func race(r *rand.Rand, dir, file, relay string, want int) (err error) {
	town, err := people.MakeTown(dir, file, relay, 1)
	if err != nil {
		return err
	}
	defer town.Close()
	var ps []*people.Process
	defer func() {
		for _, p := range ps {
			err = errors.Join(err, p.Close())
		}
	}()
	for _, name := range []string{"G1.0", "G1.1", "K.0"} {
		p, err := town.Start(town.Profiles[strings.Split(name, ".")[0]], name)
		if err != nil {
			return err
		}
		ps = append(ps, p)
	}
	for n := range want {
		var errs [3]error
		var all sync.WaitGroup
		start := make(chan struct{})
		for i, p := range ps {
			o := order(r, fmt.Sprintf("%s#%d", p.Actor, n), []string{people.Caseworker, people.Caseworker, "G1"}[i])
			all.Go(func() {
				<-start
				_, errs[i] = p.Do(o)
			})
		}
		close(start)
		all.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	if err := people.Drain([]*people.Process{ps[0], ps[2]}); err != nil {
		return err
	}
	town.Log.Write(history.Event{Kind: history.End})
	return nil
}

// order is what one of them does.
func order(r *rand.Rand, id, to string) people.Order {
	switch r.IntN(6) {
	case 0, 1, 2:
		return people.Order{Act: "send", To: to, ID: id, Text: people.Text(id, r.IntN(3000)), Queue: r.IntN(3) == 0}
	case 3, 4:
		return people.Order{Act: "receive"}
	}
	return people.Order{Act: "sync"}
}
