package relay

import "kin/protocol"

// forget overwrites a command that was carried out: its ids must not stay in memory
// until something else happens to take their place there. Its envelope lies in the
// frame, which is overwritten too.
func forget(cmd protocol.Command) {
	switch c := cmd.(type) {
	case *protocol.Issue:
		clear(c.Hashes)
		*c = protocol.Issue{}
	case *protocol.New:
		*c = protocol.New{}
	case *protocol.Offer:
		*c = protocol.Offer{}
	case *protocol.Del:
		*c = protocol.Del{}
	case *protocol.Fetch:
		*c = protocol.Fetch{}
	case *protocol.First:
		*c = protocol.First{}
	case *protocol.Put:
		*c = protocol.Put{}
	case *protocol.Cancel:
		*c = protocol.Cancel{}
	case *protocol.Sub:
		clear(c.Queues)
		*c = protocol.Sub{}
	}
}
