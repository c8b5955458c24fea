package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	copyPartitions = 3
	copyRecords    = 150
)

// transactions commits and aborts, shuts an old instance out, and copies a topic as a member of a group.
func transactions(admin *kadm.Client) {
	check("a hundred transactions", func() error { return hundred(admin) })
	check("an old instance is shut out", func() error { return shutOut(admin) })
	check("a copy as a member of a group", func() error { return copied(admin) })
}

func transactional(id string, more ...kgo.Opt) (*kgo.Client, error) {
	return client(append(more,
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(time.Minute),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)...)
}

// values is how often each committed value of a topic is there, of which there are so many.
func values(ctx context.Context, topic string, count int) (map[string]int, error) {
	cl, err := client(
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	read, rest := map[string]int{}, false
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		fetches := cl.PollFetches(short)
		cancel()
		for _, record := range fetches.Records() {
			read[string(record.Value)]++
		}
		if rest && fetches.NumRecords() == 0 {
			return read, nil
		}
		rest = len(read) >= count
	}
	return read, fmt.Errorf("%d values of %d were read", len(read), count)
}

// each wants every one of so many values once.
func each(read map[string]int, count int, wanted func(int) bool) error {
	for n := range count {
		if times := read[strconv.Itoa(n)]; (times == 1) != wanted(n) || times > 1 {
			return fmt.Errorf("%d is there %d times", n, times)
		}
	}
	return nil
}

func hundred(admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	const topic = "go-transactions-hundred"
	if _, err := admin.CreateTopic(ctx, copyPartitions, 1, nil, topic); err != nil {
		return err
	}
	cl, err := transactional(topic)
	if err != nil {
		return err
	}
	defer cl.Close()
	for n := range 100 {
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		record := &kgo.Record{Topic: topic, Partition: int32(n % copyPartitions), Value: []byte(strconv.Itoa(n))}
		if err := cl.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(n%4 != 3)); err != nil {
			return err
		}
	}
	read, err := values(ctx, topic, 75)
	if err != nil {
		return err
	}
	return each(read, 100, func(n int) bool { return n%4 != 3 })
}

func shutOut(admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	const topic = "go-transactions-fenced"
	if _, err := admin.CreateTopic(ctx, copyPartitions, 1, nil, topic); err != nil {
		return err
	}
	var both [2]*kgo.Client
	for n := range both {
		cl, err := transactional(topic)
		if err != nil {
			return err
		}
		defer cl.Close()
		both[n] = cl
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		record := &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(n))}
		if err := cl.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
	}
	err := both[0].EndTransaction(ctx, kgo.TryCommit)
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		return fmt.Errorf("the old one was not shut out: %v", err)
	}
	if err := both[1].EndTransaction(ctx, kgo.TryCommit); err != nil {
		return err
	}
	read, err := values(ctx, topic, 1)
	if err != nil {
		return err
	}
	return each(read, 2, func(n int) bool { return n == 1 })
}

func copied(admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	const source, target = "go-transactions-source", "go-transactions-target"
	if _, err := admin.CreateTopics(ctx, copyPartitions, 1, nil, source, target); err != nil {
		return err
	}
	filler, err := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer filler.Close()
	for n := range copyRecords {
		record := &kgo.Record{Topic: source, Partition: int32(n % copyPartitions), Value: []byte(strconv.Itoa(n))}
		if err := filler.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
	}
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(bootstrap),
		kgo.TransactionalID(target),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumerGroup(target),
		kgo.ConsumeTopics(source),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RequireStableFetchOffsets(),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	for done, step := 0, 0; done < copyRecords && ctx.Err() == nil; step++ {
		short, stop := context.WithTimeout(ctx, 500*time.Millisecond)
		fetches := session.PollRecords(short, 20)
		stop()
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		for _, record := range fetches.Records() {
			copied := &kgo.Record{Topic: target, Partition: record.Partition, Value: record.Value}
			session.Produce(ctx, copied, nil)
		}
		committed, err := session.End(ctx, kgo.TransactionEndTry(step%3 != 2))
		if err != nil {
			return err
		}
		if committed {
			done += fetches.NumRecords()
		}
	}
	read, err := values(ctx, target, copyRecords)
	if err != nil {
		return err
	}
	return each(read, copyRecords, func(int) bool { return true })
}
