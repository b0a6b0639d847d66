package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// confine keeps the process to its data folder, and to reading in others, as far as the
// kernel can.
func confine(dir string, others ...string) {
	landlock.V5.BestEffort().RestrictPaths(landlock.RWDirs(dir), landlock.RODirs(others...)) // an old kernel has none
}

// Magic numbers of file systems that do not overwrite in place (statfs(2)).
var writesElsewhere = map[uint32]string{0x9123683e: "btrfs", 0x2fc12fc1: "zfs", 0xca451a4e: "bcachefs", 0x794c7630: "overlayfs",
	0xf2f52010: "f2fs", 0x3434: "nilfs2", 0x24051905: "ubifs", 0x72b6: "jffs2"}

// inspect looks at the file system and swap.
func inspect(dir string, say func(string, ...any)) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil {
		if name := writesElsewhere[uint32(st.Type)]; name != "" {
			say("relay.check.cow", name)
		}
		if st.Blocks > 0 {
			if used := 100 - int(st.Bavail*100/st.Blocks); used >= 80 {
				say("relay.check.disk", used)
			}
		}
	}
	if b, err := os.ReadFile("/proc/swaps"); err == nil && strings.Count(strings.TrimSpace(string(b)), "\n") > 0 {
		say("relay.check.swap")
	}
	if journalsData(dir) {
		say("relay.check.journal")
	}
}

// journalsData tells whether the file system that dir lies on has data=journal, be it as a
// default of its own, of which /proc/mounts says nothing.
func journalsData(dir string) bool {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return false
	}
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev))))
	if err != nil {
		return false
	}
	options, _ := os.ReadFile(filepath.Join("/proc/fs/ext4", filepath.Base(device), "options"))
	return strings.Contains(string(options), "data=journal")
}
