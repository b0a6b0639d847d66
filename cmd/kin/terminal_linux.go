package main

// maxTerminalLine is what a line in a terminal's line mode holds on Linux, in bytes
// without the newline (N_TTY_BUF_SIZE less one, termios(3), Canonical mode).
const maxTerminalLine = 4095
