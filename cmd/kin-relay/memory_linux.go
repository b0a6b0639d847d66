package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memoryShare is how much of the machine's memory the relay keeps to, in hundredths:
// the rest is the kernel's, for sockets.
const memoryShare = 70

// limitMemory has garbage collected in time: where there is little memory, a heap that
// may double would end the process. It returns the limit; GOMEMLIMIT goes before it.
func limitMemory() int64 {
	var machine unix.Sysinfo_t
	if os.Getenv("GOMEMLIMIT") != "" || unix.Sysinfo(&machine) != nil {
		return debug.SetMemoryLimit(-1)
	}
	there := int64(machine.Totalram) * int64(machine.Unit)
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path; version 2 has no controllers.
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) < 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		if part[1] == "memory" {
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if part[1] != "" {
			continue
		}
		for dir := filepath.Clean("/" + part[2]); ; dir = filepath.Dir(dir) { // each above it counts too
			if b, err := os.ReadFile(filepath.Join(root, dir, file)); err == nil {
				if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
					there = min(there, n)
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	debug.SetMemoryLimit(there / 100 * memoryShare)
	return there / 100 * memoryShare
}
