// Package client is Kin's client: a profile with its contacts, and everything
// that happens between it and the relays.
//
// Create makes a caseworker's profile and CreateGuest a relative's; Open opens
// either. Invite and Join turn two strangers into contacts, Send and Receive are
// what they are for.
//
//	p, err := client.Open(dir, passphrase)
//	sent, err := p.Send(ctx, "K7", "They are at the garrison.", client.SendOptions{Wait: 10 * time.Second})
//	report, err := p.Receive(ctx, client.ReceiveOptions{}, func(ms []client.Message) error { … })
//
// What goes out is sealed and stored in one commit before any network hears of
// it, and the same bytes are sent until a receipt comes or the message's deadline
// passes. What comes in is stored in one commit before the relay may forget it.
// Several programs may use one profile at once. Texts, names and reasons that
// came from somebody else are returned as they came: filter them before printing.
//
// Compatibility: what is exported here is kept within a major version. A profile
// stays readable by every later release.
package client
