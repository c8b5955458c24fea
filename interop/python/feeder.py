"""Writes the inputs: so many a second, idempotently, until it is told to end. A transfer is `FROM TO AMOUNT`, and is what a copy
gets too.
"""

import argparse
import random
import time

from confluent_kafka import Producer

from books import QUIET, end, say, until_told

# Accounts, and the most that a transfer moves.
ACCOUNTS, AMOUNT = 100, 500
# How long what was begun may take: over every death of a broker.
PATIENCE = 120


class Feeder:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.failed = []
        self.producer = Producer({
            **QUIET,
            "bootstrap.servers": options.bootstrap,
            "enable.idempotence": True,
            "message.timeout.ms": PATIENCE * 1000,
            "linger.ms": 5,
        })

    def run(self, told):
        begun, fed = time.monotonic(), 0
        while not told.is_set():
            due = int((time.monotonic() - begun) * self.options.rate)
            for _ in range(fed, due):
                self.feed(fed % self.options.partitions)
                fed += 1
            self.producer.poll(0.02)
        left = self.producer.flush(PATIENCE)
        if left or self.failed:
            raise RuntimeError(f"{left} inputs are not written, {self.failed[:3]}")

    def feed(self, partition):
        giver, taker = self.random.sample(range(ACCOUNTS), 2)
        value = f"{giver} {taker} {self.random.randint(1, AMOUNT)}"

        def delivered(error, message):
            if error:
                self.failed.append(str(error))
            else:
                say("fed", partition=partition, offset=message.offset(), value=value)

        self.producer.produce(self.options.source, value, partition=partition, on_delivery=delivered)


def main():
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "source", "seed"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="inputs a second")
    try:
        Feeder(parser.parse_args()).run(until_told())
    except Exception as error:
        say("died", why=f"{type(error).__name__} {error}")
        end(1)
    say("done")
    end()


main()
