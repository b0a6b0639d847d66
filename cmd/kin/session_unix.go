//go:build unix

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what the shortest sun_path of our platforms holds.
const maxSocketPath = 103

// sessionAddresses are the paths where the session's socket may be: in folders of this
// user alone, first that which the system ends with the login, if it has one. The last
// depends on no variable.
func sessionAddresses(name string, getenv func(string) string) (addresses []string) {
	var folders []string
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		folders = append(folders, filepath.Join(dir, "kin"))
	}
	own := "kin-" + strconv.Itoa(os.Getuid())
	folders = append(folders, filepath.Join(os.TempDir(), own), filepath.Join("/tmp", own))
	for _, dir := range folders {
		if address := filepath.Join(dir, name); len(address) <= maxSocketPath {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// sessionAddress is the first of them that can be used.
func sessionAddress(name string, getenv func(string) string) (string, error) {
	err := errors.New("no folder for the session")
	for _, address := range sessionAddresses(name, getenv) {
		if err = privateFolder(filepath.Dir(address)); err == nil {
			return address, nil
		}
	}
	return "", err
}

// linkSession makes the socket known at the last of its addresses too, for commands with
// other variables; unlink takes that back.
func linkSession(address string, getenv func(string) string) (unlink func()) {
	all := sessionAddresses(filepath.Base(address), getenv)
	link := all[len(all)-1]
	if link == address || privateFolder(filepath.Dir(link)) != nil {
		return func() {}
	}
	os.Remove(link) // a killed session's
	if os.Symlink(address, link) != nil {
		return func() {}
	}
	return func() {
		if at, err := os.Readlink(link); err == nil && at == address { // else it is a later session's
			os.Remove(link)
		}
	}
}

// privateFolder makes a folder that only this user can enter, or checks that it is
// one: the folder around it may be everybody's.
func privateFolder(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return ownFolder(dir)
}

// ownFolder checks that a folder is one that only this user can enter.
func ownFolder(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || info.Mode().Perm()&0o077 != 0 || int(owner.Uid) != os.Getuid() {
		return fmt.Errorf("%q is not a folder of this user alone", dir)
	}
	return nil
}

// listenSession opens the socket; one that a killed session left is removed.
func listenSession(address string) (net.Listener, error) {
	if conn, err := net.Dial("unix", address); err == nil {
		conn.Close()
		return nil, os.ErrExist
	}
	os.Remove(address)
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(address, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// sessionPresent tells whether the socket is still there: at logout the system
// removes the folder that it stands in.
func sessionPresent(address string) bool { return exists(address) }

func dialSession(address string) (net.Conn, error) {
	if err := ownFolder(filepath.Dir(address)); err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout("unix", address, sessionPatience)
	if err != nil {
		return nil, err
	}
	if err := checkPeer(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// detach lets the process live on without this terminal.
func detach(c *exec.Cmd) {
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}

// keepInMemory asks the system not to write the key to swap; it may refuse.
func keepInMemory(key []byte) { unix.Mlock(key) }
