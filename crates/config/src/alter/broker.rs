//! What holds for the dynamic configs of brokers beyond one value.
//!
//! Always holds: unknown names are accepted and stored, as Apache Kafka does; a key that changes only with a restart is not.
//!
//! Next: `broker/dynamic.rs` for values that must go together.

use super::{AlterError, Target};
use crate::key::{Key, Scope, Update};
use crate::layers::{Layers, Values};
use crate::source::base_name;

pub(super) fn check(target: Target, values: &Values, layers: &Layers<'_>) -> Result<(), AlterError> {
    let update = |name: &str| match Key::broker(name)?.scope {
        Scope::Broker(update) => Some(update),
        Scope::Topic | Scope::Group | Scope::ClientMetrics => None,
    };
    let named = |which: &dyn Fn(&str) -> bool| -> Vec<String> {
        values.keys().filter(|name| which(name)).cloned().collect()
    };
    let refuse = |names: Vec<String>, error: fn(Vec<String>) -> AlterError| {
        if names.is_empty() {
            Ok(())
        } else {
            Err(error(names))
        }
    };
    refuse(
        named(&|name| update(name) == Some(Update::ReadOnly)),
        AlterError::NotDynamic,
    )?;
    refuse(named(&is_key_material), AlterError::PerListener)?;
    for (name, value) in values {
        if let Some(key) = Key::broker(base_name(name)) {
            key.parse(value).map_err(AlterError::InvalidOnBroker)?;
        }
    }
    let after = match target {
        Target::BrokerDefault => {
            refuse(
                named(&|name| update(name) == Some(Update::PerBroker)),
                AlterError::PerBroker,
            )?;
            Layers {
                dynamic_default: values,
                ..*layers
            }
        }
        _ => Layers {
            dynamic_broker: values,
            ..*layers
        },
    };
    let problem = crate::broker::problem(&after).map(|(_, problem)| problem);
    match problem.or_else(|| crate::broker::problem_of_change(layers, &after)) {
        Some(problem) => Err(AlterError::BrokerConflict(problem)),
        None => Ok(()),
    }
}

/// Keys, certificates and their passwords, which differ from listener to listener.
fn is_key_material(name: &str) -> bool {
    name == "ssl.key.password" || name.starts_with("ssl.keystore.") || name.starts_with("ssl.truststore.")
}
