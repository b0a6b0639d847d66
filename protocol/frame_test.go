package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

var proof = Proof{7, 7}

// commands are one of each.
func commands() []Command {
	e := bytes.Repeat([]byte{9}, EnvelopeSize)
	corr := Corr{1, 2, 3}
	return []Command{
		&Issue{corr, ID{1}, [][32]byte{{2}, {3}}},
		&New{corr, ID{1}, [32]byte{2}, proof},
		&Offer{corr, ID{1}, [32]byte{2}, 48, ID{3}, proof, e},
		&Offer{Corr: corr, Receiver: ID{1}, ClaimHash: [32]byte{2}, Proof: proof},
		&Del{corr, ID{1}, proof},
		&Fetch{corr, ID{1}},
		&Put{corr, ID{1}, MessageID{2}, 3, FlagUrgent, proof, e},
		&First{corr, ID{1}, [32]byte{2}, [32]byte{3}, MessageID{4}, 3, 0, proof, e},
		&Cancel{corr, ID{1}, MessageID{2}, proof},
		&Sub{corr, []ID{{1}, {2}}, []Proof{proof, {8}}},
		&Unsub{corr, 5},
		&Ack{5, []uint64{1, 1 << 40}},
	}
}

func answers() []Answer {
	e := bytes.Repeat([]byte{9}, EnvelopeSize)
	return []Answer{
		&OK{1}, &Error{1, CodeQueueFull, 60}, &Issued{1, 99}, &IDs{1, ID{2}, ID{3}}, &Blob{1, 2, e},
		&Subbed{1, []Subscription{{CodeOK, 1, 2, InviteOpen, 3, 4}, {Code: CodeProof}}},
		&Msg{1, 2, FlagUrgent, e}, &Tried{1, InviteUsed, 2, 3},
	}
}

func TestCommandsAndAnswersComeBack(t *testing.T) {
	for _, c := range commands() {
		got, err := ParseCommand(Frame{c.Type(), c.Body()})
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%T: %v", c, err)
		}
	}
	for _, a := range answers() {
		got, err := ParseAnswer(Frame{a.Type(), a.Body()})
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%T: %v", a, err)
		}
	}
}

func TestEveryOtherLengthIsRefused(t *testing.T) {
	for _, c := range commands() {
		b := c.Body()
		for _, n := range []int{0, 1, len(b) / 2, len(b) - 1} {
			if got, err := ParseCommand(Frame{c.Type(), b[:n]}); err == nil || got != nil {
				t.Errorf("%T cut to %d bytes is taken", c, n)
			}
		}
		if _, err := ParseCommand(Frame{c.Type(), append(b, 0)}); err == nil {
			t.Errorf("%T with a byte behind it is taken", c)
		}
	}
	for _, a := range answers() {
		b := a.Body()
		for _, n := range []int{0, 1, len(b) / 2, len(b) - 1} {
			if got, err := ParseAnswer(Frame{a.Type(), b[:n]}); err == nil || got != nil {
				t.Errorf("%T cut to %d bytes is taken", a, n)
			}
		}
		if _, err := ParseAnswer(Frame{a.Type(), append(b, 0)}); err == nil {
			t.Errorf("%T with a byte behind it is taken", a)
		}
	}
}

func TestUnknownTypes(t *testing.T) {
	corr := Corr{4}
	var unknown ErrUnknownType
	if _, err := ParseCommand(Frame{0x15, append(corr[:], 1, 2)}); !errors.As(err, &unknown) || unknown.Corr != corr {
		t.Error(err)
	}
	if _, err := ParseCommand(Frame{0x15, []byte{1}}); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	if a, err := ParseAnswer(Frame{0x95, []byte{1}}); a != nil || err != nil {
		t.Error(a, err)
	}
}

func TestSignedBytesDifferInEveryField(t *testing.T) {
	seen := map[string]Command{}
	for _, c := range append(commands(), &Put{Sender: ID{1}, Message: MessageID{2}, Class: 4}, &Put{Sender: ID{1}, Message: MessageID{3}, Class: 4},
		&Cancel{Sender: ID{2}, Message: MessageID{2}}, &Offer{Receiver: ID{1}, TTL: 49}) {
		if other := seen[string(c.SignedBytes())]; other != nil {
			t.Errorf("%#v and %#v have one proof", c, other)
		}
		seen[string(c.SignedBytes())] = c
	}
}

func FuzzCommand(f *testing.F) {
	for _, c := range commands() {
		f.Add(byte(c.Type()), c.Body())
	}
	f.Fuzz(func(t *testing.T, typ byte, b []byte) {
		c, err := ParseCommand(Frame{Type(typ), b})
		if err == nil && !bytes.Equal(c.Body(), b) {
			t.Fatalf("%T does not marshal to the same bytes", c)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, a := range answers() {
		f.Add(byte(a.Type()), a.Body())
	}
	f.Fuzz(func(t *testing.T, typ byte, b []byte) {
		a, err := ParseAnswer(Frame{Type(typ), b})
		if err == nil && a != nil && !bytes.Equal(a.Body(), b) {
			t.Fatalf("%T does not marshal to the same bytes", a)
		}
	})
}
