//! Which test shows that a key does what the table says.
//!
//! Always holds: a key that is not served is proven here, by a test that sets it and reads the warning or the refusal; a
//! served key names the test that sets it and sees its effect. `cargo xtask tidy` fails while `without_proof` is not empty.
//!
//! Next: `broker.rs` holds the test over all broker keys that are not served; that of the other resources is below.

use crate::key::{Key, Resource, Scope, Serving};
use crate::keys::THEMES;

/// What shows that a key does what the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The test of this name sets the key and observes its effect.
    Test(&'static str),
    /// The start says that the key has no effect.
    WarnedAtStart,
    /// The start, or the change, is refused.
    Refused,
    /// A change is accepted, stored, shown and has no effect.
    StoredOnly,
}

/// The tests, by crate and name, and the served keys that each sets; a broker key and a topic key of one name share theirs.
static TESTS: &[(&str, &[&str])] = &[
    (
        "klamm-broker: compaction::a_log_is_compacted_when_enough_of_it_is_dirty",
        &["log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio"],
    ),
    (
        "klamm-broker: compaction::compaction_keeps_to_a_rate",
        &["log.cleaner.io.max.bytes.per.second"],
    ),
    (
        "klamm-broker: compaction::compaction_looks_for_work_so_often",
        &["log.cleaner.backoff.ms"],
    ),
    (
        "klamm-broker: compaction::compaction_reads_as_much_at_once_as_its_buffer_takes",
        &["log.cleaner.io.buffer.size"],
    ),
    (
        "klamm-broker: compaction::compaction_runs_unless_it_is_turned_off",
        &["log.cleaner.enable"],
    ),
    (
        "klamm-broker: compaction::old_records_are_compacted_in_time",
        &["log.cleaner.max.compaction.lag.ms", "max.compaction.lag.ms"],
    ),
    (
        "klamm-broker: compaction::so_many_keys_are_compacted_at_once",
        &[
            "log.cleaner.dedupe.buffer.size",
            "log.cleaner.io.buffer.load.factor",
        ],
    ),
    (
        "klamm-broker: compaction::so_many_logs_are_compacted_at_once",
        &["log.cleaner.threads"],
    ),
    (
        "klamm-broker: compaction::tombstones_stay_so_long",
        &["delete.retention.ms", "log.cleaner.delete.retention.ms"],
    ),
    (
        "klamm-broker: compaction::young_records_are_not_compacted",
        &["log.cleaner.min.compaction.lag.ms", "min.compaction.lag.ms"],
    ),
    (
        "klamm-broker: consumer_groups::a_consumer_group_has_so_many_members",
        &["group.consumer.max.size"],
    ),
    (
        "klamm-broker: consumer_groups::a_consumer_member_may_be_silent_so_long",
        &[
            "consumer.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
            "group.consumer.min.session.timeout.ms",
            "group.consumer.session.timeout.ms",
        ],
    ),
    (
        "klamm-broker: consumer_groups::assignments_are_made_so_seldom",
        &[
            "consumer.assignment.interval.ms",
            "group.consumer.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
            "group.consumer.min.assignment.interval.ms",
        ],
    ),
    (
        "klamm-broker: consumer_groups::expressions_are_matched_again_so_often",
        &["group.consumer.regex.refresh.interval.ms"],
    ),
    (
        "klamm-broker: consumer_groups::groups_change_their_protocol_as_far_as_they_may",
        &["group.consumer.migration.policy"],
    ),
    (
        "klamm-broker: consumer_groups::members_are_told_how_often_to_come",
        &[
            "consumer.heartbeat.interval.ms",
            "group.consumer.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
            "group.consumer.min.heartbeat.interval.ms",
        ],
    ),
    (
        "klamm-broker: consumer_groups::only_some_assignors_may_be_asked_for",
        &["group.consumer.assignors"],
    ),
    (
        "klamm-broker: consumer_groups::only_some_protocols_are_offered",
        &["group.coordinator.rebalance.protocols"],
    ),
    (
        "klamm-broker: coordinators::the_topic_of_a_coordinator_is_made_as_configured",
        &[
            "offsets.topic.num.partitions",
            "offsets.topic.replication.factor",
            "offsets.topic.segment.bytes",
            "share.coordinator.state.topic.min.isr",
            "share.coordinator.state.topic.num.partitions",
            "share.coordinator.state.topic.replication.factor",
            "share.coordinator.state.topic.segment.bytes",
            "transaction.state.log.min.isr",
            "transaction.state.log.num.partitions",
            "transaction.state.log.replication.factor",
            "transaction.state.log.segment.bytes",
        ],
    ),
    (
        "klamm-broker: disks::a_log_dir_that_may_not_be_mounted_is_not_made_anew",
        &["klamm.log.dirs.unformatted"],
    ),
    (
        "klamm-broker: groups::a_commit_waits_so_long_for_the_device",
        &["offsets.commit.timeout.ms"],
    ),
    (
        "klamm-broker: groups::a_first_member_waits_so_long_for_others",
        &["group.initial.rebalance.delay.ms"],
    ),
    (
        "klamm-broker: groups::a_group_has_so_many_members",
        &["group.max.size"],
    ),
    (
        "klamm-broker: groups::a_member_may_be_silent_so_long",
        &["group.max.session.timeout.ms", "group.min.session.timeout.ms"],
    ),
    (
        "klamm-broker: groups::metadata_of_an_offset_has_so_many_bytes",
        &["offset.metadata.max.bytes"],
    ),
    (
        "klamm-broker: groups::offsets_are_kept_so_long_and_looked_at_so_often",
        &["offsets.retention.check.interval.ms", "offsets.retention.minutes"],
    ),
    (
        "klamm-broker: groups::offsets_are_stored_in_a_codec",
        &["offsets.topic.compression.codec"],
    ),
    (
        "klamm-broker: groups::so_many_bytes_of_offsets_are_loaded_at_once",
        &["offsets.load.buffer.size"],
    ),
    (
        "klamm-broker: housekeeping::offsets_are_written_down_from_time_to_time",
        &[
            "log.flush.offset.checkpoint.interval.ms",
            "log.flush.start.offset.checkpoint.interval.ms",
            "replica.high.watermark.checkpoint.interval.ms",
        ],
    ),
    (
        "klamm-broker: housekeeping::records_unsynced_for_some_time_are_synced",
        &[
            "flush.ms",
            "log.flush.interval.ms",
            "log.flush.scheduler.interval.ms",
        ],
    ),
    (
        "klamm-broker: housekeeping::sealed_segments_are_read_again_in_time",
        &["klamm.scrub.bytes.per.second", "klamm.scrub.interval.ms"],
    ),
    (
        "klamm-broker: housekeeping::silent_producers_are_forgotten",
        &[
            "producer.id.expiration.check.interval.ms",
            "producer.id.expiration.ms",
        ],
    ),
    (
        "klamm-broker: housekeeping::so_many_unsynced_records_are_synced",
        &["flush.messages", "log.flush.interval.messages"],
    ),
    (
        "klamm-broker: log_dirs::a_cordoned_log_dir_takes_no_new_partitions",
        &["cordoned.log.dirs"],
    ),
    (
        "klamm-broker: network::a_description_has_so_many_partitions",
        &["max.request.partition.size.limit"],
    ),
    (
        "klamm-broker: network::an_answer_to_a_fetch_has_so_many_bytes",
        &["fetch.max.bytes"],
    ),
    (
        "klamm-broker: network::every_listener_serves_and_tells_its_own_address",
        &["listeners"],
    ),
    (
        "klamm-broker: network::idle_connections_are_closed",
        &["connections.max.idle.ms"],
    ),
    (
        "klamm-broker: network::reading_waits_when_the_memory_for_requests_is_used_up",
        &["klamm.memory.request.bytes", "queued.max.request.bytes"],
    ),
    (
        "klamm-broker: network::requests_above_a_size_close_the_connection",
        &["socket.request.max.bytes"],
    ),
    (
        "klamm-broker: network::so_many_connections_are_served_at_once",
        &[
            "max.connections",
            "max.connections.per.ip",
            "max.connections.per.ip.overrides",
        ],
    ),
    (
        "klamm-broker: network::so_many_fetch_sessions_are_kept",
        &["max.incremental.fetch.session.cache.slots"],
    ),
    (
        "klamm-broker: node::clients_are_told_who_the_node_is",
        &["broker.rack", "node.id"],
    ),
    (
        "klamm-broker: node::data_lies_where_it_should",
        &["log.dir", "log.dirs", "metadata.log.dir"],
    ),
    (
        "klamm-broker: node::many_partitions_commit_by_journal_files_of_so_many_bytes",
        &["klamm.journal.file.bytes", "klamm.journal.max.bytes"],
    ),
    (
        "klamm-broker: node::so_many_bytes_of_decisions_are_followed_by_a_snapshot",
        &["metadata.log.max.record.bytes.between.snapshots"],
    ),
    (
        "klamm-broker: node::so_many_files_stay_open",
        &["klamm.open.files.max"],
    ),
    (
        "klamm-broker: records::a_compacted_topic_needs_keys",
        &["cleanup.policy", "log.cleanup.policy"],
    ),
    (
        "klamm-broker: records::a_record_counts_as_stored_on_the_device_or_before",
        &["klamm.durability"],
    ),
    (
        "klamm-broker: records::batches_above_a_size_are_refused",
        &["max.message.bytes", "message.max.bytes"],
    ),
    (
        "klamm-broker: records::batches_are_stored_in_the_codec_of_the_topic",
        &["compression.type"],
    ),
    (
        "klamm-broker: records::records_that_unpack_above_a_size_are_refused",
        &["max.decompressed.message.bytes"],
    ),
    (
        "klamm-broker: records::the_broker_gives_records_their_time",
        &["log.message.timestamp.type", "message.timestamp.type"],
    ),
    (
        "klamm-broker: records::the_level_of_a_codec_decides_how_small_a_batch_gets",
        &["compression.gzip.level", "compression.zstd.level"],
    ),
    (
        "klamm-broker: records::timestamps_too_far_from_now_are_refused",
        &[
            "log.message.timestamp.after.max.ms",
            "log.message.timestamp.before.max.ms",
            "message.timestamp.after.max.ms",
            "message.timestamp.before.max.ms",
        ],
    ),
    (
        "klamm-broker: retention::records_go_by_age",
        &[
            "log.retention.hours",
            "log.retention.minutes",
            "log.retention.ms",
            "retention.ms",
        ],
    ),
    (
        "klamm-broker: retention::records_go_by_size",
        &["log.retention.bytes", "retention.bytes"],
    ),
    (
        "klamm-broker: retention::retention_is_applied_from_time_to_time",
        &["log.retention.check.interval.ms"],
    ),
    (
        "klamm-broker: segments::a_full_index_closes_the_segment",
        &["log.index.size.max.bytes", "segment.index.bytes"],
    ),
    (
        "klamm-broker: segments::a_full_segment_is_closed",
        &["internal.segment.bytes", "log.segment.bytes", "segment.bytes"],
    ),
    (
        "klamm-broker: segments::an_index_has_an_entry_for_so_many_bytes",
        &["index.interval.bytes", "log.index.interval.bytes"],
    ),
    (
        "klamm-broker: segments::an_old_segment_is_closed",
        &["log.roll.hours", "log.roll.ms", "segment.ms"],
    ),
    (
        "klamm-broker: segments::jitter_closes_some_segments_early",
        &["log.roll.jitter.hours", "log.roll.jitter.ms", "segment.jitter.ms"],
    ),
    (
        "klamm-broker: segments::removed_files_stay_for_a_while",
        &["file.delete.delay.ms", "log.segment.delete.delay.ms"],
    ),
    (
        "klamm-broker: topics::a_topic_whose_maker_names_no_counts",
        &["default.replication.factor", "num.partitions"],
    ),
    (
        "klamm-broker: topics::asking_for_a_topic_makes_it",
        &["auto.create.topics.enable"],
    ),
    (
        "klamm-broker: topics::topics_may_be_deleted_or_not",
        &["delete.topic.enable"],
    ),
    (
        "klamm-broker: transactions::a_transaction_may_ask_for_so_much_time",
        &["transaction.max.timeout.ms"],
    ),
    (
        "klamm-broker: transactions::ids_that_nobody_uses_are_forgotten_after_so_long",
        &[
            "transaction.remove.expired.transaction.cleanup.interval.ms",
            "transactional.id.expiration.ms",
        ],
    ),
    (
        "klamm-broker: transactions::so_many_bytes_of_transactions_are_loaded_at_once",
        &["transaction.state.log.load.buffer.size"],
    ),
    (
        "klamm-broker: transactions::transactions_that_take_too_long_are_made_void_so_often",
        &["transaction.abort.timed.out.transaction.cleanup.interval.ms"],
    ),
    (
        "klamm-config: listeners_that_do_not",
        &["inter.broker.listener.name", "security.inter.broker.protocol"],
    ),
    (
        "klamm-config: listeners_that_start",
        &[
            "advertised.listeners",
            "controller.listener.names",
            "listener.security.protocol.map",
        ],
    ),
    ("klamm-config: node_ids", &["broker.id"]),
    (
        "klamm-config: quorums",
        &["controller.quorum.bootstrap.servers", "controller.quorum.voters"],
    ),
    ("klamm-config: roles_apart_are_refused", &["process.roles"]),
    (
        "klamm: metrics_are_served_where_configured",
        &["klamm.http.listener"],
    ),
    ("klamm: so_many_threads_work", &["klamm.workers"]),
    (
        "klamm: the_sockets_are_as_configured",
        &[
            "socket.listen.backlog.size",
            "socket.receive.buffer.bytes",
            "socket.send.buffer.bytes",
        ],
    ),
];

impl Key {
    /// What shows that this key does what the table says, if anything does yet.
    pub fn proof(&self) -> Option<Proof> {
        match (self.serving, self.scope) {
            (Serving::Served, _) => TESTS
                .iter()
                .find(|(_, keys)| keys.contains(&self.name))
                .map(|(test, _)| Proof::Test(test)),
            (Serving::NotServed(_), Scope::Broker(_)) => Some(Proof::WarnedAtStart),
            (Serving::NotServed(_), _) => Some(Proof::StoredOnly),
            (Serving::Refused(_), _) => Some(Proof::Refused),
        }
    }
}

/// The served keys that no test observes yet.
pub fn without_proof() -> Vec<(Resource, &'static str)> {
    let keys = THEMES.iter().flat_map(|(_, keys)| keys.iter());
    keys.filter(|key| key.proof().is_none())
        .map(|key| (key.resource(), key.name))
        .collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // looks into the other crates
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::alter::{Operation, Target, alter};
    use crate::describe::{self, ConfigEntry};
    use crate::key::Kind;
    use crate::layers::{Layers, Values};

    #[test]
    fn proofs_name_served_keys_once() {
        assert!(TESTS.is_sorted_by(|a, b| a.0 < b.0), "tests by name, each once");
        let mut seen = std::collections::BTreeSet::new();
        for (test, names) in TESTS {
            assert!(names.is_sorted_by(|a, b| a < b), "{test}: keys by name");
            for name in *names {
                assert!(seen.insert(name), "{name} has two tests");
                let keys = THEMES.iter().flat_map(|(_, keys)| keys.iter());
                let mut keys = keys.filter(|key| key.name == *name);
                assert!(
                    keys.any(|key| key.serving == Serving::Served),
                    "{name} is not served"
                );
            }
        }
    }

    /// The Rust files of a folder and those below it.
    fn sources(folder: &Path, texts: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                sources(&path, texts);
            } else if path.extension().is_some_and(|end| end == "rs") {
                texts.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn keys_of_resources_that_are_not_served_are_stored_and_shown() {
        let keys = THEMES.iter().flat_map(|(_, keys)| keys.iter());
        let mut seen = std::collections::BTreeSet::new();
        for key in keys.filter(|key| key.proof() == Some(Proof::StoredOnly)) {
            let layers = Layers::defaults();
            let describe = |values: &Values| match key.resource() {
                Resource::Topic => (Target::Topic, describe::topic(values, &layers)),
                Resource::Group => (Target::Group, describe::group(values, &layers)),
                Resource::ClientMetrics => (Target::ClientMetrics, describe::client_metrics(values)),
                Resource::Broker => panic!("{}: broker keys are warned of at the start", key.name),
            };
            seen.insert(key.resource() as i8);
            let (target, before) = describe(&Values::new());
            let number = key.default.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
            let nearby =
                [number.saturating_add(1), number.saturating_sub(1), 1].map(|number| number.to_string());
            let texts = [
                "true",
                "false",
                "a",
                "*",
                "earliest",
                "read_committed",
                "consumer",
                "homogeneous",
                "uniform",
                "sticky",
                "client_id=a",
            ]
            .map(str::to_owned);
            let fraction = (key.kind == Kind::Double).then(|| "0.25".to_owned());
            let nearby = fraction.into_iter().chain(nearby);
            let changed = nearby.chain(texts).filter(|value| key.default != Some(value));
            let (value, altered) = changed
                .filter_map(|value| {
                    let set = Operation {
                        name: key.name,
                        operation: 0,
                        value: Some(&value),
                    };
                    let altered = alter(target, &Values::new(), &[set], &layers).ok()?;
                    Some((value, altered))
                })
                .next()
                .unwrap_or_else(|| panic!("{}: no change is accepted", key.name));
            let of = |entries: Vec<ConfigEntry>| entries.into_iter().find(|entry| entry.name == key.name);
            let after = of(describe(&altered).1).unwrap();
            assert_eq!(after.value, Some(value), "{}", key.name);
            let before = of(before).map(|entry| entry.source);
            assert_ne!(Some(after.source), before, "{}: it is set now", key.name);
        }
        assert_eq!(seen.len(), 3, "topics, groups and client metrics: {seen:?}");
    }

    /// The item of a text that begins at `at`, without comments: up to the brace, bracket or semicolon that ends it.
    fn item(text: &str, at: usize) -> String {
        let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let indent = text[begin..].len() - text[begin..].trim_start().len();
        let is_end = |line: &str| {
            let rest = line.trim_start();
            line.len() - rest.len() == indent && (rest.starts_with(['}', ']']) || line.ends_with(';'))
        };
        let mut lines = Vec::new();
        for line in text[begin..].lines() {
            if !line.trim_start().starts_with("//") {
                lines.push(line);
            }
            if is_end(line) {
                break;
            }
        }
        lines.join("\n")
    }

    /// Whether a text has these words with nothing around them that could belong to a name.
    fn names(text: &str, words: &str) -> bool {
        let belongs = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        text.match_indices(words).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + words.len()..].chars().next();
            !before.is_some_and(belongs) && !after.is_some_and(belongs)
        })
    }

    /// A test in a text and the tables of that text that it reads.
    fn test_and_tables(text: &str, name: &str) -> Option<String> {
        let at = text.find(&format!("fn {name}()"))?;
        let before = text[..at].trim_end().trim_end_matches("async").trim_end();
        before.lines().next_back().filter(|line| line.contains("test"))?;
        let test = item(text, at);
        let tables = ["const ", "static "].into_iter().flat_map(|kind| {
            let found = text.match_indices(kind).filter_map(move |(at, _)| {
                let (name, _) = text[at + kind.len()..].split_once(':')?;
                Some((at, name))
            });
            found.collect::<Vec<_>>()
        });
        let read = tables.filter(|(_, name)| names(&test, name));
        let tables: String = read.map(|(at, _)| item(text, at)).collect();
        // A line of a file in a test may begin with a key.
        Some((test + &tables).replace("\\n", "\n"))
    }

    #[test]
    fn the_tests_exist_and_name_their_keys() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut silent = Vec::new();
        for (test, keys) in TESTS {
            let (package, path) = test.split_once(": ").unwrap();
            let texts = found.entry(package).or_insert_with(|| {
                let folder = crates.join(package.strip_prefix("klamm-").unwrap_or(package));
                let mut texts = Vec::new();
                sources(&folder.join("src"), &mut texts);
                sources(&folder.join("tests"), &mut texts);
                texts
            });
            let name = path.rsplit("::").next().unwrap_or(path);
            let text = texts.iter().find_map(|text| test_and_tables(text, name));
            let text = text.unwrap_or_else(|| panic!("{test} is no test"));
            let unnamed = keys.iter().filter(|key| !names(&text, key));
            silent.extend(unnamed.map(|key| format!("{test} does not name {key}")));
        }
        assert!(silent.is_empty(), "{}", silent.join("\n"));
    }

    #[test]
    fn a_test_is_read_with_its_tables_and_without_what_others_say() {
        let text = "const TABLE: &[&str] = &[\n    \"a.table\",\n];\nconst OTHER: &str = \"an.other\";\n\
            #[test]\nfn first() {\n    // a.comment\n    for key in TABLE {\n        set(key, \"a=1\\\\nlog.own=1\");\n    }\n}\n\
            #[test]\nfn second() {\n    set(\"second.own\");\n}\nfn third() {}\n";
        let first = test_and_tables(text, "first").unwrap();
        let named = ["a.table", "log.own"].map(|key| names(&first, key));
        assert_eq!(named, [true; 2], "{first}");
        let silent =
            ["an.other", "a.comment", "second.own", "own", "table", "log.ow"].map(|key| names(&first, key));
        assert_eq!(silent, [false; 6], "{first}");
        assert_eq!(test_and_tables(text, "third"), None, "it is no test");
    }
}
