package main

import (
	"io/fs"

	"golang.org/x/sys/windows"
)

// harden keeps the error dialogue, which offers to send memory away, from
// appearing.
func harden() {
	windows.SetErrorMode(windows.SEM_NOGPFAULTERRORBOX | windows.SEM_FAILCRITICALERRORS)
}

// othersRead can't be told from the mode on Windows.
func othersRead(fs.FileInfo) bool { return false }
