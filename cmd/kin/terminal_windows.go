package main

import (
	"os"

	"github.com/inconshreveable/mousetrap"
	"golang.org/x/sys/windows"
)

const maxTerminalLine = 0 // the console does not cut

func openTerminal() (in, out *os.File, err error) {
	in, err = os.OpenFile("CONIN$", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	out, err = os.OpenFile("CONOUT$", os.O_RDWR, 0)
	if err != nil {
		in.Close()
		return nil, nil, err
	}
	return in, out, nil
}

// enableEscapes switches escape sequences on; consoles before Windows 10 have none.
func enableEscapes(f *os.File) bool {
	var mode uint32
	h := windows.Handle(f.Fd())
	return windows.GetConsoleMode(h, &mode) == nil &&
		windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}

// holdWindow keeps a window open that a double-click opened, so that the error in
// it can be read.
func holdWindow(a *app) {
	if t := a.terminal(); t != nil && mousetrap.StartedByExplorer() {
		t.write(a.t("window.close"))
		t.readLine()
	}
}

// systemLanguage is the language that the user chose for Windows.
func systemLanguage() string {
	if names, err := windows.GetUserPreferredUILanguages(windows.MUI_LANGUAGE_NAME); err == nil && len(names) > 0 {
		return names[0]
	}
	return ""
}
