package vault

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// children are what this test program does as a process of its own, by the variable
// that asks for it, with that variable's value.
var children = map[string]func(string) error{
	driveEnv: func(string) error {
		runtime.LockOSThread() // strace counts faults by thread
		return drive(os.Args[1:])
	},
}

func TestMain(m *testing.M) {
	for name, child := range children {
		if v := os.Getenv(name); v != "" {
			if err := child(v); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}
