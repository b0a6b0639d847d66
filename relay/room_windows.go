package relay

import "golang.org/x/sys/windows"

// freeShare is how much of a folder's volume is free for this process; 1 if that
// can't be told.
func freeShare(dir string) float64 {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 1
	}
	var free, total uint64
	if windows.GetDiskFreeSpaceEx(p, &free, &total, nil) != nil || total == 0 {
		return 1
	}
	return float64(free) / float64(total)
}
