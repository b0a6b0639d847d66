package main

import (
	"testing"

	"kin/client"
)

// TestSentHasThreeStates: a receipt may be faster than send, whose object has no word for it.
func TestSentHasThreeStates(t *testing.T) {
	for state, want := range map[client.State]client.State{
		client.StateQueued: client.StateQueued, client.StateOnRelay: client.StateOnRelay, client.StateOnRelayMemory: client.StateOnRelayMemory,
		client.StateDelivered: client.StateOnRelay, client.StateRead: client.StateOnRelay,
	} {
		if got := sentObject(client.Sent{State: state}).State; got != want {
			t.Errorf("%s is told as %s, not %s", state, got, want)
		}
	}
}
