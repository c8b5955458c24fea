//! Which test shows that a key does what the table says.
//!
//! Always holds: a key that is not served is proven here, by a test that sets it and reads the warning or the refusal; a
//! served key names the test that sets it and sees its effect. `cargo xtask tidy` fails while `without_proof` is not empty.
//!
//! Next: `broker.rs` holds the test over all keys that are not served.

use crate::key::{Key, Resource, Scope, Serving};
use crate::keys::THEMES;

/// What shows that a key does what the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The test of this name sets the key and observes its effect.
    Test(&'static str),
    /// The start says that the key has no effect.
    WarnedAtStart,
    /// The start, or the change, is refused.
    Refused,
    /// A change is accepted, stored, shown and has no effect.
    StoredOnly,
}

/// The tests of served keys, by key; a broker key and a topic key of one name share their test.
static TESTS: &[(&str, &str)] = &[
    ("advertised.listeners", "klamm-config: listeners_that_start"),
    ("broker.id", "klamm-config: node_ids"),
    ("controller.listener.names", "klamm-config: listeners_that_start"),
    ("controller.quorum.bootstrap.servers", "klamm-config: quorums"),
    ("controller.quorum.voters", "klamm-config: quorums"),
    (
        "inter.broker.listener.name",
        "klamm-config: listeners_that_do_not",
    ),
    (
        "listener.security.protocol.map",
        "klamm-config: listeners_that_start",
    ),
    ("process.roles", "klamm-config: roles_apart_are_refused"),
    (
        "security.inter.broker.protocol",
        "klamm-config: listeners_that_do_not",
    ),
];

impl Key {
    /// What shows that this key does what the table says, if anything does yet.
    pub fn proof(&self) -> Option<Proof> {
        match (self.serving, self.scope) {
            (Serving::Served, _) => TESTS
                .iter()
                .find(|(name, _)| *name == self.name)
                .map(|(_, test)| Proof::Test(test)),
            (Serving::NotServed(_), Scope::Broker(_)) => Some(Proof::WarnedAtStart),
            (Serving::NotServed(_), _) => Some(Proof::StoredOnly),
            (Serving::Refused(_), _) => Some(Proof::Refused),
        }
    }
}

/// The served keys that no test observes yet.
pub fn without_proof() -> Vec<(Resource, &'static str)> {
    let keys = THEMES.iter().flat_map(|(_, keys)| keys.iter());
    keys.filter(|key| key.proof().is_none())
        .map(|key| (key.resource(), key.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_name_served_keys_once() {
        assert!(TESTS.is_sorted_by(|a, b| a.0 < b.0));
        for (name, _) in TESTS {
            let keys = THEMES
                .iter()
                .flat_map(|(_, keys)| keys.iter())
                .filter(|key| key.name == *name);
            assert!(
                keys.into_iter().any(|key| key.serving == Serving::Served),
                "{name} is not served"
            );
        }
    }
}
