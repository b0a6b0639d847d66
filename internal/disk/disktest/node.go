package disktest

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// node is a file.
type node struct {
	data    []byte
	durable []byte
	dirty   map[int]*sector
	sizes   []int // that it had since the last sync
}

// sector is one that was written since the last sync that took it.
type sector struct {
	versions [][]byte // that the disk may hold instead of the durable one
	lost     bool     // a sync of it failed: later ones leave it out unless it is written again
}

func (n *node) afterPowerLoss(r *rand.Rand) []byte {
	size := len(n.durable)
	if k := r.IntN(len(n.sizes) + 1); k < len(n.sizes) {
		size = n.sizes[k]
	}
	b := make([]byte, max(size, len(n.durable)))
	copy(b, n.durable)
	tear := 1 // sectors that share a fate
	if r.IntN(2) == 0 {
		tear = 8
	}
	old := []float64{0, 0.1, 0.5, 0.9, 1}[r.IntN(5)] // how likely the durable version is
	fates := map[int]float64{}
	for _, i := range slices.Sorted(maps.Keys(n.dirty)) {
		fate, ok := fates[i/tear]
		if !ok {
			fate = r.Float64()
			fates[i/tear] = fate
		}
		if fate < old || i*sectorSize >= len(b) {
			continue
		}
		v := n.dirty[i].versions
		copy(b[i*sectorSize:], v[min(int((fate-old)/(1-old)*float64(len(v))), len(v)-1)])
	}
	return b[:size]
}

// write changes the data, and remembers each touched sector's new version.
func (n *node) write(b []byte, at int) {
	if end := at + len(b); end > len(n.data) {
		n.resize(end)
	}
	copy(n.data[at:], b)
	for i := at / sectorSize; i*sectorSize < at+len(b); i++ {
		n.touch(i)
	}
}

func (n *node) touch(i int) {
	s := n.dirty[i]
	if s == nil {
		s = &sector{}
		n.dirty[i] = s
	}
	s.lost = false
	s.versions = append(s.versions, slices.Clone(n.data[i*sectorSize:min((i+1)*sectorSize, len(n.data))]))
}

func (n *node) resize(size int) {
	if size < len(n.data) {
		clear(n.data[size:])
		n.data = n.data[:size]
		for i := range n.dirty {
			if i*sectorSize >= size {
				delete(n.dirty, i)
			}
		}
	} else {
		n.data = append(n.data, make([]byte, size-len(n.data))...)
	}
	n.sizes = append(n.sizes, size)
}

// sync makes everything durable but what an earlier failed sync has lost.
func (n *node) sync() {
	kept := min(len(n.durable), len(n.data))
	for _, size := range n.sizes { // what was cut off and grew again is zeros
		kept = min(kept, size)
	}
	n.durable = append(n.durable[:kept], make([]byte, len(n.data)-kept)...)
	n.sizes = nil
	for i, s := range n.dirty {
		if !s.lost {
			copy(n.durable[i*sectorSize:], n.data[i*sectorSize:min((i+1)*sectorSize, len(n.data))])
			delete(n.dirty, i)
		}
	}
}
