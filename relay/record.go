package relay

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
)

// sumSize is how much of a SHA-256 stands before each record. An altered bit of an id would
// make another queue of it.
const sumSize = 16

func sumOf(key, record []byte) []byte {
	h := sha256.New()
	h.Write(key)
	h.Write(record)
	return h.Sum(nil)[:sumSize]
}

func put(tx *bbolt.Tx, bucket, key []byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket(bucket).Put(key, append(sumOf(key, b), b...))
}

// parse reads what put has written under a key.
func parse(key, b []byte, v any) error {
	if len(b) < sumSize || !bytes.Equal(b[:sumSize], sumOf(key, b[sumSize:])) {
		return fmt.Errorf("%w (a record fails its checksum)", ErrDamaged)
	}
	return json.Unmarshal(b[sumSize:], v)
}

func get[T any](tx *bbolt.Tx, bucket, key []byte) (*T, error) {
	b := tx.Bucket(bucket).Get(key)
	if b == nil {
		return nil, nil
	}
	v := new(T)
	return v, parse(key, b, v)
}
