package disk

// SyncDir does nothing: NTFS journals names, and Windows syncs no folders.
func (OS) SyncDir(dir string) error { return nil }
