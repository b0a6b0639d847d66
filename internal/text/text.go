// Package text holds every sentence that Kin says to a person, in one catalogue,
// by key. Which two functions do I call? Choose for the language, New for a
// Printer; then Printer.T for each sentence.
//
// The entries of a language stand in one file per binary (kin_en.go). To add a
// language, add its files, name its entries in catalogues, and list it in built.
package text

import (
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

// entries are the sentences of one binary in one language. A value is a format
// (a string) or a Count.
type entries map[string]any

// Count is a sentence whose form follows its first argument, a number. A language
// without a singular leaves One empty.
type Count struct{ One, Other string }

var catalogues = map[language.Tag][]entries{
	language.English: {kinEnglish, relayEnglish},
}

// Printer says sentences in one language; a sentence that the language lacks is
// said in English. It may be used by several goroutines at once.
type Printer struct{ p *message.Printer }

// New makes a Printer for one of the languages that Choose returns.
func New(tag language.Tag) *Printer {
	b := catalog.NewBuilder(catalog.Fallback(language.English))
	for t, files := range catalogues {
		for _, f := range files {
			for key, entry := range f {
				if err := set(b, t, key, entry); err != nil {
					panic("text: " + key + ": " + err.Error()) // the catalogue is ours
				}
			}
		}
	}
	return &Printer{message.NewPrinter(tag, message.Catalog(b))}
}

func set(b *catalog.Builder, t language.Tag, key string, entry any) error {
	c, ok := entry.(Count)
	if !ok {
		return b.SetString(t, key, entry.(string))
	}
	if c.One == "" {
		return b.Set(t, key, plural.Selectf(1, "%d", "other", c.Other))
	}
	return b.Set(t, key, plural.Selectf(1, "%d", "one", c.One, "other", c.Other))
}

// T is the sentence of a key with its arguments filled in, as fmt.Sprintf does.
// Numbers are written as the language writes them. What others wrote must have
// passed kin/internal/safe before.
func (p *Printer) T(key string, args ...any) string {
	return p.p.Sprintf(key, args...)
}

// Has tells whether the catalogue has an English entry for key.
func Has(key string) bool {
	for _, f := range catalogues[language.English] {
		if _, ok := f[key]; ok {
			return true
		}
	}
	return false
}
