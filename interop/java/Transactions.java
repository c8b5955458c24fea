import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.Callable;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Transactions with Kafka's own Java clients: see ../README.md for what this is told and what it prints. */
public final class Transactions {
    private static final String BOOTSTRAP = System.getenv("KLAMM_BOOTSTRAP");
    private static final int PARTITIONS = 3;
    private static final int RECORDS = 100;
    private static final long LIMIT_MS = 120_000;
    private static boolean failed;

    public static void main(String[] arguments) {
        check("a thousand back to back", Transactions::manyInARow);
        check("an old instance is shut out", Transactions::fenced);
        check("a copy with its offsets", Transactions::copied);
        check("what takes too long is void", Transactions::late);
        check("what the admin client sees", Transactions::shown);
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
            throw new IllegalStateException(found + ", not " + expected);
        }
    }

    private static KafkaProducer<String, String> producer(String id, int timeoutMs) {
        Properties config = new Properties();
        config.put("bootstrap.servers", BOOTSTRAP);
        config.put("transactional.id", id);
        config.put("transaction.timeout.ms", timeoutMs);
        config.put("linger.ms", "0");
        config.put("max.block.ms", LIMIT_MS);
        var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        return producer;
    }

    private static KafkaConsumer<String, String> consumer(String group, String topic) {
        Properties config = new Properties();
        config.put("bootstrap.servers", BOOTSTRAP);
        config.put("group.id", group);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("isolation.level", "read_committed");
        config.put("max.poll.records", "10");
        var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
        consumer.assign(partitions(topic));
        return consumer;
    }

    private static List<TopicPartition> partitions(String topic) {
        return List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1), new TopicPartition(topic, 2));
    }

    private static String made(String name) throws Exception {
        String topic = "java-transactions-" + name;
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
        }
        return topic;
    }

    private static Admin admin() {
        Properties config = new Properties();
        config.put("bootstrap.servers", BOOTSTRAP);
        return Admin.create(config);
    }

    /** Each committed value of a topic with how often it is there. */
    private static Map<String, Integer> read(String topic, int count) {
        Map<String, Integer> read = new TreeMap<>();
        try (var consumer = consumer(topic + "-reader", topic)) {
            long limit = System.currentTimeMillis() + LIMIT_MS;
            for (boolean isRest = false; System.currentTimeMillis() < limit; ) {
                var found = consumer.poll(Duration.ofMillis(500));
                found.forEach(record -> read.merge(record.value(), 1, Integer::sum));
                if (isRest && found.isEmpty()) {
                    break;
                }
                isRest = read.size() >= count;
            }
        }
        return read;
    }

    private static Object manyInARow() throws Exception {
        String topic = made("many");
        Map<String, Integer> expected = new TreeMap<>();
        try (var producer = producer(topic, 60_000)) {
            for (int n = 0; n < 1_000; n++) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(topic, n % PARTITIONS, null, "" + n));
                producer.send(new ProducerRecord<>(topic, (n + 1) % PARTITIONS, null, "also " + n));
                if (n % 10 == 9) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                    expected.put("" + n, 1);
                    expected.put("also " + n, 1);
                }
            }
        }
        same(read(topic, expected.size()), expected);
        return null;
    }

    private static Object fenced() throws Exception {
        String topic = made("fenced");
        try (var old = producer(topic, 60_000)) {
            old.beginTransaction();
            old.send(new ProducerRecord<>(topic, 0, null, "never")).get();
            try (var next = producer(topic, 60_000)) {
                next.beginTransaction();
                next.send(new ProducerRecord<>(topic, 0, null, "once")).get();
                try {
                    old.commitTransaction();
                    throw new IllegalStateException("the old one was not shut out");
                } catch (ProducerFencedException | InvalidProducerEpochException error) {
                    next.commitTransaction();
                }
            }
        }
        same(read(topic, 1), Map.of("once", 1));
        return null;
    }

    /** Copies a topic; every third transaction is aborted, and its records are read again. */
    private static Object copied() throws Exception {
        String source = made("source");
        String target = made("target");
        Map<String, Integer> expected = new TreeMap<>();
        try (var producer = producer(source, 60_000)) {
            producer.beginTransaction();
            for (int n = 0; n < RECORDS; n++) {
                producer.send(new ProducerRecord<>(source, n % PARTITIONS, null, "" + n));
                expected.put("" + n, 1);
            }
            producer.commitTransaction();
        }
        try (var producer = producer(target, 60_000); var consumer = consumer(target, source)) {
            for (int done = 0, step = 1; done < RECORDS; ) {
                var records = consumer.poll(Duration.ofMillis(500));
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (var record : records) {
                    producer.send(new ProducerRecord<>(target, record.partition(), null, record.value()));
                    var where = new TopicPartition(source, record.partition());
                    offsets.put(where, new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (step++ % 3 == 0) {
                    producer.abortTransaction();
                    var committed = consumer.committed(new java.util.HashSet<>(partitions(source)));
                    for (var where : partitions(source)) {
                        var offset = committed.get(where);
                        consumer.seek(where, offset == null ? 0 : offset.offset());
                    }
                } else {
                    producer.commitTransaction();
                    done += records.count();
                }
            }
        }
        same(read(target, RECORDS), expected);
        return null;
    }

    private static Object late() throws Exception {
        String topic = made("late");
        try (var producer = producer(topic, 1_000)) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, 0, null, "never")).get();
            // It is looked at every 10 s.
            Thread.sleep(13_000);
            try {
                producer.commitTransaction();
                throw new IllegalStateException("it was committed");
            } catch (org.apache.kafka.common.KafkaException error) {
                System.out.println("as expected: " + error);
            }
        }
        try (var producer = producer(topic, 60_000)) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, 0, null, "once")).get();
            producer.commitTransaction();
        }
        same(read(topic, 1), Map.of("once", 1));
        return null;
    }

    private static Object shown() throws Exception {
        String topic = made("shown");
        try (Admin admin = admin(); var producer = producer(topic, 60_000)) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, 1, null, "once")).get();
            var described = admin.describeTransactions(List.of(topic)).all().get().get(topic);
            same(described.state(), TransactionState.ONGOING);
            same(described.topicPartitions(), java.util.Set.of(new TopicPartition(topic, 1)));
            var options = new ListTransactionsOptions()
                .filterStates(List.of(TransactionState.ONGOING))
                .filterOnTransactionalIdPattern("java-.*-shown");
            var listed = admin.listTransactions(options).all().get();
            same(listed.stream().map(TransactionListing::transactionalId).toList(), List.of(topic));
            // Another process shuts the producer out by name alone.
            admin.fenceProducers(List.of(topic)).all().get();
            try {
                producer.commitTransaction();
                throw new IllegalStateException("it was not shut out");
            } catch (ProducerFencedException | InvalidProducerEpochException error) {
                System.out.println("as expected: " + error);
            }
        }
        return null;
    }
}
