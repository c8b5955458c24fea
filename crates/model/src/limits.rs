//! Every bound of the system that is not a configuration, named in one place.
//!
//! Always holds: what a peer or a file announces is compared with one of these before it sizes anything.

/// Bytes that decoding one request may take beyond the size of its frame.
pub const DECODE_ALLOWANCE_BYTES: usize = 8 * 1024 * 1024;
/// Elements of one array of a message.
pub const MAX_ARRAY_ELEMENTS: usize = 1_000_000;
/// Tagged fields of one struct of a message.
pub const MAX_TAGGED_FIELDS: usize = 10_000;
/// Bytes of one string of a message.
pub const MAX_STRING_BYTES: usize = 32_767;
/// Characters of a topic name.
pub const MAX_TOPIC_NAME_CHARS: usize = 249;
/// Bytes of a record batch's header.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Batches of one producer that a partition remembers, to recognise a repetition.
pub const PRODUCER_BATCHES_REMEMBERED: usize = 5;
/// Requests that one connection may have in flight before it is read no further.
pub const MAX_REQUESTS_IN_FLIGHT: usize = 64;
/// Partitions that one CreateTopics or CreatePartitions request may make.
pub const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;
/// Partitions that one fetch session remembers.
pub const MAX_FETCH_SESSION_PARTITIONS: usize = 100_000;
/// Partitions that all fetch sessions of a node remember together.
pub const MAX_FETCH_SESSIONS_PARTITIONS: usize = 500_000;
