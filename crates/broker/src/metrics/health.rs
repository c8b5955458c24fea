//! Whether a broker works, and whether clients can use it.

use futures_util::FutureExt;

use crate::broker::Broker;

/// What `/healthz` and `/readyz` answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is broken and stays so until somebody acts: a log dir, the metadata log. Healthy without any.
    pub failures: Vec<String>,
    /// Why clients cannot use the broker at the moment, what is broken included. Ready without any.
    pub obstacles: Vec<String>,
}

/// How `broker` is.
pub(super) fn of(broker: &Broker) -> Health {
    let mut failures = Vec::new();
    for store in &broker.stores {
        if let Some(reason) = store.dir.failure() {
            failures.push(format!("log dir {} failed: {reason}", store.dir.path().display()));
        }
    }
    if let Some(error) = broker.quorum.fatal().now_or_never() {
        failures.push(format!("the metadata quorum failed: {error}"));
    }
    if let Some(why) = broker.metadata.failed().now_or_never() {
        failures.push(format!("the metadata cannot be followed: {why}"));
    }
    if let Some(why) = broker.vitals.failed().now_or_never() {
        failures.push(why);
    }
    let mut obstacles = failures.clone();
    if broker.quorum.leader().is_none() {
        obstacles.push("the metadata quorum has no leader".into());
    }
    if !broker.metadata.published().cluster().is_unfenced(broker.id) {
        obstacles.push("the broker is fenced".into());
    }
    Health { failures, obstacles }
}
