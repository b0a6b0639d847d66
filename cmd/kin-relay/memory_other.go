//go:build !linux

package main

import "runtime/debug"

// limitMemory returns GOMEMLIMIT's limit: what the machine has is looked for on Linux
// alone.
func limitMemory() int64 { return debug.SetMemoryLimit(-1) }
