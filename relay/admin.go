package relay

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"kin/protocol"
	"kin/relay/spool"
)

// Grant is a grant as an operator sees it. The grant itself is shown once, when it
// is made.
type Grant struct {
	ID      string    `json:"id"`
	Queues  int       `json:"queues"`
	Left    int       `json:"left"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	Revoked bool      `json:"revoked"`
}

// Status are a relay's totals.
type Status struct {
	Version     int    `json:"v"`
	Type        string `json:"type"` // "status"
	Fingerprint string `json:"fingerprint"`
	Durable     bool   `json:"durable"`
	Connections int    `json:"connections"`
	Queues      int    `json:"queues"`
	Envelopes   int    `json:"envelopes"`
	SpoolBytes  int64  `json:"spool_bytes"`
}

// NewGrant makes a grant of so many queues and returns it as an operator passes it
// on.
func (r *Relay) NewGrant(queues int, life time.Duration) (string, error) {
	if queues < 1 || life < time.Hour {
		return "", errors.New("a grant needs at least one queue and an hour")
	}
	id, err := r.store.newGrant(queues, life, time.Now())
	if err != nil {
		return "", err
	}
	return protocol.GrantText(id), nil
}

// FirstGrant is NewGrant on a relay that has never made one; "" on another, and where no
// grant can be made before the clock is right.
func (r *Relay) FirstGrant(queues int, life time.Duration) (string, error) {
	grants, err := r.store.grants()
	if err != nil || len(grants) > 0 {
		return "", err
	}
	text, err := r.NewGrant(queues, life)
	if errors.Is(err, spool.ErrClock) {
		r.cfg.Log.Error("no first grant was made", "error", err)
		return "", nil
	}
	return text, err
}

// Grants lists the grants.
func (r *Relay) Grants() ([]Grant, error) {
	stored, err := r.store.grants()
	out := []Grant{}
	for _, g := range stored {
		out = append(out, Grant{g.Name, g.Total, g.Left, time.Unix(g.Made, 0).UTC(), time.Unix(g.Expires, 0).UTC(), g.Revoked})
	}
	return out, err
}

// RevokeGrant stops a grant from issuing tickets; issued ones die within 30 days.
func (r *Relay) RevokeGrant(id string) error { return r.store.revokeGrant(id) }

// Status returns totals.
func (r *Relay) Status() Status {
	st := r.spool.Stats()
	r.mu.Lock()
	connections := len(r.sessions)
	r.mu.Unlock()
	r.store.mu.Lock()
	queues := len(r.store.receivers)
	r.store.mu.Unlock()
	return Status{1, "status", r.Fingerprint().String(), r.limits.Durable, connections, queues, st.Messages, st.Bytes}
}

// Await returns when what everybody has to pass is free for a moment, the spool's writer
// and the store: never, where the relay stands still.
func (r *Relay) Await() {
	r.spool.Await()
	r.Status()
}

// Admin serves the administration of a running relay: to be listened to on a socket
// that only its operator can open.
func (r *Relay) Admin() http.Handler {
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, v any, err error) {
		if err != nil {
			code := http.StatusInternalServerError
			if errors.Is(err, ErrNoGrant) {
				code = http.StatusNotFound
			}
			http.Error(w, err.Error(), code)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { reply(w, r.Status(), nil) })
	mux.HandleFunc("GET /grants", func(w http.ResponseWriter, _ *http.Request) {
		g, err := r.Grants()
		reply(w, g, err)
	})
	mux.HandleFunc("POST /grants", func(w http.ResponseWriter, q *http.Request) {
		var ask struct {
			Queues int
			Life   time.Duration
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, q.Body, 4096)).Decode(&ask); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		text, err := r.NewGrant(ask.Queues, ask.Life)
		reply(w, map[string]string{"grant": text}, err)
	})
	mux.HandleFunc("DELETE /grants/{id}", func(w http.ResponseWriter, q *http.Request) {
		reply(w, struct{}{}, r.RevokeGrant(q.PathValue("id")))
	})
	return mux
}
