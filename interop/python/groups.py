"""Groups with both Python clients: members that subscribe, share the partitions, come and go, and commits that outlive a broker
that is killed. What is read is counted by offset: a group that works together reads every record once.
"""

import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import confluent_kafka
import kafka

from confluent_client import Confluent
from pure_client import Pure
from report import BOOTSTRAP, Report, same

PARTITIONS = 4
RECORDS = 100
# How long a group gets for what takes a few seconds where nothing else runs.
LIMIT = 90
# So many rounds of polls without a change are calm.
CALM = 3
SESSION_MS = 10_000


class ConfluentMember:
    """A member of a group by confluent-kafka, which polls when it is told to."""

    client = "confluent"

    def __init__(self, group, topic, **config):
        self.read, self.revocations = Counter(), 0
        # In the other protocol the broker says how long and how often.
        timing = {} if config.get("group_protocol") == "consumer" else {
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": 500,
        }
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": BOOTSTRAP,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **timing,
            **{name.replace("_", "."): value for name, value in config.items()},
        })
        self.topic = topic
        self.consumer.subscribe([topic], on_revoke=self.revoked)

    def revoked(self, consumer, partitions):
        self.revocations += 1
        # What was read and not committed is read again by whoever gets the partition.
        self.commit()

    def poll(self):
        for message in self.consumer.consume(50, timeout=0.1):
            if message.error():
                raise AssertionError(str(message.error()))
            self.read[(message.partition(), message.offset())] += 1

    def assignment(self):
        return {partition.partition for partition in self.consumer.assignment()}

    def commit(self):
        try:
            self.consumer.commit(asynchronous=False)
        except confluent_kafka.KafkaException as error:
            if error.args[0].code() != confluent_kafka.KafkaError._NO_OFFSET:
                raise

    def committed(self):
        where = [confluent_kafka.TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        return [found.offset for found in self.consumer.committed(where, timeout=LIMIT)]

    def close(self):
        self.consumer.close()


class PureMember:
    """The same by kafka-python, which cannot commit while partitions are taken from it: it does so after each poll."""

    client = "kafka-python"

    def __init__(self, group, topic, group_instance_id=None):
        self.read, self.revocations = Counter(), 0
        self.topic = topic
        self.consumer = kafka.KafkaConsumer(
            bootstrap_servers=BOOTSTRAP,
            group_id=group,
            group_instance_id=group_instance_id,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=500,
        )
        member = self

        class Listener(kafka.ConsumerRebalanceListener):
            def on_partitions_revoked(self, revoked):
                member.revocations += bool(revoked)

            def on_partitions_assigned(self, assigned):
                pass

        self.consumer.subscribe([topic], listener=Listener())

    def poll(self):
        # A join that ends between two polls is begun anew by the client, which makes everybody join again: few end there.
        for records in self.consumer.poll(timeout_ms=2000, max_records=50).values():
            for record in records:
                self.read[(record.partition, record.offset)] += 1
            self.commit()

    def assignment(self):
        return {where.partition for where in self.consumer.assignment()}

    def commit(self):
        self.consumer.commit()

    def committed(self):
        where = [kafka.TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        return [self.consumer.committed(one) for one in where]

    def close(self):
        self.consumer.close(autocommit=False)


MEMBERS = [(ConfluentMember, Confluent), (PureMember, Pure)]


def together(members, settled, what):
    """Lets the members poll, all at the same time, until it is as it should be."""
    limit = time.monotonic() + LIMIT
    pool = ThreadPoolExecutor(len(members))
    while not settled():
        list(pool.map(lambda member: member.poll(), members))
        if time.monotonic() > limit:
            assignments = [member.assignment() for member in members]
            raise AssertionError(f"not {what} after {LIMIT} s: {assignments}")


def calm(members, settled, what):
    """Lets them poll until it has been as it should be for some rounds, and nobody has joined again meanwhile."""
    rounds = []

    def is_calm():
        rounds.append(sum(member.revocations for member in members) if settled() else None)
        return len(rounds) >= CALM and rounds[-1] is not None and len(set(rounds[-CALM:])) == 1

    together(members, is_calm, what)


def everything():
    return {(partition, offset) for partition in range(PARTITIONS) for offset in range(RECORDS)}


def once(members):
    """Every record was read, and by one of them."""
    read = sum((member.read for member in members), Counter())
    same(set(read), everything())
    same([place for place, times in read.items() if times > 1], [])


def halves(one, other):
    mine, yours = one.assignment(), other.assignment()
    return len(mine) == len(yours) == PARTITIONS // 2 and not mine & yours


def topic_of(name, client):
    topic = f"python-groups-{name}-{client.name}"
    client.create(topic, PARTITIONS, {})
    producer = confluent_kafka.Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True})
    for sequence in range(RECORDS):
        for partition in range(PARTITIONS):
            producer.produce(topic, b"%d" % sequence, partition=partition)
    same(producer.flush(LIMIT), 0)
    return topic


def share(make, client, name="share", one={}, other={}):
    """One member has all, two have half each, and who is left has all again; nothing is lost or read twice."""
    topic = topic_of(name, client)
    first = make(topic, topic, **one)
    together([first], lambda: len(first.assignment()) == PARTITIONS and first.read, "one with all")
    second = make(topic, topic, **other)
    both = [first, second]
    together(both, lambda: halves(first, second), "two with half each")
    read = lambda: sum(len(member.read) for member in both) >= PARTITIONS * RECORDS
    together(both, read, "all read")
    for member in both:
        member.commit()
    once(both)
    same(second.committed(), [RECORDS] * PARTITIONS)
    second.close()
    together([first], lambda: len(first.assignment()) == PARTITIONS, "one with all again")
    once(both)
    first.close()


def fixed(make, client, name="static", **config):
    """A static member that is away for a moment gets back what it had, and the others notice nothing."""
    topic = topic_of(name, client)
    first = make(topic, topic, group_instance_id="one", **config)
    second = make(topic, topic, group_instance_id="two", **config)
    calm([first, second], lambda: halves(first, second), "two with half each")
    had, seen = second.assignment(), first.revocations
    second.commit()
    # A static member does not leave when it is closed.
    second.close()
    again = make(topic, topic, group_instance_id="two", **config)
    together([first, again], lambda: again.assignment() == had, "what it had")
    same((len(first.assignment()), first.revocations), (PARTITIONS // 2, seen))
    first.close()
    again.close()


def killed(make, client, name="killed", **config):
    """What was committed before the broker died is where the next member begins."""
    topic = topic_of(name, client)
    member = make(topic, topic, **config)
    together([member], lambda: len(member.read) >= RECORDS, "some read")
    member.commit()
    before = member.committed()
    print("kill", flush=True)
    same(sys.stdin.readline(), "again\n")
    # The member goes on in its group, or joins it again.
    together([member], lambda: len(member.read) >= PARTITIONS * RECORDS, "all read")
    same(set(member.read), everything())
    same([old for old, new in zip(before, member.committed()) if (new or 0) < (old or 0)], [])
    member.commit()
    member.close()
    last = make(topic, topic, **config)
    same(last.committed(), [RECORDS] * PARTITIONS)
    last.close()


def main():
    report = Report()
    for make, client in MEMBERS:
        client = client()
        report.check(f"two share with {make.client}", lambda: share(make, client))
        report.check(f"static members with {make.client}", lambda: fixed(make, client))
        report.check(f"commits outlive a kill with {make.client}", lambda: killed(make, client))
    make, client = ConfluentMember, Confluent()
    sticky = {"partition_assignment_strategy": "cooperative-sticky"}
    report.check("two share cooperatively", lambda: share(make, client, "share-sticky", sticky, sticky))
    new = {"group_protocol": "consumer"}
    report.check("two share in the consumer protocol", lambda: share(make, client, "share-new", new, new))
    report.check("one of each protocol shares", lambda: share(make, client, "share-mixed", {}, new))
    report.check("one of each protocol shares, the other way round", lambda: share(make, client, "share-back", new, {}))
    report.check("static members in the consumer protocol", lambda: fixed(make, client, "static-new", **new))
    report.check(
        "commits outlive a kill in the consumer protocol", lambda: killed(make, client, "killed-new", **new)
    )
    report.end()


main()
