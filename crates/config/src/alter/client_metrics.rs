//! What holds for a subscription to client metrics beyond one value (KIP-714).
//!
//! Always holds: the push interval has its own bounds, and a match names a parameter of KIP-714 and a pattern. Whether the
//! pattern is a regular expression is not looked at here.
//!
//! Next: `keys/client_metrics.rs`.

use super::{AlterError, check_values};
use crate::key::{Key, Resource};
use crate::layers::Values;

const PARAMETERS: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

pub(super) fn check(values: &Values) -> Result<(), AlterError> {
    check_values(
        Resource::ClientMetrics,
        values,
        AlterError::UnknownClientMetricsKey,
    )?;
    let value = |name| {
        Key::find(Resource::ClientMetrics, name)?
            .parse(values.get(name)?)
            .ok()
    };
    if let Some(interval) = value("interval.ms").and_then(|value| value.as_whole())
        && !(100..=3_600_000).contains(&interval)
    {
        return Err(AlterError::PushInterval(interval));
    }
    let patterns = value("match").map_or_else(Vec::new, |value| value.as_list().to_vec());
    let fits = |item: &String| {
        let mut parts = item.split('=').map(str::trim);
        let known = parts.next().is_some_and(|name| PARAMETERS.contains(&name));
        known && parts.next().is_some_and(|pattern| !pattern.is_empty()) && parts.next().is_none()
    };
    match patterns.iter().find(|item| !fits(item)) {
        Some(item) => Err(AlterError::Conflict(format!(
            "Illegal client matching pattern: {item}"
        ))),
        None => Ok(()),
    }
}
