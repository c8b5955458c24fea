//! What is made alike before two answers are compared, each with its reason. Everything else must be equal.
//!
//! | what | becomes | because |
//! |---|---|---|
//! | cluster id | `<cluster>` | each cluster has its own |
//! | host and port of the broker, in fields and texts | `<host>`, `<port>`, `<broker>` | each run has its own |
//! | address of the controller listener | `<controller>`, `<controller port>` | likewise |
//! | topic ids | `<id TOPIC>`, `<id TOPIC 2>` for the next topic of that name | random; ids of 16 equal bytes are a scenario's own |
//! | producer ids | `<producer N>` for the Nth that a scenario got for itself, otherwise `<new producer>`, `<known producer>` | each broker counts in blocks of its own |
//! | what makes the id of a member one of its own | `<member N>`, likewise | random |
//! | fetch session ids | `<session N>`, likewise | random |
//! | times within a day of now | `<now>` | clocks go on |
//! | voter directory ids | `<directory>` | random |
//! | log directories and the sizes of their disks | `<log dir>`, `<bytes>` | each machine has its own |
//! | epochs and offsets of the metadata log | `<n>` | they count records of its own format |
//! | epoch of the finalized features | `<n>` | an offset of the metadata log |
//! | documentation of configs | `<text>` | ours is written by us; that there is one is compared |
//! | configs under `klamm.` | left out | Kafka has none of them; they are tested where they are made |
//! | configs of a created topic that are at Kafka's defaults | a count of them | they are compared in full where a scenario begins |
//! | the size of packed batches | `packed` | each codec has its own idea |
//! | order of topics, partitions, configs and resources where Kafka's is that of a hash table or of its own way through them | sorted | no client can rely on it |
//!
//! Always holds: a value becomes the same placeholder wherever it stands in one scenario.

use std::time::{SystemTime, UNIX_EPOCH};

use klamm_model::Uuid;
use klamm_protocol::ApiKey;

use crate::render;
use crate::value::{Field, Value};

/// What stands for a time near now.
pub(crate) const NOW: &str = "<now>";

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Whether a number is a time within a day of now.
pub(crate) fn is_near_now(value: i64) -> bool {
    (value - now_ms()).abs() < DAY_MS
}

/// What is known of the broker that answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) controller_port: u16,
    pub(crate) cluster_id: String,
}

/// What has appeared so far in one scenario.
#[derive(Debug, Clone)]
pub(crate) struct Normalizer {
    place: Place,
    topic_ids: Vec<(String, String)>,
    producers: Vec<i64>,
    other_producers: Vec<i64>,
    sessions: Vec<i64>,
    /// The random parts of the ids of members.
    members: Vec<String>,
    folds_defaults: bool,
    /// Texts of this run that may stand within messages, and what stands for them.
    texts: Vec<(String, String)>,
}

impl Normalizer {
    /// One for a scenario on the broker at `place`.
    pub(crate) fn new(place: &Place) -> Self {
        Self {
            texts: vec![
                (format!("{}:{}", place.host, place.port), "<broker>".to_owned()),
                (
                    format!("{}:{}", place.host, place.controller_port),
                    "<controller>".to_owned(),
                ),
                (place.cluster_id.clone(), "<cluster>".to_owned()),
            ],
            place: place.clone(),
            topic_ids: Vec::new(),
            producers: Vec::new(),
            other_producers: Vec::new(),
            sessions: Vec::new(),
            members: Vec::new(),
            folds_defaults: false,
        }
    }

    /// From now on, only counts the configs of a created topic that are at their defaults.
    pub(crate) fn fold_defaults(&mut self) {
        self.folds_defaults = true;
    }

    /// The answer with what differs from run to run replaced.
    pub(crate) fn message(&mut self, api: ApiKey, message: &mut Value) {
        self.value(api, "", message);
    }

    fn value(&mut self, api: ApiKey, name: &str, value: &mut Value) {
        match value {
            Value::Struct(fields) => {
                self.note_topic(fields);
                hide_folders(api, fields);
                for Field { name, value, .. } in fields {
                    self.value(api, name, value);
                }
            }
            Value::Array(elements) => {
                for element in elements.iter_mut() {
                    self.value(api, name, element);
                }
                if name == "Configs" {
                    elements
                        .retain(|config| !config.text("Name").is_ok_and(|name| name.starts_with("klamm.")));
                }
                if is_unordered(api, name) {
                    sort(elements);
                }
                if self.folds_defaults && api == ApiKey::CreateTopics && name == "Configs" {
                    fold(elements);
                }
            }
            leaf => {
                if let Some(placeholder) = self.leaf(api, name, leaf) {
                    *leaf = Value::Placeholder(placeholder);
                }
            }
        }
    }

    fn leaf(&mut self, api: ApiKey, name: &str, value: &mut Value) -> Option<String> {
        match value {
            Value::Uuid(id) if !is_own(*id) => Some(self.uuid(name, *id)),
            Value::String(text) => self.string(api, name, text),
            Value::Int(number) => self.number(api, name, *number),
            _ => None,
        }
    }

    fn uuid(&mut self, name: &str, id: Uuid) -> String {
        if name.contains("Directory") {
            return "<directory>".to_owned();
        }
        let text = id.to_string();
        self.topic(&text, "unknown")
    }

    /// Notes the id of a topic whose name stands beside it.
    fn note_topic(&mut self, fields: &[Field]) {
        let named = fields.iter().find_map(|field| match (field.name, &field.value) {
            ("Name" | "Topic" | "TopicName", Value::String(name)) => Some(name),
            _ => None,
        });
        let id = fields.iter().find_map(|field| match (field.name, &field.value) {
            ("TopicId", Value::Uuid(id)) if !is_own(*id) => Some(id.to_string()),
            _ => None,
        });
        if let (Some(name), Some(id)) = (named, id) {
            self.topic(&id, name);
        }
    }

    /// What stands for the id of the topic `name`.
    pub(crate) fn topic(&mut self, id: &str, name: &str) -> String {
        if let Some((_, placeholder)) = self.texts.iter().find(|(known, _)| known == id) {
            return placeholder.clone();
        }
        self.topic_ids.push((name.to_owned(), id.to_owned()));
        let placeholder = match self.topic_ids.iter().filter(|(known, _)| known == name).count() {
            1 => format!("<id {name}>"),
            count => format!("<id {name} {count}>"),
        };
        self.texts.push((id.to_owned(), placeholder.clone()));
        placeholder
    }

    fn string(&mut self, api: ApiKey, name: &str, text: &mut String) -> Option<String> {
        match name {
            "Host" if *text == self.place.host => return Some("<host>".to_owned()),
            "Documentation" => return Some("<text>".to_owned()),
            "LogDir" if api == ApiKey::DescribeLogDirs => return Some("<log dir>".to_owned()),
            "MemberId" if api == ApiKey::ConsumerGroupHeartbeat && is_drawn_whole(text) => {
                let place = place_of(&mut self.members, text.clone());
                *text = format!("<member {place}>");
            }
            "MemberId" | "Leader" => self.member(text),
            _ => {}
        }
        for (known, placeholder) in &self.texts {
            if !known.is_empty() {
                *text = text.replace(known, placeholder);
            }
        }
        *text = without_times(text);
        None
    }

    /// Replaces what the coordinator has drawn for a member, which stands behind what the member calls itself.
    fn member(&mut self, text: &mut String) {
        let drawn = text
            .len()
            .checked_sub(36)
            .and_then(|at| text.split_at_checked(at));
        let is_drawn = |drawn: &str| {
            let mut bytes = drawn.bytes().enumerate();
            bytes.all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
        };
        if let Some((own, drawn)) = drawn.filter(|(_, drawn)| is_drawn(drawn)) {
            let place = place_of(&mut self.members, drawn.to_owned());
            *text = format!("{own}<member {place}>");
        }
    }

    /// Notes a producer id that a scenario got for itself.
    pub(crate) fn note_producer(&mut self, id: i64) {
        self.producers.push(id);
    }

    fn producer(&mut self, id: i64) -> String {
        if let Some(place) = self.producers.iter().position(|known| *known == id) {
            return format!("<producer {}>", place + 1);
        }
        if self.other_producers.contains(&id) {
            return "<known producer>".to_owned();
        }
        self.other_producers.push(id);
        "<new producer>".to_owned()
    }

    fn number(&mut self, api: ApiKey, name: &str, number: i64) -> Option<String> {
        let of_metadata_log = match api {
            ApiKey::DescribeQuorum => {
                matches!(name, "LeaderEpoch" | "HighWatermark" | "LogEndOffset") && number > 0
            }
            ApiKey::ApiVersions => name == "FinalizedFeaturesEpoch" && number >= 0,
            _ => false,
        };
        match name {
            _ if of_metadata_log => Some("<n>".to_owned()),
            "Port" if number == i64::from(self.place.port) => Some("<port>".to_owned()),
            "Port" if number == i64::from(self.place.controller_port) => Some("<controller port>".to_owned()),
            "TotalBytes" | "UsableBytes" if number > 0 => Some("<bytes>".to_owned()),
            "ProducerId" if number >= 0 => Some(self.producer(number)),
            "SessionId" if number > 0 => Some(format!("<session {}>", place_of(&mut self.sessions, number))),
            _ if is_near_now(number) => Some(NOW.to_owned()),
            _ => None,
        }
    }
}

/// Hides the values of configs that are folders of this machine.
fn hide_folders(api: ApiKey, fields: &mut [Field]) {
    let is_folder = |name: &Value| matches!(name, Value::String(name) if name.ends_with("log.dir") || name.ends_with("log.dirs"));
    let config = fields
        .iter()
        .any(|field| field.name == "Name" && is_folder(&field.value));
    if !config || api != ApiKey::DescribeConfigs {
        return;
    }
    for field in fields {
        if field.name == "Value" && matches!(&field.value, Value::String(path) if path.starts_with('/')) {
            field.value = Value::Placeholder("<log dir>".to_owned());
        }
    }
}

/// An id that a scenario made up, or that means "none" or the metadata topic.
fn is_own(id: Uuid) -> bool {
    id == Uuid::ONE || id.0.iter().all(|byte| *byte == id.0[0])
}

/// Whether the coordinator has drawn the whole id of a member: 16 bytes in base 64.
fn is_drawn_whole(id: &str) -> bool {
    id.len() == 22 && id.parse::<Uuid>().is_ok()
}

fn place_of<T: PartialEq>(seen: &mut Vec<T>, value: T) -> usize {
    let place = seen.iter().position(|known| *known == value);
    place.unwrap_or_else(|| {
        seen.push(value);
        seen.len() - 1
    }) + 1
}

fn is_unordered(api: ApiKey, name: &str) -> bool {
    match api {
        ApiKey::Metadata | ApiKey::CreateTopics | ApiKey::DeleteTopics | ApiKey::CreatePartitions => {
            matches!(
                name,
                "Topics" | "Responses" | "Results" | "Configs" | "Partitions"
            )
        }
        ApiKey::DescribeConfigs | ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => {
            matches!(name, "Results" | "Responses" | "Configs")
        }
        ApiKey::ListConfigResources => name == "ConfigResources",
        ApiKey::DescribeLogDirs => matches!(name, "Topics" | "Partitions"),
        ApiKey::DeleteRecords | ApiKey::ListOffsets | ApiKey::OffsetForLeaderEpoch => {
            matches!(name, "Topics" | "Partitions")
        }
        ApiKey::Produce => matches!(name, "Responses" | "PartitionResponses"),
        // The order in which a limit is used up shows in the records.
        ApiKey::Fetch => matches!(name, "Responses" | "Partitions"),
        ApiKey::UpdateFeatures => name == "Results",
        ApiKey::OffsetCommit | ApiKey::OffsetDelete => matches!(name, "Topics" | "Partitions"),
        ApiKey::OffsetFetch => matches!(name, "Topics" | "Partitions"),
        ApiKey::ListGroups | ApiKey::DescribeGroups => name == "Groups",
        ApiKey::DeleteGroups => name == "Results",
        ApiKey::AddPartitionsToTxn => matches!(
            name,
            "ResultsByTopicV3AndBelow" | "TopicResults" | "ResultsByPartition"
        ),
        ApiKey::DescribeTransactions => matches!(name, "Topics" | "Partitions"),
        ApiKey::WriteTxnMarkers => matches!(name, "Markers" | "Topics" | "Partitions"),
        ApiKey::ListTransactions => matches!(name, "TransactionStates" | "UnknownStateFilters"),
        ApiKey::ConsumerGroupHeartbeat => matches!(name, "TopicPartitions" | "Partitions"),
        ApiKey::ConsumerGroupDescribe => matches!(
            name,
            "Groups" | "Members" | "SubscribedTopicNames" | "TopicPartitions" | "Partitions"
        ),
        ApiKey::ApiVersions => matches!(name, "SupportedFeatures" | "FinalizedFeatures"),
        _ => false,
    }
}

/// Replaces the configs of source 5, that is, Kafka's own defaults.
fn fold(configs: &mut Vec<Value>) {
    let before = configs.len();
    configs.retain(|config| config.int("ConfigSource").is_ok_and(|source| source != 5));
    if configs.len() < before {
        configs.push(Value::Placeholder(format!(
            "{} at their defaults",
            before - configs.len()
        )));
    }
}

fn sort(elements: &mut [Value]) {
    elements.sort_by_cached_key(|element| match element {
        Value::Int(number) => (*number, Vec::new()),
        Value::String(text) => (0, vec![text.clone()]),
        other => (0, render::lines(other)),
    });
}

/// A text with the times in it replaced: numbers of 13 digits near now, and what is left of now after taking away the
/// largest number there is, which is how far back a timestamp may lie unless a topic says otherwise.
fn without_times(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        match digits.parse::<i64>() {
            Ok(number) if digits.len() == 13 && is_near_now(number) => out.push_str(NOW),
            Ok(number) if out.ends_with('-') && is_near_now(i64::MAX - number) => {
                out.pop();
                out.push_str("<now less the largest number>");
            }
            _ => out.push_str(&digits),
        }
        digits.clear();
        out.push(c);
    }
    out.pop();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_texts_are_replaced() {
        let now = now_ms();
        let cases = [
            ("at 1700000000000.".to_owned(), "at 1700000000000.".to_owned()),
            (format!("at {now}, {}", now + 5000), "at <now>, <now>".to_owned()),
            (
                format!("[{}, 1]", now - i64::MAX),
                "[<now less the largest number>, 1]".to_owned(),
            ),
            (
                "-1 and 9223372036854775808".to_owned(),
                "-1 and 9223372036854775808".to_owned(),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(without_times(&text), expected);
        }
    }

    #[test]
    fn an_id_has_the_name_of_its_topic() {
        let mut normalizer = Normalizer::new(&Place::default());
        assert_eq!(normalizer.topic("one", "a"), "<id a>");
        assert_eq!(normalizer.topic("two", "a"), "<id a 2>");
        assert_eq!(normalizer.topic("one", "a"), "<id a>");
        assert_eq!(normalizer.topic("three", "b"), "<id b>");
    }
}
