package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	groupPartitions = 4
	groupRecords    = 50
)

// place is where a record stands.
type place struct {
	partition int32
	offset    int64
}

// share has two members share a topic, record by record, and looks at the group with the admin client.
func share(admin *kadm.Client, name string, balancer kgo.GroupBalancer) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	topic := "go-groups-" + name
	if _, err := admin.CreateTopic(ctx, groupPartitions, 1, nil, topic); err != nil {
		return err
	}
	if err := fillForGroups(ctx, topic); err != nil {
		return err
	}
	read := map[place]int{}
	first, err := member(topic, balancer)
	if err != nil {
		return err
	}
	defer first.Close()
	if err := poll(ctx, read, groupRecords, first); err != nil {
		return err
	}
	second, err := member(topic, balancer)
	if err != nil {
		return err
	}
	defer second.Close()
	if err := poll(ctx, read, groupPartitions*groupRecords, first, second); err != nil {
		return err
	}
	for where, times := range read {
		if times != 1 {
			return fmt.Errorf("%v was read %d times", where, times)
		}
	}
	for described(ctx, admin, topic) != nil {
		if ctx.Err() != nil {
			return described(context.Background(), admin, topic)
		}
		if err := turn(ctx, read, first, second); err != nil {
			return err
		}
	}
	first.Close()
	second.Close()
	return committed(ctx, admin, topic)
}

func fillForGroups(ctx context.Context, topic string) error {
	cl, err := client()
	if err != nil {
		return err
	}
	defer cl.Close()
	var records []*kgo.Record
	for partition := range int32(groupPartitions) {
		for n := range groupRecords {
			records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Append(nil, n)})
		}
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

// member is one of a group that is called like its topic. What it has read is committed before another one reads on.
func member(topic string, balancer kgo.GroupBalancer) (*kgo.Client, error) {
	return client(
		kgo.ConsumerGroup(topic),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(balancer),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.HeartbeatInterval(300*time.Millisecond),
	)
}

// poll lets the members read by turns until so many records are read.
func poll(ctx context.Context, read map[place]int, count int, members ...*kgo.Client) error {
	for len(read) < count {
		if err := turn(ctx, read, members...); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d records of %d were read", len(read), count)
		}
	}
	return nil
}

// turn lets each member read a little, and commit it.
func turn(ctx context.Context, read map[place]int, members ...*kgo.Client) error {
	for _, cl := range members {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := cl.PollRecords(short, 20)
		cancel()
		for _, record := range fetches.Records() {
			read[place{record.Partition, record.Offset}]++
		}
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			return fmt.Errorf("commit after %d records: %w", len(read), err)
		}
		cl.AllowRebalance()
	}
	return nil
}

// described looks for a group of two members with half of the partitions each.
func described(ctx context.Context, admin *kadm.Client, group string) error {
	groups, err := admin.DescribeGroups(ctx, group)
	if err != nil {
		return err
	}
	found := groups[group]
	if found.Err != nil || found.State != "Stable" || len(found.Members) != 2 {
		return fmt.Errorf("the group is %s with %d members: %v", found.State, len(found.Members), found.Err)
	}
	for _, member := range found.Members {
		assigned, ok := member.Assigned.AsConsumer()
		if !ok || len(assigned.Topics) != 1 || len(assigned.Topics[0].Partitions) != groupPartitions/2 {
			return fmt.Errorf("a member has not its half: %v", assigned)
		}
	}
	return nil
}

// committed compares what a group has committed, lists the group, and deletes it.
func committed(ctx context.Context, admin *kadm.Client, group string) error {
	offsets, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return err
	}
	for partition := range int32(groupPartitions) {
		found, ok := offsets.Lookup(group, partition)
		if !ok || found.At != groupRecords {
			return fmt.Errorf("partition %d is committed at %d", partition, found.At)
		}
	}
	listed, err := admin.ListGroups(ctx, "Empty")
	if err != nil {
		return err
	}
	if _, ok := listed[group]; !ok {
		return fmt.Errorf("the empty group is not listed: %v", listed.Groups())
	}
	deleted, err := admin.DeleteGroup(ctx, group)
	if err != nil {
		return err
	}
	return deleted.Err
}
