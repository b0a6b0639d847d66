package main

import (
	"slices"
	"strings"
	"testing"

	"kin/proof/history"
)

// parse reads a history in short: "kind key=value …; …". A time stands as at=.
func parse(t *testing.T, s string) (out []history.Event) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSuffix(strings.TrimSpace(s), ";"), ";") {
		words := strings.Fields(line)
		e := history.Event{At: int64(len(out)) + 1, Kind: history.Kind(words[0])}
		for _, w := range words[1:] {
			key, v, _ := strings.Cut(w, "=")
			n := int64(0)
			for _, c := range v {
				n = n*10 + int64(c-'0')
			}
			switch key {
			case "at":
				e.At = n
			case "by":
				e.Actor = v
			case "of":
				e.Of = v
			case "q":
				e.Queue = v
			case "id":
				e.ID = v
			case "hash":
				e.Hash = v
			case "seq":
				e.Seq = uint64(n)
			case "n":
				e.N = int(n)
			case "until":
				e.Until = n
			case "state":
				e.State = v
			case "urgent":
				e.Urgent = true
			default:
				t.Fatalf("%q", w)
			}
		}
		out = append(out, e)
	}
	return out
}

// Each history shows one thing, or, with "", is as it must be.
func TestJudge(t *testing.T) {
	const (
		one  = "put q=a id=1 hash=x; ok q=a id=1; "
		sent = "send of=G q=K id=1 hash=x; sent of=G q=K id=1 state=on_relay; "
		show = "show by=p of=K q=G id=1 hash=x; "
	)
	for name, c := range map[string]struct{ want, events string }{
		"kept":            {"", one + "crash state=power; list q=a by=r; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"lost":            {lost, one + "crash state=power; list q=a by=r; listed q=a by=r"},
		"never OKed":      {"", "put q=a id=1 hash=x; crash state=power; list q=a by=r; listed q=a by=r"},
		"collected":       {"", one + "ack q=a id=1; crash state=kill; list q=a by=r; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"back":            {back, one + "ack q=a id=1; flushed; crash state=kill; list q=a by=r; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"may return":      {"", one + "cancel q=a id=1; crash state=kill; list q=a by=r; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"took back":       {back, one + "cancel q=a id=1; gone q=a id=1; crash state=kill; list q=a by=r; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"too late":        {"", "cancel q=a id=1 hash=x; gone q=a id=1; " + one + "list q=a by=r; listed q=a by=r"},
		"too late, back":  {back, "cancel q=a id=1 hash=x; gone q=a id=1; " + one + "list q=a by=r; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"put anew":        {lost, "cancel q=a id=1 hash=x; gone q=a id=1; crash state=kill; " + one + "list q=a by=r; listed q=a by=r"},
		"back, not OKed":  {back, "put q=a id=1 hash=x; crash state=kill; list q=a by=r; listed q=a by=r; list q=a by=r; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"twice":           {duplicated, one + "list q=a by=r; deliver q=a by=r hash=x seq=1; deliver q=a by=r hash=x seq=2; listed q=a by=r"},
		"forged":          {forged, "list q=a by=r; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"another's":       {forged, one + "list q=b by=r; deliver q=b by=r hash=x seq=1; listed q=b by=r"},
		"other bytes":     {reencrypted, one + "put q=a id=1 hash=y"},
		"order":           {reordered, one + "put q=a id=2 hash=y; ok q=a id=2; list q=a by=r; deliver q=a by=r hash=y seq=1; deliver q=a by=r hash=x seq=2; listed q=a by=r"},
		"sequences":       {reordered, "put q=a id=1 hash=x; put q=a id=2 hash=y; list q=a by=r; deliver q=a by=r hash=y seq=2; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"at once":         {"", "put q=a id=1 hash=x; put q=a id=2 hash=y; ok q=a id=1; ok q=a id=2; list q=a by=r; deliver q=a by=r hash=y seq=1; deliver q=a by=r hash=x seq=2; listed q=a by=r"},
		"early":           {early, "put q=a id=1 hash=x until=100; ok q=a id=1; swept until=50; list q=a by=r; listed q=a by=r"},
		"in time":         {"", "put q=a id=1 hash=x until=100; ok q=a id=1; swept until=100; list q=a by=r; listed q=a by=r"},
		"longer":          {early, "put q=a id=1 hash=x until=100; ok q=a id=1 until=100; put q=a id=1 hash=x until=200; ok q=a id=1 until=200; swept until=100; list q=a by=r; listed q=a by=r"},
		"put anew, last":  {"", "put q=a id=1 hash=x until=3; ok q=a id=1 until=3; swept until=3; put q=a id=2 hash=y; put q=a id=1 hash=x until=200; ok q=a id=2; ok q=a id=1 until=200; list q=a by=r; deliver q=a by=r hash=y seq=2; deliver q=a by=r hash=x seq=3; listed q=a by=r"},
		"not longer":      {"", "put q=a id=1 hash=x until=100; ok q=a id=1 until=100; put q=a id=1 hash=x until=200; refused q=a id=1; swept until=100; list q=a by=r; listed q=a by=r"},
		"late":            {late, "put q=a id=1 hash=x until=100; ok q=a id=1; swept until=100; list q=a by=r; deliver q=a by=r hash=x seq=1; listed q=a by=r"},
		"remains":         {remains, one + "ack q=a id=1; flushed q=a; trace q=a id=1"},
		"may remain":      {"", one + "ack q=a id=1; flushed q=b; trace q=a id=1"},
		"room":            {quota, "quota n=2; put q=a id=1 hash=x; refused q=a id=1 state=full"},
		"no room":         {"", "quota n=1; " + one + "put q=a id=2 hash=y; refused q=a id=2 state=full"},
		"urgent room":     {quota, "quota n=2 seq=1; " + one + "put q=a id=2 hash=y urgent=1; refused q=a id=2 state=full urgent=1"},
		"beyond":          {quota, "quota n=1; " + one + "put q=a id=2 hash=y; ok q=a id=2"},
		"asleep":          {asleep, "follow q=a by=r; " + one + "idle"},
		"woken":           {"", "follow q=a by=r; " + one + "deliver q=a by=r hash=x seq=1; idle"},
		"other queue":     {"", "follow q=b by=r; " + one + "idle"},
		"shown":           {"", sent + show + "noted by=p; status of=G q=K id=1 state=delivered; end"},
		"never shown":     {lost, sent + "end"},
		"no end":          {unfinished, sent + show},
		"taken back":      {"", sent + "cancel of=G q=K id=1; end"},
		"shown twice":     {duplicated, sent + show + "noted by=p; crash by=p of=K; show by=p2 of=K q=G id=1 hash=x; end"},
		"by another":      {duplicated, sent + show + "show by=p2 of=K q=G id=1 hash=x; end"},
		"killed showing":  {"", sent + show + "crash by=p of=K; show by=p2 of=K q=G id=1 hash=x; end"},
		"altered":         {forged, "send of=G q=K id=1 hash=x; show by=p of=K q=G id=1 hash=y; end"},
		"from another":    {forged, "send of=G q=K id=1 hash=x; show by=p of=K q=H id=1 hash=x; end"},
		"gone":            {"", sent + "cancel of=G q=K id=1; gone of=G q=K id=1; end"},
		"back, and late":  {"", sent + "cancel of=G q=K id=1; crash by=relay; send of=G q=K id=2 hash=y; show by=p of=K q=G id=2 hash=y; " + show + "end"},
		"late, no crash":  {reordered, sent + "cancel of=G q=K id=1; send of=G q=K id=2 hash=y; show by=p of=K q=G id=2 hash=y; " + show + "end"},
		"gone, and back":  {reordered, sent + "cancel of=G q=K id=1; gone of=G q=K id=1; crash by=relay; send of=G q=K id=2 hash=y; show by=p of=K q=G id=2 hash=y; " + show + "end"},
		"back, then gone": {"", sent + "cancel of=G q=K id=1; crash by=relay; send of=G q=K id=2 hash=y; gone of=G q=K id=1; show by=p of=K q=G id=2 hash=y; " + show + "end"},
		"and back again":  {reordered, sent + "cancel of=G q=K id=1; crash by=relay; gone of=G q=K id=1; send of=G q=K id=2 hash=y; show by=p of=K q=G id=2 hash=y; " + show + "end"},
		"turned":          {reordered, sent + "send of=G q=K id=2 hash=y; show by=p of=K q=G id=2 hash=y; " + show + "end"},
		"urgent first":    {"", sent + "send of=G q=K id=2 hash=y urgent=1; show by=p of=K q=G id=2 hash=y; " + show + "end"},
		"false delivered": {falsely, "send of=G q=K id=1 hash=x; sent of=G q=K id=1 state=on_relay; cancel of=G q=K id=1; status of=G q=K id=1 state=delivered; end"},
		"refused":         {falsely, "send of=G q=K id=1 hash=x; refused of=G q=K id=1; " + show + "end"},
		"expired early":   {early, "send of=G q=K id=1 hash=x until=100; " + show + "status of=G q=K id=1 state=expired_unread; end"},
		"fork":            {alarmed, sent + show + "alarm of=K q=G state=forked; end"},
		"fault":           {faulty, "fault of=K state=damaged; end"},
		"copy noticed":    {"", sent + "copy of=G id=G2; alarm of=K q=G state=forked; end"},
		"copy silent":     {silent, sent + "copy of=G id=G2; end"},
		"copy and gap":    {"", sent + "copy of=K id=K2; send of=G q=K id=2 hash=y; sent of=G q=K id=2 state=on_relay; show by=p of=K2 q=G id=2 hash=y n=1; end"},
		"left behind":     {"", "copy of=G id=G2; send of=G q=K id=1 hash=x; sent of=G q=K id=1 state=queued; abandon of=G; end"},
		"two worlds":      {lost, sent + show + "end; world id=2; " + sent + "end"},
	} {
		var got []string
		for _, v := range judge(parse(t, c.events)).violations {
			got = append(got, v.kind)
		}
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

// A line of which a killed process wrote a part is left out, and spoils no other.
func TestTornLine(t *testing.T) {
	events, torn, err := history.Read(strings.NewReader("\n{\"event\":\"put\"}\n{\"event\":\"o\n{\"event\":\"end\"}"))
	if err != nil || torn != 1 || len(events) != 2 {
		t.Fatalf("%v, %d torn, %v", events, torn, err)
	}
}
