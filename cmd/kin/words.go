package main

import (
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"strings"
)

//go:embed words.txt
var wordList string

// wordCount words of 3 to 7 letters, so that one is worth 11 bits.
const wordCount = 2048

// fiveWords is a passphrase of 55 random bits, for somebody who asks for one.
func fiveWords() string {
	words := strings.Fields(wordList)
	chosen := make([]string, 5)
	for i := range chosen {
		var b [2]byte
		rand.Read(b[:])
		chosen[i] = words[binary.BigEndian.Uint16(b[:])%wordCount] // divides evenly
	}
	return strings.Join(chosen, " ")
}
