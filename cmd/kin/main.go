// Kin is the client of families and caseworkers: kin --help says what it does,
// interface.md what it promises. Everything that needs no terminal, flag or
// environment is in kin/client.
package main

import "os"

func main() {
	harden()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
