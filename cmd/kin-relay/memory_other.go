//go:build !linux

package main

// limitMemory is for Linux.
func limitMemory() {}
