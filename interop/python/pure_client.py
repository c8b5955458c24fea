"""kafka-python: the protocol written in Python."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec

from records import Record
from report import BOOTSTRAP

# How long a client waits for one thing: never on a machine that is not stuck.
LIMIT = 60


class Pure:
    name = "kafka-python"

    @staticmethod
    def sends(record):
        """It refuses records without key and value, and headers without a value; it reads both."""
        return (record.key, record.value) != (None, None) and all(value is not None for _, value in record.headers)

    def __init__(self):
        self.admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)

    def produce(self, topic, records, codec):
        producer = KafkaProducer(
            bootstrap_servers=BOOTSTRAP,
            compression_type=None if codec == "none" else codec,
            max_request_size=2_000_000,
            enable_idempotence=True,
            acks="all",
            linger_ms=20,
        )
        futures = [
            producer.send(
                topic,
                partition=0,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                timestamp_ms=record.timestamp,
            )
            for record in records
        ]
        for future in futures:
            future.get(timeout=LIMIT)
        producer.close()

    def read(self, topic, count):
        consumer = self._consumer()
        where = TopicPartition(topic, 0)
        consumer.assign([where])
        consumer.seek_to_beginning(where)
        records = []
        for message in consumer:
            headers = tuple((name, value) for name, value in message.headers)
            records.append(Record(message.key, message.value, headers, message.timestamp))
            if len(records) == count:
                break
        consumer.close()
        return records

    def offset_for_time(self, topic, timestamp):
        """The first offset with this timestamp or a later one; None when there is none."""
        consumer = self._consumer()
        where = TopicPartition(topic, 0)
        found = consumer.offsets_for_times({where: timestamp})[where]
        consumer.close()
        return found.offset if found is not None else None

    def bounds(self, topic):
        consumer = self._consumer()
        where = TopicPartition(topic, 0)
        bounds = consumer.beginning_offsets([where])[where], consumer.end_offsets([where])[where]
        consumer.close()
        return bounds

    def offset_of_largest_time(self, topic):
        where = TopicPartition(topic, 0)
        return self.admin.list_partition_offsets({where: OffsetSpec.MAX_TIMESTAMP})[where].offset

    def create(self, topic, partitions, configs):
        options = {"num_partitions": partitions, "replication_factor": 1, "configs": configs}
        self.admin.create_topics({topic: options})

    def delete(self, topic):
        self.admin.delete_topics([topic])

    def topics(self):
        return set(self.admin.list_topics())

    def partitions(self, topic):
        (described,) = self.admin.describe_topics([topic])
        return len(described["partitions"])

    def add_partitions(self, topic, total):
        self.admin.create_partitions({topic: total})

    def configs(self, topic):
        found = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return {name: entry["value"] for name, entry in found["topic"][topic].items()}

    def set_config(self, topic, name, value):
        self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])

    def delete_records(self, topic, before):
        where = TopicPartition(topic, 0)
        return self.admin.delete_records({where: before})[where]["low_watermark"]

    def nodes(self):
        return [f"{node['host']}:{node['port']}" for node in self.admin.describe_cluster()["brokers"]]

    def _consumer(self):
        return KafkaConsumer(
            bootstrap_servers=BOOTSTRAP,
            enable_auto_commit=False,
            auto_offset_reset="none",
            consumer_timeout_ms=LIMIT * 1000,
            max_partition_fetch_bytes=2_000_000,
        )
