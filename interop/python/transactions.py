"""Transactions with both Python clients: what is committed is read once and with its offsets, what is aborted never, an old
instance is shut out, and a copy loop whose broker is killed half-way applies every record once.
"""

import sys
import time
from collections import Counter

import confluent_kafka
import kafka

from confluent_client import Confluent
from pure_client import Pure
from report import BOOTSTRAP, Report, same

PARTITIONS = 3
RECORDS = 120
AT_ONCE = 10
# How long a client gets for what takes a few seconds where nothing else runs.
LIMIT = 90


class ConfluentProducer:
    """confluent-kafka: errors say whether the transaction can be aborted and tried again."""

    client = "confluent"

    def __init__(self, transactional_id):
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": BOOTSTRAP,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 30_000,
            "linger.ms": 0,
            # With the default, "rebootstrap", send_offsets_to_transaction may wait for ever when the only broker goes and
            # comes back, the likelier the quicker: https://github.com/confluentinc/librdkafka/issues/5511
            "metadata.recovery.strategy": "none",
        })
        self.producer.init_transactions(LIMIT)

    def begin(self):
        self.producer.begin_transaction()

    def send(self, topic, partition, value):
        self.producer.produce(topic, value, partition=partition)

    def flush(self):
        same(self.producer.flush(LIMIT), 0)

    def commit(self, consumer=None, offsets=None):
        if offsets:
            where = [confluent_kafka.TopicPartition(*place, offset) for place, offset in offsets.items()]
            group = consumer.consumer.consumer_group_metadata()
            self.producer.send_offsets_to_transaction(where, group, LIMIT)
        self.producer.commit_transaction(LIMIT)

    def abort(self):
        self.producer.abort_transaction(LIMIT)

    @staticmethod
    def is_fenced(error):
        code = error.args[0].code() if isinstance(error, confluent_kafka.KafkaException) else None
        return code in (confluent_kafka.KafkaError._FENCED, confluent_kafka.KafkaError.PRODUCER_FENCED)


class ConfluentReader:
    """Reads committed records, from where its group has committed."""

    def __init__(self, group, topic):
        self.topic = topic
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": BOOTSTRAP,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        })
        where = [confluent_kafka.TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        self.consumer.assign(self.consumer.committed(where, timeout=LIMIT))

    def poll(self, count):
        messages = self.consumer.consume(count, timeout=0.5)
        for message in messages:
            if message.error():
                raise AssertionError(str(message.error()))
        return [(message.partition(), message.offset(), message.value()) for message in messages]

    def committed(self):
        where = [confluent_kafka.TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        return [found.offset for found in self.consumer.committed(where, timeout=LIMIT)]

    def close(self):
        self.consumer.close()


class PureProducer:
    """kafka-python."""

    client = "kafka-python"

    def __init__(self, transactional_id):
        self.producer = kafka.KafkaProducer(
            bootstrap_servers=BOOTSTRAP,
            transactional_id=transactional_id,
            transaction_timeout_ms=30_000,
            max_block_ms=LIMIT * 1000,
        )
        self.producer.init_transactions()

    def begin(self):
        self.producer.begin_transaction()

    def send(self, topic, partition, value):
        self.producer.send(topic, value, partition=partition)

    def flush(self):
        self.producer.flush(LIMIT)

    def commit(self, consumer=None, offsets=None):
        if offsets:
            where = {
                kafka.TopicPartition(*place): kafka.OffsetAndMetadata(offset, "", -1)
                for place, offset in offsets.items()
            }
            self.producer.send_offsets_to_transaction(where, consumer.consumer.group_metadata())
        self.producer.commit_transaction()

    def abort(self):
        self.producer.abort_transaction()

    @staticmethod
    def is_fenced(error):
        fenced = (kafka.errors.ProducerFencedError, kafka.errors.InvalidProducerEpochError)
        return isinstance(error, fenced) or isinstance(error.__cause__, fenced)


class PureReader:
    """The same by kafka-python."""

    def __init__(self, group, topic):
        self.topic = topic
        self.consumer = kafka.KafkaConsumer(
            bootstrap_servers=BOOTSTRAP,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        self.consumer.assign([kafka.TopicPartition(topic, partition) for partition in range(PARTITIONS)])

    def poll(self, count):
        found = self.consumer.poll(timeout_ms=500, max_records=count).values()
        return [(record.partition, record.offset, record.value) for records in found for record in records]

    def committed(self):
        where = [kafka.TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        return [self.consumer.committed(one) for one in where]

    def close(self):
        self.consumer.close(autocommit=False)


CLIENTS = [(ConfluentProducer, ConfluentReader, Confluent), (PureProducer, PureReader, Pure)]


def made(client, name):
    topic = f"python-transactions-{name}-{client.name}"
    client.create(topic, PARTITIONS, {})
    return topic


def read_all(make, topic, count):
    """All committed values of a topic, each with how often it is there; waits until there are so many."""
    reader = make(topic + "-reader", topic)
    read, limit = Counter(), time.monotonic() + LIMIT
    while sum(read.values()) < count and time.monotonic() < limit:
        read.update(value for _, _, value in reader.poll(1_000))
    # Whatever there is too much of.
    read.update(value for _, _, value in reader.poll(1_000))
    reader.close()
    return read


def ends(producer, reader, client):
    """Committed, aborted, and both back to back."""
    topic = made(client, "ends")
    writer = producer(topic)
    expected = Counter()
    for transaction in range(30):
        commit = transaction % 3 != 1
        writer.begin()
        for partition in range(PARTITIONS):
            value = b"%d-%d" % (transaction, partition)
            writer.send(topic, partition, value)
            expected.update([value] * commit)
        writer.commit() if commit else writer.abort()
    same(read_all(reader, topic, len(expected)), expected)


def fenced(producer, reader, client):
    """Who initializes an id shuts out whoever had it, and what that one had begun is void."""
    topic = made(client, "fenced")
    old = producer(topic)
    old.begin()
    old.send(topic, 0, b"first")
    old.commit()
    old.begin()
    old.send(topic, 0, b"never")
    old.flush()
    new = producer(topic)
    new.begin()
    new.send(topic, 1, b"second")
    try:
        old.send(topic, 0, b"never")
        old.commit()
    except Exception as error:
        assert producer.is_fenced(error), repr(error)
    else:
        raise AssertionError("the old one was not shut out")
    new.commit()
    same(read_all(reader, topic, 2), Counter([b"first", b"second"]))


def fill(client, topic):
    producer = confluent_kafka.Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True})
    for sequence in range(RECORDS):
        for partition in range(PARTITIONS):
            producer.produce(topic, b"%d:%d" % (partition, sequence), partition=partition)
    same(producer.flush(LIMIT), 0)
    return Counter(b"%d:%d" % (partition, sequence) for sequence in range(RECORDS) for partition in range(PARTITIONS))


class Copy:
    """Copies a topic, record by record, with the offsets of what it has read; begins again where it was when something fails."""

    def __init__(self, producer, reader, source, target):
        self.makes = producer, reader
        self.source, self.target = source, target
        self.open()

    def open(self):
        producer, reader = self.makes
        self.writer = producer(self.target)
        self.reader = reader(self.target, self.source)

    def step(self, commit=True):
        """One transaction; how many records it has copied."""
        records = self.reader.poll(AT_ONCE)
        if not records:
            return 0
        self.writer.begin()
        offsets = {}
        for partition, offset, value in records:
            self.writer.send(self.target, partition, value)
            offsets[(self.source, partition)] = offset + 1
        if commit:
            self.writer.commit(self.reader, offsets)
            return len(records)
        self.writer.abort()
        self.again()
        return 0

    def again(self):
        self.reader.close()
        self.reader = self.makes[1](self.target, self.source)


def copied(producer, reader, client, kills):
    """Every record is applied once, whatever is aborted, and whether the broker lives or not."""
    name = "killed" if kills else "copied"
    source, target = made(client, name + "-source"), made(client, name + "-target")
    expected = fill(client, source)
    copy = Copy(producer, reader, source, target)
    done, step, limit = 0, 0, time.monotonic() + 3 * LIMIT
    while done < PARTITIONS * RECORDS:
        assert time.monotonic() < limit, f"{done} records are copied"
        step += 1
        if kills and step == 8:
            print("kill", flush=True)
            same(sys.stdin.readline(), "again\n")
        try:
            done += copy.step(commit=step % 4 > 0)
        except Exception as error:
            if not kills:
                raise
            print(f"again after {error!r:.200}")
            copy.reader.close()
            copy.open()
            done = sum(max(offset or 0, 0) for offset in copy.reader.committed())
    same(copy.reader.committed(), [RECORDS] * PARTITIONS)
    copy.reader.close()
    same(read_all(reader, target, len(expected)), expected)


def main():
    report = Report()
    for producer, reader, client in CLIENTS:
        name, client = producer.client, client()
        report.check(f"committed and aborted with {name}", lambda: ends(producer, reader, client))
        report.check(f"an old instance is shut out with {name}", lambda: fenced(producer, reader, client))
        report.check(f"a copy with its offsets with {name}", lambda: copied(producer, reader, client, False))
        report.check(f"a copy over a kill with {name}", lambda: copied(producer, reader, client, True))
    report.end()


main()
