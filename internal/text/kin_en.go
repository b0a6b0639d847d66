package text

// kinEnglish is what kin says. A key is its command or noun, then what it is.
var kinEnglish = entries{
	"sync.not-out": Count{"Not out yet: %d.", "Not out yet: %d."},
}
