use klamm_env::sim::disk::{Fault, Operation};
use klamm_model::Offset;

use super::*;
use crate::testing::{Held, NOW, Owner, batch, small};

fn owner() -> (klamm_env::sim::disk::Disk, Arc<Owner>, Arc<Submission>) {
    let (disk, held) = Held::new(small());
    let (owner, submission) = Owner::new(held);
    (disk, owner, submission)
}

#[test]
fn a_round_makes_everything_durable_that_waits() {
    let (_disk, owner, submission) = owner();
    let commit = SegmentSync::default();
    let text = "x".repeat(900);
    for _ in 0..5 {
        owner.held.append(&batch(NOW.0, &[&text])).unwrap();
    }
    assert_eq!(owner.held.log.lock().durable_end_offset(), Offset(0));
    assert!(commit.submit(&submission), "a round must be started");
    assert!(!commit.submit(&submission), "one is asked for already");
    assert_eq!(commit.run_round(), 1);
    assert_eq!(*owner.told.lock(), [(Offset(5), true)]);
    assert_eq!(owner.held.log.lock().durable_end_offset(), Offset(5));
    assert!(
        owner
            .held
            .log
            .lock()
            .segments
            .iter()
            .all(|segment| segment.unsynced.is_none())
    );

    owner.held.append(&batch(NOW.0, &["next"])).unwrap();
    assert!(
        !commit.submit(&submission),
        "rounds are being run until one finds nothing"
    );
    assert_eq!(commit.run_round(), 1);
    assert_eq!(commit.run_round(), 0);
    assert!(commit.submit(&submission));
}

#[test]
fn a_failed_sync_takes_the_dir_out_of_service() {
    let (disk, owner, submission) = owner();
    let commit = SegmentSync::default();
    owner.held.append(&batch(NOW.0, &["a"])).unwrap();
    disk.inject(Fault::nth(Operation::SyncData, 0));
    commit.submit(&submission);
    commit.run_round();
    // The next sync would go well, and prove nothing.
    commit.submit(&submission);
    commit.run_round();
    assert_eq!(*owner.told.lock(), [(Offset(1), false), (Offset(1), false)]);
    assert_eq!(owner.held.log.lock().durable_end_offset(), Offset(0));
    assert!(owner.held.append(&batch(NOW.0, &["b"])).is_err());
}

#[test]
fn a_ticket_from_before_a_truncation_says_nothing() {
    let (_disk, owner, _) = owner();
    owner.held.append(&batch(NOW.0, &["a"])).unwrap();
    owner.held.append(&batch(NOW.0, &["b"])).unwrap();
    let ticket = owner.held.log.lock().flush_target().unwrap();
    crate::truncate::truncate_to(&owner.held.log, Offset(1), NOW).unwrap();
    owner.held.append(&batch(NOW.0, &["c"])).unwrap();
    ticket.sync().unwrap();
    assert!(!owner.held.log.lock().flushed(&ticket));
    assert_eq!(owner.held.log.lock().durable_end_offset(), Offset(0));
}
