//! Tables of states and events, and what must hold after any events.

use proptest::prelude::*;

use super::*;

const ME: BrokerId = BrokerId(1);
const EPOCH: LeaderEpoch = LeaderEpoch(7);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ends(log_end: i64, durable_end: i64) -> LogEnds {
    LogEnds {
        log_end: Offset(log_end),
        durable_end: Offset(durable_end),
    }
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn settings(min_isr: usize) -> Settings {
    Settings {
        min_isr,
        max_lag: at(30),
    }
}

/// A leader of `replicas` with this in-sync set, whose log ends at 10 and is on disk, and whose high watermark is 10.
fn leader(replicas: &[i32], isr: &[i32], min_isr: usize) -> Leader {
    let (replicas, isr) = (ids(replicas), ids(isr));
    let assignment = Assignment {
        replicas: &replicas,
        isr: &isr,
        leader: Some(ME),
        leader_epoch: EPOCH,
        partition_epoch: 3,
        recovery: LeaderRecovery::Recovered,
    };
    let (leader, propose) = Leader::new(
        ME,
        &assignment,
        ends(10, 10),
        Offset(10),
        settings(min_isr),
        at(0),
    );
    assert_eq!(propose, None);
    leader
}

fn fetch(leader: &mut Leader, follower: i32, log_end: i64, durable_end: i64, now: u64) -> Fetched {
    let fetch = FollowerFetch {
        follower: BrokerId(follower),
        broker_epoch: 100 + i64::from(follower),
        ends: ends(log_end, durable_end),
        log_start: Offset(0),
        eligible: true,
    };
    leader.fetched(fetch, at(now))
}

fn proposal(isr: &[(i32, i64)]) -> Option<Proposal> {
    let isr = isr.iter().map(|(id, epoch)| (BrokerId(*id), *epoch)).collect();
    Some(Proposal {
        leader_epoch: EPOCH,
        partition_epoch: 3,
        isr,
    })
}

#[test]
fn alone_the_disk_decides() {
    let mut leader = leader(&[1], &[1], 3);
    for (log_end, durable_end, moved, high_watermark) in [
        (12, 10, false, 10),
        (12, 11, true, 11),
        (15, 11, false, 11),
        (15, 15, true, 15),
    ] {
        assert_eq!(leader.progressed(ends(log_end, durable_end), at(1)), moved);
        assert_eq!(leader.high_watermark(), Offset(high_watermark));
    }
    // One replica can be no more than one, whatever is configured.
    assert_eq!(leader.check_append(), Ok(()));
    assert_eq!(leader.committed(Offset(15)), Committed::Yes);
    assert_eq!(leader.committed(Offset(16)), Committed::Waiting);
    assert_eq!(leader.check_lag(at(1000)), None);
}

#[test]
fn the_high_watermark_is_the_smallest_durable_end_in_sync() {
    let mut leader = leader(&[1, 2, 3], &[1, 2, 3], 2);
    leader.progressed(ends(20, 20), at(1));
    // Follower, log end, durable end, whether the watermark moves, where it is then.
    let events = [
        (2, 20, 20, false, 10),
        (3, 20, 15, true, 15),
        (3, 20, 14, false, 15),
        (3, 20, 20, true, 20),
        (9, 30, 30, false, 20),
    ];
    for (follower, log_end, durable_end, moved, high_watermark) in events {
        let fetched = fetch(&mut leader, follower, log_end, durable_end, 1);
        assert_eq!(
            fetched,
            Fetched {
                high_watermark_moved: moved,
                propose: None
            }
        );
        assert_eq!(leader.high_watermark(), Offset(high_watermark));
    }
}

#[test]
fn too_few_in_sync_hold_everything() {
    let mut leader = leader(&[1, 2, 3], &[1], 2);
    assert_eq!(
        leader.check_append(),
        Err(NotEnoughReplicas {
            in_sync: 1,
            needed: 2
        })
    );
    assert!(!leader.progressed(ends(20, 20), at(1)));
    assert_eq!(leader.high_watermark(), Offset(10));
    assert_eq!(leader.committed(Offset(10)), Committed::WithTooFew);
    assert!(leader.set_settings(settings(1), at(1)));
    assert_eq!(leader.committed(Offset(20)), Committed::Yes);
}

#[test]
fn a_silent_follower_leaves_the_set() {
    let mut leader = leader(&[1, 2, 3], &[1, 2, 3], 1);
    leader.progressed(ends(20, 20), at(1));
    fetch(&mut leader, 2, 20, 20, 20);
    assert_eq!(leader.check_lag(at(30)), None);
    assert_eq!(leader.check_lag(at(31)), proposal(&[(1, -1), (2, 102)]));
    // Until the controller has said so, 3 counts.
    assert_eq!(leader.high_watermark(), Offset(10));
    assert_eq!(leader.check_lag(at(40)), None, "one proposal at a time");
    assert!(leader.accepted(&ids(&[1, 2]), 4, at(40)));
    assert_eq!(
        (leader.high_watermark(), leader.isr()),
        (Offset(20), &ids(&[1, 2])[..])
    );
}

#[test]
fn lag_is_measured_from_what_a_follower_had() {
    // Leader's log end, follower's log end at second 20; whether it is behind at second 40.
    for (leader_end, follower_end, behind) in [(20, 20, false), (21, 20, false), (30, 19, true)] {
        let mut leader = leader(&[1, 2], &[1, 2], 1);
        leader.progressed(ends(20, 20), at(1));
        fetch(&mut leader, 2, 10, 10, 10);
        leader.progressed(ends(leader_end, leader_end), at(15));
        fetch(&mut leader, 2, follower_end, follower_end, 20);
        leader.progressed(ends(40, 40), at(21));
        assert_eq!(
            leader.check_lag(at(40)).is_some(),
            behind,
            "{leader_end} {follower_end}"
        );
    }
}

#[test]
fn a_follower_joins_when_it_has_what_is_committed() {
    // Log end, durable end, eligible: joins.
    let cases = [
        (20, 20, true, true),
        (20, 15, true, true),
        (20, 14, true, false),
        (14, 14, true, false),
        (20, 20, false, false),
    ];
    for (log_end, durable_end, eligible, joins) in cases {
        let mut leader = leader(&[1, 2], &[1], 1);
        leader.progressed(ends(20, 15), at(1));
        assert_eq!(leader.high_watermark(), Offset(15));
        let fetch = FollowerFetch {
            follower: BrokerId(2),
            broker_epoch: 102,
            ends: ends(log_end, durable_end),
            log_start: Offset(0),
            eligible,
        };
        let wanted = if joins {
            proposal(&[(1, -1), (2, 102)])
        } else {
            None
        };
        assert_eq!(
            leader.fetched(fetch, at(2)).propose,
            wanted,
            "{log_end} {durable_end} {eligible}"
        );
    }
}

#[test]
fn a_follower_needs_the_start_of_the_leaders_epoch() {
    // The log ends at 10, but only 5 is committed: records 5 to 9 may be the old leader's alone.
    let (replicas, isr) = (ids(&[1, 2]), ids(&[1]));
    let assignment = Assignment {
        replicas: &replicas,
        isr: &isr,
        leader: Some(ME),
        leader_epoch: EPOCH,
        partition_epoch: 3,
        recovery: LeaderRecovery::Recovered,
    };
    let (mut leader, _) = Leader::new(ME, &assignment, ends(10, 5), Offset(5), settings(1), at(0));
    assert_eq!(fetch(&mut leader, 2, 9, 9, 1).propose, None);
    assert!(fetch(&mut leader, 2, 10, 9, 1).propose.is_some());
}

#[test]
fn what_may_be_in_sync_is_waited_for() {
    let mut leader = leader(&[1, 2], &[1], 1);
    assert!(fetch(&mut leader, 2, 10, 10, 1).propose.is_some());
    leader.progressed(ends(20, 20), at(2));
    assert_eq!(leader.high_watermark(), Offset(10), "2 may be in the set already");
    assert_eq!(
        leader.refused(ProposalFailure::Retriable, at(2)),
        (false, proposal(&[(1, -1), (2, 102)]))
    );
    assert_eq!(leader.refused(ProposalFailure::Outdated, at(2)), (false, None));
    assert_eq!(leader.high_watermark(), Offset(10), "anything may be true");
    // Refused for good: 2 is waited for only while it keeps up.
    assert_eq!(leader.refused(ProposalFailure::Ineligible, at(2)), (false, None));
    assert!(leader.progressed(ends(21, 21), at(40)));
    assert_eq!(leader.high_watermark(), Offset(21));
}

#[test]
fn the_newest_partition_epoch_is_right() {
    // Partition epoch and set of the answer; the set afterwards.
    for (epoch, isr, after) in [
        (2, &[1, 2][..], &[1][..]),
        (3, &[1, 2], &[1]),
        (4, &[1, 2], &[1, 2]),
    ] {
        let mut leader = leader(&[1, 2], &[1], 1);
        fetch(&mut leader, 2, 10, 10, 1);
        leader.accepted(&ids(isr), epoch, at(1));
        assert_eq!(leader.isr(), ids(after), "epoch {epoch}");
    }
    let mut leader = leader(&[1, 2], &[1], 1);
    fetch(&mut leader, 2, 10, 10, 1);
    let (replicas, isr) = (ids(&[1, 3]), ids(&[1, 3]));
    let mut assignment = Assignment {
        replicas: &replicas,
        isr: &isr,
        leader: Some(ME),
        leader_epoch: EPOCH,
        partition_epoch: 3,
        recovery: LeaderRecovery::Recovered,
    };
    leader.metadata_changed(&assignment, at(2));
    assert_eq!(leader.isr(), ids(&[1]), "no newer than what is known");
    assignment.partition_epoch = 5;
    leader.metadata_changed(&assignment, at(2));
    assert_eq!((leader.isr(), leader.partition_epoch()), (&ids(&[1, 3])[..], 5));
    leader.accepted(&ids(&[1, 2]), 4, at(2));
    assert_eq!(leader.isr(), ids(&[1, 3]), "an answer that was overtaken");
    assert_eq!(
        fetch(&mut leader, 2, 10, 10, 3),
        Fetched::default(),
        "2 is no replica any more"
    );
}

#[test]
fn a_recovering_leader_says_when_it_has_recovered() {
    let (replicas, isr) = (ids(&[1, 2]), ids(&[1]));
    let assignment = Assignment {
        replicas: &replicas,
        isr: &isr,
        leader: Some(ME),
        leader_epoch: EPOCH,
        partition_epoch: 3,
        recovery: LeaderRecovery::Recovering,
    };
    let (mut leader, propose) = Leader::new(ME, &assignment, ends(10, 10), Offset(99), settings(1), at(0));
    assert_eq!(propose, proposal(&[(1, -1)]));
    assert_eq!(leader.high_watermark(), Offset(10), "within the log");
    assert_eq!(
        fetch(&mut leader, 2, 10, 10, 1).propose,
        None,
        "one proposal at a time"
    );
    leader.accepted(&ids(&[1]), 4, at(1));
    assert!(fetch(&mut leader, 2, 10, 10, 1).propose.is_some());
}

#[test]
fn the_low_watermark_is_the_lowest_log_start() {
    let mut leader = leader(&[1, 2, 3], &[1, 2], 1);
    assert_eq!(leader.low_watermark(Offset(5)), Offset(5));
    fetch(&mut leader, 2, 10, 10, 1);
    assert_eq!(leader.low_watermark(Offset(5)), Offset(0));
}

#[derive(Debug, Clone)]
enum Event {
    Append(i64),
    Sync,
    Fetch {
        follower: i32,
        to: i64,
        durable: i64,
        eligible: bool,
    },
    Wait(u64),
    CheckLag,
    Accept,
    Refuse(ProposalFailure),
}

fn event() -> impl Strategy<Value = Event> {
    use ProposalFailure::{Ineligible, Outdated, Retriable};
    prop_oneof![
        3 => (1..5i64).prop_map(Event::Append),
        3 => Just(Event::Sync),
        6 => (2..4i32, 0..6i64, 0..3i64, any::<bool>())
            .prop_map(|(follower, to, durable, eligible)| Event::Fetch { follower, to, durable, eligible }),
        2 => (1..40u64).prop_map(Event::Wait),
        2 => Just(Event::CheckLag),
        2 => Just(Event::Accept),
        1 => prop::sample::select(vec![Ineligible, Outdated, Retriable]).prop_map(Event::Refuse),
    ]
}

proptest! {
    /// A follower's durable end never passes what it fetched; what it said once stays true.
    #[test]
    fn the_high_watermark_is_safe(events in proptest::collection::vec(event(), 0..80), min_isr in 1..4usize) {
        let mut leader = leader(&[1, 2, 3], &[1, 2, 3], min_isr);
        let mut own = ends(10, 10);
        let mut durable = std::collections::BTreeMap::from([(2, 10i64), (3, 10i64)]);
        let (mut now, mut epoch, mut asked, mut high) = (0u64, 3, None::<Proposal>, Offset(10));
        for event in events {
            match event {
                Event::Append(count) => {
                    own.log_end = own.log_end.plus(count);
                    leader.progressed(own, at(now));
                }
                Event::Sync => {
                    own.durable_end = own.log_end;
                    leader.progressed(own, at(now));
                }
                Event::Fetch { follower, to, durable: more, eligible } => {
                    let on_disk = durable.get_mut(&follower).unwrap();
                    *on_disk = (*on_disk + more).min(own.log_end.0);
                    let fetch = FollowerFetch {
                        follower: BrokerId(follower),
                        broker_epoch: -1,
                        ends: ends((*on_disk + to).min(own.log_end.0), *on_disk),
                        log_start: Offset(0),
                        eligible,
                    };
                    asked = leader.fetched(fetch, at(now)).propose.or(asked);
                }
                Event::Wait(seconds) => now += seconds,
                Event::CheckLag => asked = leader.check_lag(at(now)).or(asked),
                Event::Accept => if let Some(proposal) = asked.take() {
                    epoch += 1;
                    let isr: Vec<_> = proposal.isr.iter().map(|(id, _)| *id).collect();
                    leader.accepted(&isr, epoch, at(now));
                },
                Event::Refuse(failure) => {
                    let (_, again) = leader.refused(failure, at(now));
                    asked = if failure == ProposalFailure::Ineligible { None } else { again.or(asked) };
                }
            }
            prop_assert!(leader.high_watermark() >= high, "never back");
            high = leader.high_watermark();
            prop_assert!(high <= own.durable_end);
            prop_assert!(leader.isr().contains(&ME));
            for id in leader.isr().iter().filter(|id| **id != ME) {
                prop_assert!(high.0 <= durable[&id.0], "{id} is in sync and has not what is committed");
            }
        }
    }
}
