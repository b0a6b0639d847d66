package main

import (
	"strings"

	"kin/client"
	"kin/internal/safe"
)

// messageLines are a message as a person reads it: a head, then the text, indented,
// so that no text can pass for a head.
func (a *app) messageLines(m client.Message) []string {
	var lines []string
	if m.Gap > 0 {
		lines = append(lines, a.t("message.gap", m.Gap))
	}
	lines = append(lines, a.messageHead(m))
	body := safe.Block(m.Text)
	if m.Note != "" {
		body = a.t("note." + m.Note)
	}
	for _, line := range strings.Split(strings.TrimRight(body, "\n"), "\n") {
		lines = append(lines, "    "+line)
	}
	return append(lines, "")
}

func (a *app) messageHead(m client.Message) string {
	var parts []string
	if m.Direction == client.Out {
		parts = []string{a.t("message.to", m.Contact), when(m.Sent), a.state(m.State)}
	} else {
		parts = []string{a.t("message.from", m.Contact), a.checked(m.IdentityChecked), when(m.Sent)}
	}
	if m.Urgent {
		parts = append(parts, a.t("message.urgent"))
	}
	return strings.Join(parts, " · ")
}

// checked is about who, never about what is said.
func (a *app) checked(is bool) string {
	if is {
		return a.t("identity.checked")
	}
	return a.t("identity.not-checked")
}

func (a *app) state(s client.State) string { return a.t("state." + string(s)) }

// printMessages writes messages as data: one JSON object a line, or their lines.
func (a *app) printMessages(messages []client.Message) error {
	for _, m := range messages {
		if a.flags.json {
			if err := a.json(messageObject(m)); err != nil {
				return err
			}
			continue
		}
		if err := a.print(strings.Join(a.messageLines(m), "\n")); err != nil {
			return err
		}
	}
	return nil
}

// events tells what happened to contacts; each is told once.
func (a *app) events(events []client.Event) {
	for _, e := range events {
		a.tell("event."+string(e.Kind), max(e.Count, 1), e.Contact)
	}
}

// anyUrgent tells whether the bell may ring.
func anyUrgent(messages []client.Message) bool {
	for _, m := range messages {
		if m.Urgent && m.Direction == client.In {
			return true
		}
	}
	return false
}
