"""Moves KLAMM_RECORDS records over 3 topics of 12 partitions while the broker is killed, and compares all of them.

What a record is follows from its place alone: see ../README.md. Each codec has a producer of its own, for the
partitions that are its share, so that a partition is written in order.
"""

import os
import time
import zlib

import confluent_kafka
import kafka

from confluent_client import Confluent
from pure_client import Pure
from report import BOOTSTRAP, Report

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
TOPICS, PARTITIONS = 3, 12
SLOTS = TOPICS * PARTITIONS
TEXT = "".join(chr(33 + (i * i * 7 + i * 13) % 90) for i in range(1200))
TOTAL = int(os.environ["KLAMM_RECORDS"])
# A client that hears nothing for that long has lost something.
SILENCE = 120
# All of the work takes a minute or two where nothing else runs.
ALL = 1500


def count(slot):
    return TOTAL // SLOTS + (slot < TOTAL % SLOTS)


def record(slot, sequence):
    topic, partition = divmod(slot, PARTITIONS)
    start = (sequence * 31 + partition * 7) % 997
    body = TEXT[start : start + 40 + sequence % 120]
    crc = zlib.crc32(body.encode())
    return f"{topic}-{partition}-{sequence}".encode(), f"{topic}:{partition}:{sequence}:{crc:08x}:{body}".encode()


def order():
    """Every slot and sequence number, in the order of sending: round after round over the partitions."""
    for sequence in range(count(0)):
        for slot in range(SLOTS):
            if sequence < count(slot):
                yield slot, sequence


class Progress:
    """Tells the harness how far it is, so that the broker dies in the middle of the work."""

    def __init__(self):
        self.done = 0

    def one(self):
        self.done += 1
        if self.done % 20_000 == 0:
            print(f"progress {self.done} {TOTAL}")


class Reader:
    """Knows what must come next in each partition."""

    def __init__(self, prefix):
        self.topics = {f"{prefix}-{topic}": topic for topic in range(TOPICS)}
        self.next = [0] * SLOTS
        self.taken = 0

    def take(self, topic, partition, key, value):
        slot = self.topics[topic] * PARTITIONS + partition
        sequence = self.next[slot]
        if (key, value) != record(slot, sequence):
            raise AssertionError(f"{topic}/{partition}: in place of record {sequence} stands {key!r} with {value!r}")
        self.next[slot] = sequence + 1
        self.taken += 1

    def finish(self):
        for slot, found in enumerate(self.next):
            if found != count(slot):
                raise AssertionError(f"partition {slot} of {SLOTS} has {found} records, not {count(slot)}")


class ConfluentMillion:
    prefix = "million-confluent"
    admin = Confluent

    def produce(self):
        progress, errors = Progress(), []

        def delivered(error, _):
            if error:
                errors.append(error)
            progress.one()

        producers = [
            confluent_kafka.Producer({
                "bootstrap.servers": BOOTSTRAP,
                "compression.type": codec,
                "enable.idempotence": True,
                "linger.ms": 20,
                "queue.buffering.max.messages": 50_000,
                "on_delivery": delivered,
            })
            for codec in CODECS
        ]
        for slot, sequence in order():
            producer = producers[slot % len(CODECS)]
            topic, partition = divmod(slot, PARTITIONS)
            key, value = record(slot, sequence)
            while True:
                try:
                    producer.produce(f"{self.prefix}-{topic}", key=key, value=value, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.05)
            if sequence % 100 == 0:
                producer.poll(0)
        left = sum(producer.flush(SILENCE) for producer in producers)
        if errors or left or progress.done != TOTAL:
            raise AssertionError(f"{left} records are left of {TOTAL}, {len(errors)} failed: {errors[:3]}")

    def consume(self, reader):
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": BOOTSTRAP,
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        })
        where = [confluent_kafka.TopicPartition(topic, p, 0) for topic in reader.topics for p in range(PARTITIONS)]
        consumer.assign(where)
        heard = time.monotonic()
        while reader.taken < TOTAL:
            messages = consumer.consume(10_000, timeout=1)
            heard = time.monotonic() if messages else heard
            for message in messages:
                if message.error():
                    raise AssertionError(str(message.error()))
                reader.take(message.topic(), message.partition(), message.key(), message.value())
            if time.monotonic() - heard > SILENCE:
                break
        consumer.close()


class PureMillion:
    prefix = "million-kafka-python"
    admin = Pure

    def produce(self):
        progress, errors = Progress(), []
        producers = [
            kafka.KafkaProducer(
                bootstrap_servers=BOOTSTRAP,
                compression_type=None if codec == "none" else codec,
                enable_idempotence=True,
                acks="all",
                linger_ms=20,
                batch_size=65_536,
                max_block_ms=SILENCE * 1000,
                # It takes records without a limit, and counts from there: the last ones wait for all others.
                delivery_timeout_ms=ALL * 1000,
            )
            for codec in CODECS
        ]
        for slot, sequence in order():
            topic, partition = divmod(slot, PARTITIONS)
            key, value = record(slot, sequence)
            producer = producers[slot % len(CODECS)]
            future = producer.send(f"{self.prefix}-{topic}", key=key, value=value, partition=partition)
            future.add_callback(lambda _: progress.one())
            future.add_errback(errors.append)
        for producer in producers:
            producer.flush(timeout=ALL)
        if errors or progress.done != TOTAL:
            raise AssertionError(f"{progress.done} records of {TOTAL} arrived, {len(errors)} failed: {errors[:3]}")

    def consume(self, reader):
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=BOOTSTRAP,
            enable_auto_commit=False,
            auto_offset_reset="none",
            consumer_timeout_ms=SILENCE * 1000,
        )
        where = [kafka.TopicPartition(topic, p) for topic in reader.topics for p in range(PARTITIONS)]
        consumer.assign(where)
        consumer.seek_to_beginning(*where)
        for message in consumer:
            reader.take(message.topic, message.partition, message.key, message.value)
            if reader.taken == TOTAL:
                break
        consumer.close()


def main():
    report = Report()
    client = {"confluent": ConfluentMillion, "kafka-python": PureMillion}[os.environ["KLAMM_SCENARIO"]]()
    admin = client.admin()
    for topic in range(TOPICS):
        admin.create(f"{client.prefix}-{topic}", PARTITIONS, {})
    report.check("produce", client.produce)

    def consume():
        reader = Reader(client.prefix)
        client.consume(reader)
        reader.finish()

    report.check("consume", consume)
    report.end()


main()
