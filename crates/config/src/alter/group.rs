//! What holds for the configs of a group beyond one value: the bounds that the brokers set.
//!
//! Always holds: `share.session.timeout.ms` lies between the broker's `group.share.min.session.timeout.ms` and
//! `group.share.max.session.timeout.ms`, and so on, by name; a session outlasts its heartbeat.
//!
//! Next: `keys/group_resource.rs`.

use super::{AlterError, check_values};
use crate::key::{Key, Resource};
use crate::layers::{Layers, Values};

pub(super) fn check(values: &Values, layers: &Layers<'_>) -> Result<(), AlterError> {
    check_values(Resource::Group, values, AlterError::UnknownGroupKey)?;
    for name in values.keys() {
        check_bounds(name, values, layers)?;
    }
    for kind in ["consumer", "share", "streams"] {
        let (session, heartbeat) = (
            format!("{kind}.session.timeout.ms"),
            format!("{kind}.heartbeat.interval.ms"),
        );
        let pair = (
            in_force(&session, values, layers),
            in_force(&heartbeat, values, layers),
        );
        if let (Some(timeout), Some(interval)) = pair
            && timeout <= interval
        {
            return Err(AlterError::Conflict(format!(
                "{session} must be greater than {heartbeat}"
            )));
        }
    }
    check_tags(values)?;
    check_assignor(values, layers)?;
    match values.get("errors.deadletterqueue.topic.name") {
        Some(name) if name.trim().starts_with("__") => Err(AlterError::Conflict(
            "errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn check_tags(values: &Values) -> Result<(), AlterError> {
    let name = "streams.rack.aware.assignment.tags";
    let mut tags: Vec<_> = values
        .get(name)
        .into_iter()
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .collect();
    tags.sort_unstable();
    if tags.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(AlterError::Conflict(format!(
            "{name} must not contain duplicate tag keys."
        )));
    }
    Ok(())
}

fn check_assignor(values: &Values, layers: &Layers<'_>) -> Result<(), AlterError> {
    let assignors = Key::broker("group.streams.assignors").and_then(|key| layers.broker_value(key));
    match (values.get("streams.assignor.name"), assignors) {
        (Some(name), Some(assignors)) if !assignors.as_list().iter().any(|each| each == name.trim()) => {
            let registered = assignors.as_list().join(", ");
            Err(AlterError::Conflict(format!(
                "streams.assignor.name '{name}' is not a registered task assignor. Registered assignors are: [{registered}]."
            )))
        }
        _ => Ok(()),
    }
}

fn in_force(name: &str, values: &Values, layers: &Layers<'_>) -> Option<i64> {
    layers
        .resource_value(Key::find(Resource::Group, name)?, values)?
        .as_whole()
}

fn check_bounds(name: &str, values: &Values, layers: &Layers<'_>) -> Result<(), AlterError> {
    let Some((kind, rest)) = name.split_once('.') else {
        return Ok(());
    };
    // The number of standby and warm-up copies is bounded under a name without `num.`.
    let rest = rest.strip_prefix("num.").unwrap_or(rest);
    let bound = |end: &str| {
        let key = Key::broker(&format!("group.{kind}.{end}.{rest}"))?;
        layers.broker_value(key)?.as_whole()
    };
    let Some(value) = in_force(name, values, layers) else {
        return Ok(());
    };
    let words = match (bound("min"), bound("max")) {
        (Some(min), Some(max)) if value < min || value > max => {
            format!("{name} must be in the range {min} to {max} inclusive.")
        }
        (Some(min), None) if value < min => format!("{name} must be greater than or equal to {min}"),
        (None, Some(max)) if value > max => format!("{name} must be less than or equal to {max}"),
        _ => return Ok(()),
    };
    Err(AlterError::Conflict(words))
}
