//go:build unix

package main

import "os"

func openTerminal() (in, out *os.File, err error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	return f, f, err
}

// enableEscapes tells whether the terminal understands escape sequences: TERM
// says so.
func enableEscapes(*os.File) bool { return true }

// holdWindow is for Windows.
func holdWindow(*app) {}

// systemLanguage is what the locale variables are for.
func systemLanguage() string { return "" }
