package main

import (
	"bufio"
	"os"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// confine keeps the process to its data folder, and to reading in others, as far as the
// kernel can.
func confine(dir string, others ...string) {
	landlock.V5.BestEffort().RestrictPaths(landlock.RWDirs(dir), landlock.RODirs(others...)) // an old kernel has none
}

// Magic numbers of file systems that copy on write (statfs(2)).
var copiesOnWrite = map[int64]string{0x9123683e: "btrfs", 0x2fc12fc1: "zfs", 0xca451a4e: "bcachefs", 0x794c7630: "overlayfs"}

// inspect looks at the file system and swap.
func inspect(dir string, say func(string, ...any)) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil {
		if name := copiesOnWrite[int64(st.Type)]; name != "" {
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

// journalsData tells whether the mount that dir lies on has data=journal.
func journalsData(dir string) bool {
	f, err := os.Open("/proc/mounts")
	if err != nil {
		return false
	}
	defer f.Close()
	longest, found := "", false
	for s := bufio.NewScanner(f); s.Scan(); {
		field := strings.Fields(s.Text())
		if len(field) < 4 || len(field[1]) < len(longest) {
			continue
		}
		at := strings.TrimSuffix(field[1], "/") + "/"
		if strings.HasPrefix(dir+"/", at) {
			longest, found = field[1], strings.Contains(field[3], "data=journal")
		}
	}
	return found
}
