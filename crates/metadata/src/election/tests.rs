//! A table of partitions and what becomes of them, after KIP-966's own examples.

use klamm_model::LeaderEpoch;

use super::*;

fn ids(ids: &[i32]) -> Box<[BrokerId]> {
    ids.iter().copied().map(BrokerId).collect()
}

/// A partition on brokers 1, 2 and 3: leader (0: none), ISR, ELR, last known ELR.
fn partition(leader: i32, isr: &[i32], elr: &[i32], last: &[i32]) -> PartitionImage {
    PartitionImage {
        replicas: ids(&[1, 2, 3]),
        isr: ids(isr),
        elr: ids(elr),
        last_known_elr: ids(last),
        leader: (leader > 0).then_some(BrokerId(leader)),
        leader_epoch: LeaderEpoch(4),
        partition_epoch: 9,
        ..PartitionImage::default()
    }
}

struct Case<'a> {
    before: PartitionImage,
    isr: &'a [i32],
    crashed: &'a [i32],
    alive: &'a [i32],
    election: Election,
    keeps_elr: bool,
}

impl Case<'_> {
    fn after(&self) -> Option<PartitionImage> {
        let acceptable = |id: BrokerId| self.alive.contains(&id.0);
        let rules = Rules {
            keeps_elr: self.keeps_elr,
            min_isr: 2,
            election: self.election,
            acceptable: &acceptable,
        };
        let target = Target {
            isr: ids(self.isr).to_vec(),
            crashed: ids(self.crashed).to_vec(),
            recovery: None,
        };
        let record = change(TopicId::ONE, 0, &self.before, target, &rules)?;
        let mut after = self.before.clone();
        crate::replay::change_partition(&mut after, &record).unwrap();
        Some(after)
    }
}

/// ISR wanted, crashed, alive.
type Wanted<'a> = (&'a [i32], &'a [i32], &'a [i32]);
/// Leader, ISR, ELR, last known ELR.
type State<'a> = (i32, &'a [i32], &'a [i32], &'a [i32]);

fn check(election: Election, keeps_elr: bool, cases: &[(State<'_>, Wanted<'_>, Option<State<'_>>)]) {
    for (before, (isr, crashed, alive), expected) in cases {
        let before = partition(before.0, before.1, before.2, before.3);
        let case = Case {
            before,
            isr,
            crashed,
            alive,
            election,
            keeps_elr,
        };
        let after = case.after();
        let shown = after.as_ref().map(|after| {
            let leader = after.leader.map_or(0, |id| id.0);
            (
                leader,
                raw(&after.isr),
                raw(&after.elr),
                raw(&after.last_known_elr),
            )
        });
        let expected =
            expected.map(|(leader, isr, elr, last)| (leader, isr.to_vec(), elr.to_vec(), last.to_vec()));
        assert_eq!(
            shown, expected,
            "{:?} wanted {isr:?}, crashed {crashed:?}, alive {alive:?}",
            case.before
        );
        if let Some(after) = after {
            let moved = i32::from(after.leader != case.before.leader);
            assert_eq!((after.leader_epoch.0, after.partition_epoch), (4 + moved, 10));
        }
    }
}

#[test]
fn replicas_that_leave_a_small_isr_stay_eligible() {
    check(
        Election::Online,
        true,
        &[
            // Nothing changes.
            ((1, &[1, 2, 3], &[], &[]), (&[1, 2, 3], &[], &[1, 2, 3]), None),
            // Two in sync are enough: who left is behind.
            (
                (1, &[1, 2, 3], &[], &[]),
                (&[1, 2], &[], &[1, 2]),
                Some((1, &[1, 2], &[], &[])),
            ),
            // One is not: nothing is committed without 2.
            (
                (1, &[1, 2], &[], &[]),
                (&[1], &[], &[1]),
                Some((1, &[1], &[2], &[])),
            ),
            // The last one goes: it is the first to come back.
            (
                (1, &[1], &[2], &[]),
                (&[], &[], &[]),
                Some((0, &[], &[2, 1], &[1])),
            ),
            // An eligible one that is there leads, alone.
            ((1, &[1], &[2], &[]), (&[], &[], &[2]), Some((2, &[2], &[1], &[]))),
            (
                (0, &[], &[2, 1], &[1]),
                (&[], &[], &[1, 3]),
                Some((1, &[1], &[2], &[])),
            ),
            ((0, &[], &[2, 1], &[1]), (&[], &[], &[3]), None),
            // Enough again: the others are forgotten.
            (
                (1, &[1], &[2], &[]),
                (&[1, 3], &[], &[1, 3]),
                Some((1, &[1, 3], &[], &[])),
            ),
            // A crash costs the eligibility.
            (
                (1, &[1], &[2], &[]),
                (&[1], &[2], &[1]),
                Some((1, &[1], &[], &[])),
            ),
            ((1, &[1], &[], &[]), (&[], &[1], &[]), Some((0, &[], &[], &[1]))),
            // All have crashed: the last leader is as good as any.
            (
                (0, &[], &[], &[1]),
                (&[], &[], &[1, 2]),
                Some((1, &[1], &[], &[])),
            ),
            ((0, &[], &[], &[1]), (&[], &[], &[2]), None),
        ],
    );
}

#[test]
fn the_leader_stays_while_it_can() {
    check(
        Election::Online,
        true,
        &[
            (
                (2, &[2, 1, 3], &[], &[]),
                (&[2, 1], &[], &[1, 2]),
                Some((2, &[2, 1], &[], &[])),
            ),
            (
                (2, &[1, 2, 3], &[], &[]),
                (&[1, 3], &[], &[1, 3]),
                Some((1, &[1, 3], &[], &[])),
            ),
            (
                (2, &[2, 3], &[], &[]),
                (&[3], &[], &[1, 3]),
                Some((3, &[3], &[2], &[])),
            ),
        ],
    );
}

#[test]
fn the_preferred_leader_is_elected_when_in_sync() {
    check(
        Election::Preferred,
        true,
        &[
            (
                (2, &[1, 2], &[], &[]),
                (&[1, 2], &[], &[1, 2]),
                Some((1, &[1, 2], &[], &[])),
            ),
            ((2, &[2, 3], &[], &[]), (&[2, 3], &[], &[1, 2, 3]), None),
            ((2, &[1, 2], &[], &[]), (&[1, 2], &[], &[2]), None),
        ],
    );
}

#[test]
fn an_unclean_election_takes_whom_it_gets() {
    check(
        Election::Unclean,
        true,
        &[
            ((1, &[1], &[], &[]), (&[], &[], &[3]), Some((3, &[3], &[1], &[]))),
            (
                (1, &[1, 2], &[], &[]),
                (&[2], &[], &[2, 3]),
                Some((2, &[2], &[1], &[])),
            ),
        ],
    );
}

#[test]
fn without_elr_the_last_member_stays_in_sync() {
    check(
        Election::Online,
        false,
        &[
            ((1, &[1], &[], &[]), (&[], &[], &[2]), Some((0, &[1], &[], &[]))),
            ((0, &[1], &[], &[]), (&[1], &[], &[1]), Some((1, &[1], &[], &[]))),
            (
                (1, &[1, 2], &[], &[]),
                (&[2], &[], &[2]),
                Some((2, &[2], &[], &[])),
            ),
        ],
    );
}

#[test]
fn an_unclean_leader_has_to_recover() {
    let before = partition(0, &[], &[], &[1]);
    let case = Case {
        before,
        isr: &[],
        crashed: &[],
        alive: &[1],
        election: Election::Online,
        keeps_elr: true,
    };
    assert_eq!(case.after().unwrap().recovery, LeaderRecovery::Recovering);
}
