// Checker judges histories (kin/proof/history). It imports nothing else of Kin's, and
// knows nothing but what a harness wrote down: what was promised, and what became of
// it.
//
//	go run ./proof/checker FILE…
//
// It prints a line for each violation and the counts of each file, and exits with 1 if
// there is a violation.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"kin/proof/history"
)

// Kinds of violations.
const (
	lost        = "lost"         // it was promised, and is nowhere
	duplicated  = "duplicated"   // shown, or stored, twice
	reordered   = "reordered"    // before one that was accepted earlier
	forged      = "forged"       // nobody handed that in, or not there
	early       = "early expiry" // gone before its time
	late        = "late expiry"  // there after a sweep that was due to it
	back        = "back"         // there after it was gone for good
	remains     = "remains"      // its bytes are on the disk after it was gone for good
	reencrypted = "re-encrypted" // the same id with other bytes
	quota       = "quota"        // refused though there was room, or taken beyond it
	asleep      = "not woken"    // a reader was not told of what came
	falsely     = "false state"  // a state that is not true
	alarmed     = "alarm"        // a profile tells of a fork, a loss or a rollback that nobody made
	faulty      = "fault"        // an act failed in a way that nothing explains
	unfinished  = "unfinished"   // the history has no end: what was lost can't be told
	malformed   = "malformed"    // the history can't be right
	silent      = "silent"       // a copied profile lost or repeated something, and nobody was told
)

// violation is what a history shows that must not be.
type violation struct {
	kind, what string
}

// report is what is said of a history.
type report struct {
	violations []violation
	counts     map[string]int
}

func (r *report) add(kind, format string, args ...any) {
	r.violations = append(r.violations, violation{kind, fmt.Sprintf(format, args...)})
}

// judge judges one history, world by world.
func judge(events []history.Event) *report {
	r := &report{counts: map[string]int{}}
	for len(events) > 0 {
		end := 1
		for end < len(events) && events[end].Kind != history.World {
			end++
		}
		judgeWorld(r, events[:end])
		events = events[end:]
	}
	return r
}

func judgeWorld(r *report, events []history.Event) {
	world := ""
	if events[0].Kind == history.World {
		world = "world " + events[0].ID + ": "
	}
	before := len(r.violations)
	stores, people := newStores(r), newPeople(r)
	for i, e := range events {
		r.count(e)
		if e.Of == "" {
			stores.event(i, e)
		}
		people.event(i, e)
	}
	people.end()
	for i := range r.violations[before:] {
		r.violations[before+i].what = world + r.violations[before+i].what
	}
}

func (r *report) count(e history.Event) {
	switch {
	case e.Kind == history.World:
		r.counts["worlds"]++
	case e.Kind == history.Crash && e.State == "power":
		r.counts["power losses"]++
	case e.Kind == history.Crash:
		r.counts["kills"]++
	case e.Kind == history.Start:
		r.counts["starts"]++
	}
}

// countNames are the counts that are printed, in order.
var countNames = []string{"events", "worlds", "kills", "power losses", "starts", "puts", "acknowledged", "delivered by the store", "listings",
	"accepted", "shown", "shown again after a kill in the middle of showing", "states seen", "taken back", "copies", "noticed", "torn lines"}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: checker FILE…")
		os.Exit(2)
	}
	bad := false
	for _, name := range os.Args[1:] {
		n, err := check(os.Stdout, name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		bad = bad || n > 0
	}
	if bad {
		os.Exit(1)
	}
}

// check judges a file and prints what it found; it returns the number of violations.
func check(w io.Writer, name string) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	events, torn, err := history.Read(f)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	r := judge(events)
	if len(events) == 0 {
		r.add(unfinished, "nothing happened")
	}
	r.counts["events"], r.counts["torn lines"] = len(events), torn
	for _, v := range r.violations {
		fmt.Fprintf(w, "%s: VIOLATION %s: %s\n", name, v.kind, v.what)
	}
	var counts []string
	for _, c := range countNames {
		if n := r.counts[c]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, c))
		}
	}
	fmt.Fprintf(w, "%s: %s; %d violations\n", name, strings.Join(counts, ", "), len(r.violations))
	return len(r.violations), nil
}
