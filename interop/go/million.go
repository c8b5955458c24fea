package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topics     = 3
	partitions = 12
	slots      = topics * partitions
)

var (
	total, _ = strconv.Atoi(os.Getenv("KLAMM_RECORDS"))
	text     = fixedText()
)

// million moves the records of ../README.md over 3 topics of 12 partitions while the broker is killed. Each codec has
// a client of its own for the partitions that are its share, so that a partition is written in order.
func million() {
	check("produce", produceMillion)
	check("consume", consumeMillion)
}

func fixedText() string {
	letters := make([]byte, 1200)
	for i := range letters {
		letters[i] = byte(33 + (i*i*7+i*13)%90)
	}
	return string(letters)
}

func count(slot int) int {
	if slot < total%slots {
		return total/slots + 1
	}
	return total / slots
}

func topicName(slot int) string { return fmt.Sprintf("million-go-%d", slot/partitions) }

func keyAndValue(slot, sequence int) (string, string) {
	topic, partition := slot/partitions, slot%partitions
	start := (sequence*31 + partition*7) % 997
	body := text[start : start+40+sequence%120]
	crc := crc32.ChecksumIEEE([]byte(body))
	return fmt.Sprintf("%d-%d-%d", topic, partition, sequence),
		fmt.Sprintf("%d:%d:%d:%08x:%s", topic, partition, sequence, crc, body)
}

func produceMillion() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	var clients []*kgo.Client
	for _, name := range codecs {
		cl, err := client(
			kgo.ProducerBatchCompression(codec(name)),
			kgo.ProducerLinger(20*time.Millisecond),
			kgo.MaxBufferedRecords(10_000),
		)
		if err != nil {
			return err
		}
		defer cl.Close()
		clients = append(clients, cl)
	}
	for topic := range topics {
		if _, err := kadm.NewClient(clients[0]).CreateTopic(ctx, partitions, 1, nil, topicName(topic*partitions)); err != nil {
			return err
		}
	}
	var done atomic.Int64
	var once sync.Once
	var failure error
	for sequence := range count(0) {
		for slot := range slots {
			if sequence >= count(slot) {
				continue
			}
			key, value := keyAndValue(slot, sequence)
			record := kgo.KeySliceRecord([]byte(key), []byte(value))
			record.Topic, record.Partition = topicName(slot), int32(slot%partitions)
			clients[slot%len(codecs)].Produce(ctx, record, func(_ *kgo.Record, err error) {
				if err != nil {
					once.Do(func() { failure = err })
				}
				if n := done.Add(1); n%20_000 == 0 {
					fmt.Printf("progress %d %d\n", n, total)
				}
			})
		}
	}
	for _, cl := range clients {
		if err := cl.Flush(ctx); err != nil {
			return err
		}
	}
	if failure == nil && done.Load() != int64(total) {
		failure = fmt.Errorf("%d of %d records arrived", done.Load(), total)
	}
	return failure
}

func consumeMillion() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	from := map[string]map[int32]kgo.Offset{}
	for topic := range topics {
		starts := map[int32]kgo.Offset{}
		for partition := range int32(partitions) {
			starts[partition] = kgo.NewOffset().AtStart()
		}
		from[topicName(topic*partitions)] = starts
	}
	cl, err := client(kgo.ConsumePartitions(from))
	if err != nil {
		return err
	}
	defer cl.Close()
	var next [slots]int
	for taken := 0; taken < total; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d of %d records: %w", taken, total, err)
		}
		for _, record := range fetches.Records() {
			topic, _ := strconv.Atoi(record.Topic[len(record.Topic)-1:])
			slot := topic*partitions + int(record.Partition)
			key, value := keyAndValue(slot, next[slot])
			if string(record.Key) != key || string(record.Value) != value {
				return fmt.Errorf("%s/%d: in place of record %d stands %s with %s",
					record.Topic, record.Partition, next[slot], record.Key, record.Value)
			}
			next[slot]++
			taken++
		}
	}
	for slot, found := range next {
		if found != count(slot) {
			return fmt.Errorf("partition %d of %d has %d records, not %d", slot, slots, found, count(slot))
		}
	}
	return nil
}
