// Kin-demo plays the whole journey on one machine, with a real relay in a process
// of its own and two real profiles in temporary folders, and explains each step. It
// needs no terminal, uses loopback alone, and leaves nothing behind.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"kin/client"
	"kin/protocol"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 4 && os.Args[1] == relayArgument {
		exit(runRelay(ctx, os.Args[2], os.Args[3]))
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "kin-demo-")
	if err == nil {
		err = (&demo{dir: dir}).play(ctx)
		os.RemoveAll(dir)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "kin-demo: error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

const keep = 30 * 24 * time.Hour

// demo is one journey.
type demo struct {
	dir   string
	relay *relayProcess
	step  int
}

// say explains a step; note is what it brought about.
func (d *demo) say(format string, args ...any) {
	d.step++
	fmt.Printf("%2d. %s\n", d.step, fmt.Sprintf(format, args...))
}

func note(format string, args ...any) { fmt.Printf("      %s\n", fmt.Sprintf(format, args...)) }

func (d *demo) play(ctx context.Context) (err error) {
	d.say("An operator starts a relay. Its epochs last a second here, an hour in earnest.")
	if d.relay, err = startRelay(ctx, d.path("relay"), "127.0.0.1:0"); err != nil {
		return err
	}
	defer func() { d.relay.kill() }()
	note("%s", d.relay.address)

	d.say("Mina, a caseworker, makes a profile with the operator's grant.")
	address, err := protocol.ParseAddress(d.relay.address)
	if err != nil {
		return err
	}
	grant, err := protocol.ParseGrant(d.relay.grant)
	if err != nil {
		return err
	}
	mina, err := client.Create(ctx, d.path("mina"), []byte("five words for mina's profile"), client.Setup{Name: "Mina", Relay: address, Grant: grant, Keep: keep})
	if err != nil {
		return err
	}
	defer mina.Close()
	token, _, err := mina.Invite(ctx, "K7", time.Minute)
	if err != nil {
		return err
	}
	d.say("She makes an invite for K7, one line to pass on, and goes offline.")
	note("%s…", token[:60])

	d.say("Jun, a relative, pastes it. Mina need not be there.")
	inv, err := protocol.ParseInvite("Hello Jun, this is it: " + strings.ToUpper(token))
	if err != nil {
		return err
	}
	jun, err := client.CreateGuest(ctx, d.path("jun"), []byte("five words for jun's profile"), "Jun", keep)
	if err != nil {
		return err
	}
	defer jun.Close()
	if _, err := jun.Join(ctx, inv, "", ""); err != nil {
		return err
	}
	first, err := jun.Send(ctx, "Mina", "They are at the garrison. Nine people.", client.SendOptions{Wait: 5 * time.Second})
	if err != nil {
		return err
	}
	d.say("He sends an update. The relay has synced it to its disk before it says OK.")
	note("Jun sees: %s", first.State)

	d.say("The relay is killed with SIGKILL, and started again.")
	d.relay.kill()
	if d.relay, err = startRelay(ctx, d.path("relay"), d.relay.listen); err != nil {
		return err
	}
	d.say("Mina comes online. Her client stores the update, then lets the relay forget it.")
	if err := show(ctx, mina, "Mina"); err != nil {
		return err
	}
	if st, err := stateOf(jun, first); err != nil {
		return err
	} else {
		note("Jun still sees: %s, for nobody has told him more", st)
	}
	d.say("She answers; the receipt for his update travels inside the answer.")
	if _, err := mina.Send(ctx, "K7", "Understood. We are calling the embassy.", client.SendOptions{Wait: 5 * time.Second}); err != nil {
		return err
	}
	if err := show(ctx, jun, "Jun"); err != nil {
		return err
	}
	st, err := stateOf(jun, first)
	if err != nil {
		return err
	}
	if st != client.StateDelivered {
		return fmt.Errorf("the update is %q at its sender, not delivered", st)
	}
	note("Jun sees: %s", st)

	mine, _, err := mina.Digits("K7")
	if err != nil {
		return err
	}
	his, _, err := jun.Digits("Mina")
	if err != nil {
		return err
	}
	d.say("By telephone they compare 60 digits: equal, so nobody stands between them: %v", mine == his)
	note("%s …", mine[:35])
	return d.expire(ctx, jun)
}

// expire shows what the relay's disk holds of a message that nobody collects,
// before and after it has expired.
func (d *demo) expire(ctx context.Context, jun *client.Profile) error {
	if _, err := jun.Send(ctx, "Mina", "Nobody will collect this.", client.SendOptions{Wait: 5 * time.Second}); err != nil {
		return err
	}
	before, err := look(d.path("relay"))
	if err != nil {
		return err
	}
	if before.keys == 0 {
		return fmt.Errorf("there is no epoch key on the relay's disk")
	}
	d.say("Another update waits, and nobody collects it. On the relay's disk:")
	note("epoch key   %x… (%d of them)", before.key[:24], before.keys)
	note("envelope    %x…", before.body[:24])
	d.say("Its time passes. The relay overwrites the key; what it sealed is noise for ever.")
	after := before
	for after.keys > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		if after, err = look(d.path("relay")); err != nil {
			return err
		}
	}
	note("epoch key   %x… (%d of them)", after.at(before.offset)[:24], after.keys)
	d.say("Both profiles are wiped, and the relay's folder is removed. Nothing is left.")
	for _, who := range []string{"mina", "jun"} {
		if err := client.Wipe(d.path(who)); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// show receives what is new and prints it.
func show(ctx context.Context, p *client.Profile, who string) error {
	count := 0
	_, err := p.Receive(ctx, client.ReceiveOptions{}, func(ms []client.Message) error {
		for _, m := range ms {
			count++
			note("%s reads: %q from %s, identity checked: %v", who, m.Text, m.Contact, m.IdentityChecked)
		}
		return nil
	})
	if err == nil && count != 1 {
		err = fmt.Errorf("%s received %d messages, not one", who, count)
	}
	return err
}

func stateOf(p *client.Profile, s client.Sent) (client.State, error) {
	all, err := p.Status()
	for _, st := range all {
		if st.ID == s.ID {
			return st.State, err
		}
	}
	return "", err
}
