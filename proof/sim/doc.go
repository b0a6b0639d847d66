// Package sim plays whole towns: a relay, its disk, a network, the clock and up to
// six people with profiles of their own, in one bubble of virtual time, from a seed.
// People invite, join, send, take back, receive, follow, compare, rename, remove and
// wipe; their processes are killed at any moment of their traffic and go on with
// what was on the disk; the relay is killed, loses its power at any operation of its
// disk, meets errors and a full disk, is restarted, or is away for days. A model that
// knows only what people did judges every message that is shown and every state that
// is told.
//
//	go test ./proof/sim                          50 seeds
//	go test ./proof/sim -v -args -seeds 1000     more of them
//	go test ./proof/sim -v -args -seed 17        one again, with its trace
//
// A seed is replayed exactly: everything that is left to chance comes from it, and
// every piece on the wire arrives at a moment of its own and everybody's patience ends
// at one, so that the scheduler has little to choose. TestReplays compares the hashes of whole traces, times included.
//
// What is not simulated: a clock that goes back (a bubble's clock can't), a crash
// within a commit of a profile or of relay.db (both lie on a real file system, and
// are found as their last commit left them), and time that a disk takes.
package sim
