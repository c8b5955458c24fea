"""confluent-kafka: librdkafka from Python."""

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from records import Record
from report import BOOTSTRAP

# How long a client waits for one thing: never on a machine that is not stuck.
LIMIT = 60


class Confluent:
    name = "confluent"

    @staticmethod
    def sends(_):
        return True

    def __init__(self):
        self.admin = AdminClient({"bootstrap.servers": BOOTSTRAP})

    def produce(self, topic, records, codec):
        errors = []
        producer = Producer({
            "bootstrap.servers": BOOTSTRAP,
            "compression.type": codec,
            "message.max.bytes": 2_000_000,
            "enable.idempotence": True,
            "linger.ms": 20,
        })
        for record in records:
            producer.produce(
                topic,
                partition=0,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                timestamp=record.timestamp,
                on_delivery=lambda error, _: error and errors.append(error),
            )
        left = producer.flush(LIMIT)
        if errors or left:
            raise KafkaException(f"{left} records are not delivered: {errors}")

    def read(self, topic, count):
        consumer = self._consumer()
        consumer.assign([TopicPartition(topic, 0, 0)])
        records = []
        while len(records) < count:
            message = consumer.poll(LIMIT)
            if message is None:
                break
            if message.error():
                raise KafkaException(message.error())
            _, timestamp = message.timestamp()
            headers = tuple((name, value) for name, value in message.headers() or ())
            records.append(Record(message.key(), message.value(), headers, timestamp))
        consumer.close()
        return records

    def offset_for_time(self, topic, timestamp):
        """The first offset with this timestamp or a later one; None when there is none."""
        consumer = self._consumer()
        (found,) = consumer.offsets_for_times([TopicPartition(topic, 0, timestamp)], timeout=LIMIT)
        consumer.close()
        return found.offset if found.offset >= 0 else None

    def bounds(self, topic):
        consumer = self._consumer()
        bounds = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=LIMIT)
        consumer.close()
        return bounds

    def offset_of_largest_time(self, topic):
        where = TopicPartition(topic, 0)
        futures = self.admin.list_offsets(
            {where: OffsetSpec.max_timestamp()}, isolation_level=IsolationLevel.READ_UNCOMMITTED
        )
        return futures[where].result(LIMIT).offset

    def create(self, topic, partitions, configs):
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=configs)
        self.admin.create_topics([new])[topic].result(LIMIT)

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(LIMIT)

    def topics(self):
        return set(self.admin.list_topics(timeout=LIMIT).topics)

    def partitions(self, topic):
        return len(self.admin.list_topics(topic, timeout=LIMIT).topics[topic].partitions)

    def add_partitions(self, topic, total):
        self.admin.create_partitions([NewPartitions(topic, total)])[topic].result(LIMIT)

    def configs(self, topic):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = self.admin.describe_configs([resource])[resource].result(LIMIT)
        return {name: entry.value for name, entry in entries.items()}

    def set_config(self, topic, name, value):
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(LIMIT)

    def delete_records(self, topic, before):
        where = TopicPartition(topic, 0, before)
        return self.admin.delete_records([where])[where].result(LIMIT).low_watermark

    def nodes(self):
        return [f"{node.host}:{node.port}" for node in self.admin.describe_cluster().result(LIMIT).nodes]

    def _consumer(self):
        return Consumer({
            "bootstrap.servers": BOOTSTRAP,
            # Needed to make a consumer; with assign() no group is joined.
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.message.max.bytes": 2_000_000,
        })
