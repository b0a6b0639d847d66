package main

import "os"

// openToOthers: on Windows the folder's access list decides, which it inherits
// from the user's own.
const openToOthers = false

func harden() {}

func sameStream(*os.File, string) bool { return false }

// descriptors: Windows sets no such limit.
func descriptors() int { return 1 << 20 }
