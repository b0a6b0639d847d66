//go:build !linux

package main

import "testing"

func TestHostile(t *testing.T) { t.Skip("NOT RUN: the byte oracle needs Linux's pseudo-terminals") }
