package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPTY makes a pseudo-terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: ttyLines, Col: ttyColumns}); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// onPTY runs a command whose three streams are a terminal and returns every byte
// that it wrote there, the echo of what is typed included. answer is given all
// output so far whenever some came, and says what is typed next; "" is nothing.
func onPTY(t *testing.T, c *exec.Cmd, answer func(sofar []byte) string) (out []byte, code int) {
	t.Helper()
	master, slave := openPTY(t)
	defer master.Close()
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	patience := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
	defer patience.Stop()
	b := make([]byte, 64<<10)
	for {
		n, err := master.Read(b)
		out = append(out, b[:n]...)
		if n > 0 {
			io.WriteString(master, answer(out))
		}
		if err != nil { // EIO: nobody has the other end open any more
			break
		}
	}
	return out, exitCodeOf(t, c.Wait())
}

// piped runs a command whose stdout and stderr are pipes and whose stdin is empty.
func piped(t *testing.T, c *exec.Cmd) (stdout, stderr []byte, code int) {
	t.Helper()
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	patience := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
	defer patience.Stop()
	code = exitCodeOf(t, c.Wait())
	return o.Bytes(), e.Bytes(), code
}

func exitCodeOf(t *testing.T, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return 0
}
