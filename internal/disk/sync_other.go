//go:build !linux

package disk

import "os"

// datasync is F_FULLFSYNC on macOS and FlushFileBuffers on Windows: os.File.Sync.
func datasync(f *os.File) error { return f.Sync() }
