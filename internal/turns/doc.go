// Package turns has those who always have something to do wait for those for whom
// something has arrived. Go's poller, which finds what has, is asked when nothing can run,
// and else every 10 ms; who waits for a turn gets it when the poller was asked. Yielding
// (runtime.Gosched) alone is no help: who yields is found before the poller is asked. On
// Windows a turn is no more than that. Asking takes system calls and two switches of
// goroutines, so that those whose work is short ask only once in a while.
//
// The system, too, lets a thread that comes back from the disk wait for one that runs: on
// Linux for up to 4 ms. Before a turn is over, such threads run first.
package turns
