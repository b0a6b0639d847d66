package protocol

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// Host is one front of a relay: where to open the websocket.
type Host struct {
	TLS  bool   // wss; without it only loopback and onion names are allowed
	Name string // host or host:port, lower case
}

// URL is the websocket's URL.
func (h Host) URL() string {
	if h.TLS {
		return "wss://" + h.Name
	}
	return "ws://" + h.Name
}

// Address names a relay: its fronts and the fingerprint that every one must show.
type Address struct {
	Hosts       []Host // 1 to MaxHosts
	Fingerprint Fingerprint
}

// ErrAddress is wrapped by every error of ParseAddress.
var ErrAddress = errors.New("not a relay address")

// ErrPlain is returned for a ws address that is neither loopback nor onion.
var ErrPlain = fmt.Errorf("%w: without TLS (ws://) only loopback and .onion are allowed; use wss://", ErrAddress)

// ParseHost reads ws://HOST[:PORT] or wss://HOST[:PORT].
func ParseHost(s string) (Host, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") || u.Hostname() == "" {
		return Host{}, fmt.Errorf("%w: %q", ErrAddress, s)
	}
	h := Host{TLS: strings.EqualFold(u.Scheme, "wss"), Name: strings.ToLower(u.Host)}
	if !h.TLS && !strings.EqualFold(u.Scheme, "ws") {
		return Host{}, fmt.Errorf("%w: %q: must begin with ws:// or wss://", ErrAddress, s)
	}
	return h, h.check()
}

// hostName is a name or an IPv4 address, or an IPv6 address in brackets, and a port.
var hostName = regexp.MustCompile(`^([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$`)

// check refuses names that could not have come from ParseHost.
func (h Host) check() error {
	if len(h.Name) > MaxHostLength || !hostName.MatchString(h.Name) {
		return fmt.Errorf("%w: %q", ErrAddress, h.Name)
	}
	u, err := url.Parse(h.URL())
	if err != nil || u.Host != h.Name {
		return fmt.Errorf("%w: %q", ErrAddress, h.Name)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); h.Name[0] == '[' && (err != nil || !ip.Is6()) {
		return fmt.Errorf("%w: %q", ErrAddress, h.Name)
	}
	if !h.TLS && !Loopback(u.Hostname()) && !strings.HasSuffix(u.Hostname(), ".onion") {
		return ErrPlain
	}
	return nil
}

// Loopback tells whether a host name or IP is this machine's own.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// String is ws(s)://HOST[:PORT]#FINGERPRINT with the first host.
func (a Address) String() string { return a.Hosts[0].URL() + "#" + a.Fingerprint.String() }

// ParseAddress reads ws(s)://HOST[:PORT]#FINGERPRINT; the fingerprint is 26
// characters of base32 and forgives case and look-alikes.
func ParseAddress(s string) (Address, error) {
	s = strings.TrimSpace(s)
	front, fp, ok := strings.Cut(s, "#")
	if !ok {
		return Address{}, fmt.Errorf("%w: %q has no #FINGERPRINT", ErrAddress, s)
	}
	h, err := ParseHost(front)
	if err != nil {
		return Address{}, err
	}
	var text []byte
	for _, r := range fp {
		c := mend(r)
		if c == 0 {
			return Address{}, fmt.Errorf("%w: %q in the fingerprint", ErrAddress, r)
		}
		text = append(text, c)
	}
	b, ok := decode32(string(text))
	if !ok || len(b) != FingerprintSize {
		return Address{}, fmt.Errorf("%w: the fingerprint must be 26 characters", ErrAddress)
	}
	return Address{[]Host{h}, Fingerprint(b)}, nil
}

// DialAddress is host:port of a front, with the scheme's port if none is named.
func (h Host) DialAddress() string {
	if _, _, err := net.SplitHostPort(h.Name); err == nil {
		return h.Name
	}
	name := strings.Trim(h.Name, "[]")
	if h.TLS {
		return net.JoinHostPort(name, "443")
	}
	return net.JoinHostPort(name, "80")
}

// String is the fingerprint as addresses carry it: 26 characters of base32.
func (f Fingerprint) String() string { return encode32(f[:]) }
