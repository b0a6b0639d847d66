// Package copies restores older copies of profiles, and runs copies beside each other,
// in random schedules. A copy must stop, or be noticed by somebody, or do no harm: it
// never loses or repeats anything silently. The checker judges.
//
//	go test ./proof/copies -v -args -schedules 1000
package copies

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kin/client"
	"kin/proof/history"
	"kin/proof/people"
)

var (
	schedules = flag.Int("schedules", 6, "schedules to play")
	seed      = flag.Uint64("seed", 0, "of the schedules; 0: any")
	keep      = flag.String("histories", "", "folder in which the histories are kept")
)

// world is one schedule.
type world struct {
	r       *rand.Rand
	town    *people.Town
	live    []*instance
	texts   int
	stopped bool
}

// instance is a profile's folder in use.
type instance struct {
	*people.Client
	folder *people.Folder
	name   string
	to     string
}

func TestRestoredAndCopied(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: what the race detector could see is seen in TestKilled")
	}
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	dir := t.TempDir()
	if err := people.Build(dir, "", "kin/cmd/kin-relay", "kin/proof/checker"); err != nil {
		t.Fatal(err)
	}
	if *keep == "" {
		*keep = t.TempDir()
	}
	file := filepath.Join(*keep, fmt.Sprintf("copies-%d.jsonl", from))
	base := filepath.Join(dir, "base")
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	town, err := people.MakeTown(base, file, filepath.Join(dir, "kin-relay"), 1)
	if err != nil {
		t.Fatal(err)
	}
	town.Relay.Kill()
	defer town.Close()
	t.Logf("seed %d", from)
	stopped := 0
	for n := range uint64(*schedules) {
		w := &world{r: rand.New(rand.NewPCG(from+n, 6))}
		town.Log.Write(history.Event{Kind: history.World, ID: fmt.Sprint(from + n)})
		if err := w.play(town, filepath.Join(dir, fmt.Sprint(n))); err != nil {
			t.Fatalf("seed %d: %v", from+n, err)
		}
		if w.stopped {
			stopped++
		}
	}
	words, ok, err := people.Checker(filepath.Join(dir, "checker"), file)
	t.Log(strings.TrimSpace(words))
	if err != nil || !ok {
		t.Fatalf("seed %d: the checker found violations, %v", from, err)
	}
	t.Logf("%d schedules, in %d of them a profile stopped; nothing silent", *schedules, stopped)
}

func (w *world) play(base *people.Town, dir string) (err error) {
	if w.town, err = base.Again(dir); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer w.town.Relay.Kill()
	defer func() {
		for _, i := range w.live {
			i.Close()
		}
	}()
	for _, name := range []string{people.Caseworker, "G1"} {
		if err := w.open(w.town.Profiles[name], name, w.town.Profiles[name].Contacts[0]); err != nil {
			return err
		}
	}
	w.acts(12)
	whose := w.live[w.r.IntN(2)]
	name := whose.name + "'"
	old := &people.Folder{Name: name, Dir: filepath.Join(dir, name), Key: whose.folder.Key}
	if err := os.CopyFS(old.Dir, os.DirFS(whose.folder.Dir)); err != nil {
		return err
	}
	w.town.Log.Write(history.Event{Kind: history.Copy, Of: whose.name, ID: name})
	w.acts(12)
	if w.r.IntN(2) == 0 {
		w.abandon(whose)
	}
	if err := w.open(old, name, whose.to); err != nil {
		return err
	}
	w.acts(20)
	for range 3 { // whoever can still write does, so that what is wrong can show
		for _, i := range w.live {
			w.send(i, false)
			w.do(i, people.Order{Act: "sync"})
			w.do(i, people.Order{Act: "receive"})
		}
	}
	for _, i := range w.live {
		w.do(i, people.Order{Act: "receive"})
		w.do(i, people.Order{Act: "status"})
	}
	w.town.Log.Write(history.Event{Kind: history.End})
	return nil
}

func (w *world) open(f *people.Folder, name, to string) error {
	p, err := client.OpenKey(f.Dir, f.Key)
	if err != nil {
		return err
	}
	w.live = append(w.live, &instance{people.NewClient(p, w.town.Log, name, name), f, name, to})
	return nil
}

// abandon ends the use of a profile; what it had collected was shown.
func (w *world) abandon(i *instance) {
	w.do(i, people.Order{Act: "receive"})
	w.do(i, people.Order{Act: "status"})
	w.town.Log.Write(history.Event{Kind: history.Abandon, Of: i.name})
	i.Close()
	for n, o := range w.live {
		if o == i {
			w.live = append(w.live[:n], w.live[n+1:]...)
			return
		}
	}
}

// acts has anybody do anything, up to so many times.
func (w *world) acts(most int) {
	for range w.r.IntN(most + 1) {
		i := w.live[w.r.IntN(len(w.live))]
		switch w.r.IntN(5) {
		case 0, 1:
			w.send(i, w.r.IntN(3) == 0)
		case 2:
			w.do(i, people.Order{Act: "sync"})
		default:
			w.do(i, people.Order{Act: "receive"})
		}
	}
}

func (w *world) send(i *instance, queue bool) {
	w.texts++
	id := fmt.Sprintf("%s#%d", i.name, w.texts)
	w.do(i, people.Order{Act: "send", To: i.to, ID: id, Text: people.Text(id, w.r.IntN(2000)), Queue: queue})
}

func (w *world) do(i *instance, o people.Order) {
	if a := i.Do(o); strings.Contains(a.Err, client.ErrStopped.Error()) {
		w.stopped = true
	}
}
