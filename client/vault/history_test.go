package vault

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"time"
)

// A history is what a program does to a profile, step after step, and what is owed
// to its user after each: from its seed the program that does it and the test that
// judges it know the same one.
type history struct {
	steps    []stage
	states   []map[where]*version // after each step
	versions []*version
}

// stage is one call of the vault.
type stage struct {
	kind string // update, rotate, disappear, passphrase, reopen, wipe
	now  time.Time
	puts []write
}

// write is a call of Put, PutUntil, PutRotating or Delete inside an update.
type write struct {
	use use // useNone: Delete
	where
	day  uint32
	text string
}

type where struct{ table, id string }

// version is a value that a record had.
type version struct {
	where
	text string
	use  use
	day  uint32
	born int // the step that wrote it
	dead int // the step that replaced or deleted it, or let it disappear; 0 if none has
	gone int // the step after which nobody can read it; 0 if it may be readable
}

var (
	historyKeep = 3 * 24 * time.Hour
	progress    = where{"progress", "step"} // holds the number of the last update
	first       = write{use: useData, where: where{"self", "self"}, text: "is there from the beginning"}
)

// newHistory has n steps after step 0, which is Create.
func newHistory(seed uint64, n int) *history {
	r := rand.New(rand.NewPCG(seed, 4))
	h := &history{steps: []stage{{kind: "create", now: noon}}, states: []map[where]*version{{}}}
	now := noon
	for k := 1; k <= n; k++ {
		now = now.Add(time.Duration(r.IntN(100)) * time.Minute)
		s := stage{now: now, kind: []string{"update", "update", "update", "update", "update", "update", "rotate", "disappear", "passphrase", "reopen"}[r.IntN(10)]}
		if k == 1 {
			s.kind = "update"
		}
		if k == n && r.IntN(2) == 0 {
			s.kind = "wipe"
		}
		state := maps.Clone(h.states[k-1])
		switch s.kind {
		case "update":
			s.puts = draw(r, k, now, []use{useRotating, useData}[seed%2])
			for _, w := range s.puts {
				h.write(state, k, w)
			}
			h.rotate(k, now.Add(-rotateEvery))
		case "rotate":
			h.rotate(k, now)
		case "disappear":
			s.now = now.Add(time.Duration(r.IntN(6)) * 24 * time.Hour)
			now = s.now
			h.disappear(state, k, now)
		case "wipe":
			for w, v := range state {
				v.dead = k
				delete(state, w)
			}
			for _, v := range h.versions {
				v.leave(k)
			}
		}
		h.steps, h.states = append(h.steps, s), append(h.states, state)
	}
	return h
}

// draw draws what an update does, besides telling how far the program has come.
func draw(r *rand.Rand, k int, now time.Time, tells use) []write {
	puts := []write{{use: tells, where: progress, text: fmt.Sprint(k)}}
	for j := range r.IntN(5) {
		w := write{use: []use{useNone, useData, useDay, useRotating}[r.IntN(4)], where: where{[]string{"a", "b"}[r.IntN(2)], fmt.Sprint(r.IntN(4))}}
		if w.use == useDay {
			w.day = Day(now) - uint32(r.IntN(3))
		}
		if w.use != useNone {
			w.text = fmt.Sprintf("value %d of step %d: %0*d", j, k, []int{20, 200, 2000, 9000}[r.IntN(4)], r.Uint64())
		}
		puts = append(puts, w)
	}
	return puts
}

func (h *history) write(state map[where]*version, k int, w write) {
	if old := state[w.where]; old != nil {
		old.dead = k
		if old.use == useRotating {
			old.leave(k)
		}
	}
	delete(state, w.where)
	if w.use != useNone {
		v := &version{where: w.where, text: w.text, use: w.use, day: w.day, born: k}
		h.versions = append(h.versions, v)
		state[w.where] = v
	}
}

func (v *version) leave(k int) {
	if v.gone == 0 {
		v.gone = k
	}
}

// rotate: what was replaced or deleted until then is gone.
func (h *history) rotate(k int, until time.Time) {
	for _, v := range h.versions {
		if v.dead > 0 && v.dead < k && !h.steps[v.dead].now.After(until) {
			v.leave(k)
		}
	}
}

// disappear lets the days go that are past keep.
func (h *history) disappear(state map[where]*version, k int, now time.Time) {
	for _, v := range h.versions {
		if v.use != useDay || v.gone > 0 || uint64(v.day)+uint64(historyKeep/MinKeep) >= uint64(Day(now)) {
			continue
		}
		if v.dead == 0 {
			v.dead = k
			delete(state, v.where)
		}
		v.leave(k)
	}
}

// passphrase is the one that holds after step k.
func (h *history) passphrase(k int) []byte {
	for ; k > 0; k-- {
		if h.steps[k].kind == "passphrase" {
			return fmt.Append(nil, "passphrase of step ", k)
		}
	}
	return passphrase
}
