//! Who may ask: the leader epoch that a request carries must be the current one (KIP-320).

use klamm_model::LeaderEpoch;

/// The epochs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochMismatch {
    /// The one who asks has older metadata: FENCED_LEADER_EPOCH.
    #[error("the request has leader epoch {asked}, the partition has {current}")]
    Fenced {
        /// The epoch of the request.
        asked: LeaderEpoch,
        /// The epoch of the partition.
        current: LeaderEpoch,
    },
    /// The one who asks has newer metadata: UNKNOWN_LEADER_EPOCH.
    #[error("the request has leader epoch {asked}, the partition only {current}")]
    Unknown {
        /// The epoch of the request.
        asked: LeaderEpoch,
        /// The epoch of the partition.
        current: LeaderEpoch,
    },
}

/// Compares the epoch of a request, if it has one, with the partition's.
pub fn check(current: LeaderEpoch, asked: Option<LeaderEpoch>) -> Result<(), EpochMismatch> {
    match asked {
        Some(asked) if asked < current => Err(EpochMismatch::Fenced { asked, current }),
        Some(asked) if asked > current => Err(EpochMismatch::Unknown { asked, current }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_epoch_may_ask() {
        let current = LeaderEpoch(5);
        let fenced = EpochMismatch::Fenced {
            asked: LeaderEpoch(4),
            current,
        };
        let unknown = EpochMismatch::Unknown {
            asked: LeaderEpoch(6),
            current,
        };
        let cases = [
            (None, Ok(())),
            (Some(5), Ok(())),
            (Some(4), Err(fenced)),
            (Some(6), Err(unknown)),
        ];
        for (asked, expected) in cases {
            assert_eq!(check(current, asked.map(LeaderEpoch)), expected);
        }
    }
}
