//! Two logs, as lists of epochs: what they agree on after the rounds is what they had in common.

use proptest::prelude::*;

use super::*;

/// A log as the epoch of each record, from offset 0.
type Log = Vec<i32>;

/// The largest epoch up to `epoch`, and where it ends.
fn end_of(log: &Log, epoch: LeaderEpoch) -> Option<EpochEnd> {
    let end = log.iter().take_while(|each| **each <= epoch.0).count();
    let last = log[..end].last()?;
    Some(EpochEnd {
        epoch: LeaderEpoch(*last),
        end_offset: Offset(end as i64),
    })
}

/// Fetches and cuts until they agree; the rounds it took.
fn agree(leader: &Log, follower: &mut Log) -> usize {
    for round in 0.. {
        let Some(last) = follower.last() else { return round };
        let fetch_offset = Offset(follower.len() as i64);
        let Some(parted) = diverging(
            fetch_offset,
            LeaderEpoch(*last),
            end_of(leader, LeaderEpoch(*last)),
            Offset(0),
        ) else {
            return round;
        };
        let own = end_of(follower, parted.epoch);
        let cut = truncate(parted, own, Offset(0), fetch_offset);
        assert!(cut.to < fetch_offset, "each round cuts something");
        follower.truncate(cut.to.0 as usize);
    }
    unreachable!("the log is empty at last")
}

#[test]
fn logs_are_cut_where_they_parted() {
    // Leader, follower, what is left of the follower, rounds.
    let cases: &[(&[i32], &[i32], usize, usize)] = &[
        (&[0, 0, 0], &[0, 0, 0], 3, 0),
        (&[0, 0, 0], &[0, 0], 2, 0),
        (&[0, 0], &[0, 0, 0], 2, 1),
        (&[0, 0, 2], &[0, 0, 1, 1], 2, 1),
        (&[0, 0, 3], &[0, 0, 0, 1, 2], 2, 1),
        (&[0, 2, 2, 5], &[0, 1, 3, 4], 1, 2),
        (&[5, 5], &[0, 1], 0, 1),
        (&[], &[0, 1], 0, 1),
        (&[1, 1], &[], 0, 0),
    ];
    for (leader, follower, left, rounds) in cases {
        let (leader, mut log) = (leader.to_vec(), follower.to_vec());
        assert_eq!(
            (agree(&leader, &mut log), log.len()),
            (*rounds, *left),
            "{leader:?} {follower:?}"
        );
    }
}

#[test]
fn a_cut_stays_within_the_log() {
    let end = |epoch, offset| EpochEnd {
        epoch: LeaderEpoch(epoch),
        end_offset: Offset(offset),
    };
    // Leader, own, log start, log end: where to, settled.
    let cases = [
        (end(3, 50), Some(end(3, 40)), 10, 45, 40, true),
        (end(3, 30), Some(end(3, 40)), 10, 45, 30, true),
        (end(3, 30), Some(end(2, 20)), 10, 45, 20, false),
        (end(3, 5), Some(end(3, 40)), 10, 45, 10, true),
        (end(3, 99), Some(end(3, 45)), 10, 45, 45, true),
        (end(3, 99), None, 10, 45, 10, true),
    ];
    for (leader, own, start, log_end, to, settled) in cases {
        let expected = Truncation {
            to: Offset(to),
            settled,
        };
        assert_eq!(truncate(leader, own, Offset(start), Offset(log_end)), expected);
    }
}

#[test]
fn a_leader_without_anything_as_old_begins_at_its_log_start() {
    // Fetch offset, leader's log start: where they part.
    for (fetch_offset, log_start, parted) in [(50, 50, None), (40, 50, None), (60, 50, Some(50))] {
        let parted = parted.map(|offset| EpochEnd {
            epoch: LeaderEpoch(2),
            end_offset: Offset(offset),
        });
        assert_eq!(
            diverging(Offset(fetch_offset), LeaderEpoch(2), None, Offset(log_start)),
            parted
        );
    }
}

proptest! {
    /// Records of one epoch are one leader's, so two logs are the same up to where they part for good.
    #[test]
    fn what_agrees_is_what_was_common(
        common in proptest::collection::vec(0..3i32, 0..6),
        leader in proptest::collection::vec(1..5i32, 0..6),
        follower in proptest::collection::vec(1..5i32, 0..6),
    ) {
        let log = |mut tail: Vec<i32>, parity: i32| {
            let mut log = common.clone();
            log.sort_unstable();
            tail.sort_unstable();
            // After they part, the epochs of either side are its own.
            log.extend(tail.iter().map(|epoch| 4 + 2 * epoch + parity));
            log
        };
        let (leader, mut follower) = (log(leader, 0), log(follower, 1));
        let had = follower.len();
        agree(&leader, &mut follower);
        prop_assert_eq!(&follower[..], &leader[..follower.len()]);
        prop_assert!(follower.len() >= common.len().min(had));
    }
}
