//! A table of answers, and the way of the high watermark.

use super::*;
use crate::assignment::LeaderRecovery;

fn assignment(leader: Option<i32>, leader_epoch: i32, partition_epoch: i32) -> Assignment<'static> {
    Assignment {
        replicas: &[BrokerId(1), BrokerId(2)],
        isr: &[BrokerId(1), BrokerId(2)],
        leader: leader.map(BrokerId),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch,
        recovery: LeaderRecovery::Recovered,
    }
}

fn ends(log_end: i64) -> LogEnds {
    LogEnds {
        log_end: Offset(log_end),
        durable_end: Offset(log_end - 1),
    }
}

fn follower() -> Follower {
    Follower::new(&assignment(Some(1), 7, 3), ends(10), Offset(5))
}

#[test]
fn a_fetch_says_where_the_log_is() {
    let expected = FetchPosition {
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(7),
        fetch_offset: Offset(10),
        last_fetched_epoch: Some(LeaderEpoch(6)),
        durable_end: Offset(9),
    };
    assert_eq!(
        follower().fetch_position(ends(10), Some(LeaderEpoch(6))),
        Some(expected)
    );
    let orphan = Follower::new(&assignment(None, 7, 3), ends(10), Offset(5));
    assert_eq!(orphan.fetch_position(ends(10), None), None);
}

#[test]
fn answers_lead_to_actions() {
    let parted = EpochEnd {
        epoch: LeaderEpoch(4),
        end_offset: Offset(8),
    };
    let range = |log_start, log_end| FetchResult::OutOfRange {
        log_start: Offset(log_start),
        log_end: Offset(log_end),
    };
    let cut = |to| {
        FollowerAction::Truncate(Truncation {
            to: Offset(to),
            settled: true,
        })
    };
    let records = FetchResult::Records {
        high_watermark: Offset(9),
        log_start: Offset(2),
    };
    let append = FollowerAction::Append {
        high_watermark: Offset(9),
        log_start: Offset(2),
    };
    let cases = [
        (records, append),
        (
            FetchResult::Diverging(parted),
            FollowerAction::CompareEpochs(parted),
        ),
        (range(0, 6), cut(6)),
        (range(7, 7), cut(7)),
        (range(20, 30), FollowerAction::RestartAt(Offset(20))),
        (range(0, 30), FollowerAction::BackOff),
        (FetchResult::Fenced, FollowerAction::AwaitMetadata),
        (FetchResult::NotYet, FollowerAction::BackOff),
    ];
    let follower = follower();
    let asked = follower.fetch_position(ends(10), None).unwrap();
    for (result, action) in cases {
        assert_eq!(follower.fetched(asked, ends(10), result), action, "{result:?}");
    }
}

#[test]
fn late_answers_change_nothing() {
    let records = FetchResult::Records {
        high_watermark: Offset(9),
        log_start: Offset(2),
    };
    let mut follower = follower();
    let asked = follower.fetch_position(ends(10), None).unwrap();
    assert_eq!(
        follower.fetched(asked, ends(11), records),
        FollowerAction::Ignore,
        "the log moved on"
    );
    follower.metadata_changed(&assignment(Some(1), 6, 3));
    assert_eq!(follower.leader_epoch(), LeaderEpoch(7), "older metadata");
    follower.metadata_changed(&assignment(Some(1), 8, 4));
    assert_eq!(
        follower.fetched(asked, ends(10), records),
        FollowerAction::Ignore,
        "another epoch"
    );
}

#[test]
fn the_high_watermark_follows_the_leader_within_the_log() {
    let mut follower = follower();
    // Log end, leader's high watermark: moved to.
    let appends = [
        (12, 4, None),
        (12, 8, Some(8)),
        (12, 20, Some(12)),
        (12, 11, None),
        (14, 14, Some(14)),
    ];
    for (log_end, leader, moved) in appends {
        assert_eq!(
            follower.appended(Offset(log_end), Offset(leader)),
            moved.map(Offset)
        );
    }
    assert!(!follower.truncated(Offset(14)));
    assert!(follower.truncated(Offset(13)), "what was committed is gone");
    assert_eq!(follower.high_watermark(), Offset(13));
    follower.restarted(Offset(40));
    assert_eq!(follower.high_watermark(), Offset(40));
}
