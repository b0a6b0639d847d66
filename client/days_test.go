package client

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// Who looks at what is kept, with no relay, doesn't see what is past its days; and then it
// is gone.
func TestWhatIsPastItsDaysIsNotShown(t *testing.T) {
	for name, look := range map[string]func(*Profile) (int, error){
		"history": func(p *Profile) (int, error) { ms, err := p.History("G"); return len(ms), err },
		"status":  func(p *Profile) (int, error) { all, err := p.Status(); return len(all), err },
		"contacts": func(p *Profile) (int, error) {
			cs, err := p.Contacts()
			return cs[0].Unread, err
		},
		"new": func(p *Profile) (int, error) {
			return p.ShowNew("G", func([]Message) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(t *testing.T, w *town) {
				k, _ := w.couple()
				err := k.change("G", func(w *work, c *contact) error {
					in := &row{ID: uuid.New(), In: true, Text: []byte("secret"), Made: w.now, Received: w.now}
					out := &row{ID: uuid.New(), Text: []byte("secret"), Made: w.now, Until: w.now.Add(DefaultUntil), State: StateDelivered}
					if err := w.addRow(c, in); err != nil {
						return err
					}
					return w.addRow(c, out)
				})
				if err != nil {
					t.Fatal(err)
				}
				w.cut()
				if n, err := look(k); n == 0 || err != nil {
					t.Fatalf("today: %d, %v", n, err)
				}
				time.Sleep(60 * 24 * time.Hour)
				if n, err := look(k); n != 0 || err != nil {
					t.Errorf("sixty days later, of thirty: %d, %v", n, err)
				}
				n := 0
				if err := k.view(func(w *work) error {
					return eachRecord(w, tableMessage, func([]byte, *row) error { n++; return nil })
				}); err != nil || n != 0 {
					t.Errorf("%d texts can be read, %v", n, err)
				}
			})
		})
	}
}
