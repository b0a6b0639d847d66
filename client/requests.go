package client

import (
	"context"
	"crypto/rand"
	"fmt"

	"kin/protocol"
)

// Single requests to a relay. Each may be repeated.

func newTicket() (t protocol.ID) {
	rand.Read(t[:])
	return t
}

// issue has the relay accept tickets on a grant.
func (c *conn) issue(ctx context.Context, grant protocol.ID, tickets []protocol.ID) error {
	hashes := make([][32]byte, len(tickets))
	for i, t := range tickets {
		hashes[i] = protocol.TicketHash(t)
	}
	_, err := c.do(ctx, func(n protocol.Corr, _ prover) (protocol.Command, error) {
		return &protocol.Issue{Corr: n, Grant: grant, Hashes: hashes}, nil
	})
	return err
}

// makeQueue makes the queue that a ticket is for.
func (c *conn) makeQueue(ctx context.Context, ticket protocol.ID, q *inQueue) error {
	key := privateKey(q.Key)
	a, err := c.do(ctx, func(n protocol.Corr, p prover) (protocol.Command, error) {
		cmd := &protocol.New{Corr: n, Ticket: ticket, Key: [32]byte(key.PublicKey().Bytes())}
		var err error
		cmd.Proof, err = p.prove(key, cmd)
		return cmd, err
	})
	if err != nil {
		return err
	}
	ids, ok := a.(*protocol.IDs)
	if !ok {
		return errAnswer(a)
	}
	q.Receiver, q.Sender = ids.Receiver, ids.Sender
	return nil
}

// offer sets a queue's claim, and an invite's blob if there is one.
func (c *conn) offer(ctx context.Context, q inQueue, claim [32]byte, ttl uint32, location protocol.ID, blob []byte) error {
	_, err := c.do(ctx, func(n protocol.Corr, p prover) (protocol.Command, error) {
		cmd := &protocol.Offer{Corr: n, Receiver: q.Receiver, ClaimHash: protocol.ClaimHash(claim), TTL: ttl, Location: location, Blob: blob}
		var err error
		cmd.Proof, err = p.prove(privateKey(q.Key), cmd)
		return cmd, err
	})
	return err
}

// fetch reads an invite's blob.
func (c *conn) fetch(ctx context.Context, location protocol.ID) ([]byte, error) {
	a, err := c.do(ctx, func(n protocol.Corr, _ prover) (protocol.Command, error) {
		return &protocol.Fetch{Corr: n, Location: location}, nil
	})
	if err != nil {
		return nil, err
	}
	b, ok := a.(*protocol.Blob)
	if !ok {
		return nil, errAnswer(a)
	}
	return b.Blob, nil
}

// deleteQueue deletes a queue and what waits in it.
func (c *conn) deleteQueue(ctx context.Context, d *del) error {
	_, err := c.do(ctx, func(n protocol.Corr, p prover) (protocol.Command, error) {
		cmd := &protocol.Del{Corr: n, Receiver: d.Receiver}
		var err error
		cmd.Proof, err = p.prove(privateKey(d.Key), cmd)
		return cmd, err
	})
	return err
}

func errAnswer(a protocol.Answer) error {
	return offline(fmt.Errorf("the relay's answer has type %#x, which was not asked for", a.Type()))
}
