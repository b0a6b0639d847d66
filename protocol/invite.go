package protocol

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Invite is what turns two strangers into contacts: the relay to ask, and the
// hash of the bundle that it must give (docs/protocol.md, Invite text).
type Invite struct {
	Relay Address
	Hash  [32]byte // h = H(B)
}

// The text: "kin1" ‖ total length, two characters ‖ base32(body), with
// body = version1 ‖ n1 ‖ n×(scheme1 ‖ length1 ‖ host) ‖ fingerprint16 ‖ h32 ‖ checksum4.
const (
	invitePrefix    = "kin1"
	inviteHead      = len(invitePrefix) + 2
	inviteBodyMin   = 2 + 3 + FingerprintSize + 32 + 4
	maxInviteLength = 250
)

// Errors of ParseInvite. None used anything up.
var (
	ErrNoInvite       = errors.New("no invite found: it begins with kin1")
	ErrInviteChecksum = errors.New("a character is wrong: copy it again")
	ErrInviteVersion  = errors.New("the invite is from a newer version of Kin")
)

// ErrInviteCut says that the end is missing.
type ErrInviteCut struct{ Have, Want int }

func (e ErrInviteCut) Error() string {
	return fmt.Sprintf("incomplete: %d of %d characters; ask for all of it", e.Have, e.Want)
}

// ErrInviteLong is returned by String's caller when hosts are too long for an invite.
var ErrInviteLong = fmt.Errorf("the relay's names are too long for an invite of %d characters", maxInviteLength)

// Text is the invite as one unbroken token of at most 250 characters, lower case.
func (i Invite) Text() (string, error) {
	body := []byte{Version, byte(len(i.Relay.Hosts))}
	for _, h := range i.Relay.Hosts {
		if err := h.check(); err != nil {
			return "", err
		}
		scheme := byte(0)
		if !h.TLS {
			scheme = 1
		}
		body = append(body, scheme, byte(len(h.Name)))
		body = append(body, h.Name...)
	}
	body = append(body, i.Relay.Fingerprint[:]...)
	body = append(body, i.Hash[:]...)
	body = append(body, inviteChecksum(body)...)
	text := encode32(body)
	total := inviteHead + len(text)
	if len(i.Relay.Hosts) < 1 || len(i.Relay.Hosts) > MaxHosts || total > maxInviteLength {
		return "", ErrInviteLong
	}
	return invitePrefix + string([]byte{alphabet[total>>5], alphabet[total&31]}) + text, nil
}

func inviteChecksum(body []byte) []byte { return Hash("kin/1 invite text", body)[:4] }

// ParseInvite finds an invite in what a person pasted. It forgives case, spaces,
// line breaks, quotes, hyphens, zero-width characters, look-alike letters and
// words around it. The length is looked at first (ErrInviteCut), then the
// checksum (ErrInviteChecksum).
func ParseInvite(pasted string) (Invite, error) {
	if len(pasted) > 1<<16 {
		return Invite{}, ErrNoInvite
	}
	// 0 stands for a character that can't be in an invite.
	var text []byte
	for _, r := range pasted {
		if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Quotation_Mark, r) || unicode.Is(unicode.Dash, r) || r == '`' || r == '>' {
			continue
		}
		text = append(text, mend(r))
	}
	err := ErrNoInvite
	prefix := "k1n1" // as mend writes it
	for rest := string(text); ; {
		at := strings.Index(rest, prefix)
		if at < 0 {
			return Invite{}, err
		}
		rest = rest[at:]
		inv, e := parseInviteAt(rest)
		if e == nil {
			return inv, nil
		}
		if err == ErrNoInvite {
			err = e
		}
		rest = rest[len(prefix):]
	}
}

func parseInviteAt(s string) (Invite, error) {
	have := len(s)
	if cut := strings.IndexByte(s, 0); cut >= 0 {
		have = cut
	}
	if have < inviteHead {
		return Invite{}, ErrInviteCut{have, maxInviteLength}
	}
	want := strings.IndexByte(alphabet, s[4])<<5 | strings.IndexByte(alphabet, s[5])
	if want < inviteHead+(inviteBodyMin*8+4)/5 || want > maxInviteLength {
		return Invite{}, ErrInviteChecksum
	}
	if len(strings.ReplaceAll(s, "\x00", "")) < want {
		return Invite{}, ErrInviteCut{have, want}
	}
	if have < want { // enough characters, but a foreign one among them
		return Invite{}, ErrInviteChecksum
	}
	body, ok := decode32(s[inviteHead:want])
	if !ok {
		return Invite{}, ErrInviteChecksum
	}
	return parseInviteBody(body)
}

func parseInviteBody(body []byte) (Invite, error) {
	if len(body) < inviteBodyMin {
		return Invite{}, ErrInviteChecksum
	}
	data, sum := body[:len(body)-4], body[len(body)-4:]
	if string(inviteChecksum(data)) != string(sum) {
		return Invite{}, ErrInviteChecksum
	}
	if data[0] != Version {
		return Invite{}, ErrInviteVersion
	}
	r := &reader{b: data[1:]}
	n := int(r.u8())
	if n < 1 || n > MaxHosts {
		return Invite{}, ErrMalformed
	}
	var inv Invite
	for range n {
		scheme := r.u8()
		h := Host{TLS: scheme == 0, Name: string(r.take(int(r.u8())))}
		if r.err != nil || scheme > 1 || h.check() != nil {
			return Invite{}, ErrMalformed
		}
		inv.Relay.Hosts = append(inv.Relay.Hosts, h)
	}
	inv.Relay.Fingerprint = Fingerprint(r.take(FingerprintSize))
	inv.Hash = [32]byte(r.take(32))
	if r.end() != nil {
		return Invite{}, ErrMalformed
	}
	return inv, nil
}
