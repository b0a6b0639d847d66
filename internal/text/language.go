package text

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/language"
)

// Errors of Choose.
var (
	ErrNotBuilt = errors.New("this language is not built yet")
	ErrLanguage = errors.New("not a language of Kin: en, ko or zh")
)

var (
	built   = []language.Tag{language.English} // the first is the fallback
	matcher = language.NewMatcher(built)
)

// Choose picks the language: the one that the user named with a flag, if any
// (ErrNotBuilt, ErrLanguage); else the first of LC_ALL, LC_MESSAGES and LANG that
// is set; else that of the system, a tag such as "ko-KR" or nothing. A language
// that Kin does not have is English, without an error, unless the user named it.
func Choose(named string, getenv func(string) string, system string) (language.Tag, error) {
	switch strings.ToLower(named) {
	case "":
	case "en":
		return language.English, nil
	case "ko", "zh":
		return language.English, ErrNotBuilt
	default:
		return language.English, fmt.Errorf("%w: %q", ErrLanguage, named)
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := getenv(name); value != "" {
			return match(Locale(value)), nil
		}
	}
	return match(Locale(system)), nil
}

// Locale reads a POSIX locale such as ko_KR.UTF-8 or zh_TW@radical; C, POSIX and
// what can't be read are language.Und.
func Locale(value string) language.Tag {
	value, _, _ = strings.Cut(value, "@")
	value, _, _ = strings.Cut(value, ".")
	if len(value) > 35 { // RFC 5646, 4.4.1: no tag in use is longer
		return language.Und
	}
	tag, err := language.Parse(strings.ReplaceAll(value, "_", "-"))
	if err != nil {
		return language.Und
	}
	return tag
}

func match(want language.Tag) language.Tag {
	_, i, _ := matcher.Match(want)
	return built[i]
}
