"""A worker of a group: reads inputs, processes them, and writes what comes of it in a transaction that carries its offsets.

It may be killed at any moment, and so may the broker. What it is about to do and what it knows stands in its books
(books.py); whoever started it compares. A worker that cannot go on ends, and another life of it is started.
"""

import argparse
import random
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from books import LIMIT, QUIET, end, say, until_told

# How long a partition that was assigned may take until it is read, in seconds.
SEEK = 5


def copy(options, partition, offset, value):
    """One record for one: to the partition of the same number."""
    yield f"{options.group}-copied", partition, f"{partition}:{offset}"


def transfer(options, partition, offset, value):
    """A posting for each of the two accounts, and a note that the transfer was applied. The input is `FROM TO AMOUNT`."""
    giver, taker, amount = (int(number) for number in value.split())
    for account, change in ((giver, -amount), (taker, amount)):
        yield f"{options.group}-postings", account % options.postings, f"{partition}:{offset} {account} {change:+}"
    yield f"{options.group}-applied", partition, f"{partition}:{offset}"


TASKS = {"copy": copy, "transfer": transfer}


class Worker:
    def __init__(self, options):
        self.options = options
        self.name = f"{options.group}-{options.slot}.{options.life}"
        self.random = random.Random(f"{options.seed} {self.name}")
        self.told = until_told()
        self.count, self.has_moved = 0, False
        say("step", step="initializing")
        self.producer = Producer({
            **QUIET,
            "bootstrap.servers": options.bootstrap,
            "client.id": self.name,
            # The next life of this worker has the same one, and with it shuts this one out.
            "transactional.id": f"{options.group}-{options.slot}",
            "transaction.timeout.ms": 10_000,
            "linger.ms": 0,
            # With the default, "rebootstrap", send_offsets_to_transaction may wait for ever when the only broker goes and
            # comes back, the likelier the quicker: https://github.com/confluentinc/librdkafka/issues/5511
            "metadata.recovery.strategy": "none",
        })
        self.producer.init_transactions(LIMIT)
        self.consumer = self.join()

    def join(self):
        options = self.options
        config = {
            **QUIET,
            "bootstrap.servers": options.bootstrap,
            "client.id": self.name,
            "group.id": options.group,
            "group.protocol": options.protocol,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
        if options.protocol == "classic":
            # In the other protocol the broker says how long and how often.
            config.update({"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500})
        if options.instance:
            config["group.instance.id"] = options.instance
        consumer = Consumer(config)
        consumer.subscribe([options.source], on_assign=self.moved, on_revoke=self.moved, on_lost=self.moved)
        return consumer

    def moved(self, consumer, partitions):
        self.has_moved = True

    def run(self):
        while not self.told.is_set():
            messages = self.take()
            if messages:
                self.transact(messages)
            else:
                say("step", step="reading")
        say("step", step="leaving")
        self.consumer.close()

    def take(self):
        """The next inputs; none when partitions came or went while they were read: who knows whose they are."""
        self.has_moved = False
        messages = self.consumer.consume(self.options.at_once, timeout=0.2)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        if self.has_moved:
            self.rewind({message.partition() for message in messages})
            return []
        return messages

    def rewind(self, partitions):
        """What was read of these is read again, from where the group is."""
        say("step", step="rewinding")
        assigned = [one for one in self.consumer.assignment() if one.partition in partitions]
        if not assigned:
            return
        for partition in self.consumer.committed(assigned, timeout=LIMIT):
            if partition.error:
                # Not told is not nothing: read from the beginning, all would be applied twice.
                raise KafkaException(partition.error)
            partition.offset = max(partition.offset, 0)
            self.seek(partition)

    def seek(self, partition):
        limit = time.monotonic() + SEEK
        while True:
            try:
                return self.consumer.seek(partition)
            except KafkaException as error:
                # A partition that was only just assigned is not read yet.
                if error.args[0].code() != KafkaError._STATE or time.monotonic() > limit:
                    raise
            time.sleep(0.05)

    def transact(self, messages):
        self.count += 1
        name = f"{self.name}.{self.count}"
        writes, inputs = self.process(messages)
        say("began", transaction=name, writes=writes, inputs=[[where, *taken] for where, taken in inputs.items()])
        try:
            self.producer.begin_transaction()
            self.write(name, writes)
            if self.random.random() < self.options.aborts:
                return self.abort(name, inputs)
            say("step", step="sending offsets")
            offsets = [TopicPartition(self.options.source, where, to) for where, (_, to) in inputs.items()]
            self.producer.send_offsets_to_transaction(offsets, self.consumer.consumer_group_metadata(), LIMIT)
            say("asked", transaction=name)
            self.producer.commit_transaction(LIMIT)
            say("committed", transaction=name)
        except KafkaException as error:
            say("trouble", why=str(error))
            # An error if there is nothing to abort any more, or a commit may have happened: then this life is over.
            self.abort(name, inputs)

    def process(self, messages):
        """What is to be written, and of each partition the first offset and the one after the last."""
        writes, inputs = [], {}
        for message in messages:
            where, offset = message.partition(), message.offset()
            first, expected = inputs.get(where, (offset, offset))
            if offset != expected:
                raise AssertionError(f"input {offset} of {where} came in place of {expected}")
            inputs[where] = first, offset + 1
            writes += TASKS[self.options.task](self.options, where, offset, message.value())
        return writes, inputs

    def write(self, name, writes):
        offsets = [None] * len(writes)
        for number, (topic, partition, record) in enumerate(writes):

            def delivered(error, message, number=number):
                if not error:
                    offsets[number] = message.offset()

            self.producer.produce(topic, f"{name} {record}", partition=partition, on_delivery=delivered)
            self.producer.poll(0)
        self.producer.flush(LIMIT)
        if None in offsets:
            raise KafkaException(f"{offsets.count(None)} records are not written")
        say("wrote", transaction=name, offsets=offsets)
        time.sleep(self.random.uniform(0, 2 * self.options.pause))

    def abort(self, name, partitions):
        say("step", step="aborting")
        self.producer.abort_transaction(LIMIT)
        say("aborted", transaction=name)
        self.rewind(set(partitions))


def main():
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "group", "source", "seed"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--protocol", choices=["classic", "consumer"], required=True)
    for name in ("slot", "life"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--instance", help="a static member of this name")
    parser.add_argument("--postings", type=int, default=1, help="partitions of the topic of postings")
    parser.add_argument("--at-once", type=int, default=10, help="inputs in a transaction, at most")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between the writes and the commit, on average")
    parser.add_argument("--aborts", type=float, default=0.1, help="share of transactions that it aborts by itself")
    try:
        worker = Worker(parser.parse_args())
        worker.run()
    except Exception as error:
        say("died", why=f"{type(error).__name__} {error}")
        end(1)
    say("done")
    end()


main()
