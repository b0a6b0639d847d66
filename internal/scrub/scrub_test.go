package scrub

import (
	"runtime"
	"testing"
	"unsafe"
)

//go:noinline
func here() uintptr {
	var b byte
	return uintptr(unsafe.Pointer(&b))
}

// collect has the garbage collector run, several times, while its caller waits.
func collect() {
	done := make(chan struct{})
	go func() {
		for range 3 {
			runtime.GC()
		}
		close(done)
	}()
	<-done
}

// moves tells whether the stack of a goroutine that waits moves, in each way of calling.
func moves(call func(f func())) (moved bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		call(func() {
			before := here()
			collect()
			moved = here() != before
		})
	}()
	<-done
	return moved
}

// TestTheStackStaysWhereItIs: the old one would keep what is on it.
func TestTheStackStaysWhereItIs(t *testing.T) {
	if moves(Do) {
		t.Error("the stack moved")
	}
	if !moves(func(f func()) { reach(false); f() }) {
		t.Error("a stack of which little is used did not move: this test shows nothing")
	}
}
