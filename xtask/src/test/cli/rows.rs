//! The table of commands: what goes in, what must come out.
//!
//! In arguments and expectations `ADDRESS` is the broker's, `LOGDIR` its log dir, `FOLDER` a folder with [`FILES`]; in
//! expected output `*` is any part of a line and a line `...` any number of lines.

mod transactions;

use crate::broker::Kind;

/// One call of the program.
pub(super) struct Call {
    /// What it shows, in front of its arguments.
    pub(super) name: &'static str,
    /// With blanks between.
    pub(super) arguments: &'static str,
    pub(super) stdin: &'static str,
    pub(super) stdout: &'static str,
    /// What must be on standard error; nothing else than nothing when it is empty.
    pub(super) stderr: &'static [&'static str],
    pub(super) code: i32,
    /// Whether the environment names the broker.
    pub(super) bootstrap: bool,
    /// What only one of the two brokers does so.
    pub(super) only: Option<Kind>,
}

const fn call(name: &'static str, arguments: &'static str) -> Call {
    Call {
        name,
        arguments,
        stdin: "",
        stdout: "",
        stderr: &[],
        code: 0,
        bootstrap: true,
        only: None,
    }
}

impl Call {
    const fn given(self, stdin: &'static str) -> Self {
        Self { stdin, ..self }
    }

    const fn prints(self, stdout: &'static str) -> Self {
        Self { stdout, ..self }
    }

    const fn says(self, stderr: &'static [&'static str]) -> Self {
        Self { stderr, ..self }
    }

    const fn fails(self, stderr: &'static [&'static str]) -> Self {
        Self {
            stderr,
            code: 1,
            ..self
        }
    }

    /// The command line is not understood.
    const fn usage(self, stderr: &'static [&'static str]) -> Self {
        Self {
            stderr,
            code: 2,
            ..self
        }
    }

    const fn without_bootstrap(self) -> Self {
        Self {
            bootstrap: false,
            ..self
        }
    }

    const fn klamm_only(self) -> Self {
        Self {
            only: Some(Kind::Klamm),
            ..self
        }
    }

    const fn kafka_only(self) -> Self {
        Self {
            only: Some(Kind::Kafka),
            ..self
        }
    }
}

/// Files that the calls name.
pub(super) const FILES: &[(&str, &str)] = &[
    ("one", "1\n2\n"),
    ("two", "3\n4"),
    ("large", LARGE),
    ("00000000000000000007.log", "x"),
    (
        "config/klamm/profiles.toml",
        "[profile.here]\nbootstrap = \"ADDRESS\"\noutput = \"json\"\n[profile.nowhere]\nbootstrap = \"127.0.0.1:1\"\n",
    ),
];

/// More than a topic takes by default, in one line.
const LARGE: &str = {
    static BYTES: [u8; 1_100_000] = [b'x'; 1_100_000];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

const TOPIC: &str = "topic";
const CONFIG: &str = "config";
const PRODUCE: &str = "produce";
const CONSUME: &str = "consume";
const GROUP: &str = "group";
const OTHER: &str = "klamm";

/// In order: later calls build on what earlier ones made.
pub(super) fn calls() -> impl Iterator<Item = &'static Call> {
    CALLS.iter().chain(transactions::CALLS)
}

const CALLS: &[Call] = &[
    // Where to go, and what is not understood.
    call(OTHER, "--version").prints("klamm *\n").without_bootstrap(),
    call(OTHER, "--help").prints("...\nUsage: klamm *\n...\n").without_bootstrap(),
    call(OTHER, "").usage(&["Usage: klamm"]),
    call(OTHER, "topics").usage(&["unrecognized subcommand", "topic"]),
    call(OTHER, "topic list -b 127.0.0.1:x").usage(&["HOST:PORT"]),
    call(OTHER, "topic list -o csv").usage(&["table, json, yaml"]),
    call(OTHER, "topic list -b 127.0.0.1:1")
        .fails(&["no broker can be reached: cannot connect to 127.0.0.1:1", "klamm serve"]),
    call(OTHER, "-b ADDRESS topic list").without_bootstrap().prints("TOPIC  PARTITIONS  REPLICAS\n"),
    call(OTHER, "topic list --profile here").without_bootstrap().prints("[]\n"),
    call(OTHER, "topic list --profile here -o table").without_bootstrap().prints("TOPIC  PARTITIONS  REPLICAS\n"),
    call(OTHER, "topic list --profile hree").without_bootstrap()
        .fails(&["there is no profile 'hree'", "did you mean 'here'?"]),
    call(OTHER, "topic list --profile nowhere").prints("TOPIC  PARTITIONS  REPLICAS\n"),
    call(OTHER, "topic list --profile nowhere").without_bootstrap().fails(&["127.0.0.1:1", "klamm serve"]),
    // Topics.
    call(TOPIC, "topic create cli-a -p 2 -r 1 -c retention.ms=3600000").prints(
        "TOPIC  PARTITIONS  REPLICAS  STATUS\ncli-a  2           1         created\n",
    ),
    call(TOPIC, "topic create cli-a").fails(&[
        "error: topic 'cli-a' was not created: TOPIC_ALREADY_EXISTS",
        "klamm topic describe cli-a",
    ]),
    call(TOPIC, "topic create cli-a --if-not-exists").prints(
        "TOPIC  PARTITIONS  REPLICAS  STATUS\ncli-a  -           -         exists\n",
    ),
    call(TOPIC, "topic create cli-dry --partitions 3 --replicas 1 --config retention.ms=1 --dry-run").prints(
        "TOPIC    PARTITIONS  REPLICAS  STATUS\ncli-dry  3           1         could be created\n",
    ),
    call(TOPIC, "topic create cli-b cli-a -o json")
        .prints(
            "[\n  {\n    \"name\": \"cli-b\",\n    \"status\": \"created\",\n    \"id\": \"*\",\n    \"partitions\": 12,\n    \"replicas\": 1\n  },\n  {\n    \"name\": \"cli-a\",\n    \"status\": \"failed\",\n    \"error\": \"TOPIC_ALREADY_EXISTS: Topic 'cli-a' already exists.\"\n  }\n]\n",
        )
        .fails(&["error: 1 of 2 topics were not created", "klamm topic describe cli-a"]),
    call(TOPIC, "topic create no/name").fails(&["INVALID_TOPIC_EXCEPTION", "make a name"]),
    call(TOPIC, "topic create cli-r -r 3").fails(&["INVALID_REPLICATION_FACTOR", "klamm cluster describe"]),
    call(TOPIC, "topic create cli-c -c retention.mss=1").fails(&["INVALID_CONFIG", "klamm config reference"]),
    call(TOPIC, "topic create").usage(&["<TOPIC>"]),
    call(TOPIC, "topic create a -p 0").usage(&["--partitions"]),
    call(TOPIC, "topic create a -c retention.ms").usage(&["NAME=VALUE"]),
    call(TOPIC, "topic list").prints(
        "TOPIC  PARTITIONS  REPLICAS\ncli-a  2           1\ncli-b  12          1\n",
    ),
    call(TOPIC, "topic list --internal").prints(
        "TOPIC  PARTITIONS  REPLICAS\ncli-a  2           1\ncli-b  12          1\n",
    ),
    call(TOPIC, "topic list -o json").prints(
        "[\n  {\n    \"name\": \"cli-a\",\n    \"id\": \"*\",\n    \"partitions\": 2,\n    \"replicas\": 1,\n    \"is_internal\": false\n  },\n  {\n    \"name\": \"cli-b\",\n...\n]\n",
    ),
    call(TOPIC, "topic list --output yaml").prints(
        "- name: cli-a\n  id: *\n  partitions: 2\n  replicas: 1\n  is_internal: false\n- name: cli-b\n...\n",
    ),
    call(TOPIC, "topic alter cli-a --partitions 3 --set max.message.bytes=2000000 --unset retention.ms --dry-run")
        .prints("TOPIC  STATUS\ncli-a  could be altered\n"),
    call(TOPIC, "topic describe cli-a").prints(
        "topic       cli-a\nid          *\npartitions  2\nreplicas    1\ninternal    no\n\nPARTITION  LEADER  EPOCH  REPLICAS  ISR  START  END\n0          1       0      1         1    0      0\n1          1       0      1         1    0      0\n\nCONFIG        VALUE\nretention.ms  3600000\n",
    ),
    call(TOPIC, "topic alter cli-a -p 3 --set max.message.bytes=2000000 --unset retention.ms")
        .prints("TOPIC  STATUS\ncli-a  altered\n"),
    call(TOPIC, "topic describe cli-a -o json").prints(
        "[\n  {\n    \"name\": \"cli-a\",\n...\n        \"partition\": 2,\n        \"leader\": 1,\n        \"leader_epoch\": 0,\n...\n        \"start_offset\": 0,\n        \"end_offset\": 0\n...\n        \"key\": \"max.message.bytes\",\n        \"value\": \"2000000\"\n...\n]\n",
    ),
    call(TOPIC, "topic describe cli-a -o yaml").prints("- name: cli-a\n...\n  - key: max.message.bytes\n    value: \"2000000\"\n"),
    call(TOPIC, "topic describe cli-aa").fails(&["there is no topic 'cli-aa'", "did you mean 'cli-a'?"]),
    call(TOPIC, "topic alter cli-a -p 1").fails(&[
        "topic 'cli-a' did not get 1 partitions: INVALID_PARTITIONS",
        "klamm topic describe cli-a",
    ]),
    call(TOPIC, "topic alter cli-a --set retention.mss=1").fails(&["INVALID_CONFIG", "did you mean 'retention.ms'?"]),
    call(TOPIC, "topic alter cli-zzz -p 4").fails(&["there is no topic 'cli-zzz'", "klamm topic"]),
    call(TOPIC, "topic alter cli-a").usage(&["--partitions"]),
    call(TOPIC, "topic delete cli-bb").fails(&["there is no topic 'cli-bb'", "did you mean 'cli-b'?"]),
    call(TOPIC, "topic delete cli-bb --if-exists").prints("TOPIC   STATUS\ncli-bb  does not exist\n"),
    call(TOPIC, "topic delete cli-b cli-bb")
        .prints("TOPIC   STATUS\ncli-b   deleted\ncli-bb  failed: UNKNOWN_TOPIC_OR_PARTITION: *\n")
        .fails(&["error: 1 of 2 topics were not deleted", "klamm topic list"]),
    // Configurations.
    call(CONFIG, "config set --topic cli-a retention.ms=7200000 flush.ms=5 --dry-run").prints(
        "KEY           VALUE    STATUS\nretention.ms  7200000  could be set\nflush.ms      5        could be set\n",
    ),
    call(CONFIG, "config get --topic cli-a").prints(
        "KEY                  VALUE    SOURCE\nmax.message.bytes    2000000  topic\n...\n",
    ),
    call(CONFIG, "config set -t cli-a retention.ms=7200000")
        .prints("KEY           VALUE    STATUS\nretention.ms  7200000  set\n"),
    call(CONFIG, "config get -t cli-a retention.ms -o json").prints(
        "[\n  {\n    \"key\": \"retention.ms\",\n    \"value\": \"7200000\",\n    \"source\": \"topic\",\n    \"is_sensitive\": false,\n    \"is_read_only\": false,\n    \"type\": \"long\",\n...\n]\n",
    ),
    call(CONFIG, "config get -t cli-a retention.ms -o yaml").prints("- key: retention.ms\n  value: \"7200000\"\n...\n"),
    call(CONFIG, "config get -t cli-a --all").prints(
        "KEY * SOURCE\n...\ncleanup.policy * delete *default\n...\nretention.ms *7200000 *topic\n...\n",
    ),
    call(CONFIG, "config get -t cli-a retention.mss").fails(&[
        "topic 'cli-a' has no configuration 'retention.mss'",
        "did you mean 'retention.ms'?",
    ]),
    call(CONFIG, "config get -t cli-zzz").fails(&["there is no topic 'cli-zzz'"]),
    call(CONFIG, "config get -t cli-a --all retention.ms").usage(&["--all"]),
    call(CONFIG, "config get").usage(&["--topic", "--broker"]),
    call(CONFIG, "config get -t cli-a --broker 1").usage(&["cannot be used with"]),
    call(CONFIG, "config set -t cli-a retention.ms=never").fails(&[
        "the configurations of topic 'cli-a' were not changed: INVALID_CONFIG",
        "klamm config reference",
    ]),
    call(CONFIG, "config set -t cli-a retention.ms").usage(&["NAME=VALUE"]),
    call(CONFIG, "config unset -t cli-a retention.ms --dry-run")
        .prints("KEY           VALUE  STATUS\nretention.ms  -      could be unset\n"),
    call(CONFIG, "config unset -t cli-a retention.ms").prints("KEY           VALUE  STATUS\nretention.ms  -      unset\n"),
    call(CONFIG, "config get -t cli-a retention.ms")
        .prints("KEY           VALUE      SOURCE\nretention.ms  604800000  default\n"),
    call(CONFIG, "config set --cluster log.retention.ms=86400000")
        .prints("KEY               VALUE     STATUS\nlog.retention.ms  86400000  set\n"),
    call(CONFIG, "config get --cluster log.retention.ms")
        .prints("KEY               VALUE     SOURCE\nlog.retention.ms  86400000  all brokers\n"),
    call(CONFIG, "config set --broker 1 log.retention.ms=90000000")
        .prints("KEY               VALUE     STATUS\nlog.retention.ms  90000000  set\n"),
    call(CONFIG, "config get --broker 1 log.retention.ms num.partitions").prints(
        "KEY               VALUE     SOURCE\nlog.retention.ms  90000000  broker\nnum.partitions    12        file\n",
    ),
    call(CONFIG, "config set --broker 1 num.partitions=3").fails(&["num.partitions", "klamm config reference"]),
    call(CONFIG, "config get --broker 7").fails(&["the cluster has no broker 7", "klamm cluster describe"]),
    call(CONFIG, "config unset --broker 1 log.retention.ms")
        .prints("KEY               VALUE  STATUS\nlog.retention.ms  -      unset\n"),
    call(CONFIG, "config unset --cluster log.retention.ms")
        .prints("KEY               VALUE  STATUS\nlog.retention.ms  -      unset\n"),
    call(CONFIG, "config set --loggers 1 root=ERROR").prints("KEY   VALUE  STATUS\nroot  ERROR  set\n"),
    call(CONFIG, "config get --loggers 1 root").prints("KEY   VALUE  SOURCE\nroot  ERROR  logger\n"),
    call(CONFIG, "config set --loggers 1 root=LOUD").fails(&["the loggers of broker 1"]),
    call(CONFIG, "config set --group g consumer.session.timeout.ms=50000")
        .prints("KEY                          VALUE  STATUS\nconsumer.session.timeout.ms  50000  set\n"),
    call(CONFIG, "config set -g k consumer.heartbeat.interval.ms=6000")
        .prints("KEY                             VALUE  STATUS\nconsumer.heartbeat.interval.ms  6000   set\n"),
    call(CONFIG, "config get -g g consumer.session.timeout.ms")
        .prints("KEY                          VALUE  SOURCE\nconsumer.session.timeout.ms  50000  group\n"),
    call(CONFIG, "config set --client-metrics m interval.ms=1000")
        .prints("KEY          VALUE  STATUS\ninterval.ms  1000   set\n")
        .says(&["note: interval.ms is stored, but has no effect"])
        .klamm_only(),
    call(CONFIG, "config get --client-metrics m interval.ms")
        .prints("KEY          VALUE  SOURCE\ninterval.ms  1000   client metrics\n")
        .klamm_only(),
    call(CONFIG, "config set -t cli-a unclean.leader.election.enable=true")
        .prints("KEY                             VALUE  STATUS\nunclean.leader.election.enable  true   set\n")
        .kafka_only(),
    call(CONFIG, "config reference retention.ms").without_bootstrap().prints("key      retention.ms\n...\n"),
    call(CONFIG, "config reference retention.msss").without_bootstrap()
        .fails(&["no key contains 'retention.msss'", "did you mean 'retention.ms'?"]),
    // Records in.
    call(PRODUCE, "topic create cli-p -p 2").prints("TOPIC  *\ncli-p  2 *created\n"),
    call(PRODUCE, "produce cli-p -p 0")
        .given("a\n\nb")
        .says(&["3 records (2 B) stored in 'cli-p' in "]),
    call(PRODUCE, "produce cli-p FOLDER/one - FOLDER/two --partition 0")
        .given("x\n")
        .says(&["5 records (5 B) stored"]),
    call(PRODUCE, "produce cli-p -p 1 -k : -H a=1 -H a= --tombstones -o json")
        .given("k:v:w\nk:\nnone\n")
        .prints("{\n  \"topic\": \"cli-p\",\n  \"records\": 3,\n  \"bytes\": 11,\n  \"seconds\": *\n}\n")
        .says(&["3 records (11 B)"]),
    call(PRODUCE, "produce cli-p -p 1 --key-delimiter \\t --header h=v").given("k\tv\n").says(&["1 record (3 B)"]),
    call(PRODUCE, "topic create cli-z -p 1").prints("TOPIC  *\ncli-z  1 *created\n"),
    call(PRODUCE, "produce cli-z --compression none").given("none\n").says(&["1 record "]),
    call(PRODUCE, "produce cli-z --compression gzip").given("gzip\n").says(&["1 record "]),
    call(PRODUCE, "produce cli-z --compression snappy").given("snappy\n").says(&["1 record "]),
    call(PRODUCE, "produce cli-z --compression lz4").given("lz4\n").says(&["1 record "]),
    call(PRODUCE, "produce cli-z -z zstd").given("zstd\n").says(&["1 record "]),
    call(PRODUCE, "produce cli-z -z brotli").usage(&["--compression"]),
    call(PRODUCE, "produce cli-z").says(&["0 records (0 B)"]),
    call(PRODUCE, "produce cli-z FOLDER/none").fails(&["cannot read FOLDER/none", "standard input"]),
    call(PRODUCE, "produce cli-zzz").given("a\n").fails(&["there is no topic 'cli-zzz'", "klamm topic create cli-zzz"]),
    call(PRODUCE, "produce cli-z -p 7").given("a\n").fails(&[
        "0 records stored before this failed: topic 'cli-z' has no partition 7",
        "klamm topic describe cli-z",
    ]),
    call(PRODUCE, "produce cli-z FOLDER/large").fails(&[
        "MESSAGE_TOO_LARGE",
        "klamm config get --topic cli-z max.message.bytes",
    ]),
    call(PRODUCE, "produce").usage(&["<TOPIC>"]),
    // Records out.
    call(CONSUME, "consume cli-p -p 0 --from beginning --until end").prints("a\n\nb\n1\n2\nx\n3\n4\n"),
    call(CONSUME, "consume cli-p -p 0 --from beginning -n 2").prints("a\n\n"),
    call(CONSUME, "consume cli-p -p 0 --from beginning --count 0").prints(""),
    call(CONSUME, "consume cli-p -p 0 --from 2 --until 4").prints("b\n1\n"),
    call(CONSUME, "consume cli-p -p 0 --from -2 --until end").prints("3\n4\n"),
    call(CONSUME, "consume cli-p --from end --until end").prints(""),
    call(CONSUME, "consume cli-p -p 0 --from @0 --until @2100-01-01 -n 1").prints("a\n"),
    call(CONSUME, "consume cli-p -p 0 --from @2100-01-01T00:00:00Z --until end").prints(""),
    call(CONSUME, "consume cli-p -p 1 --from beginning --until end -f %t|%p|%o|%k|%K|%s|%S|%h|%%\\n").prints(
        "cli-p|1|0|k|1|v:w|3|a=1,a=|%\ncli-p|1|1|k|1||-1|a=1,a=|%\ncli-p|1|2||-1|none|4|a=1,a=|%\ncli-p|1|3|k|1|v|1|h=v|%\n",
    ),
    call(CONSUME, "consume cli-p --partition 0,1 --from -1 --until end --format %p:%s;").prints("*:*;*:*;\n"),
    call(CONSUME, "consume cli-p -p 0 --from 0 -n 1 -f %T|%R\\x41\\t\\\\\\n").prints("*|\0\0\0\u{1}A\t\\\n"),
    call(CONSUME, "consume cli-p -p 1 --from 1 -n 1 -o json").prints(
        "{\"topic\":\"cli-p\",\"partition\":1,\"offset\":1,\"timestamp\":*,\"time\":\"20*Z\",\"key\":\"k\",\"value\":null,\"headers\":[{\"name\":\"a\",\"value\":\"1\"},{\"name\":\"a\",\"value\":\"\"}]}\n",
    ),
    call(CONSUME, "consume cli-p -p 0 --from 0 -n 2 -o yaml").prints(
        "topic: cli-p\npartition: 0\noffset: 0\n...\nvalue: a\n...\n---\ntopic: cli-p\npartition: 0\noffset: 1\n...\n",
    ),
    call(CONSUME, "consume cli-z --from beginning --until end --read-uncommitted")
        .prints("none\ngzip\nsnappy\nlz4\nzstd\n"),
    call(CONSUME, "consume cli-zzz").fails(&["there is no topic 'cli-zzz'", "klamm topic create cli-zzz"]),
    call(CONSUME, "consume cli-z -p 3").fails(&[
        "topic 'cli-z' has no partition 3: it has 1, numbered from 0",
        "klamm topic describe cli-z",
    ]),
    call(CONSUME, "consume cli-z --from soon").usage(&["beginning, end, OFFSET"]),
    call(CONSUME, "consume cli-z --until beginning").usage(&["is no end"]),
    call(CONSUME, "consume cli-z -f %x").usage(&["after a %"]),
    // The cluster and its files.
    call(OTHER, "cluster describe").prints(
        "cluster     *\ncontroller  1\nvoters      1\ntopics      3\npartitions  6\n\nBROKER  * FREE\n1       ADDRESS *alive *\n...\nmetadata.version *33\n...\n",
    ),
    call(OTHER, "cluster describe -o json").prints(
        "{\n  \"id\": \"*\",\n  \"controller\": 1,\n  \"topics\": 3,\n  \"partitions\": 6,\n...\n      \"address\": \"ADDRESS\",\n...\n          \"path\": \"LOGDIR\",\n          \"error\": null,\n...\n}\n",
    ),
    call(OTHER, "cluster describe -o yaml").prints("id: *\ncontroller: 1\ntopics: 3\n...\n"),
    call(OTHER, "log dump LOGDIR/cli-z-0/00000000000000000000.log").prints(
        "position 0  offsets 0-0  1 records  *none *\nposition *  offsets 1-1 *gzip *\nposition *  offsets 2-2 *snappy *\nposition *  offsets 3-3 *lz4 *\nposition *  offsets 4-4 *zstd *\n",
    ),
    call(OTHER, "log dump --records LOGDIR/cli-p-1/00000000000000000000.log").prints(
        "position 0  offsets 0-2  3 records *\n    offset: 0 *key: k  value: v:w  headers: [[\"a\",\"1\"],[\"a\",\"\"]]\n    offset: 1 *key: k  value: -  headers: *\n    offset: 2 *key: -  value: none  headers: *\nposition *\n    offset: 3 *key: k  value: v  headers: [[\"h\",\"v\"]]\n",
    ),
    call(OTHER, "log dump -r -o json LOGDIR/cli-p-1/00000000000000000000.log").prints(
        "{\"position\":0,*\"records\":3,*\"is_valid\":true,\"content\":[{*\"value\":\"v:w\"}*\n{*}\n",
    ),
    call(OTHER, "log dump LOGDIR/cli-z-0/leader-epoch-checkpoint LOGDIR/cli-z-0/00000000000000000000.log").prints(
        "LOGDIR/cli-z-0/leader-epoch-checkpoint\n...\nLOGDIR/cli-z-0/00000000000000000000.log\nposition 0 *\n...\n",
    ),
    call(OTHER, "log dump FOLDER/one").fails(&["FOLDER/one", "its name is none of a partition's files", "klamm log dump --help"]),
    call(OTHER, "log dump LOGDIR/cli-z-0/00000000000000000099.log").fails(&["00000000000000000099.log"]),
    call(OTHER, "log dump").usage(&["<FILE>"]),
    call(OTHER, "completion csh").usage(&["bash"]),
    call(OTHER, "serve --set num.partitions").usage(&["KEY=VALUE"]),
    call(OTHER, "serve --log-format xml").usage(&["text, json"]),
    call(OTHER, "log dump FOLDER/00000000000000000007.log").fails(&[
        "00000000000000000007.log: position 0: the batch needs 17 bytes, 1 are there\n",
        "klamm serve cuts a torn end",
    ]),
    call(OTHER, "log dump --deep --offset 3 -n 1 LOGDIR/cli-p-1/00000000000000000000.log").prints(
        "position *  offsets 3-3  1 records *\n    offset: 3 *value: v *\n",
    ),
    call(OTHER, "log dump LOGDIR/cli-z-0").prints("...\nLOGDIR/cli-z-0/00000000000000000000.log\nposition 0 *\n...\n"),
    call(OTHER, "log verify LOGDIR").prints("partitions  *\n...\ndamaged     0\n").says(&["note: LOGDIR is in use by"]),
    call(OTHER, "log verify LOGDIR/cli-z-0 -o json").prints(
        "{\n  \"partitions\": 1,\n  \"segments\": 1,\n  \"bytes\": *,\n  \"batches\": 5,\n  \"records\": 5,\n...\n  \"damaged\": 0,\n  \"findings\": []\n}\n",
    ).says(&["is in use by"]),
    call(OTHER, "log verify FOLDER/00000000000000000007.log").prints(
        "PARTITION *FILE *POSITION *OFFSETS *WHAT *NEXT\n...\n*00000000000000000007.log *0-1 *7- *batches: the batch needs 17 bytes, 1 are there *klamm log repair --cut-damaged *FOLDER*\n...\n",
    ).fails(&["damage was found in", "klamm log repair"]),
    call(OTHER, "log verify FOLDER/one").fails(&["this is no log dir, no partition's folder and no segment", "log.dirs"]),
    call(OTHER, "log verify FOLDER/nowhere").fails(&["FOLDER/nowhere"]),
    call(OTHER, "log repair LOGDIR/cli-z-0 -y").fails(&["is in use by", "stop the broker first"]),
    call(OTHER, "log index LOGDIR/cli-z-0 -y").fails(&["is in use by", "stop the broker first"]),
    call(OTHER, "log repair --dry-run FOLDER/00000000000000000007.log").prints(
        "PARTITION *ACTION\n...\n*none: batches of 00000000000000000007.log: * (--cut-damaged *)\n...\n",
    ).fails(&["were left as they are", "klamm log verify"]),
    call(OTHER, "log index FOLDER/00000000000000000007.log").prints("PARTITION *SEGMENT\nFOLDER *7\n").fails(&["-y does it without asking"]),
    call(OTHER, "log adopt FOLDER").usage(&["--copy-to"]),
    call(OTHER, "log adopt FOLDER --in-place -y").fails(&["there is no meta.properties"]),
    // Groups.
    call(GROUP, "group list").prints("GROUP  TYPE  STATE  PROTOCOL\n"),
    call(GROUP, "consume cli-z -g cli-g --from beginning -n 2").prints("none\ngzip\n"),
    call(GROUP, "consume cli-z -g cli-g --until end").prints("snappy\nlz4\nzstd\n"),
    call(GROUP, "consume cli-z -g cli-g --from 5")
        .fails(&["a group goes on from where it is", "klamm group reset"]),
    call(GROUP, "consume cli-z -g cli-g -p 0").usage(&["cannot be used with"]),
    call(GROUP, "consume cli-z --from beginning --until end --isolation read-uncommitted")
        .prints("none\ngzip\nsnappy\nlz4\nzstd\n"),
    call(GROUP, "consume cli-z --isolation strict").usage(&["read-committed, read-uncommitted"]),
    call(GROUP, "group list --state empty --type consumer -o json")
        .prints(
            "[\n  {\n    \"name\": \"cli-g\",\n    \"type\": \"consumer\",\n    \"state\": \"empty\",\n    \"protocol\": \"consumer\"\n  }\n]\n",
        ),
    call(GROUP, "group list --state stable").prints("GROUP  TYPE  STATE  PROTOCOL\n"),
    call(GROUP, "group reset cli-g --shift-by -3 --dry-run")
        .prints("TOPIC  PARTITION  CURRENT  NEW\ncli-z  0          5        2\n"),
    call(GROUP, "group reset cli-g --to-offset 99 -y")
        .prints("TOPIC  PARTITION  CURRENT  NEW\ncli-z  0          5        5\n")
        .says(&["note: cli-z-0: offset 99 is beyond the end: the end is taken, 5"]),
    call(GROUP, "group reset cli-g --to-earliest")
        .prints("TOPIC  PARTITION  CURRENT  NEW\ncli-z  0          5        0\n")
        .fails(&["there is no terminal to ask", "-y does it without asking"]),
    call(GROUP, "group reset cli-g --by-duration 1d --topic cli-z:0 --yes")
        .prints("TOPIC  PARTITION  CURRENT  NEW\ncli-z  0          5        0\n")
        .says(&["note: to the first record of "]),
    call(GROUP, "group reset cli-g --to-datetime 2100-01-01 -t cli-p:0 -o json -y")
        .prints(
            "[\n  {\n    \"topic\": \"cli-p\",\n    \"partition\": 0,\n    \"current_offset\": null,\n    \"new_offset\": 8\n  }\n]\n",
        )
        .says(&["note: to the first record of 2100-01-01T00:00:00"]),
    call(GROUP, "group reset cli-g --shift-by 1 -t cli-p:1")
        .fails(&["cli-p-1: group 'cli-g' has committed no offset to shift", "--to-earliest"]),
    call(GROUP, "group reset cli-new --to-latest").fails(&["has committed no offsets", "--topic TOPIC"]),
    call(GROUP, "group reset cli-g").usage(&["--to-earliest"]),
    call(GROUP, "group reset cli-g --to-latest --by-duration soon").usage(&["1d12h, 90m, 30s"]),
    call(GROUP, "group describe cli-g")
        .prints(
            "group        cli-g\ntype         consumer\nstate        empty\ncoordinator  1\n...\nTOPIC  PARTITION  COMMITTED  END  LAG  LAG TIME  MEMBER\ncli-p  0          8          8    0    0ms       -\ncli-z  0          0          5    5    *s *-\n",
        ),
    call(GROUP, "group describe cli-g -o yaml").prints("- name: cli-g\n  type: consumer\n...\n    lag: 5\n    lag_ms: *\n    member: null\n"),
    call(GROUP, "group describe cli-gg").fails(&["there is no group 'cli-gg'", "did you mean 'cli-g'?"]),
    call(GROUP, "group delete cli-g").fails(&["there is no terminal to ask", "-y"]),
    call(GROUP, "group delete cli-gg -y").fails(&["there is no group 'cli-gg'", "did you mean 'cli-g'?"]),
    call(GROUP, "group delete cli-gg --if-exists -y").prints("GROUP   STATUS\ncli-gg  does not exist\n"),
    call(GROUP, "group delete cli-g cli-gg --yes")
        .prints("GROUP   STATUS\ncli-g   deleted\ncli-gg  failed: GROUP_ID_NOT_FOUND*\n")
        .fails(&["error: 1 of 2 groups were not deleted", "klamm group list"]),
    call(TOPIC, "topic delete cli-a cli-p cli-z").prints("TOPIC  STATUS\ncli-a  deleted\ncli-p  deleted\ncli-z  deleted\n"),
];
