package kills

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"kin/proof/history"
	"kin/proof/people"
)

// TestReceiverKilledBehindEveryPiece: a receiving client stops behind a piece of what it
// sends, each piece in turn, and dies. Whatever the relay was told by then, nothing is
// lost.
func TestReceiverKilledBehindEveryPiece(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN with -short: what the race detector could see is seen in TestKilled")
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
	file := filepath.Join(histories, "pieces.jsonl")
	killed, err := behindEveryPiece(t.TempDir(), file, filepath.Join(bin, "kin-relay"))
	words, ok, cerr := people.Checker(filepath.Join(bin, "checker"), file)
	t.Log(strings.TrimSpace(words))
	if err := errors.Join(err, cerr); err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Fatal("the checker found violations")
	}
	if killed < 3 { // the upgrade, the link's answer, SUB
		t.Fatalf("%d kills", killed)
	}
	t.Logf("%d kills, no violation", killed)
}

// waiting is how many messages are new when a client that will die begins to receive.
const waiting = 2

func behindEveryPiece(dir, file, relay string) (killed int, err error) {
	town, err := people.MakeTown(dir, file, relay, 1)
	if err != nil {
		return 0, err
	}
	defer town.Close()
	k, err := town.Start(town.Profiles[people.Caseworker], "K.0")
	if err != nil {
		return 0, err
	}
	defer k.Close()
	guest := func(n int) (*people.Process, error) { return town.Start(town.Profiles["G1"], fmt.Sprintf("G1.%d", n)) }
	g, err := guest(0)
	for n := 1; err == nil; n++ {
		for m := range waiting {
			id := fmt.Sprintf("K#%d", (n-1)*waiting+m+1)
			if _, err := k.Do(people.Order{Act: "send", To: "G1", ID: id, Text: people.Text(id, 100)}); err != nil {
				return killed, err
			}
		}
		var a people.Answer
		if a, err = g.Do(people.Order{Act: "receive", Pieces: n}); err != nil {
			return killed, err
		}
		if a.Err != "" {
			return killed, errors.New(a.Err)
		}
		if !a.Stopped { // there are fewer pieces
			break
		}
		g.Kill()
		killed++
		g, err = guest(n)
	}
	if err != nil {
		return killed, err
	}
	defer g.Close()
	if err := people.Drain([]*people.Process{k, g}); err != nil {
		return killed, err
	}
	town.Log.Write(history.Event{Kind: history.End})
	return killed, nil
}
