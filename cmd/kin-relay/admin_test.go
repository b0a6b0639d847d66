package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestARelayThatDoesNotAnswerIsNotCalledStopped: nor is its folder destroyed, though relay.db,
// whose lock would tell, is missing.
func TestARelayThatDoesNotAnswerIsNotCalledStopped(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, adminSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			c.Close()
		}
	}()
	epochs := filepath.Join(dir, "epochs")
	if err := os.WriteFile(epochs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"status": "does not answer", "check": "does not answer", "destroy --yes": "the relay still runs",
	} {
		out, err := exec.Command("kin-relay", append([]string{"--data", dir}, strings.Fields(words)...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s", words, err, out)
		}
	}
	if _, err := os.Stat(epochs); err != nil {
		t.Error(err)
	}
}
