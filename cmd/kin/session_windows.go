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

// sessionAddress is the name of the session's pipe.
func sessionAddress(name string, _ func(string) string) (string, error) {
	return `\\.\pipe\kin-` + name, nil
}

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
