//! Why a key is not served: the words that follow "is known but not served: ".
//!
//! Always holds: each says what holds instead.
//! Next: the themes beside this file.

pub(super) const ALWAYS_VERIFIED: &str = "every write in a transaction is checked against it";
pub(super) const COORDINATOR_WAITS: &str =
    "the coordinator waits for the end of the transaction before, and is asked once";
pub(super) const DEVELOPMENT: &str = "only finished features are offered";
pub(super) const JAVA_CLASS: &str = "Klamm runs no Java classes";
pub(super) const NO_AUTHORIZATION: &str = "there is no authorization yet that a listener could wait for";
pub(super) const NO_FOLDER_FAILURE: &str = "a failed log folder is not handled apart from the others yet";
pub(super) const NO_KEPT_BATCH: &str = "the memory of a batch is not kept for the next one";
pub(super) const NO_LINGER: &str =
    "what comes while a batch is written goes out with the next; nothing waits longer";
pub(super) const NO_OFFLOAD: &str = "an assignment is made with the heartbeat that asks for it";
pub(super) const NO_PREALLOCATION: &str = "segment files grow as records come";
pub(super) const NO_QUOTAS: &str = "quotas are not there yet";
pub(super) const NO_RATE: &str = "connections are limited by their number, not by their rate";
pub(super) const NO_IDLE_RECORDS: &str = "nothing waits for empty metadata records, and none are written";
pub(super) const NO_SHARE_GROUPS: &str = "share groups are not there yet";
pub(super) const NO_STREAMS_GROUPS: &str = "streams groups are not there yet";
pub(super) const NO_SWEEPS: &str = "waiting requests are removed at once and need no sweeps";
pub(super) const NO_TELEMETRY: &str = "metrics of clients are not collected yet";
pub(super) const NO_TIERING: &str = "tiered storage is not there yet";
pub(super) const NO_TLS_NO_SASL: &str = "TLS and SASL are not there yet; every listener is PLAINTEXT";
pub(super) const NO_TWO_PHASE_COMMIT: &str =
    "the version of InitProducerId that asks for it is not finished in Kafka 4.4";
pub(super) const ONE_LZ4_LEVEL: &str = "the lz4 encoder has one level";
pub(super) const ONE_NODE: &str = "there is one node, which connects to no other";
pub(super) const ONE_POOL: &str = "one pool of threads does all work, sized by klamm.workers";
pub(super) const ONE_REPLICA: &str = "there is one node, and one replica of each partition";
pub(super) const ONE_VOTER: &str = "the quorum has one voter";
pub(super) const OWN_METADATA_LOG: &str =
    "segments of the metadata log have a fixed size, and go once a snapshot stands for them";
pub(super) const OWN_METRICS: &str = "metrics are served for Prometheus on klamm.http.listener";
