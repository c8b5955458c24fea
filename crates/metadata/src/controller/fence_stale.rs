//! Fencing of brokers that have been silent for too long.
//!
//! Always holds: a broker that is fenced, or whose session is that of an earlier incarnation, is not fenced again, and leads
//! nothing afterwards, though it fell silent between the entries that let it lead; the caller forgets the session either
//! way.

use std::time::Duration;

use klamm_model::BrokerId;

use super::isr_changes::{Event, fence};
use super::{Context, Decision, Sessions};

/// Fences one silent broker, or takes a part of its partitions. The answer is the broker whose session has ended, to be
/// forgotten; ask again until there are neither records nor an answer, with these records applied.
pub fn decide(context: &Context<'_>, sessions: &Sessions, now: Duration) -> Decision<Option<BrokerId>> {
    let Some(id) = sessions.expired(now).next() else {
        return Decision::unchanged(None);
    };
    let records = match context.image.cluster().broker(id) {
        Some(broker) if broker.fenced => context.isr_changes(Event::Goes(id)),
        Some(broker) => fence(context, broker),
        None => Ok(Vec::new()),
    };
    Decision::in_parts(records, id)
}
