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

// TestReceiverKilledBehindEveryPiece: a receiving client dies when a piece of what it
// sends has just reached the relay, each piece in turn. Whatever the relay was told by
// then, nothing is lost.
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
	t.Logf("%d kills, no violation", killed)
}

// waiting is how many messages are new when a client that will die begins to receive.
// A killed client runs on for a moment, in which a small commit can end. With more ACKs
// before it, as the planted bug sends them, the signal mostly comes first.
const waiting = 5

func behindEveryPiece(dir, file, relay string) (killed int, err error) {
	proxy, err := people.NewProxy()
	if err != nil {
		return 0, err
	}
	defer proxy.Close()
	town, err := people.MakeTown(dir, file, relay, 1, proxy)
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
		dying := g
		done := make(chan struct{})
		proxy.At(n, func() { dying.Kill(); close(done) })
		_, err = g.Do(people.Order{Act: "receive"})
		if err == nil { // there are fewer pieces
			proxy.At(0, nil)
			break
		}
		if !errors.Is(err, people.ErrKilled) {
			return killed, err
		}
		<-done
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
