module kin/bench

go 1.26.0

require (
	github.com/gorilla/websocket v1.5.3
	go.etcd.io/bbolt v1.5.0
	golang.org/x/sys v0.49.0
	kin v0.0.0
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace kin => ../
