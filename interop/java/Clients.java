import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.zip.CRC32;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's own Java clients against a broker: see ../README.md for what this is told and what it prints. */
public final class Clients {
    private static final String BOOTSTRAP = System.getenv("KLAMM_BOOTSTRAP");
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static boolean failed;

    public static void main(String[] arguments) {
        switch (System.getenv("KLAMM_SCENARIO")) {
            case "features" -> Features.run();
            case "million" -> Million.run();
            default -> throw new IllegalArgumentException("there is no such scenario");
        }
        System.out.flush();
        // Not a return: a client's threads may still be trying to reach a broker that is gone.
        Runtime.getRuntime().halt(failed ? 1 : 0);
    }

    /** One result: it is good when {@code work} returns. */
    private static void check(String name, Callable<?> work) {
        try {
            work.call();
            System.out.println("ok " + name);
        } catch (Exception error) {
            failed = true;
            error.printStackTrace();
            System.out.println("not ok " + name + ": " + String.valueOf(error).replaceAll("\\s+", " "));
        }
    }

    private static void same(Object found, Object expected) {
        if (!expected.equals(found)) {
            throw new Mismatch(found + ", not " + expected);
        }
    }

    /** What was found is not what was expected. */
    private static final class Mismatch extends RuntimeException {
        Mismatch(String message) {
            super(message);
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(String codec) {
        Properties config = new Properties();
        config.put("bootstrap.servers", BOOTSTRAP);
        config.put("compression.type", codec);
        config.put("enable.idempotence", "true");
        config.put("linger.ms", "20");
        config.put("batch.size", "65536");
        config.put("max.request.size", "2000000");
        config.put("reconnect.backoff.max.ms", "200");
        // A machine that is slow and busy is not a broker that fails.
        config.put("max.block.ms", "300000");
        config.put("delivery.timeout.ms", "600000");
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static KafkaConsumer<byte[], byte[]> consumer() {
        Properties config = new Properties();
        config.put("bootstrap.servers", BOOTSTRAP);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "none");
        config.put("max.poll.records", "10000");
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static Admin admin() {
        Properties config = new Properties();
        config.put("bootstrap.servers", BOOTSTRAP);
        return Admin.create(config);
    }

    /** Members that subscribe and share. */
    private static final class Groups {
        private static final int PARTITIONS = 4;
        private static final int RECORDS = 50;
        private static final long LIMIT_MS = 90_000;
        /** In the place of an assignor: the coordinator assigns. */
        static final String CONSUMER = "consumer";

        /** Two members read a topic together, each record once; then the group is described, looked up and deleted. */
        static Object share(String one, String other) throws Exception {
            String topic = "java-groups-" + one + "-" + other;
            try (Admin admin = admin()) {
                admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
                List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
                for (int n = 0; n < PARTITIONS * RECORDS; n++) {
                    records.add(new ProducerRecord<>(topic, n % PARTITIONS, null, bytes("" + n)));
                }
                try (KafkaProducer<byte[], byte[]> producer = producer("none")) {
                    records.forEach(producer::send);
                    producer.flush();
                }
                Map<TopicPartition, Map<Long, Integer>> read = new HashMap<>();
                try (var first = member(topic, one, Map.of())) {
                    poll(List.of(first), read, () -> first.assignment().size() == PARTITIONS && !read.isEmpty());
                    try (var second = member(topic, other, Map.of())) {
                        var both = List.of(first, second);
                        poll(both, read, () -> first.assignment().size() == 2 && second.assignment().size() == 2);
                        poll(both, read, () -> read.values().stream().mapToInt(Map::size).sum() == PARTITIONS * RECORDS);
                        var described = admin.describeConsumerGroups(List.of(topic)).all().get().get(topic);
                        same(described.members().size(), 2);
                        boolean isNew = one.equals(CONSUMER) || other.equals(CONSUMER);
                        same(described.type(), isNew ? GroupType.CONSUMER : GroupType.CLASSIC);
                    }
                }
                for (Map<Long, Integer> offsets : read.values()) {
                    same(offsets.values().stream().allMatch(times -> times == 1), true);
                }
                var committed = admin.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get();
                for (int partition = 0; partition < PARTITIONS; partition++) {
                    same(committed.get(new TopicPartition(topic, partition)).offset(), (long) RECORDS);
                }
                admin.deleteConsumerGroups(List.of(topic)).all().get();
            }
            return null;
        }

        /** A static member that is away for a moment gets back what it had, and the other one notices nothing. */
        static Object fixed(String strategy) throws Exception {
            String topic = "java-groups-static-" + strategy;
            try (Admin admin = admin()) {
                admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
            }
            Map<TopicPartition, Map<Long, Integer>> read = new HashMap<>();
            try (var first = member(topic, strategy, Map.of("group.instance.id", "one"))) {
                Set<TopicPartition> had;
                // It does not leave when it is closed.
                try (var second = member(topic, strategy, Map.of("group.instance.id", "two"))) {
                    var both = List.of(first, second);
                    poll(both, read, () -> first.assignment().size() == 2 && second.assignment().size() == 2
                            && first.groupMetadata().generationId() == second.groupMetadata().generationId());
                    had = Set.copyOf(second.assignment());
                }
                var kept = Set.copyOf(first.assignment());
                int generation = first.groupMetadata().generationId();
                try (var again = member(topic, strategy, Map.of("group.instance.id", "two"))) {
                    poll(List.of(first, again), read, () -> again.assignment().equals(had));
                    same(first.assignment(), kept);
                    same(first.groupMetadata().generationId(), generation);
                }
            }
            return null;
        }

        /** A member that subscribes to an expression gets the topics that it fits. */
        static Object expression() throws Exception {
            String topic = "java-expression-";
            try (Admin admin = admin(); var member = unsubscribed(topic, CONSUMER, Map.of())) {
                List<NewTopic> topics = new ArrayList<>();
                for (String name : List.of("one", "two", "three")) {
                    topics.add(new NewTopic(topic + name, PARTITIONS, (short) 1));
                }
                admin.createTopics(topics).all().get();
                member.subscribe(new SubscriptionPattern(topic + "t.*"));
                poll(List.of(member), new HashMap<>(), () -> member.assignment().size() == 2 * PARTITIONS);
                same(member.assignment().stream().anyMatch(where -> where.topic().equals(topic + "one")), false);
            }
            return null;
        }

        private static KafkaConsumer<byte[], byte[]> unsubscribed(String group, String strategy, Map<String, String> more) {
            Properties config = new Properties();
            config.putAll(more);
            config.put("bootstrap.servers", BOOTSTRAP);
            config.put("group.id", group);
            config.put("enable.auto.commit", "false");
            config.put("auto.offset.reset", "earliest");
            config.put("max.poll.records", "20");
            if (strategy.equals(CONSUMER)) {
                config.put("group.protocol", "consumer");
            } else {
                config.put("heartbeat.interval.ms", "300");
                config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + strategy);
            }
            return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        }

        private static KafkaConsumer<byte[], byte[]> member(String topic, String strategy, Map<String, String> more) {
            var consumer = unsubscribed(topic, strategy, more);
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
                    consumer.commitSync();
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> assigned) {}
            });
            return consumer;
        }

        /** Lets the members read by turns, each committing what it has read, until it is as it should be. */
        private static void poll(
                List<KafkaConsumer<byte[], byte[]>> members,
                Map<TopicPartition, Map<Long, Integer>> read,
                Callable<Boolean> isDone)
                throws Exception {
            for (long limit = System.currentTimeMillis() + LIMIT_MS; !isDone.call(); ) {
                for (var consumer : members) {
                    for (var record : consumer.poll(Duration.ofMillis(100))) {
                        var where = new TopicPartition(record.topic(), record.partition());
                        read.computeIfAbsent(where, none -> new HashMap<>()).merge(record.offset(), 1, Integer::sum);
                    }
                    try {
                        consumer.commitSync();
                    } catch (RebalanceInProgressException error) {
                        // What it keeps is committed after the next poll, what it loses before it is lost.
                    }
                }
                if (System.currentTimeMillis() > limit) {
                    throw new Mismatch("the members have " + members.stream().map(KafkaConsumer::assignment).toList());
                }
            }
        }
    }

    /** Every shape of a record with every codec, offsets for times; administration is what the tools do. */
    private static final class Features {
        static void run() {
            for (String codec : CODECS) {
                check("codec " + codec, () -> roundTrip(codec));
            }
            check("offsets for times", Features::offsetsForTimes);
            for (String strategy : List.of("RangeAssignor", "CooperativeStickyAssignor")) {
                check("two share by the " + strategy, () -> Groups.share(strategy, strategy));
                check("a member of the consumer protocol comes to the " + strategy, () -> Groups.share(strategy, Groups.CONSUMER));
            }
            check("two share in the consumer protocol", () -> Groups.share(Groups.CONSUMER, Groups.CONSUMER));
            for (String strategy : List.of("RangeAssignor", "CooperativeStickyAssignor", Groups.CONSUMER)) {
                check("a static member returns, by " + strategy, () -> Groups.fixed(strategy));
            }
            check("a member of an expression", Groups::expression);
        }

        private static List<ProducerRecord<byte[], byte[]>> samples(String topic) {
            byte[] large = new byte[900 * 1024];
            new Random(4).nextBytes(large);
            List<Header> headers = new ArrayList<>();
            headers.add(new RecordHeader("a", bytes("1")));
            headers.add(new RecordHeader("b", (byte[]) null));
            headers.add(new RecordHeader("a", bytes("2")));
            headers.add(new RecordHeader("", new byte[0]));
            byte[][][] pairs = {
                {bytes("key"), bytes("value")}, {null, bytes("no key")}, {bytes("no value"), null}, {null, null},
                {bytes(""), bytes("")}, {bytes("large"), large},
            };
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (byte[][] pair : pairs) {
                long timestamp = 1_700_000_000_000L + records.size();
                records.add(new ProducerRecord<>(topic, 0, timestamp, pair[0], pair[1], headers));
                records.add(new ProducerRecord<>(topic, 0, timestamp, pair[0], pair[1]));
            }
            return records;
        }

        private static Object roundTrip(String codec) throws Exception {
            String topic = "java-" + codec;
            TopicPartition where = new TopicPartition(topic, 0);
            try (Admin admin = admin()) {
                admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            }
            List<ProducerRecord<byte[], byte[]>> expected = samples(topic);
            send(codec, expected);
            try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
                consumer.assign(List.of(where));
                consumer.seek(where, 0);
                int next = 0;
                while (next < expected.size()) {
                    var found = consumer.poll(Duration.ofSeconds(60));
                    if (found.isEmpty()) {
                        throw new Mismatch("only " + next + " records of " + expected.size() + " came");
                    }
                    for (ConsumerRecord<byte[], byte[]> record : found) {
                        compare(record, expected.get(next), next);
                        next++;
                    }
                }
            }
            return null;
        }

        private static void send(String codec, List<ProducerRecord<byte[], byte[]>> records) throws Exception {
            try (KafkaProducer<byte[], byte[]> producer = producer(codec)) {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (ProducerRecord<byte[], byte[]> record : records) {
                    sent.add(producer.send(record));
                }
                producer.flush();
                for (int n = 0; n < sent.size(); n++) {
                    same(sent.get(n).get().offset(), (long) n);
                }
            }
        }

        private static void compare(ConsumerRecord<byte[], byte[]> found, ProducerRecord<byte[], byte[]> expected, int n) {
            same(found.offset(), (long) n);
            same(found.timestamp(), expected.timestamp());
            same(Arrays.equals(found.key(), expected.key()) && Arrays.equals(found.value(), expected.value()), true);
            same(Arrays.asList(found.headers().toArray()), Arrays.asList(expected.headers().toArray()));
        }

        private static Object offsetsForTimes() throws Exception {
            String topic = "java-times";
            TopicPartition where = new TopicPartition(topic, 0);
            try (Admin admin = admin()) {
                admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            }
            long start = System.currentTimeMillis() - 100_000;
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (long at : new long[] {0, 1000, 5000, 2000, 9000}) {
                records.add(new ProducerRecord<>(topic, 0, start + at, null, bytes("x")));
            }
            send("none", records);
            try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
                Map<Long, Long> expected = new HashMap<>(Map.of(-50L, 0L, 0L, 0L, 1L, 1L, 1500L, 2L, 5001L, 4L));
                for (Map.Entry<Long, Long> entry : expected.entrySet()) {
                    OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(where, start + entry.getKey())).get(where);
                    same(found.offset(), entry.getValue());
                }
                same(consumer.offsetsForTimes(Map.of(where, start + 9001)).get(where) == null, true);
                same(consumer.endOffsets(List.of(where)).get(where), 5L);
                same(consumer.beginningOffsets(List.of(where)).get(where), 0L);
            }
            return null;
        }
    }

    /**
     * The records of ../README.md over 3 topics of 12 partitions while the broker is killed. Each codec has a producer
     * of its own for the partitions that are its share, so that a partition is written in order.
     */
    private static final class Million {
        private static final int TOPICS = 3;
        private static final int PARTITIONS = 12;
        private static final int SLOTS = TOPICS * PARTITIONS;
        private static final int TOTAL = Integer.parseInt(System.getenv("KLAMM_RECORDS"));
        private static final String TEXT = text();

        static void run() {
            check("produce", Million::produce);
            check("consume", Million::consume);
        }

        private static String text() {
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < 1200; i++) {
                text.append((char) (33 + (i * i * 7 + i * 13) % 90));
            }
            return text.toString();
        }

        private static int count(int slot) {
            return TOTAL / SLOTS + (slot < TOTAL % SLOTS ? 1 : 0);
        }

        private static String topic(int slot) {
            return "million-java-" + slot / PARTITIONS;
        }

        private static byte[] key(int slot, int sequence) {
            return bytes(slot / PARTITIONS + "-" + slot % PARTITIONS + "-" + sequence);
        }

        private static byte[] value(int slot, int sequence) {
            int start = (int) ((sequence * 31L + slot % PARTITIONS * 7L) % 997);
            String body = TEXT.substring(start, start + 40 + sequence % 120);
            CRC32 crc = new CRC32();
            crc.update(bytes(body));
            String sum = Long.toHexString(0x1_0000_0000L | crc.getValue()).substring(1);
            return bytes(slot / PARTITIONS + ":" + slot % PARTITIONS + ":" + sequence + ":" + sum + ":" + body);
        }

        private static Object produce() throws Exception {
            try (Admin admin = admin()) {
                List<NewTopic> topics = new ArrayList<>();
                for (int topic = 0; topic < TOPICS; topic++) {
                    topics.add(new NewTopic(topic(topic * PARTITIONS), PARTITIONS, (short) 1));
                }
                admin.createTopics(topics).all().get();
            }
            List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
            CODECS.forEach(codec -> producers.add(producer(codec)));
            AtomicInteger done = new AtomicInteger();
            AtomicReference<Exception> failure = new AtomicReference<>();
            for (int sequence = 0; sequence < count(0); sequence++) {
                for (int slot = 0; slot < SLOTS && sequence < count(slot); slot++) {
                    var record = new ProducerRecord<>(
                        topic(slot), slot % PARTITIONS, key(slot, sequence), value(slot, sequence));
                    producers.get(slot % CODECS.size()).send(record, (metadata, error) -> {
                        if (error != null) {
                            failure.compareAndSet(null, error);
                        }
                        int n = done.incrementAndGet();
                        if (n % 20_000 == 0) {
                            System.out.println("progress " + n + " " + TOTAL);
                        }
                    });
                }
            }
            producers.forEach(KafkaProducer::close);
            if (failure.get() != null) {
                throw failure.get();
            }
            same(done.get(), TOTAL);
            return null;
        }

        private static Object consume() {
            Map<TopicPartition, Integer> slots = new HashMap<>();
            for (int slot = 0; slot < SLOTS; slot++) {
                slots.put(new TopicPartition(topic(slot), slot % PARTITIONS), slot);
            }
            int[] next = new int[SLOTS];
            try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
                consumer.assign(slots.keySet());
                consumer.seekToBeginning(slots.keySet());
                for (int taken = 0; taken < TOTAL; ) {
                    var found = consumer.poll(Duration.ofSeconds(120));
                    if (found.isEmpty()) {
                        throw new Mismatch("only " + taken + " records of " + TOTAL + " came");
                    }
                    for (ConsumerRecord<byte[], byte[]> record : found) {
                        int slot = slots.get(new TopicPartition(record.topic(), record.partition()));
                        int sequence = next[slot]++;
                        if (!Arrays.equals(record.key(), key(slot, sequence))
                            || !Arrays.equals(record.value(), value(slot, sequence))) {
                            throw new Mismatch(record.topic() + "/" + record.partition() + ": in place of record "
                                + sequence + " stands " + new String(record.value(), StandardCharsets.UTF_8));
                        }
                        taken++;
                    }
                }
            }
            for (int slot = 0; slot < SLOTS; slot++) {
                same(next[slot], count(slot));
            }
            return null;
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
