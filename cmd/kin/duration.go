package main

import (
	"time"

	"kin/internal/span"
)

const day = span.Day

// span is a duration as a person says it: its largest unit, rounded up.
func (a *app) span(d time.Duration) string {
	up := func(unit time.Duration) int { return int((d + unit - 1) / unit) }
	switch {
	case d <= 90*time.Second:
		return a.t("span.seconds", up(time.Second))
	case d <= 90*time.Minute:
		return a.t("span.minutes", up(time.Minute))
	case d <= 48*time.Hour:
		return a.t("span.hours", up(time.Hour))
	}
	return a.t("span.days", up(day))
}

// when is a moment as a person reads it, in the local time zone.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}
