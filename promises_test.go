package kin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kin/client"
	"kin/protocol"
)

// pair is a caseworker and a guest who have joined, with the guest's folder.
func pair(t *testing.T) (h *host, k, g *client.Profile, guestDir string) {
	h = startRelay(t)
	k = h.caseworker("Mina")
	guestDir = filepath.Join(t.TempDir(), "guest")
	g, err := client.CreateGuest(t.Context(), guestDir, passphrase, "Jun", 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	invited(t, k, g, "K7")
	receive(t, k)
	return h, k, g, guestDir
}

func copyFolder(t *testing.T, from string) string {
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func open(t *testing.T, dir string) *client.Profile {
	t.Helper()
	p, err := client.Open(dir, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// outdated is a pair with an old copy of the guest's profile: since it was made the
// host has received a text, and these wait for the guest.
func outdated(t *testing.T, waiting ...string) (k, g, old *client.Profile) {
	t.Helper()
	_, k, g, dir := pair(t)
	made := copyFolder(t, dir)
	send(t, g, "Mina", "one")
	wantTextsOf(t, k, "one")
	for _, text := range waiting {
		send(t, k, "K7", text)
	}
	return k, g, open(t, made)
}

// A restored profile has sent less than its contact has received. It must stop,
// and leave what waits to the newer one.
func TestRestoredProfileStops(t *testing.T) {
	k, g, restored := outdated(t, "two")
	for range 2 { // it is said each time: who did not read it would wait for ever
		report, err := restored.Receive(t.Context(), client.ReceiveOptions{}, func([]client.Message) error {
			t.Error("the old profile shows something")
			return nil
		})
		if want := []client.Event{{Contact: "Mina", Kind: client.EventStopped, Count: 1}}; !errors.Is(err, client.ErrStopped) || !slices.Equal(report.Events, want) {
			t.Fatalf("%v, %v; want %v", err, report.Events, want)
		}
	}
	if _, err := restored.Send(t.Context(), "Mina", "three", client.SendOptions{}); !errors.Is(err, client.ErrStopped) {
		t.Fatal(err)
	}
	beginAnew(t, k, restored)
	if _, report := receive(t, restored); len(report.Events) > 0 {
		t.Fatal(report.Events)
	}
	wantTextsOf(t, g, "two")
}

// beginAnew is a new invite for a label that is known.
func beginAnew(t *testing.T, k, g *client.Profile) {
	t.Helper()
	token, _, err := k.Invite(t.Context(), "K7", 0)
	if err != nil {
		t.Fatal(err)
	}
	inv, _ := protocol.ParseInvite(token)
	if _, err := g.Join(t.Context(), inv, "", "Mina"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Accept("Mina"); err != nil {
		t.Fatal(err)
	}
}

// However much waits for the newer profile, an old one says at once that it is old; and
// what is done to the contact on it takes nothing away from the newer.
func TestRestoredProfileLeavesWhatWaits(t *testing.T) {
	var want []string
	for n := range 20 { // more than may be unacknowledged
		want = append(want, strings.Repeat("x", n+1))
	}
	_, g, restored := outdated(t, want...)
	if _, err := restored.Receive(t.Context(), client.ReceiveOptions{}, nil); !errors.Is(err, client.ErrStopped) {
		t.Fatal(err)
	}
	if err := restored.Remove(t.Context(), "Mina"); err != nil {
		t.Fatal(err)
	}
	wantTextsOf(t, g, want...)
}

// Nothing can take back a message whose session is gone: it is not called cancelled.
func TestNotCancelledWithoutASession(t *testing.T) {
	k, g, restored := outdated(t)
	send(t, g, "Mina", "two")
	wantTextsOf(t, k, "two")
	send(t, k, "K7", "for the newer profile")
	late := send(t, restored, "Mina", "late") // the first that the old profile says, as "one" was the newer's
	if _, err := restored.Receive(t.Context(), client.ReceiveOptions{}, nil); !errors.Is(err, client.ErrStopped) {
		t.Fatal(err)
	}
	beginAnew(t, k, restored)
	if st, err := restored.Cancel(t.Context(), late.ID); err != nil || st.State != client.StateOnRelay {
		t.Fatalf("%s, %v", st.State, err)
	}
}

// What waits in a replaced session's queue for the newer profile stops that session. It
// is said, by whichever command meets it, and left to the newer profile.
func TestReplacedSessionStops(t *testing.T) {
	k, g, restored := outdated(t, "two")
	beginAnew(t, k, restored)
	send(t, restored, "Mina", "three")
	if got, want := restored.Overheard(), []client.Event{{Contact: "Mina", Kind: client.EventNewerCopy, Count: 1}}; !slices.Equal(got, want) {
		t.Fatalf("%v; want %v", got, want)
	}
	texts, r := receive(t, restored) // the new session is whole
	if len(texts) > 0 || len(r.Events) > 0 {
		t.Fatalf("%q, %v", texts, r.Events)
	}
	wantTextsOf(t, k, "three")
	wantTextsOf(t, g, "two")
}

// What a command meets on its way, about somebody whom it was not about, is told by it.
func TestCommandsTellWhatTheyMeet(t *testing.T) {
	h := startRelay(t)
	dir := filepath.Join(t.TempDir(), "k")
	k, g, other := h.caseworkerIn(dir, "Mina"), guest(t, "Jun"), guest(t, "Noa")
	invited(t, k, g, "K7")
	invited(t, k, other, "K8")
	receive(t, k)
	sent := send(t, k, "K8", "not collected")
	if _, _, err := k.Invite(t.Context(), "K9", 0); err != nil {
		t.Fatal(err)
	}
	made := copyFolder(t, dir)
	send(t, k, "K7", "one")
	wantTextsOf(t, g, "one")
	send(t, g, "Mina", "to the newer profile") // by which the copy knows that it is old
	want := client.Event{Contact: "K7", Kind: client.EventStopped, Count: 1}
	for _, command := range []struct {
		name string
		run  func(context.Context, *client.Profile) error
	}{
		{"send", func(ctx context.Context, p *client.Profile) error {
			_, err := p.Send(ctx, "K8", "two", client.SendOptions{Wait: 10 * time.Second})
			return err
		}},
		{"cancel", func(ctx context.Context, p *client.Profile) error { _, err := p.Cancel(ctx, sent.ID); return err }},
		{"revoke", func(ctx context.Context, p *client.Profile) error { return p.RevokeInvite(ctx, "K9") }},
		{"remove", func(ctx context.Context, p *client.Profile) error { return p.Remove(ctx, "K8") }},
	} {
		t.Run(command.name, func(t *testing.T) {
			old := open(t, copyFolder(t, made))
			if err := command.run(t.Context(), old); err != nil {
				t.Fatal(err)
			}
			if got := old.Overheard(); !slices.Contains(got, want) { // and what the copies did to each other
				t.Errorf("%v; want %v", got, want)
			}
			if again := old.Overheard(); len(again) > 0 {
				t.Errorf("told twice: %v", again)
			}
		})
	}
}

func wantTextsOf(t *testing.T, p *client.Profile, want ...string) {
	t.Helper()
	texts, _ := receive(t, p)
	wantTexts(t, texts, want...)
}

// A copied profile that sends makes one seq with two bodies. The receiver must
// notice, show the first alone, and go on.
func TestCopiedProfileIsNoticed(t *testing.T) {
	_, k, g, dir := pair(t)
	send(t, g, "Mina", "zero")
	wantTextsOf(t, k, "zero")
	other := open(t, copyFolder(t, dir))
	send(t, g, "Mina", "from the owner")
	wantTextsOf(t, k, "from the owner")
	send(t, other, "Mina", "from the copy")
	texts, r := receive(t, k)
	wantTexts(t, texts, client.NoteForked)
	forked := false
	for _, e := range r.Events {
		forked = forked || e.Kind == client.EventForked
	}
	if !forked {
		t.Error("nobody was told")
	}
}

// Two that read one profile are both sent every message. Each must be shown once.
func TestRedeliveryShowsOnce(t *testing.T) {
	_, k, g, dir := pair(t)
	second := open(t, dir)
	var mu sync.Mutex
	shown := map[string]int{}
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	all := make(chan struct{})
	const n = 20
	for _, p := range []*client.Profile{g, second} {
		readers.Go(func() {
			p.Receive(ctx, client.ReceiveOptions{Follow: true}, func(ms []client.Message) error {
				mu.Lock()
				defer mu.Unlock()
				for _, m := range ms {
					shown[m.Text]++
				}
				if len(shown) == n {
					close(all)
				}
				return nil
			})
		})
	}
	for i := range n {
		send(t, k, "K7", strings.Repeat("x", i+1))
	}
	select {
	case <-all:
	case <-time.After(time.Minute):
		t.Error("not all came")
	}
	stop()
	readers.Wait()
	wantTextsOf(t, g)
	if len(shown) != n {
		t.Fatalf("%d of %d", len(shown), n)
	}
	for text, times := range shown {
		if times != 1 {
			t.Errorf("%q was shown %d times", text, times)
		}
	}
}

// build builds the real client.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "kin.exe")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/kin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// Three processes send with one profile at once: nothing is lost, nothing repeated,
// no ratchet forks.
func TestThreeProcessesOnOneProfile(t *testing.T) {
	_, k, _, dir := pair(t)
	bin := build(t)
	pass := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(pass, passphrase, 0o600); err != nil {
		t.Fatal(err)
	}
	var senders sync.WaitGroup
	const each = 4
	for who := range 3 {
		senders.Go(func() {
			for n := range each {
				text := string(rune('a'+who)) + string(rune('0'+n))
				out, err := exec.Command(bin, "--profile", dir, "--passphrase-file", pass, "--json", "send", "Mina", text).Output()
				var sent struct{ State string }
				if err != nil || json.Unmarshal(out, &sent) != nil || sent.State != "on_relay" {
					t.Errorf("%s: %v %s", text, err, out)
				}
			}
		})
	}
	senders.Wait()
	texts, r := receive(t, k)
	seen := map[string]bool{}
	for _, text := range texts {
		seen[text] = true
	}
	if len(texts) != 3*each || len(seen) != 3*each || len(r.Events) > 0 {
		t.Fatalf("%q, %v", texts, r.Events)
	}
}

// After a run the relay's folder holds nothing of what was said or of who said it.
func TestRelayAndProfilesHoldNothingThatNames(t *testing.T) {
	h := startRelay(t)
	// Long enough that no key holds them by chance.
	kdir, gdir := filepath.Join(t.TempDir(), "k"), filepath.Join(t.TempDir(), "g")
	k := h.caseworkerIn(kdir, "Mina the caseworker")
	g, err := client.CreateGuest(t.Context(), gdir, passphrase, "Jun the relative", 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	invited(t, k, g, "family K7 of the list")
	receive(t, k)
	send(t, g, "Mina the caseworker", "a sentence that must not be found")
	send(t, k, "family K7 of the list", "nor this one")
	receive(t, k)
	receive(t, g)
	h.stop()
	seen := 0
	for _, dir := range []string{h.dir, kdir, gdir} {
		err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			seen++
			b, err := os.ReadFile(name)
			for _, s := range []string{"must not be found", "nor this one", "Mina the", "Jun the r", "family K7", "127.0.0.1", string(passphrase)} {
				if bytes.Contains(b, []byte(s)) {
					t.Errorf("%s holds %q", name, s)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 8 {
		t.Fatalf("only %d files", seen)
	}
}

func TestInviteIsForOne(t *testing.T) {
	h := startRelay(t)
	k, g, second := h.caseworker("Mina"), guest(t, ""), guest(t, "")
	token, _, err := k.Invite(t.Context(), "K7", 0)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := k.Invite(t.Context(), "k7", 0)
	if err != nil || again != token {
		t.Fatal("an open invite is not the same again", err)
	}
	inv, err := protocol.ParseInvite(token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Join(t.Context(), inv, "", ""); !errors.Is(err, client.ErrOwnInvite) {
		t.Error("own invite:", err)
	}
	if _, err := g.Join(t.Context(), inv, "", ""); err != nil {
		t.Fatal(err)
	}
	var refused *client.InviteRefusedError
	if _, err := second.Join(t.Context(), inv, "", ""); !errors.As(err, &refused) || refused.State != "used" {
		t.Fatal(err)
	}
	if cs, err := second.Contacts(); err != nil || len(cs) != 0 {
		t.Error("a refused join leaves a contact behind", cs, err)
	}
}

func TestRevokedInvite(t *testing.T) {
	h := startRelay(t)
	k, g := h.caseworker("Mina"), guest(t, "")
	token, _, err := k.Invite(t.Context(), "K7", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.RevokeInvite(t.Context(), "K7"); err != nil {
		t.Fatal(err)
	}
	inv, _ := protocol.ParseInvite(token)
	var refused *client.InviteRefusedError
	if _, err := g.Join(t.Context(), inv, "", ""); !errors.As(err, &refused) || refused.State != "revoked" {
		t.Fatal(err)
	}
}

// An invite whose hash is another's must not open what the relay holds.
func TestSwappedInviteIsRefused(t *testing.T) {
	h := startRelay(t)
	k, g := h.caseworker("Mina"), guest(t, "")
	token, _, err := k.Invite(t.Context(), "K7", 0)
	if err != nil {
		t.Fatal(err)
	}
	inv, _ := protocol.ParseInvite(token)
	wrong := inv
	wrong.Relay.Fingerprint[0] ^= 1
	if _, err := g.Join(t.Context(), wrong, "", ""); !errors.Is(err, protocol.ErrFingerprint) {
		t.Error("another relay key:", err)
	}
	wrong = inv
	wrong.Hash[0] ^= 1
	var refused *client.InviteRefusedError
	if _, err := g.Join(t.Context(), wrong, "", ""); !errors.As(err, &refused) {
		t.Error("another hash:", err)
	}
	if _, err := g.Join(t.Context(), inv, "", ""); err != nil {
		t.Error("it was used up:", err)
	}
}

// A new invite for a known label is a new session: nothing is sent until the user
// has said yes, and what was said before is not lost.
func TestNewSessionForAKnownLabelMustBeAccepted(t *testing.T) {
	_, k, g, _ := pair(t)
	if _, err := k.SetChecked("K7"); err != nil {
		t.Fatal(err)
	}
	send(t, g, "Mina", "before")
	token, _, err := k.Invite(t.Context(), "K7", 0)
	if err != nil {
		t.Fatal(err)
	}
	inv, _ := protocol.ParseInvite(token)
	if _, err := g.Join(t.Context(), inv, "", "Mina"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Send(t.Context(), "Mina", "no", client.SendOptions{}); !errors.Is(err, client.ErrMustAccept) {
		t.Fatal(err)
	}
	if _, err := g.Accept("Mina"); err != nil {
		t.Fatal(err)
	}
	send(t, g, "Mina", "after")
	texts, _ := receive(t, k)
	more, _ := receive(t, k)
	texts = append(texts, more...)
	slices.Sort(texts) // two sessions are two queues: no order between them
	wantTexts(t, texts, "after", "before")
	cs, err := k.Contacts()
	if err != nil || len(cs) != 1 || cs[0].IdentityChecked || !cs[0].MustAccept {
		t.Fatalf("%+v, %v", cs, err)
	}
	if _, err := k.Send(t.Context(), "K7", "no", client.SendOptions{}); !errors.Is(err, client.ErrMustAccept) {
		t.Fatal(err)
	}
}
