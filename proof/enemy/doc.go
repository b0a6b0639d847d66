// Package enemy holds tests that measure what an enemy learns: somebody who records
// the network, who ends TLS, who seizes the relay, who compels its operator. Each
// prints its figures, which docs/threat-model.md repeats:
//
//	go test -v -run EnemyLearns ./proof/enemy
//	go test -v -run EnemyLearns ./proof/enemy -args -lengths all
package enemy
