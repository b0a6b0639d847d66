//go:build unix

package relay

import "golang.org/x/sys/unix"

// freeShare is how much of a folder's file system is free for this process; 1 if
// that can't be told.
func freeShare(dir string) float64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Blocks == 0 {
		return 1
	}
	return float64(st.Bavail) / float64(st.Blocks)
}
