package spool

// slab holds entries, by a number of each. It lies in blocks, so that it grows without
// being copied: everybody would wait for that.
type slab struct {
	blocks []*[slabBlock]entry
	used   uint32 // numbers that were given out
	free   []uint32
}

const slabBlock = 1024

func (s *slab) at(i uint32) *entry { return &s.blocks[i/slabBlock][i%slabBlock] }

// add returns the entry's number.
func (s *slab) add(e entry) (i uint32) {
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		if s.used%slabBlock == 0 {
			s.blocks = append(s.blocks, new([slabBlock]entry))
		}
		i = s.used
		s.used++
	}
	*s.at(i) = e
	return i
}

func (s *slab) drop(i uint32) {
	*s.at(i) = entry{}
	s.free = append(s.free, i)
}
