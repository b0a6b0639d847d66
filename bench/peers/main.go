// Peers are the servers that one would use instead of Kin's relay, each as its own
// documentation recommends it, to be measured by the program in the folder above.
package main

import (
	"fmt"
	"os"

	"kin/bench/gauge"
)

func main() {
	gauge.Child(map[string]*gauge.Kind{
		"derp":           derpKind(),
		"jetstream":      jetstreamKind(false),
		"jetstream-sync": jetstreamKind(true),
		"mosquitto":      mosquittoKind(),
		"redis":          redisKind(),
	})
	fmt.Fprintln(os.Stderr, "run `go run . peers` in the folder above")
	os.Exit(2)
}
