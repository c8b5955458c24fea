"""What both Python clients do with a topic: each reads what the other wrote, with every codec, and administers."""

import random
import time

from confluent_client import Confluent
from pure_client import Pure
from records import Record
from report import BOOTSTRAP, Report, same, settled

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
LARGE = 900 * 1024


def samples():
    """Every shape of a record."""
    noise = random.Random(4)
    text = b"a line that comes again and again\n" * (LARGE // 34)
    records = [
        Record(b"key", b"value"),
        Record(None, b"no key"),
        Record(b"no value", None),
        Record(None, None),
        Record(b"", b""),
        Record(b"doubled headers", b"x", (("a", b"1"), ("b", b"2"), ("a", b""))),
        Record(b"headers", b"x", (("a", b"1"), ("b", None), ("a", b"2"), ("", b""), ("\u00fc", b"\x00\xff"))),
        Record(None, None, (("only", b"headers"),)),
        Record("k\u00e9y".encode(), bytes(range(256))),
        Record(b"large text", text),
        Record(b"large noise", noise.randbytes(LARGE)),
    ]
    records += [Record(b"%d" % n, noise.randbytes(n)) for n in range(200)]
    return [record._replace(timestamp=record.timestamp + n) for n, record in enumerate(records)]


def both_directions(report, clients):
    for codec in CODECS:
        for writer in clients:
            expected = [record for record in samples() if writer.sends(record)]
            topic = f"python-{writer.name}-{codec}"
            report.check(f"{codec} from {writer.name}", lambda: write(writer, topic, expected, codec))
            for reader in clients:
                name = f"{codec} from {writer.name} to {reader.name}"
                report.check(name, lambda: same(reader.read(topic, len(expected)), expected))


def write(client, topic, records, codec):
    client.create(topic, 1, {"max.message.bytes": "2000000"})
    client.produce(topic, records, codec)
    settled(lambda: tuple(client.bounds(topic)), (0, len(records)))


def offsets_for_times(report, client):
    topic = f"python-times-{client.name}"
    start = int(time.time() * 1000) - 100_000
    # One record goes back in time: the answer is the first record that is late enough, in the order of offsets.
    times = [start, start + 1000, start + 5000, start + 2000, start + 9000]

    def look_up():
        client.create(topic, 1, {})
        client.produce(topic, [Record(None, b"x", (), at) for at in times], "none")
        asked = [start - 50, start, start + 1, start + 1500, start + 5001, start + 9001]
        same([client.offset_for_time(topic, at) for at in asked], [0, 0, 1, 2, 4, None])
        same(client.offset_of_largest_time(topic), 4)

    report.check(f"offsets for times with {client.name}", look_up)


def administration(report, client):
    topic = f"python-admin-{client.name}"

    def check(name, work):
        report.check(f"{name} with {client.name}", work)

    def create():
        client.create(topic, 3, {"retention.ms": "3600000"})
        settled(lambda: topic in client.topics(), True)
        settled(lambda: client.partitions(topic), 3)

    def create_again():
        try:
            client.create(topic, 3, {})
        except Exception as error:
            if "exist" not in str(error).lower():
                raise
        else:
            raise AssertionError("a topic was created twice")

    def configs():
        settled(lambda: client.configs(topic)["retention.ms"], "3600000")
        client.set_config(topic, "retention.ms", "7200000")
        settled(lambda: client.configs(topic)["retention.ms"], "7200000")
        same(client.configs(topic)["cleanup.policy"], "delete")

    def add_partitions():
        client.add_partitions(topic, 5)
        settled(lambda: client.partitions(topic), 5)

    def delete_records():
        client.produce(topic, [Record(None, b"%d" % n) for n in range(10)], "none")
        same(client.delete_records(topic, 4), 4)
        settled(lambda: tuple(client.bounds(topic)), (4, 10))

    def delete():
        client.delete(topic)
        settled(lambda: topic in client.topics(), False)

    check("create", create)
    check("create again", create_again)
    check("configs", configs)
    check("add partitions", add_partitions)
    check("delete records", delete_records)
    check("delete", delete)
    check("describe the cluster", lambda: same(client.nodes(), [BOOTSTRAP]))


def main():
    report = Report()
    clients = [Confluent(), Pure()]
    both_directions(report, clients)
    for client in clients:
        offsets_for_times(report, client)
        administration(report, client)
    report.end()


main()
