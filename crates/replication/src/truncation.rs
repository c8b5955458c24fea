//! Where the logs of leader and follower parted (KIP-101, KIP-279, KIP-595).
//!
//! A log knows for each leader epoch where it ends: at the start of the next one. A follower fetches with the epoch of its
//! last record; the leader finds out whether its own log has that record, and if not, answers with the largest epoch up to
//! that one and its end. The follower cuts its log, and fetches again, until they agree.
//!
//! Always holds: a follower that agrees has no record that the leader has not; each round cuts at least one record or
//! settles it.

use klamm_model::{LeaderEpoch, Offset};

/// A leader epoch, and where it ends in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// A cut of a follower's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The offset of the first record to go.
    pub to: Offset,
    /// Whether the logs agree afterwards; otherwise the next fetch may find another difference.
    pub settled: bool,
}

/// The leader's side: `None` when its log has the record before `fetch_offset` that the follower has, written in
/// `last_fetched`; otherwise where they part.
///
/// `own` is the largest epoch of the leader's log up to `last_fetched`; `None` when all of its epochs are larger: then the
/// leader has nothing as old any more, and what it has begins at its `log_start`.
pub fn diverging(
    fetch_offset: Offset,
    last_fetched: LeaderEpoch,
    own: Option<EpochEnd>,
    log_start: Offset,
) -> Option<EpochEnd> {
    let own = own.unwrap_or(EpochEnd {
        epoch: last_fetched,
        end_offset: log_start,
    });
    let agrees = own.epoch == last_fetched && own.end_offset >= fetch_offset;
    (!agrees).then_some(own)
}

/// The follower's side: where to cut when the leader answered `leader`.
///
/// `own` is the largest epoch of the follower's log up to the leader's; `None` when all of its epochs are larger.
/// `log_start` and `log_end` are the follower's.
pub fn truncate(leader: EpochEnd, own: Option<EpochEnd>, log_start: Offset, log_end: Offset) -> Truncation {
    let within = |offset: Offset| offset.min(log_end).max(log_start);
    match own {
        Some(own) if own.epoch == leader.epoch => Truncation {
            to: within(own.end_offset.min(leader.end_offset)),
            settled: true,
        },
        // The follower never saw the leader's epoch: what it has of later ones goes, and earlier ones are to be compared.
        Some(own) => Truncation {
            to: within(own.end_offset),
            settled: false,
        },
        // All that the follower has is of later epochs, which the leader does not have.
        None => Truncation {
            to: log_start,
            settled: true,
        },
    }
}

#[cfg(test)]
mod tests;
