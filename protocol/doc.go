// Package protocol is what a Kin client and a Kin relay must agree on: the link
// between them, the frames and commands on it, relay addresses, invites, limits
// and error codes. docs/protocol.md is the normative text; every layout here
// cites it.
//
// A client calls [Connect] on the relay's hello and a relay calls [Accept] on
// the client's answer; both then hold a [Link] whose Seal and Open carry
// [Frame]s. Package protocol does no I/O and keeps no clock.
//
// Everything that is parsed is checked for its length first and allocates no
// more than its input; what parses marshals to the same bytes again; on an error
// every other result is zero.
//
// Compatibility: the bytes of version 1 are final. A change to them is a new
// version, negotiated in the link's hello.
package protocol
