package enemy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// meanings are every kind of thing in relay.db, and what it says to who holds it. What
// is not here must not be there.
var meanings = []struct {
	kind, meaning string
	shared        string // why two contacts of one user may have equal ones; "": they may not
}{
	{"keys.(key)", "the name of the one record", "a constant"},
	{"keys.Static", "the relay's private key: lets the holder pose as this relay; opens no recorded link", ""},
	{"keys.IDs", "the secret that queue ids follow from: with a ticket and a key it makes their ids", ""},
	{"keys.Spool", "authenticates batches of the spool", ""},
	{"keys.Epoch", "how long an epoch is", "public: it stands in hello"},
	{"keys.Slots", "that the keys of epochs are on the disk", "a flag"},
	{"keys.Numbers", "how many batch numbers were given out", ""},
	{"queues.(key)", "hash of a receiver id", ""},
	{"queues.Receiver", "the same", ""},
	{"queues.Sender", "hash of a sender id", ""},
	{"queues.Key", "the receiver's public key, for this queue alone", ""},
	{"queues.SenderKey", "the sender's public key, for this queue alone", ""},
	{"queues.Claim", "hash of what the first sender had to show", ""},
	{"queues.Day", "the day of the last use", "a date, rounded to the day"},
	{"queues.Gone", "that it was deleted", "a flag"},
	{"queues.Invite.Location", "hash of where an invite's blob was", ""},
	{"queues.Invite.Blob", "an open invite, sealed: the key is in the invite itself", ""},
	{"queues.Invite.TTL", "how many hours the invite lives", "a number that most have"},
	{"queues.Invite.Expires", "when the invite expires", "a date, rounded to the hour"},
	{"queues.Invite.State", "open, used, expired or revoked", "one of four"},
	{"queues.Invite.Fetches", "how often it was fetched", "a number up to 16"},
	{"queues.Invite.Tries", "how often another tried it", "a number up to 255"},
	{"deleted.(key)", "hash of the receiver id of a queue that was just deleted, or that could not be erased yet", ""},
	{"tickets.(key)", "hash of a ticket", ""},
	{"tickets.Expires", "when the ticket expires", "a date, rounded to the day"},
	{"tickets.Key", "hash of the receiver's key that used it: which queue it made", ""},
	{"grants.(key)", "hash of a grant", ""},
	{"grants.Name", "the first characters of that", ""},
	{"grants.Total", "how many queues the grant is for", "a number that most have"},
	{"grants.Left", "how many are left", "a number"},
	{"grants.Made", "the day it was made", "a date, rounded to the day"},
	{"grants.Expires", "when it expires", "a date, rounded to the day"},
	{"grants.Revoked", "that it was revoked", "a flag"},
}

func (v value) kind() string { return v.bucket + "." + v.field }

// The relay's folder, seized with all its keys: every kind of thing that it says, and
// nothing of any other kind.
func TestEnemyLearnsFromASeizedRelay(t *testing.T) {
	s := newStage(t)
	k := s.caseworker()
	// Names long enough that no key holds them by chance.
	g := s.guest(k, "the family K7")
	s.guest(k, "the family K8")
	open, _, err := k.Invite(t.Context(), "the family K9", 0)
	if err != nil {
		t.Fatal(err)
	}
	s.send(g, "Mina", "collected")
	s.send(k, "the family K7", "Understood.") // who sends collects as well
	s.send(k, "the family K8", "Understood, you too.")
	s.send(g, "Mina", "They are at the garrison.")
	s.stop()
	d := readDump(t, s.dir)

	counts, distinct := map[string]int{}, map[string]map[string]bool{}
	for _, v := range d.values {
		counts[v.kind()]++
		if distinct[v.kind()] == nil {
			distinct[v.kind()] = map[string]bool{}
		}
		distinct[v.kind()][string(v.bytes)] = true
		for _, secret := range []string{"127.0.0.1", "the family", "Mina the", "garrison", open[20:60]} {
			if bytes.Contains(v.bytes, []byte(secret)) {
				t.Errorf("%s holds %q", v.kind(), secret)
			}
		}
	}
	t.Logf("files: %s", strings.Join(d.files, " "))
	for _, m := range meanings {
		if n := counts[m.kind]; n > 0 {
			t.Logf("%-24s %3d, %3d distinct: %s", m.kind, n, len(distinct[m.kind]), m.meaning)
		}
		delete(counts, m.kind)
	}
	if len(counts) > 0 {
		t.Errorf("of other kinds: %v", counts)
	}
	queues := map[string]int{}
	for _, r := range d.records {
		queues[fmt.Sprintf("%x", r.queue()[:4])]++
		if flags := r.header[60]; flags > 1 || len(r.header) != 61 || len(r.body) != 4096 {
			t.Errorf("a record of another kind: %x", r.header)
		}
		for _, text := range []string{"garrison", "Understood"} {
			if bytes.Contains(r.body, []byte(text)) {
				t.Errorf("an envelope holds %q", text)
			}
		}
	}
	t.Logf("spool: %d envelopes of 4,096 sealed bytes in %d queues; of each: hash of its queue, sequence, message id, hour of expiry, urgent or not", len(d.records), len(queues))
	if len(d.records) != 2 {
		t.Errorf("%d envelopes can be opened, of 2 that wait and 2 that were collected", len(d.records))
	}
}

// group is all that belongs to some queues: their records, tickets and envelopes.
func (d *dump) group(queues map[string]bool) (fields map[string][][]byte, records int) {
	fields = map[string][][]byte{}
	keys := map[string]bool{} // of tickets that made these queues
	for _, v := range d.values {
		if v.bucket == "queues" && queues[v.key] {
			fields[v.kind()] = append(fields[v.kind()], v.bytes)
			if v.field == "Key" {
				keys[string(hashOfKey(v.bytes))] = true
			}
		}
	}
	tickets := map[string]bool{}
	for _, v := range d.values {
		if v.bucket == "tickets" && v.field == "Key" && keys[string(v.bytes)] {
			tickets[v.key] = true
		}
	}
	for _, v := range d.values {
		if v.bucket == "tickets" && tickets[v.key] {
			fields[v.kind()] = append(fields[v.kind()], v.bytes)
		}
	}
	for _, r := range d.records {
		if queues[r.queue()] {
			records++
			for name, b := range map[string][]byte{"salt": r.salt, "queue": r.header[:32], "sequence": r.header[32:40], "id": r.header[40:56], "body": r.body} {
				fields["spool."+name] = append(fields["spool."+name], b)
			}
		}
	}
	return fields, records
}

// shared counts the values of 8 bytes or more of one group that stand anywhere in the
// other, but for what meanings excuses.
func shared(a, b map[string][][]byte) (found []string, compared int) {
	excused := map[string]bool{}
	for _, m := range meanings {
		excused[m.kind] = m.shared != ""
	}
	var all [][]byte
	for kind, values := range b {
		if !excused[kind] {
			all = append(all, values...)
		}
	}
	seen := map[string]bool{}
	for _, v := range all {
		for i := 0; i+8 <= len(v); i++ {
			seen[string(v[i:i+8])] = true
		}
	}
	for kind, values := range a {
		if excused[kind] {
			continue
		}
		for _, v := range values {
			for i := 0; i+8 <= len(v); i++ {
				compared++
				if seen[string(v[i:i+8])] {
					found = append(found, fmt.Sprintf("%s: %x", kind, v[i:i+8]))
				}
			}
		}
	}
	return found, compared
}

// Two contacts of one user, on one relay: nothing in its folder says that they are
// the same person's.
func TestEnemyLearnsNothingShared(t *testing.T) {
	s := newStage(t)
	k := s.caseworker()
	stored := func() map[string]bool {
		out := map[string]bool{}
		for _, key := range readDump(t, s.dir).find("queues", "(key)") {
			out[string(key)] = true
		}
		return out
	}
	snapshot := func() map[string]bool { // of a copy: the relay has the file open
		to := &stage{t: t, dir: t.TempDir()}
		copyRelay(t, s.dir, to.dir)
		from := s.dir
		s.dir = to.dir
		defer func() { s.dir = from }()
		return stored()
	}
	one := s.guest(k, "K7")
	first := snapshot()
	two := s.guest(k, "K8")
	second := map[string]bool{}
	for q := range snapshot() {
		if !first[q] {
			second[q] = true
		}
	}
	s.send(k, "K7", "to one")
	s.send(k, "K8", "to two")
	for range 3 {
		s.send(one, "Mina", "from one")
		s.send(two, "Mina", "from two")
	}
	s.stop()
	d := readDump(t, s.dir)
	a, n := d.group(first)
	b, m := d.group(second)
	found, compared := shared(a, b)
	t.Logf("two contacts of one user, %d and %d queues, %d and %d envelopes: %d runs of 8 bytes compared, %d shared", len(first), len(second), n, m, compared, len(found))
	for _, e := range meanings {
		if e.shared != "" && a[e.kind] != nil {
			t.Logf("not compared: %s, %s", e.kind, e.shared)
		}
	}
	if len(found) > 0 {
		t.Errorf("%s", found)
	}
	if len(first) != 2 || len(second) != 2 || n != 3 || m != 3 || len(a["tickets.(key)"]) != 2 {
		t.Errorf("the groups are not what they should be: %d %d %d %d %d", len(first), len(second), n, m, len(a["tickets.(key)"]))
	}
	// The measure sees what is shared: a contact with itself.
	if again, _ := shared(a, a); len(again) == 0 {
		t.Error("nothing is shared with itself")
	}
	// Dates are rounded, so that two that were made together do not tell it.
	for kind, unit := range map[string]time.Duration{"tickets.Expires": 24 * time.Hour, "grants.Expires": 24 * time.Hour, "grants.Made": 24 * time.Hour, "queues.Invite.Expires": time.Hour} {
		bucket, field, _ := strings.Cut(kind, ".")
		values := d.find(bucket, field)
		for _, v := range values {
			if sec := binary.BigEndian.Uint64(v); sec%uint64(unit/time.Second) != 0 {
				t.Errorf("%s is %v, not rounded to %v", kind, time.Unix(int64(sec), 0).UTC(), unit)
			}
		}
		if len(values) == 0 && !slices.Contains([]string{"grants.Made"}, kind) {
			t.Errorf("no %s", kind)
		}
	}
}
