"""Reads committed records of several topics from their beginning, and asks what a group has committed: while others work until it is
told to end, or, with --to-the-end, everything there is. What it sees stands in its books (books.py).
"""

import argparse
import time

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from books import LIMIT, QUIET, end, now, say, until_told

# How often a follower asks for the offsets of the group, in seconds.
OFTEN = 0.5


class Auditor:
    def __init__(self, options):
        self.options = options
        self.admin = AdminClient({**QUIET, "bootstrap.servers": options.bootstrap})
        self.places = [(topic, partition) for topic, count in options.topics for partition in range(count)]
        self.next = dict.fromkeys(self.places, 0)
        config = {
            **QUIET,
            "bootstrap.servers": options.bootstrap,
            # No group is joined where nothing is subscribed.
            "group.id": options.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            # Whose offsets are asked for is told of no pending ones.
            "isolation.level": "read_committed",
        }
        self.group = Consumer(config)
        self.consumer = Consumer({**config, "group.id": "unused", "enable.partition.eof": True})
        self.consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in self.places])

    def follow(self, told):
        asked = 0
        while not told.is_set():
            self.read()
            if time.monotonic() - asked > OFTEN:
                self.offsets()
                asked = time.monotonic()

    def read(self):
        for message in self.consumer.consume(1_000, timeout=0.2):
            place = message.topic(), message.partition()
            error = message.error()
            if error and error.code() == KafkaError._PARTITION_EOF:
                # Nothing more is stable below: markers and what was aborted are passed too.
                self.next[place] = max(self.next[place], message.offset())
                say("passed", topic=place[0], partition=place[1], next=message.offset())
            elif error:
                raise KafkaException(error)
            else:
                self.next[place] = max(self.next[place], message.offset() + 1)
                transaction, record = message.value().decode().split(" ", 1)
                say(
                    "saw",
                    topic=place[0],
                    partition=place[1],
                    offset=message.offset(),
                    transaction=transaction,
                    record=record,
                )

    def offsets(self):
        """What the group has committed, with the demand that no transaction is pending there; whether all partitions were told."""
        where = [TopicPartition(self.options.source, partition) for partition in range(self.options.partitions)]
        asked = now()
        try:
            # By a consumer: the admin client's way ends the process when there is no coordinator yet (2.16.1).
            found = self.group.committed(where, timeout=5)
        except KafkaException as error:
            # Pending, or nobody is there to answer.
            say("trouble", why=str(error))
            return False
        offsets = [[one.partition, max(one.offset, 0)] for one in found if not one.error]
        say("offsets", asked=asked, answered=now(), offsets=offsets)
        return len(offsets) == len(where)

    def to_the_end(self):
        limit = time.monotonic() + LIMIT
        stable, ends = self.both_ends(limit)
        while stable != ends and time.monotonic() < limit:
            # Of a worker that died and was not started again: until its transaction has taken too long.
            say("trouble", why="a transaction is open")
            time.sleep(0.5)
            stable, ends = self.both_ends(limit)
        say("ends", ends=[[*place, stable[place], ends[place]] for place in self.places])
        while any(self.next[place] < stable[place] for place in self.places) and time.monotonic() < limit + LIMIT:
            self.read()
        limit = time.monotonic() + LIMIT
        while not self.offsets():
            if time.monotonic() > limit:
                raise RuntimeError("the offsets of the group are not told")
            time.sleep(0.5)
        source = [(self.options.source, partition) for partition in range(self.options.partitions)]
        inputs = self.ends(source, IsolationLevel.READ_UNCOMMITTED)
        say("inputs", inputs=[[partition, offset] for (_, partition), offset in inputs.items()])

    def both_ends(self, limit):
        """The last stable offsets and the ends, of a broker that may be starting."""
        while True:
            try:
                stable = self.ends(self.places, IsolationLevel.READ_COMMITTED)
                return stable, self.ends(self.places, IsolationLevel.READ_UNCOMMITTED)
            except KafkaException as error:
                if time.monotonic() > limit:
                    raise
                say("trouble", why=str(error))
                time.sleep(0.5)

    def ends(self, places, isolation):
        where = {TopicPartition(*place): OffsetSpec.latest() for place in places}
        futures = self.admin.list_offsets(where, isolation_level=isolation, request_timeout=LIMIT)
        return {(one.topic, one.partition): future.result(LIMIT).offset for one, future in futures.items()}


def topic(text):
    name, count = text.rsplit(":", 1)
    return name, int(count)


def main():
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "group", "source"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--partitions", type=int, required=True, help="of the source")
    parser.add_argument("--to-the-end", action="store_true")
    parser.add_argument("topics", type=topic, nargs="+", metavar="TOPIC:PARTITIONS")
    options = parser.parse_args()
    try:
        auditor = Auditor(options)
        auditor.to_the_end() if options.to_the_end else auditor.follow(until_told())
    except Exception as error:
        say("died", why=f"{type(error).__name__} {error}")
        end(1)
    say("done")
    end()


main()
