package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"kin/internal/span"
	"kin/protocol"
	"kin/relay"
)

const (
	firstQueues   = 1000
	firstLife     = span.Year
	shutdownWait  = 10 * time.Second
	headerWait    = 5 * time.Second
	headerSize    = 4096
	adminSocket   = "admin.sock"
	defaultListen = "127.0.0.1:8440"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	listen, url, cert, key string
	acme, config, metrics  string
	keys, log              string
	maxTTL, epoch          span.Flag
	connections            int

	tls *certificate // of cert and key; nil without TLS
}

func (a *app) serveCommand() *cobra.Command {
	s := serveFlags{maxTTL: span.Flag{D: 14 * span.Day}, epoch: span.Flag{D: time.Hour}}
	c := a.command("serve", "serve", cobra.NoArgs, func(ctx context.Context, _ []string) error { return a.serve(ctx, &s) })
	f := c.Flags()
	f.StringVar(&s.listen, "listen", defaultListen, a.say.T("relay.flag.listen"))
	f.StringVar(&s.url, "url", "", a.say.T("relay.flag.url"))
	f.StringVar(&s.cert, "tls-cert", "", a.say.T("relay.flag.tls-cert"))
	f.StringVar(&s.key, "tls-key", "", a.say.T("relay.flag.tls-key"))
	f.StringVar(&s.acme, "acme", "", a.say.T("relay.flag.acme"))
	f.StringVar(&s.config, "config", "", a.say.T("relay.flag.config"))
	f.StringVar(&s.metrics, "metrics", "", a.say.T("relay.flag.metrics"))
	f.StringVar(&s.keys, "keys", "disk", a.say.T("relay.flag.keys"))
	f.StringVar(&s.log, "log", "text", a.say.T("relay.flag.log"))
	f.Var(&s.maxTTL, "max-ttl", a.say.T("relay.flag.max-ttl"))
	f.IntVar(&s.connections, "connections", 10000, a.say.T("relay.flag.connections"))
	f.Var(&s.epoch, "epoch", a.say.T("relay.flag.epoch"))
	return c
}

// verify refuses flags that can't be served, before anything is made.
func (a *app) verify(s *serveFlags, dir string) error {
	for name, v := range map[string]string{"--acme": s.acme, "--config": s.config, "--metrics": s.metrics} {
		if v != "" {
			return a.fail("relay.err.not-built", name)
		}
	}
	switch {
	case (s.cert == "") != (s.key == ""):
		return a.usage("relay.err.tls-pair")
	case s.keys != "disk" && s.keys != "ram":
		return a.usage("relay.err.keys")
	case s.connections < 1:
		return a.usage("relay.err.connections")
	case s.log != "text" && s.log != "json":
		return a.usage("relay.err.log")
	case s.epoch.D < time.Second || s.epoch.D > protocol.MaxEpoch || s.maxTTL.D < s.epoch.D:
		return a.usage("relay.err.epoch")
	case len(filepath.Join(dir, adminSocket)) >= len(syscall.RawSockaddrUnix{}.Path):
		return a.usage("relay.err.long-folder", dir)
	}
	host, port, err := net.SplitHostPort(s.listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return &said{text: err.Error(), code: 2}
	}
	if s.url == "" && s.cert == "" && !protocol.Loopback(host) {
		return a.usage("relay.err.plain", s.listen)
	}
	if s.url != "" {
		if _, err := protocol.ParseHost(s.url); err != nil {
			return &said{text: err.Error(), code: 2}
		}
	}
	if s.cert == "" {
		return nil
	}
	if s.tls, err = readCertificate(s.cert, s.key); err != nil {
		return err
	}
	if s.url == "" && unspecified(host) && s.tls.name() == "" {
		return a.usage("relay.err.nowhere", s.listen)
	}
	return nil
}

func (a *app) serve(ctx context.Context, s *serveFlags) error {
	dir, err := a.folder()
	if err != nil {
		return err
	}
	if err := a.verify(s, dir); err != nil {
		return err
	}
	memory := limitMemory()
	log := a.logger(s.log)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	all := connections(s.connections, descriptors(), memory)
	unlinked := strangers(all, memory)
	r, err := relay.Open(relay.Config{Dir: dir, Epoch: s.epoch.D, MaxTTL: s.maxTTL.D, KeysInRAM: s.keys == "ram", Log: log,
		Connections: all, Unlinked: unlinked})
	if err != nil {
		return err
	}
	err = a.listen(ctx, s, r, &door{room: doorRoom(descriptors(), unlinked)}, dir, log)
	end, cancel := context.WithTimeout(context.Background(), shutdownWait)
	defer cancel()
	return errors.Join(err, r.Shutdown(end))
}

// connectionMemory is what a connection takes that waits (docs/performance.md), and half
// as much for what it does at times.
const connectionMemory = 6000

// strangerMemory is what a connection takes whose half of the link has begun to come: its
// reader has a stack and a buffer of 8 KiB each.
const strangerMemory = connectionMemory + 16<<10

// connections is how many of those that were asked for fit beside the reserve of
// descriptors, and into memory: at least one, for none is the default.
func connections(asked, descriptors int, memory int64) int {
	return int(max(1, min(int64(asked), int64(descriptors-reserve(descriptors)), memory/connectionMemory)))
}

// strangers is how many of all connections may be without a link at a time: as many as a
// quarter of the memory has room for, and one beside one in the door. Where there are more,
// newcomers wait.
func strangers(all int, memory int64) int {
	return max(2, int(min(int64(all/4), memory/4/strangerMemory)))
}

// doorRoom is how many connections may be no websockets yet; each takes 15 KB. The relay
// counts them as strangers, and lets nobody come where there are enough of those: half of
// them at most may stand in the door, where the first makes way for the next.
func doorRoom(descriptors, strangers int) int {
	return max(1, min(128, reserve(descriptors)/2, strangers/2))
}

// reserve is how many descriptors are left to the relay's own files, and to
// connections that are no websockets yet: a quarter, or 1,024.
func reserve(descriptors int) int { return min(descriptors/4, 1024) }

func (a *app) logger(form string) *slog.Logger {
	if form == "json" {
		return slog.New(slog.NewJSONHandler(a.err, nil))
	}
	return slog.New(slog.NewTextHandler(a.err, nil))
}

// listen serves until the context ends.
func (a *app) listen(ctx context.Context, s *serveFlags, r *relay.Relay, d *door, dir string, log *slog.Logger) error {
	l, err := listenTCP(ctx, s.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	admin, err := listenAdmin(filepath.Join(dir, adminSocket))
	if err != nil {
		return err
	}
	defer admin.Close()
	inspect(dir, func(key string, args ...any) { log.Warn(a.say.T(key, args...)) })
	confine(dir, s.tls.folders()...)
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // net/http's log names addresses
	server := d.server(r, quiet)
	adminServer := &http.Server{Handler: s.admin(r), ReadHeaderTimeout: headerWait, ErrorLog: quiet}
	ended := make(chan error, 2)
	go func() { ended <- adminServer.Serve(admin) }()
	go func() {
		if s.tls != nil {
			server.TLSConfig = s.tls.config()
			ended <- server.ServeTLS(r.InTurn(l), "", "")
		} else {
			ended <- server.Serve(r.InTurn(l))
		}
	}()
	if err := a.announce(s, r, l.Addr()); err != nil {
		return err
	}
	daemon.SdNotify(false, daemon.SdNotifyReady)
	dog, stopDog := context.WithCancel(ctx)
	defer stopDog()
	watchdog(dog, r.Await)
	select {
	case err = <-ended:
	case <-ctx.Done():
		daemon.SdNotify(false, daemon.SdNotifyStopping)
	}
	server.Close()
	adminServer.Close()
	log.Info(a.say.T("relay.stopped"))
	return err
}

// admin is what the relay tells its operator, and of its certificate.
func (s *serveFlags) admin(r *relay.Relay) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", r.Admin())
	mux.HandleFunc("GET /certificate", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(s.tls.life()) })
	return mux
}

// reachedAt is the URL of the relay.
func (s *serveFlags) reachedAt(at net.Addr) string {
	if s.url != "" {
		return s.url
	}
	if s.tls == nil {
		return "ws://" + at.String()
	}
	host, port, err := net.SplitHostPort(at.String())
	name := s.tls.name()
	switch {
	case err != nil, name == "", s.tls.isFor(host):
		return "wss://" + at.String()
	case port == "443":
		return "wss://" + name
	}
	return "wss://" + net.JoinHostPort(name, port)
}

// announce prints what a newcomer can paste, in one write.
func (a *app) announce(s *serveFlags, r *relay.Relay, at net.Addr) error {
	host, err := protocol.ParseHost(s.reachedAt(at))
	if err != nil {
		return err
	}
	lines := "relay: " + protocol.Address{Hosts: []protocol.Host{host}, Fingerprint: r.Fingerprint()}.String() + "\n"
	if journal(a.out) {
		fmt.Fprintln(a.err, a.say.T("relay.no-first-grant"))
	} else {
		grant, err := r.FirstGrant(firstQueues, firstLife)
		if err != nil {
			return err
		}
		if grant != "" {
			lines += "grant: " + grant + "\n"
		}
	}
	_, err = fmt.Fprint(a.out, lines)
	return err
}

// journal tells whether w is systemd's journal: a grant must not be kept there.
func journal(w any) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("JOURNAL_STREAM") != "" && sameStream(f, os.Getenv("JOURNAL_STREAM"))
}

// listenAdmin opens the socket that only this user can reach.
func listenAdmin(name string) (net.Listener, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("the administration socket: %w", err)
	}
	return l, os.Chmod(name, 0o600)
}

// watchdog tells systemd that the relay goes on, if it asked.
func watchdog(ctx context.Context, await func()) {
	if every, err := daemon.SdWatchdogEnabled(false); err == nil && every > 0 {
		go watch(ctx, every/2, await, func() { daemon.SdNotify(false, daemon.SdNotifyWatchdog) })
	}
}

// watch tells, now and then, that what is awaited came; where it never comes, nothing is
// told, and systemd starts another relay.
func watch(ctx context.Context, every time.Duration, await, tell func()) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			await()
			tell()
		}
	}
}

// trimLine is a line without what ends it.
func trimLine(s string) string { return strings.TrimRight(s, "\r\n") }
