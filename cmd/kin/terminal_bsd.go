//go:build unix && !linux

package main

// maxTerminalLine is what a line in a terminal's line mode holds, in bytes without
// the newline (MAX_CANON less one).
const maxTerminalLine = 1023
