//! The names of folders and files in a log dir.
//!
//! ```text
//! orders-3                                        partition 3 of the topic orders
//! orders-3.0123456789abcdef0123456789abcdef-delete  the same, being removed
//! orders-3.0123456789abcdef0123456789abcdef-stray   the same, not in the metadata: kept for the operator
//! orders-3.0123456789abcdef0123456789abcdef-future  the same, being copied from another log dir
//! 00000000000000001000.log                        the segment whose first offset is 1000 (.index, .timeindex, .txnindex)
//! 00000000000000001000.snapshot                   the producers' state before offset 1000
//! ```

use klamm_model::{Offset, TopicId, TopicPartition, Uuid, limits};

/// Ends the name of a file or segment that is about to be removed.
pub(crate) const DELETED: &str = ".deleted";
/// Ends the name of a file of a segment that compaction writes.
pub(crate) const CLEANED: &str = ".cleaned";
/// Ends the name of such a file when the segment is whole, and takes the place of others.
pub(crate) const SWAP: &str = ".swap";

/// What a folder's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderKind {
    /// A partition in use.
    Partition(TopicPartition),
    /// A partition being removed; the topic's name may be cut.
    Delete,
    /// A partition that was set aside.
    Stray,
    /// The number of a partition that is being copied from another log dir; the topic's name may be cut.
    Future(i32),
    /// Anything else.
    Other,
}

/// Reads the name of a folder in a log dir.
pub fn parse_folder(name: &str) -> FolderKind {
    if let Some((stem, _)) = name
        .strip_suffix("-delete")
        .and_then(|rest| rest.rsplit_once('.'))
    {
        return partition_of(stem).map_or(FolderKind::Other, |_| FolderKind::Delete);
    }
    if let Some((stem, _)) = name.strip_suffix("-stray").and_then(|rest| rest.rsplit_once('.')) {
        return partition_of(stem).map_or(FolderKind::Other, |_| FolderKind::Stray);
    }
    if let Some((stem, _)) = name
        .strip_suffix("-future")
        .and_then(|rest| rest.rsplit_once('.'))
    {
        return partition_of(stem).map_or(FolderKind::Other, |of| FolderKind::Future(of.partition));
    }
    partition_of(name).map_or(FolderKind::Other, FolderKind::Partition)
}

/// The topic ends at the last dash: its name may have dashes.
fn partition_of(name: &str) -> Option<TopicPartition> {
    let (topic, number) = name.rsplit_once('-')?;
    let canonical = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let partition = number.parse().ok().filter(|_| canonical)?;
    (!topic.is_empty()).then(|| TopicPartition::new(topic, partition))
}

/// The folder of a partition that is being removed; the topic is cut so that the name has at most 255 bytes.
pub(crate) fn delete_folder(at: &TopicPartition, unique: Uuid) -> String {
    aside(at, unique, "-delete")
}

/// The folder of a partition that is set aside.
pub(crate) fn stray_folder(at: &TopicPartition, unique: Uuid) -> String {
    aside(at, unique, "-stray")
}

/// The folder of a partition that is being copied from another log dir. There is one of a topic's partition in a log dir at most.
pub(crate) fn future_folder(at: &TopicPartition, topic_id: TopicId) -> String {
    aside(at, topic_id, "-future")
}

fn aside(at: &TopicPartition, unique: Uuid, ending: &str) -> String {
    let rest = format!("-{}.{:032x}{ending}", at.partition, u128::from_be_bytes(unique.0));
    let room = 255 - rest.len();
    debug_assert!(at.topic.len() <= limits::MAX_TOPIC_NAME_CHARS);
    let topic: String = at.topic.chars().take(room).collect();
    topic + &rest
}

/// The kinds of files a partition's folder has for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// The batches.
    Log,
    /// Offsets to positions.
    OffsetIndex,
    /// Timestamps to offsets.
    TimeIndex,
    /// Aborted transactions.
    TransactionIndex,
    /// The producers' state before the offset in the name.
    Snapshot,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TransactionIndex,
        FileKind::Snapshot,
    ];

    /// The ending of the file's name.
    pub const fn ending(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::OffsetIndex => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TransactionIndex => ".txnindex",
            FileKind::Snapshot => ".snapshot",
        }
    }

    /// The file's name for the segment, or the state, at `offset`.
    pub fn name(self, offset: Offset) -> String {
        format!("{:020}{}", offset.0, self.ending())
    }
}

/// Reads the name of a file in a partition's folder; `None` if it belongs to no offset.
pub fn parse_file(name: &str) -> Option<(FileKind, Offset)> {
    let dot = name.find('.')?;
    let kind = FileKind::ALL
        .into_iter()
        .find(|kind| kind.ending() == &name[dot..])?;
    let digits = &name[..dot];
    let canonical = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    let offset = digits.parse().ok().filter(|_| canonical)?;
    Some((kind, Offset(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_apart() {
        let partition = |topic: &str, n| FolderKind::Partition(TopicPartition::new(topic, n));
        let cases = [
            ("orders-3", partition("orders", 3)),
            ("a-b-c-0", partition("a-b-c", 0)),
            ("a.b-0", partition("a.b", 0)),
            ("--1", partition("-", 1)),
            (
                "orders-3.0123456789abcdef0123456789abcdef-delete",
                FolderKind::Delete,
            ),
            (
                "a.b-0.0123456789abcdef0123456789abcdef-delete",
                FolderKind::Delete,
            ),
            (
                "orders-3.0123456789abcdef0123456789abcdef-stray",
                FolderKind::Stray,
            ),
            (
                "orders-3.0123456789abcdef0123456789abcdef-future",
                FolderKind::Future(3),
            ),
            ("orders", FolderKind::Other),
            ("orders-", FolderKind::Other),
            ("-1", FolderKind::Other),
            ("orders-x", FolderKind::Other),
            ("orders-+1", FolderKind::Other),
            ("orders-99999999999", FolderKind::Other),
            ("klamm.format", FolderKind::Other),
            ("", FolderKind::Other),
        ];
        for (name, kind) in cases {
            assert_eq!(parse_folder(name), kind, "{name}");
        }
    }

    #[test]
    fn a_folder_being_removed_has_a_name_that_fits() {
        for topic in ["t".to_owned(), "t".repeat(249)] {
            let name = delete_folder(&TopicPartition::new(topic, i32::MAX), Uuid([0xab; 16]));
            assert!(name.len() <= 255);
            assert_eq!(parse_folder(&name), FolderKind::Delete, "{name}");
        }
    }

    #[test]
    fn files_are_told_apart() {
        for kind in FileKind::ALL {
            for offset in [0, 17, i64::MAX] {
                assert_eq!(
                    parse_file(&kind.name(Offset(offset))),
                    Some((kind, Offset(offset)))
                );
            }
        }
        for name in [
            "00000000000000000000.log.deleted",
            "0.log",
            "99999999999999999999.log",
            "+0000000000000000000.log",
            "leader-epoch-checkpoint",
            "partition.metadata",
            "",
        ] {
            assert_eq!(parse_file(name), None, "{name}");
        }
    }
}
