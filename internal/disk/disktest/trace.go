package disktest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Op is one operation of a traced program: on its folder, or a line that it wrote
// to its standard output.
type Op struct {
	Kind   Kind
	Name   string // within the folder
	To     string // of a Rename
	Data   []byte // of a Write
	At     int64  // of a Write, and the size of a Resize
	Text   string // of a Mark
	Failed bool   // the operating system refused to do it, of a Write, Resize or Sync
}

// Kind is what an operation does.
type Kind string

// The kinds of operations.
const (
	Make   Kind = "make"
	Write  Kind = "write"
	Resize Kind = "resize"
	Sync   Kind = "sync" // of a file, or of a folder's names
	Rename Kind = "rename"
	Remove Kind = "remove"
	Folder Kind = "folder"
	Mark   Kind = "mark"
)

// ErrNoTrace says that programs can't be traced here.
var ErrNoTrace = errors.New("no program can be traced here")

// calls are all by which a program could change a file without mapping it.
const calls = "openat,open,creat,close,dup,dup2,dup3,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate," +
	"copy_file_range,sendfile,splice,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat," +
	"mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat"

// Trace runs a program under strace and returns what it did to the folder root, in
// order, and the lines that it wrote. faults are strace's: "fsync:error=EIO:when=3" lets the
// third fsync of a thread fail. The program has to write its files with pwrite alone.
func Trace(cmd *exec.Cmd, root string, faults ...string) ([]Op, error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTrace, err)
	}
	if out, err := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %w: %s", ErrNoTrace, err, out)
	}
	log, err := os.CreateTemp("", "trace-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	args := []string{strace, "-f", "-qq", "-xx", "-s", "100000000", "-o", log.Name(), "-e", "trace=" + calls}
	for _, f := range faults {
		args = append(args, "-e", "inject="+f)
	}
	cmd.Args = append(append(args, cmd.Path), cmd.Args[1:]...)
	cmd.Path = strace
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	t := tracer{root: filepath.Clean(root), files: map[string]string{}, begun: map[string]string{}}
	lines := bufio.NewReaderSize(log, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if err := t.line(strings.TrimSuffix(line, "\n")); err != nil {
				return nil, fmt.Errorf("%w, in: %.300s", err, line)
			}
		}
		if err != nil {
			return t.ops, nil
		}
	}
}

// tracer reads strace's log.
type tracer struct {
	root  string
	ops   []Op
	files map[string]string // names of open files and folders, by descriptor
	begun map[string]string // by thread, a call whose end comes later
}

// line reads one: "123 pwrite64(5, "\x68", 1, 0) = 1".
func (t *tracer) line(line string) error {
	thread, call, _ := strings.Cut(line, " ")
	call = strings.TrimLeft(call, " ")
	if begun, ok := strings.CutSuffix(call, " <unfinished ...>"); ok {
		t.begun[thread] = begun
		return nil
	}
	if strings.HasPrefix(call, "<... ") {
		_, rest, _ := strings.Cut(call, "resumed>")
		call = t.begun[thread] + rest
	}
	name, rest, ok := strings.Cut(call, "(")
	at := strings.LastIndex(rest, " = ")
	if !ok || at < 0 || strings.HasPrefix(call, "---") || strings.HasPrefix(call, "+++") {
		return nil
	}
	args := strings.Split(strings.TrimSuffix(strings.TrimRight(rest[:at], " "), ")"), ", ") // all strings are \x00
	result, why, _ := strings.Cut(rest[at+3:], " ")
	if result == "?" || strings.HasPrefix(why, "EINTR") {
		return nil
	}
	return t.call(name, args, result)
}

func (t *tracer) call(name string, a []string, result string) error {
	failed := strings.HasPrefix(result, "-1")
	switch name {
	case "openat":
		return t.open(a, result, failed)
	case "close":
		delete(t.files, a[0])
		return nil
	case "write":
		text, err := unquote(a[1])
		if a[0] == "1" {
			t.ops = append(t.ops, Op{Kind: Mark, Text: strings.TrimSpace(string(text))})
			return err
		}
	case "mkdirat", "unlinkat", "renameat", "renameat2":
		return t.name(name, a, failed)
	case "pwrite64", "ftruncate", "fsync", "fdatasync":
		return t.data(name, a, result, failed)
	}
	// All others, if they concern the folder, are not understood.
	if name == "write" {
		a = a[:1]
	}
	for _, arg := range a {
		if _, ok := t.files[arg]; ok {
			return fmt.Errorf("%s is not replayed", name)
		}
		if path, err := unquote(arg); err == nil && t.within(string(path)) != "" {
			return fmt.Errorf("%s is not replayed", name)
		}
	}
	return nil
}

func (t *tracer) open(a []string, fd string, failed bool) error {
	path, err := t.path(a[0], a[1])
	if err != nil || path == "" || failed {
		return err
	}
	flags := "|" + a[2] + "|"
	if strings.Contains(flags, "O_TRUNC") || strings.Contains(flags, "O_APPEND") {
		return errors.New("a file is cut or extended")
	}
	if strings.Contains(flags, "|O_CREAT|") {
		t.ops = append(t.ops, Op{Kind: Make, Name: path})
	}
	t.files[fd] = path
	return nil
}

func (t *tracer) name(call string, a []string, failed bool) error {
	path, err := t.path(a[0], a[1])
	if err != nil || path == "" || failed {
		return err
	}
	op := Op{Name: path}
	switch call {
	case "mkdirat":
		op.Kind = Folder
	case "unlinkat":
		op.Kind = Remove
		if a[2] != "0" { // of a folder: it may always still be there
			return nil
		}
	default:
		op.Kind = Rename
		if op.To, err = t.path(a[2], a[3]); err != nil || op.To == "" {
			return errors.Join(err, errors.New("a rename out of the folder"))
		}
		for _, open := range t.files {
			if open == path {
				return errors.New("an open file is renamed")
			}
		}
	}
	t.ops = append(t.ops, op)
	return nil
}

func (t *tracer) data(call string, a []string, result string, failed bool) (err error) {
	file, ok := t.files[a[0]]
	if !ok {
		return nil
	}
	op := Op{Name: file, Failed: failed}
	switch call {
	case "pwrite64":
		op.Kind = Write
		if op.Data, err = unquote(a[1]); err != nil {
			return err
		}
		if !failed {
			n, err := strconv.Atoi(result)
			if err != nil || n > len(op.Data) {
				return fmt.Errorf("%s of %d bytes were written", result, len(op.Data))
			}
			op.Data = op.Data[:n]
		}
		op.At, err = strconv.ParseInt(a[3], 10, 64)
	case "ftruncate":
		op.Kind = Resize
		op.At, err = strconv.ParseInt(a[1], 10, 64)
	default:
		op.Kind = Sync
	}
	t.ops = append(t.ops, op)
	return err
}

// path is a path within root, "" for one that lies elsewhere.
func (t *tracer) path(at, quoted string) (string, error) {
	b, err := unquote(quoted)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(string(b)) {
		if at == "AT_FDCWD" {
			return "", nil // root is named absolutely
		}
		if dir, ok := t.files[at]; ok {
			return filepath.Join(dir, string(b)), nil
		}
		return "", nil
	}
	return t.within(string(b)), nil
}

func (t *tracer) within(path string) string {
	rel, err := filepath.Rel(t.root, filepath.Clean(path))
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return ""
	}
	return rel
}

// unquote reads "\x68\x69".
func unquote(s string) ([]byte, error) {
	s, ok := strings.CutPrefix(s, `"`)
	s, end := strings.CutSuffix(s, `"`)
	if !ok || !end || len(s)%4 != 0 {
		return nil, fmt.Errorf("%.40q is no whole string", s)
	}
	b := make([]byte, 0, len(s)/4)
	for ; s != ""; s = s[4:] {
		c, err := strconv.ParseUint(s[2:4], 16, 8)
		if err != nil {
			return nil, err
		}
		b = append(b, byte(c))
	}
	return b, nil
}
