//! What a command says when it set a key that Klamm does not act on.
//!
//! Always holds: it is said on standard error, and of a Klamm only: Apache Kafka acts on all of its keys.

use std::io::Write;

use klamm_client::Admin;
use klamm_client::admin::configs::Resource;
use klamm_config::alter;

/// A key that every Klamm broker has, and no other.
const OURS: &str = "klamm.durability";

/// Says which of the keys that were set have no effect, and why.
pub(crate) async fn tell<'a>(
    admin: &Admin,
    scope: Option<klamm_config::Resource>,
    set: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let Some(scope) = scope else { return };
    let in_vain: Vec<(&str, &str)> = set
        .filter_map(|(key, value)| Some((key, alter::without_effect(scope, key, value)?)))
        .collect();
    if in_vain.is_empty() || !is_klamm(admin).await {
        return;
    }
    for (key, reason) in in_vain {
        // A message; when nobody can read it, that is no failure.
        let _ = writeln!(
            std::io::stderr(),
            "note: {key} is stored, but has no effect: {reason}"
        );
    }
}

async fn is_klamm(admin: &Admin) -> bool {
    let Some(broker) = admin.client().cluster().brokers.keys().next().copied() else {
        return false;
    };
    let keys = [OURS.to_owned()];
    // What was asked for is done: that this cannot be found out is no failure of it.
    let found = admin
        .describe_configs(&Resource::Broker(broker), Some(&keys))
        .await;
    found.is_ok_and(|entries| entries.iter().any(|entry| entry.name == OURS))
}
