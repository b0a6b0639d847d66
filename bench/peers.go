package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"kin/bench/gauge"
)

// rivals are what one would use instead, as peers/ has them.
var rivals = []contender{
	{kind: "derp", durable: "stores nothing"},
	{kind: "jetstream", durable: "written, synced every 2 minutes (its default); websocket"},
	{kind: "jetstream-sync", durable: "sync always; websocket"},
	{kind: "mosquitto", durable: "persistent sessions, QoS 1; in memory, saved every 30 minutes (its default)"},
	{kind: "redis", durable: "streams, appendfsync always"},
}

// peers compares Kin with its rivals in everything, or in one part.
func peers(o *options) error {
	for _, p := range []string{"mosquitto", "redis-server"} {
		if err := install(p); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "kin-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "peers")
	build := exec.Command("go", "build", "-C", "peers", "-o", program, ".")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building peers: %w", err)
	}
	for i := range rivals {
		rivals[i].program = program
	}
	parts := map[string]func(*options) error{"speed": peersSpeed, "idle": peersIdle, "start": peersStart}
	for _, part := range []string{"speed", "idle", "start"} {
		if o.part != "" && o.part != part {
			continue
		}
		if err := parts[part](o); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

func peersSpeed(o *options) error {
	ours, err := own(append(slices.Clone(floors), "kin")...)
	if err != nil {
		return err
	}
	all := append(ours, rivals...)
	found, err := compare(all, o, true)
	if err == nil {
		table(all, found, o, true)
	}
	return err
}

func peersIdle(o *options) error {
	ours, err := own("link", "kin")
	if err != nil {
		return err
	}
	return idle(append(ours, rivals[0], rivals[1], rivals[3], rivals[4]), o)
}

func peersStart(o *options) error {
	if err := ownStart(o); err != nil {
		return err
	}
	for _, c := range []contender{rivals[1], rivals[3], rivals[4]} {
		if err := c.startFull(o); err != nil {
			return err
		}
	}
	return nil
}

// startFull fills a rival and starts it again.
func (c contender) startFull(o *options) error {
	dir, err := os.MkdirTemp("", "kin-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := gauge.Start(c.program, c.kind, dir)
	if err != nil {
		return err
	}
	if err := errors.Join(s.Fill(o.pairs, o.stored), s.Stop()); err != nil {
		return err
	}
	took, bytes, err := starts(c, dir, min(o.rounds, 3))
	if err == nil {
		fmt.Printf("%s, %d stored: %s; %.2f bytes of disk a payload byte\n", c.kind, o.stored, took, float64(bytes)/float64(o.stored)/gauge.Size)
	}
	return err
}

// install has Debian's package of a name if its program is not there. Its own
// service is not started.
func install(name string) error {
	if path(name) != "" {
		return nil
	}
	apt := exec.Command("apt-get", "install", "-y", "--no-install-recommends", name)
	apt.Env = append(os.Environ(), "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive")
	apt.Stderr = os.Stderr
	if err := apt.Run(); err != nil {
		return fmt.Errorf("%s is not installed: %w", name, err)
	}
	return nil
}

// path finds a program that may be an operator's.
func path(name string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		p := filepath.Join(dir, name)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}
