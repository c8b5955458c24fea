//! A table of metadata changes.

use super::*;
use crate::assignment::LeaderRecovery;

const ME: BrokerId = BrokerId(1);

fn assignment(leader: Option<i32>, leader_epoch: i32, partition_epoch: i32) -> Assignment<'static> {
    Assignment {
        replicas: &[ME, BrokerId(2)],
        isr: &[ME, BrokerId(2)],
        leader: leader.map(BrokerId),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch,
        recovery: LeaderRecovery::Recovered,
    }
}

fn begin(leader: Option<i32>) -> (Role, Transition) {
    let ends = LogEnds {
        log_end: Offset(10),
        durable_end: Offset(10),
    };
    Role::begin(
        ME,
        &assignment(leader, 7, 3),
        ends,
        Offset(6),
        settings(),
        Duration::ZERO,
    )
}

fn settings() -> Settings {
    Settings {
        min_isr: 1,
        max_lag: Duration::from_secs(30),
    }
}

#[test]
fn the_role_follows_the_metadata() {
    let lead = |epoch| Transition::Lead {
        epoch: LeaderEpoch(epoch),
        propose: None,
    };
    let follow = |epoch, leader: Option<i32>| Transition::Follow {
        epoch: LeaderEpoch(epoch),
        leader: leader.map(BrokerId),
    };
    let keep_leading = Transition::KeepLeading {
        high_watermark_moved: false,
    };
    assert_eq!(begin(Some(1)).1, lead(7));
    assert_eq!(begin(None).1, follow(7, None));
    // Leader at first; leader, leader epoch and partition epoch of the change; what it means.
    let cases = [
        (Some(1), (Some(1), 7, 3), Transition::Nothing),
        (Some(1), (Some(2), 8, 2), Transition::Nothing),
        (Some(1), (Some(1), 7, 4), keep_leading),
        (Some(1), (Some(1), 8, 4), lead(8)),
        (Some(1), (Some(2), 8, 4), follow(8, Some(2))),
        (Some(1), (None, 8, 4), follow(8, None)),
        (Some(2), (Some(2), 7, 4), Transition::KeepFollowing),
        (Some(2), (Some(2), 8, 4), follow(8, Some(2))),
        (Some(2), (Some(1), 8, 4), lead(8)),
        (None, (Some(1), 8, 4), lead(8)),
    ];
    for (first, (leader, leader_epoch, partition_epoch), expected) in cases {
        let (mut role, _) = begin(first);
        let ends = LogEnds {
            log_end: Offset(12),
            durable_end: Offset(11),
        };
        let change = assignment(leader, leader_epoch, partition_epoch);
        let transition = role.metadata_changed(ME, &change, ends, settings(), Duration::from_secs(1));
        assert_eq!(transition, expected, "{first:?} {change:?}");
        assert_eq!(role.high_watermark(), Offset(6), "kept from role to role");
        if let Role::Leader(leader) = &role {
            let start = if leader.leader_epoch() == LeaderEpoch(8) {
                12
            } else {
                10
            };
            assert_eq!(leader.epoch_start(), Offset(start));
        }
    }
}

#[test]
fn a_partition_at_rest_is_small() {
    assert!(size_of::<Role>() <= 176, "{}", size_of::<Role>());
}
