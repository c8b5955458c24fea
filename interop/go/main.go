// Command interop is franz-go against a broker: see ../README.md for what it is told and what it prints.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	bootstrap = os.Getenv("KLAMM_BOOTSTRAP")
	// Kafka answers a change before all of it shows, and shows partitions before they serve. Klamm must not.
	answersEarly = os.Getenv("KLAMM_BROKER") == "kafka"
	codecs       = []string{"none", "gzip", "snappy", "lz4", "zstd"}
	failed       bool
)

func main() {
	switch scenario := os.Getenv("KLAMM_SCENARIO"); scenario {
	case "features":
		features()
	case "million":
		million()
	default:
		fmt.Fprintln(os.Stderr, "there is no scenario", scenario)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

// check prints one result: what work says.
func check(name string, work func() error) {
	if err := work(); err != nil {
		failed = true
		fmt.Printf("not ok %s: %s\n", name, strings.Join(strings.Fields(err.Error()), " "))
		return
	}
	fmt.Println("ok " + name)
}

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	default:
		return kgo.NoCompression()
	}
}

// client makes a client with what all scenarios need: a record goes to the partition it names.
func client(options ...kgo.Opt) (*kgo.Client, error) {
	base := []kgo.Opt{
		kgo.SeedBrokers(bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(1 << 20),
		// Kafka does not know its own topics for a moment when it comes back.
		kgo.UnknownTopicRetries(-1),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}
	return kgo.NewClient(append(base, options...)...)
}
