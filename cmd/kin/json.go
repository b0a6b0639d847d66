package main

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"kin/client"
	"kin/internal/safe"
)

// The objects of --json, version 1 (interface.md). Each begins with version and
// type. What has no value is null; a list without elements is [].
type (
	messageJSON struct {
		V               int              `json:"v"`
		Type            string           `json:"type"`
		ID              uuid.UUID        `json:"id"`
		Contact         string           `json:"contact"`
		IdentityChecked bool             `json:"identity_checked"`
		Direction       client.Direction `json:"direction"`
		Sent            *time.Time       `json:"sent"`
		Received        *time.Time       `json:"received"`
		Text            string           `json:"text"`
		Files           []string         `json:"files"`
		Urgent          bool             `json:"urgent"`
		Seq             uint64           `json:"seq"`
		Gap             int              `json:"gap"`
		State           client.State     `json:"state"`
		Note            string           `json:"note,omitempty"` // one of client's notes
	}
	sentJSON struct {
		V       int          `json:"v"`
		Type    string       `json:"type"`
		ID      uuid.UUID    `json:"id"`
		Contact string       `json:"contact"`
		State   client.State `json:"state"`
		Until   *time.Time   `json:"until"`
	}
	statusJSON struct {
		V       int          `json:"v"`
		Type    string       `json:"type"`
		ID      uuid.UUID    `json:"id"`
		Contact string       `json:"contact"`
		State   client.State `json:"state"`
		Made    *time.Time   `json:"made"`
		Changed *time.Time   `json:"changed"`
		Until   *time.Time   `json:"until"`
		Urgent  bool         `json:"urgent"`
		Parts   int          `json:"parts"`
		OnRelay int          `json:"on_relay"`
		Reason  string       `json:"reason"`
		Stopped bool         `json:"stopped"`
	}
	contactJSON struct {
		V               int        `json:"v"`
		Type            string     `json:"type"`
		Label           string     `json:"label"`
		CallsThemself   string     `json:"calls_themself"`
		IdentityChecked bool       `json:"identity_checked"`
		Joined          bool       `json:"joined"`
		LastReceived    *time.Time `json:"last_received"`
		Unread          int        `json:"unread"`
		MustAccept      bool       `json:"must_accept"`
		Stopped         bool       `json:"stopped"`
		Invited         bool       `json:"invited"`
	}
	inviteJSON struct {
		V       int        `json:"v"`
		Type    string     `json:"type"`
		Contact string     `json:"contact"`
		Invite  string     `json:"invite"`
		Expires *time.Time `json:"expires"`
	}
	inviteStateJSON struct {
		V       int        `json:"v"`
		Type    string     `json:"type"`
		Contact string     `json:"contact"`
		State   string     `json:"state"`
		Made    *time.Time `json:"made"`
		Expires *time.Time `json:"expires"`
		Fetches int        `json:"fetches"`
		Tries   int        `json:"tries"`
	}
	checkJSON struct {
		V               int    `json:"v"`
		Type            string `json:"type"`
		Contact         string `json:"contact"`
		Digits          string `json:"digits"`
		IdentityChecked bool   `json:"identity_checked"`
	}
	profileJSON struct {
		V       int    `json:"v"`
		Type    string `json:"type"`
		Profile string `json:"profile"`
		Name    string `json:"name"`
	}
	syncJSON struct {
		V             int    `json:"v"`
		Type          string `json:"type"`
		Received      int    `json:"received"`
		Queued        int    `json:"queued"`
		CanDisconnect bool   `json:"can_disconnect"`
	}
	doneJSON struct {
		V       int    `json:"v"`
		Type    string `json:"type"` // renamed, removed, revoked
		Contact string `json:"contact"`
	}
	unlockJSON struct {
		V     int        `json:"v"`
		Type  string     `json:"type"`
		Until *time.Time `json:"until"`
	}
	lockJSON struct {
		V     int    `json:"v"`
		Type  string `json:"type"`
		Ended bool   `json:"ended"` // false: nothing was unlocked
	}
	plainJSON struct {
		V    int    `json:"v"`
		Type string `json:"type"` // wiped, passphrase_changed
	}
	versionJSON struct {
		V        int    `json:"v"`
		Type     string `json:"type"`
		Version  string `json:"version"`
		Protocol int    `json:"protocol"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
	}
	errorJSON struct {
		V       int    `json:"v"`
		Type    string `json:"type"`
		Code    int    `json:"code"` // the exit code
		Message string `json:"message"`
	}
)

// json writes one object as one line, with one write.
func (a *app) json(object any) error {
	b, err := encodeJSON(object)
	if err != nil {
		return err
	}
	_, err = a.out.Write(b)
	return err
}

func encodeJSON(object any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(object); err != nil {
		return nil, err
	}
	return safe.JSON(b.Bytes()), nil
}

// utc is a time in UTC; null for none.
func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func messageObject(m client.Message) messageJSON {
	return messageJSON{1, "message", m.ID, m.Contact, m.IdentityChecked, m.Direction, utc(m.Sent), utc(m.Received),
		m.Text, []string{}, m.Urgent, m.Seq, m.Gap, m.State, m.Note}
}

// sentObject tells how far sending came. What became of the text on the relay is for status.
func sentObject(s client.Sent) sentJSON {
	if s.State == client.StateDelivered || s.State == client.StateRead {
		s.State = client.StateOnRelay
	}
	return sentJSON{1, "sent", s.ID, s.Contact, s.State, utc(s.Until)}
}

func statusObject(s client.Status) statusJSON {
	return statusJSON{1, "status", s.ID, s.Contact, s.State, utc(s.Made), utc(s.Changed), utc(s.Until), s.Urgent, s.Parts, s.OnRelay, s.Reason, s.Stopped}
}

func contactObject(c client.Contact) contactJSON {
	return contactJSON{1, "contact", c.Label, c.CallsThemself, c.IdentityChecked, c.Joined, utc(c.LastReceived), c.Unread,
		c.MustAccept, c.Stopped, c.Invited}
}
