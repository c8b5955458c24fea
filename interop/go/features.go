package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// limit is for one check, on a slow machine that is busy with other things.
	limit = 3 * time.Minute
	// patience is what Kafka gets until a change shows.
	patience = time.Minute
)

// features sends every shape of a record with every codec and reads it back, administers topics, shares in groups, and copies in
// transactions.
func features() {
	for _, name := range codecs {
		check("codec "+name, func() error { return roundTrip(name) })
	}
	cl, err := client()
	if err != nil {
		check("client", func() error { return err })
		return
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	check("create, describe and delete", func() error { return topicLife(admin) })
	check("configs", func() error { return configs(admin) })
	check("offsets", func() error { return offsets(cl, admin) })
	check("delete records", func() error { return deleteRecords(cl, admin) })
	check("unknown topic", func() error { return unknownTopic(admin) })
	check("cluster", func() error { return cluster(admin) })
	for _, balance := range balances {
		check("two share by "+balance.name, func() error { return balance.share(admin) })
		// The coordinator may deal anew when a member is back; the members of one that assigns themselves are not asked.
		if !balance.isNew {
			check("a static member returns, by "+balance.name, func() error { return balance.returned(admin) })
		}
	}
	transactions(admin)
}

// samples is every shape of a record; the timestamps are whole milliseconds, as the wire has them.
func samples(topic string) []*kgo.Record {
	noise := rand.New(rand.NewSource(4))
	large := make([]byte, 900*1024)
	noise.Read(large)
	records := []*kgo.Record{
		{Key: []byte("key"), Value: []byte("value")},
		{Value: []byte("no key")},
		{Key: []byte("no value")},
		{},
		{Key: []byte{}, Value: []byte{}},
		{Value: []byte("x"), Headers: []kgo.RecordHeader{
			{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte("2")}, {Key: "", Value: []byte{}},
		}},
		{Key: []byte("large"), Value: large},
	}
	for size := range 200 {
		value := make([]byte, size)
		noise.Read(value)
		records = append(records, &kgo.Record{Value: value})
	}
	for n, record := range records {
		record.Topic, record.Timestamp = topic, time.UnixMilli(1_700_000_000_000+int64(n))
	}
	return records
}

func roundTrip(name string) error {
	topic := "go-" + name
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	creator, err := client()
	if err != nil {
		return err
	}
	defer creator.Close()
	if _, err := kadm.NewClient(creator).CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		return err
	}
	// It looks for the topic from its first moment on.
	cl, err := client(
		kgo.ProducerBatchCompression(codec(name)),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	expected := samples(topic)
	if err := cl.ProduceSync(ctx, expected...).FirstErr(); err != nil {
		return err
	}
	for next := 0; next < len(expected); {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d records: %w", next, err)
		}
		for _, found := range fetches.Records() {
			if err := same(found, expected[next], int64(next)); err != nil {
				return err
			}
			next++
		}
	}
	return nil
}

func same(found, expected *kgo.Record, offset int64) error {
	bytes := reflect.DeepEqual(found.Key, expected.Key) && reflect.DeepEqual(found.Value, expected.Value)
	headers := len(found.Headers) == len(expected.Headers)
	for n := 0; headers && n < len(found.Headers); n++ {
		headers = reflect.DeepEqual(found.Headers[n], expected.Headers[n])
	}
	if !bytes || !headers || found.Offset != offset || !found.Timestamp.Equal(expected.Timestamp) {
		return fmt.Errorf("record %d is %.80v at offset %d, not %.80v", offset, found, found.Offset, expected)
	}
	return nil
}

func topicLife(admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := admin.CreateTopic(ctx, 3, 1, nil, "go-life"); err != nil {
		return err
	}
	if _, err := admin.CreateTopic(ctx, 3, 1, nil, "go-life"); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("the second creation: %v", err)
	}
	if responses, err := admin.UpdatePartitions(ctx, 5, "go-life"); err != nil || responses.Error() != nil {
		return errors.Join(err, responses.Error())
	}
	if err := settled(func() error {
		topics, err := admin.ListTopics(ctx, "go-life")
		if found := len(topics["go-life"].Partitions); err == nil && found != 5 {
			return fmt.Errorf("%d partitions, not 5", found)
		}
		return err
	}); err != nil {
		return err
	}
	if _, err := admin.DeleteTopic(ctx, "go-life"); err != nil {
		return err
	}
	return settled(func() error {
		topics, err := admin.ListTopics(ctx)
		if err == nil && topics.Has("go-life") {
			return errors.New("a deleted topic is listed")
		}
		return err
	})
}

func configs(admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	initial := "3600000"
	if _, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"retention.ms": &initial}, "go-configs"); err != nil {
		return err
	}
	value := func(wanted string) func() error {
		return func() error {
			described, err := admin.DescribeTopicConfigs(ctx, "go-configs")
			if err != nil {
				return err
			}
			for _, config := range described[0].Configs {
				if config.Key == "retention.ms" && config.Value != nil && *config.Value == wanted {
					return nil
				}
			}
			return fmt.Errorf("retention.ms is not %s", wanted)
		}
	}
	changed := "7200000"
	set := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &changed}}
	if err := settled(value(initial)); err != nil {
		return err
	}
	if responses, err := admin.AlterTopicConfigs(ctx, set, "go-configs"); err != nil || responses[0].Err != nil {
		return errors.Join(err, responses[0].Err)
	}
	return settled(value(changed))
}

func offsets(cl *kgo.Client, admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "go-offsets"); err != nil {
		return err
	}
	start := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	for second := range 10 {
		at := start.Add(time.Duration(second) * time.Second)
		record := &kgo.Record{Topic: "go-offsets", Value: []byte("x"), Timestamp: at}
		if err := cl.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
	}
	for _, row := range []struct {
		list     func() (kadm.ListedOffsets, error)
		expected int64
	}{
		{func() (kadm.ListedOffsets, error) { return admin.ListStartOffsets(ctx, "go-offsets") }, 0},
		{func() (kadm.ListedOffsets, error) { return admin.ListEndOffsets(ctx, "go-offsets") }, 10},
		{func() (kadm.ListedOffsets, error) {
			return admin.ListOffsetsAfterMilli(ctx, start.UnixMilli()+3500, "go-offsets")
		}, 4},
		{func() (kadm.ListedOffsets, error) { return admin.ListMaxTimestampOffsets(ctx, "go-offsets") }, 9},
	} {
		if err := settled(func() error {
			listed, err := row.list()
			if err != nil {
				return err
			}
			if offset, _ := listed.Lookup("go-offsets", 0); offset.Err != nil || offset.Offset != row.expected {
				return fmt.Errorf("offset %d (%v), not %d", offset.Offset, offset.Err, row.expected)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func deleteRecords(cl *kgo.Client, admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "go-delete"); err != nil {
		return err
	}
	for range 10 {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "go-delete", Value: []byte("x")}).FirstErr(); err != nil {
			return err
		}
	}
	before := kadm.Offsets{}
	before.AddOffset("go-delete", 0, 6, -1)
	if responses, err := admin.DeleteRecords(ctx, before); err != nil || responses.Error() != nil {
		return errors.Join(err, responses.Error())
	}
	return settled(func() error {
		listed, err := admin.ListStartOffsets(ctx, "go-delete")
		if err != nil {
			return err
		}
		if offset, _ := listed.Lookup("go-delete", 0); offset.Err != nil || offset.Offset != 6 {
			return fmt.Errorf("the log starts at %d (%v), not 6", offset.Offset, offset.Err)
		}
		return nil
	})
}

func unknownTopic(admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := admin.DeleteTopic(ctx, "go-nowhere"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("deleting a topic that is not there: %v", err)
	}
	return nil
}

func cluster(admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	metadata, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	for _, broker := range metadata.Brokers {
		if fmt.Sprintf("%s:%d", broker.Host, broker.Port) == bootstrap {
			return nil
		}
	}
	return fmt.Errorf("%s is not among %v", bootstrap, metadata.Brokers)
}

// settled is an error unless a change shows: at once, with a broker that does not answer early.
func settled(shows func() error) error {
	for end := time.Now().Add(patience); answersEarly && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := shows(); err == nil {
			return nil
		}
	}
	return shows()
}
