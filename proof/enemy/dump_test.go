package enemy

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/crypto/chacha20poly1305"
)

// dump is all that who holds the relay's folder can decode, its keys used: read as
// docs/spool-format.md says, by code of its own.
type dump struct {
	values  []value
	records []record // of the spool, that were not collected and have not expired
	files   []string
}

// value is one field of one record of relay.db.
type value struct {
	bucket, key string // key: the record's
	field       string // its path in the record, numbers of lists as []
	bytes       []byte // of an array, a string or a number
}

// record is an envelope in the spool.
type record struct {
	salt   []byte
	header []byte // queue32 sequence8 id16 epoch4 flags1
	body   []byte
}

func (r record) queue() string { return string(r.header[:32]) }

func readDump(t *testing.T, dir string) *dump {
	t.Helper()
	d := &dump{}
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(dir, name)
			d.files = append(d.files, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(dir, "relay.db"), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(bucket []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				var parsed any
				dec := json.NewDecoder(bytes.NewReader(v[16:])) // behind a checksum
				dec.UseNumber()
				if err := dec.Decode(&parsed); err != nil {
					return err
				}
				d.values = append(d.values, value{string(bucket), string(k), "(key)", bytes.Clone(k)})
				d.flatten(string(bucket), string(k), "", parsed)
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	d.readSpool(t, dir)
	return d
}

// flatten takes a record apart. A list of numbers below 256 is bytes.
func (d *dump) flatten(bucket, key, path string, v any) {
	add := func(b []byte) { d.values = append(d.values, value{bucket, key, path, b}) }
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			d.flatten(bucket, key, strings.TrimPrefix(path+"."+name, "."), x)
		}
	case []any:
		var b []byte
		for _, x := range v {
			n, err := x.(json.Number).Int64()
			if err != nil || n > 255 {
				panic(fmt.Sprintf("%s.%s is a list of other things", bucket, path))
			}
			b = append(b, byte(n))
		}
		add(b)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			panic(err)
		}
		add(binary.BigEndian.AppendUint64(nil, uint64(n)))
	case string:
		if b, err := base64.StdEncoding.DecodeString(v); err == nil && len(b) > 64 {
			add(b)
		} else {
			add([]byte(v))
		}
	case bool:
		add([]byte(fmt.Sprint(v)))
	}
}

func (d *dump) find(bucket, field string) (out [][]byte) {
	for _, v := range d.values {
		if v.bucket == bucket && v.field == field {
			out = append(out, v.bytes)
		}
	}
	return out
}

// readSpool opens every record whose salt and epoch key are there.
func (d *dump) readSpool(t *testing.T, dir string) {
	t.Helper()
	slots, err := os.ReadFile(filepath.Join(dir, "epochs"))
	if err != nil {
		t.Fatal(err)
	}
	epochs := map[uint32][]byte{}
	for at := 4096; at < len(slots); at += 4096 {
		if n := binary.BigEndian.Uint16(slots[at:]); n == 36 {
			epochs[binary.BigEndian.Uint32(slots[at+2:])] = slots[at+6:][:32]
		}
	}
	key := d.find("keys", "Spool")[0]
	names, _ := filepath.Glob(filepath.Join(dir, "spool", "*.seg"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at+4096 <= len(b); at += 4096 {
			if string(b[at:at+8]) == "kinspl\x00\x01" {
				d.readBatch(b[at:], key, epochs)
			}
		}
	}
}

func (d *dump) readBatch(b, key []byte, epochs map[uint32][]byte) {
	n := int(binary.BigEndian.Uint32(b[24:]))
	end := 32 + 5*n
	m := hmac.New(sha256.New, key)
	m.Write(b[:end])
	if !hmac.Equal(m.Sum(nil), b[end:end+32]) {
		return
	}
	salts := (end + 32 + 31) / 32 * 32
	body := salts + (32+77)*n
	for i := range n {
		salt, header := b[salts+32*i:][:32], b[salts+32*n+77*i:][:77]
		size := 4096 + 16
		if b[32+5*i+4] == 1 {
			size = 65536 + 16
		}
		sealed := b[body:][:size]
		body += size
		m := hmac.New(sha256.New, epochs[binary.BigEndian.Uint32(b[32+5*i:])])
		m.Write(salt)
		m.Write(b[8:24])
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(i)))
		a, err := chacha20poly1305.New(m.Sum(nil))
		if err != nil {
			panic(err)
		}
		head, err := a.Open(nil, make([]byte, 12), header, nil)
		if err != nil {
			continue // collected: its salt is gone
		}
		plain, err := a.Open(nil, append(make([]byte, 11), 1), sealed, nil)
		if err != nil {
			panic(err)
		}
		d.records = append(d.records, record{bytes.Clone(salt), head, plain})
	}
}

// hashOfKey is what a ticket keeps of the key that used it: H("kin/1 claim", key).
func hashOfKey(key []byte) []byte {
	const label = "kin/1 claim"
	b := binary.BigEndian.AppendUint32(nil, uint32(len(label)))
	b = append(b, label...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	sum := sha256.Sum256(append(b, key...))
	return sum[:]
}

// copyRelay copies a relay's folder while it runs and nothing happens.
func copyRelay(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"relay.db", "epochs"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
