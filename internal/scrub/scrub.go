// Package scrub overwrites what functions leave on a goroutine's stack.
package scrub

import "runtime"

const (
	below = 14 << 10 // bytes of stack that are overwritten: what the deepest call takes (a commit of bbolt, 12 KB), and a margin
	above = 8 << 10  // bytes that are held meanwhile, see Do
)

// Do calls f, which handles keys or ids, and then overwrites the stack that f and what
// it called have used, down to 14 KiB.
//
// A stack must not move meanwhile, for the old one would be left as it is. Go moves a
// stack that is too small, so it grows before f is called; and its garbage collector
// moves one of which less than a quarter is used, so that Do holds 8 of the then 32 KiB.
// Do within Do would make it 64, with nothing gained: whoever f calls overwrites nothing.
//
//go:noinline
func Do(f func()) {
	if f == nil { // never; but the frame has room for it
		var held [above]byte
		runtime.KeepAlive(&held)
	}
	reach(false)
	defer reach(true)
	f()
}

// reach has the stack reach so far down, and overwrites that if it is to. The room is in
// its frame in any case.
//
//go:noinline
func reach(wipe bool) {
	if wipe {
		var b [below]byte
		runtime.KeepAlive(&b)
	}
}
