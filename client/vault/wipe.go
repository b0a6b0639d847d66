package vault

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"kin/internal/disk"
	"kin/internal/slots"
)

// Wipe ends the profile in dir. It needs no passphrase and waits for nobody: it
// marks the slot file as wiped, destroys every slot, and then removes the files
// and, if nothing else is in it, the folder. Another process that is in the
// middle of a commit gets ErrWiped. It goes on past an error and may be repeated: a
// slot file that could not be overwritten stays for that. Where there is nothing it
// returns ErrNotFound, and ErrForeign as Create does.
func Wipe(dir string) error {
	if err := foreign(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, slotsName)
	os.Chmod(path, 0o600) // whoever made it read-only; what that can't mend the next line tells
	err := slots.Wipe(disk.OS{}, path)
	if errors.Is(err, fs.ErrNotExist) {
		if !Exists(dir) {
			return ErrNotFound
		}
		err = nil
	}
	names := []string{recordsName, newName, lockName}
	if err == nil { // else it stays, for another try
		names = append(names, slotsName)
	}
	err = errors.Join(err, removeFiles(dir, names...))
	os.Remove(dir) // stays if it holds anything else
	return err
}

// removeFiles removes files that a profile consists of, in their order. The slot file is
// named last: until then its mark tells everybody.
func removeFiles(dir string, names ...string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, remove(filepath.Join(dir, name)))
	}
	if err := (disk.OS{}).SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
