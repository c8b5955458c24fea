import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import javax.tools.ToolProvider;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Java programs that are killed while they work, and begin again: see ../README.md for what this is told and what it prints.
 * Each life of such a program is a process of its own, for SIGKILL ends a process.
 */
public final class Killed {
    private static final String BOOTSTRAP = System.getenv("KLAMM_BOOTSTRAP");
    private static final int PARTITIONS = 3;
    // What takes half a minute takes longer on a slow machine that is busy with other things.
    private static final long LIMIT_MS = 240_000;
    private static boolean failed;

    /** {@code arguments} is where this source stands: the programs that are killed are in it too. */
    public static void main(String[] arguments) throws Exception {
        Path folder = Files.createTempDirectory("klamm-killed-");
        try {
            Life.compile(arguments[0], folder);
            switch (System.getenv("KLAMM_SCENARIO")) {
                case "copy" -> check("each record is copied once, in order", Copy::run);
                case "words" -> check("each word is counted once", () -> Words.run(folder));
                default -> throw new IllegalArgumentException("there is no such scenario");
            }
        } finally {
            remove(folder);
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

    private static void remove(Path folder) throws IOException {
        try (var files = Files.walk(folder)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(file);
            }
        }
    }

    private static void made(String... topics) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", BOOTSTRAP);
        try (Admin admin = Admin.create(config)) {
            List<NewTopic> wanted = new ArrayList<>();
            for (String topic : topics) {
                wanted.add(new NewTopic(topic, PARTITIONS, (short) 1));
            }
            admin.createTopics(wanted).all().get();
        }
    }

    private static KafkaProducer<String, String> producer(Map<String, ?> more) {
        Map<String, Object> config = new HashMap<>(more);
        config.put("bootstrap.servers", BOOTSTRAP);
        config.put("max.block.ms", LIMIT_MS);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    /** A consumer of all of a topic, from its first record on. */
    private static <V> KafkaConsumer<String, V> reader(String topic, String isolation, Deserializer<V> values) {
        Properties config = new Properties();
        config.put("bootstrap.servers", BOOTSTRAP);
        config.put("isolation.level", isolation);
        config.put("auto.offset.reset", "none");
        config.put("enable.auto.commit", "false");
        var consumer = new KafkaConsumer<>(config, new StringDeserializer(), values);
        List<TopicPartition> partitions = new ArrayList<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            partitions.add(new TopicPartition(topic, partition));
        }
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        return consumer;
    }

    /** Reads on until the end of every partition, as it is now; how many records that were. */
    private static <V> int readToEnd(KafkaConsumer<String, V> consumer, Consumer<ConsumerRecord<String, V>> each) {
        Map<TopicPartition, Long> ends = consumer.endOffsets(consumer.assignment());
        int count = 0;
        for (long limit = System.currentTimeMillis() + LIMIT_MS; ; ) {
            if (ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue())) {
                return count;
            }
            if (System.currentTimeMillis() > limit) {
                throw new Mismatch("only " + count + " records came before the ends " + ends);
            }
            for (var record : consumer.poll(Duration.ofMillis(200))) {
                each.accept(record);
                count++;
            }
        }
    }

    /** One life of a program that is killed. */
    private static final class Life implements AutoCloseable {
        private static Path classes;
        private final Process process;
        private final BufferedReader output;

        private Life(Process process) {
            this.process = process;
            this.output = process.inputReader();
            // Nobody waits longer for what it says.
            CompletableFuture.delayedExecutor(LIMIT_MS, TimeUnit.MILLISECONDS).execute(process::destroyForcibly);
        }

        /** Makes class files of this source once, or each life would begin with that. */
        static void compile(String source, Path folder) throws IOException {
            classes = Files.createDirectory(folder.resolve("classes"));
            String[] options = {"-nowarn", "-cp", System.getProperty("java.class.path"), "-d", classes.toString(), source};
            same(ToolProvider.getSystemJavaCompiler().run(null, null, null, options), 0);
        }

        static Life begin(Class<?> program, String... arguments) throws IOException {
            List<String> command = new ArrayList<>();
            command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
            // Lives are short: it does not pay to compile well.
            command.addAll(List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m"));
            command.add("-Dlog4j2.configurationFile=" + System.getProperty("log4j2.configurationFile"));
            command.addAll(List.of("-cp", classes + ":" + System.getProperty("java.class.path"), program.getName()));
            command.addAll(List.of(arguments));
            return new Life(new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start());
        }

        /** Waits until it has said a line so many times. */
        void says(String wanted, int times) throws IOException {
            while (times > 0) {
                String line = output.readLine();
                if (line == null) {
                    throw new Mismatch("the program ended before it was killed");
                }
                if (line.equals(wanted)) {
                    times--;
                }
            }
        }

        /** It has work to do and must not have ended. */
        void goesOn() {
            same(process.isAlive(), true);
        }

        void kill() throws InterruptedException {
            goesOn();
            process.destroyForcibly().waitFor();
        }

        /** Waits for the end that it comes to by itself. */
        void ends() throws Exception {
            output.lines().forEach(line -> {});
            same(process.waitFor(), 0);
        }

        /** Lets it end: its input does. */
        void end() throws Exception {
            process.getOutputStream().close();
            ends();
        }

        @Override
        public void close() {
            process.destroyForcibly().onExit().join();
        }

        /** In the life itself: the end of the input, which comes with the end of who began it. */
        static void atEndOfInput(Runnable work) {
            Thread thread = new Thread(() -> {
                try {
                    while (System.in.read() >= 0) {}
                } catch (IOException error) {
                    System.err.println("the input cannot be read: " + error);
                }
                work.run();
            });
            thread.setDaemon(true);
            thread.start();
        }
    }

    /** Copies a topic in transactions, with the offsets of what was copied. */
    private static final class Copy {
        static final String SOURCE = "java-copy-source";
        static final String TARGET = "java-copy-target";
        static final String WRITTEN = "written";
        static final String COMMITTING = "committing";
        static final int RECORDS = 1_000;
        static final int IN_ONE = 10;
        private static final int KILLS = 6;
        private static final int LONGEST = 25;

        static Object run() throws Exception {
            made(SOURCE, TARGET);
            try (var producer = producer(Map.of())) {
                for (int n = 0; n < RECORDS * PARTITIONS; n++) {
                    producer.send(new ProducerRecord<>(SOURCE, n % PARTITIONS, null, "" + n / PARTITIONS));
                }
            }
            Random random = new Random();
            for (int kill = 0; kill < KILLS; kill++) {
                int transactions = 1 + random.nextInt(LONGEST);
                boolean isHeld = kill % 2 == 0;
                try (Life life = Life.begin(CopyLoop.class, isHeld ? "" + transactions : "0")) {
                    if (isHeld) {
                        life.says(WRITTEN, transactions);
                    } else {
                        life.says(COMMITTING, transactions);
                        // The commit is on its way, or done, or the next transaction is.
                        TimeUnit.MICROSECONDS.sleep(random.nextInt(10_000));
                    }
                    life.kill();
                }
                System.out.println("killed " + (isHeld ? "in" : "about the end of") + " transaction " + transactions);
            }
            try (Life life = Life.begin(CopyLoop.class, "0")) {
                life.ends();
            }
            compare();
            return null;
        }

        private static void compare() {
            int[] next = new int[PARTITIONS];
            try (var reader = reader(TARGET, "read_committed", new StringDeserializer())) {
                readToEnd(reader, record -> {
                    if (!record.value().equals("" + next[record.partition()]++)) {
                        throw new Mismatch("partition " + record.partition() + ": in place of record "
                            + (next[record.partition()] - 1) + " stands " + record.value());
                    }
                });
            }
            for (int count : next) {
                same(count, RECORDS);
            }
            try (var reader = reader(TARGET, "read_uncommitted", new StringDeserializer())) {
                int aborted = readToEnd(reader, record -> {}) - RECORDS * PARTITIONS;
                System.out.println(aborted + " records are of transactions that were cut off");
                // Without them no kill would have been in the middle of one.
                same(aborted >= KILLS / 2, true);
            }
        }
    }

    /** The copying program: it ends when all is copied, or holds still in the transaction of a number. */
    static final class CopyLoop {
        public static void main(String[] arguments) throws Exception {
            Life.atEndOfInput(() -> Runtime.getRuntime().halt(1));
            int held = Integer.parseInt(arguments[0]);
            var producer = producer(Map.of("transactional.id", Copy.TARGET, "linger.ms", "0"));
            producer.initTransactions();
            var consumer = consumer();
            for (int transaction = 1; !isDone(consumer); ) {
                var records = consumer.poll(Duration.ofMillis(100));
                if (!records.isEmpty()) {
                    copy(producer, consumer, records, transaction++ == held);
                }
            }
            producer.close();
            consumer.close();
        }

        /** A static member: the next life of it need not wait until the group has given up the one before. */
        private static KafkaConsumer<String, String> consumer() {
            Properties config = new Properties();
            config.put("bootstrap.servers", BOOTSTRAP);
            config.put("group.id", Copy.TARGET);
            config.put("group.instance.id", "one");
            config.put("enable.auto.commit", "false");
            config.put("auto.offset.reset", "earliest");
            config.put("isolation.level", "read_committed");
            config.put("max.poll.records", "" + Copy.IN_ONE);
            var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of(Copy.SOURCE));
            return consumer;
        }

        private static boolean isDone(KafkaConsumer<String, String> consumer) {
            var assigned = consumer.assignment();
            return assigned.size() == PARTITIONS
                && assigned.stream().allMatch(where -> consumer.position(where) == Copy.RECORDS);
        }

        private static void copy(
                KafkaProducer<String, String> producer,
                KafkaConsumer<String, String> consumer,
                ConsumerRecords<String, String> records,
                boolean isHeld)
                throws InterruptedException {
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (var record : records) {
                producer.send(new ProducerRecord<>(Copy.TARGET, record.partition(), null, record.value()));
                var where = new TopicPartition(record.topic(), record.partition());
                offsets.put(where, new OffsetAndMetadata(record.offset() + 1));
            }
            producer.flush();
            System.out.println(Copy.WRITTEN);
            if (isHeld) {
                Thread.sleep(LIMIT_MS);
            }
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            System.out.println(Copy.COMMITTING);
            producer.commitTransaction();
        }
    }

    /** Two instances of a Kafka Streams application count words; one of them is killed half-way and begins again. */
    private static final class Words {
        static final String APPLICATION = "java-words";
        static final String LINES = "java-words-lines";
        static final String COUNTS = "java-words-counts";
        static final String STORE = "counts";
        static final String RUNNING = "running";
        private static final int WORDS = 8_000;
        private static final int IN_A_LINE = 4;
        /** So many words are written and not counted yet: there is always work. */
        private static final int AHEAD = 1_500;

        private final Random random = new Random(5);
        private final KafkaProducer<String, String> producer = producer(Map.of("linger.ms", "5"));
        private final KafkaConsumer<String, Long> reader = reader(COUNTS, "read_committed", new LongDeserializer());
        private final Map<String, Long> expected = new TreeMap<>();
        private final Map<String, Long> counted = new TreeMap<>();
        private int sent;
        private int seen;

        static Object run(Path folder) throws Exception {
            made(LINES, COUNTS);
            Words words = new Words();
            try (Life two = begin("two", folder)) {
                try (Life one = begin("one", folder)) {
                    // Each has tasks from the first word on.
                    one.says(RUNNING, 1);
                    two.says(RUNNING, 1);
                    words.until(WORDS / 2, one, two);
                    one.kill();
                    System.out.println("killed after " + words.seen + " counts of " + words.sent + " words");
                }
                try (Life one = begin("one", folder)) {
                    one.says(RUNNING, 1);
                    words.until(WORDS, one, two);
                    one.end();
                }
                two.end();
            }
            words.compare();
            return null;
        }

        private static Life begin(String name, Path folder) throws IOException {
            return Life.begin(WordCount.class, folder.resolve(name).toString());
        }

        /** Writes lines and reads counts until so many are there. */
        private void until(int count, Life... lives) {
            long limit = System.currentTimeMillis() + LIMIT_MS;
            while (seen < count) {
                while (sent < WORDS && sent - seen < AHEAD) {
                    producer.send(new ProducerRecord<>(LINES, sent / IN_A_LINE % PARTITIONS, null, line()));
                    sent += IN_A_LINE;
                }
                reader.poll(Duration.ofMillis(50)).forEach(this::take);
                for (Life life : lives) {
                    life.goesOn();
                }
                if (System.currentTimeMillis() > limit) {
                    throw new Mismatch("only " + seen + " counts of " + sent + " words came");
                }
            }
        }

        private String line() {
            List<String> words = new ArrayList<>();
            for (int n = 0; n < IN_A_LINE; n++) {
                // Some are frequent, some are rare.
                String word = "w" + random.nextInt(1 + random.nextInt(60));
                expected.merge(word, 1L, Long::sum);
                words.add(word);
            }
            return String.join(" ", words);
        }

        /** Every count of a word is written, so the next one is always one more. */
        private void take(ConsumerRecord<String, Long> record) {
            long next = counted.merge(record.key(), 1L, Long::sum);
            if (record.value() != next) {
                throw new Mismatch(record.key() + " is counted " + record.value() + " after " + (next - 1));
            }
            seen++;
        }

        private void compare() throws Exception {
            // What comes now is too much.
            readToEnd(reader, this::take);
            same(counted, expected);
            Map<String, Long> changed = new TreeMap<>();
            String changelog = APPLICATION + "-" + STORE + "-changelog";
            try (var store = reader(changelog, "read_committed", new LongDeserializer())) {
                readToEnd(store, record -> changed.put(record.key(), record.value()));
            }
            same(changed, expected);
            try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", BOOTSTRAP))) {
                var resource = new ConfigResource(ConfigResource.Type.TOPIC, changelog);
                var config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
                same(config.get("cleanup.policy").value(), "compact");
            }
            producer.close();
            reader.close();
        }
    }

    /** The counting program: it ends with its input. */
    static final class WordCount {
        public static void main(String[] arguments) {
            StreamsBuilder builder = new StreamsBuilder();
            builder.<String, String>stream(Words.LINES)
                .flatMapValues(line -> List.of(line.split(" ")))
                .groupBy((key, word) -> word)
                .count(Materialized.as(Words.STORE))
                .toStream()
                .to(Words.COUNTS, Produced.with(Serdes.String(), Serdes.Long()));
            KafkaStreams streams = new KafkaStreams(builder.build(), config(arguments[0]));
            streams.setUncaughtExceptionHandler(error -> {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
                return null;
            });
            streams.setStateListener((now, before) -> {
                if (now == KafkaStreams.State.RUNNING) {
                    System.out.println(Words.RUNNING);
                }
            });
            streams.start();
            Life.atEndOfInput(() -> Runtime.getRuntime().halt(streams.close(Duration.ofSeconds(60)) ? 0 : 1));
        }

        private static Properties config(String folder) {
            Properties config = new Properties();
            config.put("bootstrap.servers", BOOTSTRAP);
            config.put("application.id", Words.APPLICATION);
            config.put("state.dir", folder);
            config.put("processing.guarantee", "exactly_once_v2");
            config.put("num.standby.replicas", "1");
            config.put("commit.interval.ms", "100");
            // Each count is written: none is held back because the next one follows.
            config.put("statestore.cache.max.bytes", "0");
            config.put("repartition.purge.interval.ms", "500");
            // The shortest that a broker allows: the group is without the one that was killed after it.
            config.put("consumer.session.timeout.ms", "6000");
            config.put("consumer.heartbeat.interval.ms", "500");
            config.put("consumer.max.poll.records", "100");
            config.put("default.key.serde", Serdes.String().getClass());
            config.put("default.value.serde", Serdes.String().getClass());
            return config;
        }
    }
}
