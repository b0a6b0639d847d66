package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// An unlocked session is a process of kin that keeps the key of one profile and
// gives it to this user's commands, until it is told to end, its time is over, or
// the machine slept.
//
// A request is one byte; a connection carries one.
const (
	requestKey  = 'k' // answer: the key
	requestLock = 'l' // answer: requestLock, when the session has ended
)

const (
	sessionKeySize  = 32
	sessionPatience = 5 * time.Second // for one request
	sessionCheck    = 5 * time.Second // how often the clocks and the socket are looked at
	sleepTolerance  = 10 * time.Second
)

// sessionName is short, for a socket's path may have little more than 100 bytes,
// and tells nothing about the profile's path.
func sessionName(profile string) string {
	if real, err := filepath.EvalSymlinks(profile); err == nil {
		profile = real
	}
	sum := sha256.Sum256([]byte("kin/1 session\x00" + profile))
	return hex.EncodeToString(sum[:8])
}

// sessionKey asks the session of the profile in dir for its key.
func (a *app) sessionKey(dir string) (key []byte, err error) {
	err = errNoSession
	for _, address := range sessionAddresses(sessionName(dir), a.getenv) {
		if key, err = askSession(address, requestKey, sessionKeySize); err == nil {
			return key, nil
		}
	}
	return nil, err
}

// endSession ends the session of the profile in dir, wherever it may be: the variables
// may be others than when it began. It returns false if there is none.
func (a *app) endSession(dir string) (ended bool) {
	for _, address := range sessionAddresses(sessionName(dir), a.getenv) {
		if _, err := askSession(address, requestLock, 1); err == nil {
			ended = true
		}
	}
	return ended
}

var errNoSession = errors.New("no session")

// askSession makes one request, and returns the answer of that many bytes.
func askSession(address string, request byte, size int) ([]byte, error) {
	conn, err := dialSession(address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(sessionPatience))
	if _, err := conn.Write([]byte{request}); err != nil {
		return nil, err
	}
	answer := make([]byte, size)
	_, err = io.ReadFull(conn, answer)
	return answer, err
}

// session is the process's state. What listens for requests and what watches the
// clocks share it.
type session struct {
	listener net.Listener
	present  func() bool // whether the socket is still there
	begun    moment
	life     time.Duration

	mu    sync.Mutex
	key   []byte        // nil once ended
	ended chan struct{} // closed when it has
}

func newSession(l net.Listener, present func() bool, key []byte, life time.Duration, now moment) *session {
	return &session{listener: l, present: present, begun: now, life: life, key: key, ended: make(chan struct{})}
}

// moment is one time on two clocks: the wall clock goes on while the machine
// sleeps, the other stands still.
type moment struct {
	wall  time.Time // without a monotonic reading
	awake time.Duration
}

var processStart = time.Now()

func momentNow() moment {
	now := time.Now()
	return moment{now.Round(0), now.Sub(processStart)}
}

// over tells whether the session's time is over at a moment: its life has passed
// on either clock, or the clocks have moved apart because the machine slept (or
// somebody set the clock).
func (s *session) over(now moment) bool {
	wall, awake := now.wall.Sub(s.begun.wall), now.awake-s.begun.awake
	return wall >= s.life || awake >= s.life || (wall-awake).Abs() > sleepTolerance
}

// serve answers until the session has ended, and returns when nothing runs any
// more.
func (s *session) serve(stop <-chan struct{}) {
	var wg sync.WaitGroup
	wg.Go(func() { s.watch(stop) })
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) || err != nil && s.isOver() {
			break
		}
		if err != nil {
			continue
		}
		wg.Go(func() { s.answer(conn) })
	}
	wg.Wait()
}

func (s *session) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key == nil
}

// end forgets the key and closes the socket.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == nil {
		return
	}
	clear(s.key)
	s.key = nil
	s.listener.Close()
	close(s.ended)
}

// watch ends the session when it must. A timer alone would go on counting from
// where it was after a sleep.
func (s *session) watch(stop <-chan struct{}) {
	tick := time.NewTicker(min(sessionCheck, s.life))
	defer tick.Stop()
	defer s.end()
	for {
		select {
		case <-stop:
			return
		case <-s.ended:
			return
		case <-tick.C:
			if s.over(momentNow()) || !s.present() {
				return
			}
		}
	}
}

func (s *session) answer(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(sessionPatience))
	var request [1]byte
	if checkPeer(conn) != nil {
		return
	}
	if _, err := io.ReadFull(conn, request[:]); err != nil {
		return
	}
	switch request[0] {
	case requestKey:
		if s.over(momentNow()) {
			s.end()
			return
		}
		s.mu.Lock()
		key := append([]byte(nil), s.key...)
		s.mu.Unlock()
		conn.Write(key)
		clear(key)
	case requestLock:
		s.end()
		conn.Write(request[:])
	}
}

// exists tells whether a file is there.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
