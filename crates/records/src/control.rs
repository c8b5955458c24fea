//! Control records: what a transaction coordinator or a raft leader writes between the data.
//!
//! Always holds: a reader takes a higher version of key or value for the one it knows and ignores what is behind.

/// What a control record means, from its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The producer's transaction ended without effect.
    Abort,
    /// The producer's transaction took effect.
    Commit,
    /// A raft leader was elected.
    LeaderChange,
    /// The first record of a metadata snapshot.
    SnapshotHeader,
    /// The last record of a metadata snapshot.
    SnapshotFooter,
    /// The version of the raft protocol.
    KraftVersion,
    /// The voters of the raft quorum.
    KraftVoters,
    /// One that is not known here: skipped by readers.
    Unknown(i16),
}

impl ControlType {
    /// Reads the key of a control record; `None` if it is no such key.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let version = i16::from_be_bytes(key.get(..2)?.try_into().ok()?);
        let code = i16::from_be_bytes(key.get(2..4)?.try_into().ok()?);
        (version >= 0).then_some(match code {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KraftVersion,
            6 => Self::KraftVoters,
            other => Self::Unknown(other),
        })
    }
}

/// The end of a transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Whether the transaction took effect.
    pub committed: bool,
    /// The epoch of the coordinator that wrote the marker.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// The record's key: version 0 and the type.
    pub fn key(&self) -> [u8; 4] {
        [0, 0, 0, u8::from(self.committed)]
    }

    /// The record's value: version 0 and the coordinator's epoch.
    pub fn value(&self) -> [u8; 6] {
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        value
    }

    /// Reads a control record; `None` if it does not end a transaction.
    pub fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let committed = match ControlType::parse(key)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            _ => return None,
        };
        let version = i16::from_be_bytes(value.get(..2)?.try_into().ok()?);
        let epoch = i32::from_be_bytes(value.get(2..6)?.try_into().ok()?);
        (version >= 0).then_some(Self {
            committed,
            coordinator_epoch: epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_read_back() {
        for committed in [false, true] {
            let marker = EndTransactionMarker {
                committed,
                coordinator_epoch: 258,
            };
            assert_eq!(marker.value(), [0, 0, 0, 0, 1, 2]);
            assert_eq!(
                EndTransactionMarker::parse(&marker.key(), &marker.value()),
                Some(marker)
            );
        }
    }

    #[test]
    fn other_keys_and_short_bytes_are_no_marker() {
        let value = [0, 0, 0, 0, 0, 1];
        for key in [
            &[0, 0, 0, 2][..],
            &[0, 0, 0, 9],
            &[0xff, 0xff, 0, 1],
            &[0, 0, 0],
            &[],
        ] {
            assert_eq!(EndTransactionMarker::parse(key, &value), None);
        }
        for length in 0..6 {
            assert_eq!(EndTransactionMarker::parse(&[0, 0, 0, 1], &value[..length]), None);
        }
        assert_eq!(
            ControlType::parse(&[0, 1, 0, 6, 1]),
            Some(ControlType::KraftVoters)
        );
    }
}
