package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
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

// balance is a way in which members of a group share.
type balance struct {
	name    string
	options []kgo.Opt
	// isNew: the coordinator assigns, and the group is of the other type.
	isNew bool
}

var balances = []balance{
	{"range", []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())}, false},
	{"cooperative", []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}, false},
	{"coordinator", []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}, true},
}

// half is what a member has.
type half struct {
	member     string
	partitions []int32
}

// share has two members share a topic, record by record, and looks at the group with the admin client.
func (b balance) share(admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	topic := "go-groups-" + b.name
	if _, err := admin.CreateTopic(ctx, groupPartitions, 1, nil, topic); err != nil {
		return err
	}
	if err := fillForGroups(ctx, topic); err != nil {
		return err
	}
	read := map[place]int{}
	first, err := b.member(topic)
	if err != nil {
		return err
	}
	defer first.Close()
	if err := poll(ctx, read, groupRecords, first); err != nil {
		return err
	}
	second, err := b.member(topic)
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
	if _, err := b.settled(ctx, admin, topic, first, second); err != nil {
		return err
	}
	first.Close()
	second.Close()
	return committed(ctx, admin, topic)
}

// returned has a static member go away for a moment: it gets back what it had, and the other one notices nothing.
func (b balance) returned(admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	topic := "go-groups-static-" + b.name
	if _, err := admin.CreateTopic(ctx, groupPartitions, 1, nil, topic); err != nil {
		return err
	}
	var revocations atomic.Int32
	revoked := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { revocations.Add(int32(len(lost))) }
	first, err := b.member(topic, kgo.InstanceID("one"), kgo.OnPartitionsRevoked(revoked))
	if err != nil {
		return err
	}
	defer first.Close()
	second, err := b.member(topic, kgo.InstanceID("two"))
	if err != nil {
		return err
	}
	before, err := b.settled(ctx, admin, topic, first, second)
	seen := revocations.Load()
	// A static member does not leave when it is closed.
	second.Close()
	if err != nil {
		return err
	}
	again, err := b.member(topic, kgo.InstanceID("two"))
	if err != nil {
		return err
	}
	defer again.Close()
	after := before
	for after["two"].member == before["two"].member {
		if err := turn(ctx, map[place]int{}, first, again); err != nil {
			return err
		}
		if after, err = b.settled(ctx, admin, topic, first, again); err != nil {
			return err
		}
	}
	for _, instance := range []string{"one", "two"} {
		if !slices.Equal(before[instance].partitions, after[instance].partitions) {
			return fmt.Errorf("%s had %v and has %v", instance, before[instance], after[instance])
		}
	}
	if before["one"].member != after["one"].member || revocations.Load() != seen {
		return fmt.Errorf("the other one has lost partitions %d times, not %d", revocations.Load(), seen)
	}
	return nil
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
func (b balance) member(topic string, more ...kgo.Opt) (*kgo.Client, error) {
	return client(append(append(more, b.options...),
		kgo.ConsumerGroup(topic),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.HeartbeatInterval(300*time.Millisecond),
	)...)
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

// settled lets the members read on until each of the two has half of the partitions; who has which.
func (b balance) settled(
	ctx context.Context, admin *kadm.Client, group string, members ...*kgo.Client,
) (map[string]half, error) {
	for {
		found, err := b.halves(ctx, admin, group)
		if err == nil || ctx.Err() != nil {
			return found, err
		}
		if err := turn(ctx, map[place]int{}, members...); err != nil {
			return nil, err
		}
	}
}

// halves looks for a group of two members with half of the partitions each, who are called as they call themselves.
func (b balance) halves(ctx context.Context, admin *kadm.Client, group string) (map[string]half, error) {
	state, found, err := b.described(ctx, admin, group)
	if err != nil {
		return nil, err
	}
	if state != "Stable" || len(found) != 2 {
		return nil, fmt.Errorf("the group is %s with %d members", state, len(found))
	}
	for _, member := range found {
		if len(member.partitions) != groupPartitions/2 {
			return nil, fmt.Errorf("a member has not its half: %v", member)
		}
	}
	return found, nil
}

func (b balance) described(ctx context.Context, admin *kadm.Client, group string) (string, map[string]half, error) {
	found := map[string]half{}
	add := func(instance *string, member string, assigned map[int32]struct{}) {
		name := member
		if instance != nil {
			name = *instance
		}
		found[name] = half{member, slices.Sorted(maps.Keys(assigned))}
	}
	if b.isNew {
		groups, err := admin.DescribeConsumerGroups(ctx, group)
		if err != nil {
			return "", nil, err
		}
		for _, member := range groups[group].Members {
			add(member.InstanceID, member.MemberID, member.Assignment[group])
		}
		return groups[group].State, found, groups[group].Err
	}
	groups, err := admin.DescribeGroups(ctx, group)
	if err != nil {
		return "", nil, err
	}
	for _, member := range groups[group].Members {
		assigned := kadm.TopicsSet{}
		if consumer, ok := member.Assigned.AsConsumer(); ok {
			for _, topic := range consumer.Topics {
				assigned.Add(topic.Topic, topic.Partitions...)
			}
		}
		add(member.InstanceID, member.MemberID, assigned[group])
	}
	return groups[group].State, found, groups[group].Err
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
