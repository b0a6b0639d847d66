package main

import (
	"net"
	"os/exec"
	"syscall"
	"time"
	"unsafe"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

// sessionAddresses is the name of the session's pipe.
func sessionAddresses(name string, _ func(string) string) []string {
	return []string{`\\.\pipe\kin-` + name}
}

// sessionAddress is that name too.
func sessionAddress(name string, getenv func(string) string) (string, error) {
	return sessionAddresses(name, getenv)[0], nil
}

// linkSession: a pipe's name depends on no variable.
func linkSession(string, func(string) string) (unlink func()) { return func() {} }

// listenSession opens the pipe for this user alone (SDDL: protected, one entry).
func listenSession(address string) (net.Listener, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, err
	}
	return winio.ListenPipe(address, &winio.PipeConfig{SecurityDescriptor: "D:P(A;;GA;;;" + user.User.Sid.String() + ")"})
}

// sessionPresent: a pipe goes with its process, and Windows ends that at logout.
func sessionPresent(string) bool { return true }

func dialSession(address string) (net.Conn, error) {
	patience := time.Duration(sessionPatience)
	return winio.DialPipe(address, &patience)
}

// checkPeer trusts the pipe's security descriptor.
func checkPeer(net.Conn) error { return nil }

// detach lets the process live on without this console.
func detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.DETACHED_PROCESS, HideWindow: true}
}

// keepInMemory asks the system not to write the key to swap; it may refuse.
func keepInMemory(key []byte) {
	windows.VirtualLock(uintptr(unsafe.Pointer(&key[0])), uintptr(len(key)))
}
