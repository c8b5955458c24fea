//! What the log says when a key is set that Klamm does not act on.
//!
//! Always holds: it is said of what was committed, whichever request asked for it; values are not told, as they may be
//! secrets.

use klamm_config::{Resource, alter};
use klamm_metadata::{MetadataRecord, ResourceKind};
use tracing::warn;

/// A key that was set in vain.
#[derive(Debug, PartialEq, Eq)]
struct InVain<'a> {
    kind: Resource,
    resource: &'a str,
    key: &'a str,
    reason: &'static str,
}

/// Warns of the keys that `records` set in vain.
pub(super) fn warn_of(records: &[MetadataRecord]) {
    for InVain {
        kind,
        resource,
        key,
        reason,
    } in records.iter().filter_map(in_vain)
    {
        warn!(?kind, resource, key, reason, "set and stored, but without effect");
    }
}

fn in_vain(record: &MetadataRecord) -> Option<InVain<'_>> {
    let MetadataRecord::Config(record) = record else {
        return None;
    };
    let kind = match ResourceKind::from_code(record.resource_type)? {
        ResourceKind::Topic => Resource::Topic,
        ResourceKind::Broker => Resource::Broker,
        ResourceKind::ClientMetrics => Resource::ClientMetrics,
        ResourceKind::Group => Resource::Group,
        ResourceKind::BrokerLogger => return None,
    };
    let reason = alter::without_effect(kind, &record.name, record.value.as_deref()?)?;
    Some(InVain {
        kind,
        resource: &record.resource_name,
        key: &record.name,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use klamm_protocol::metadata_records::ConfigRecord;

    use super::*;

    #[test]
    fn keys_without_effect_are_found_among_the_records() {
        let topic = ResourceKind::Topic;
        for (kind, key, value, is_in_vain) in [
            (topic, "unclean.leader.election.enable", Some("true"), true),
            (topic, "unclean.leader.election.enable", Some("false"), false),
            (topic, "unclean.leader.election.enable", None, false),
            (topic, "retention.ms", Some("5"), false),
            (
                ResourceKind::Broker,
                "unclean.leader.election.enable",
                Some("true"),
                true,
            ),
            (ResourceKind::BrokerLogger, "klamm", Some("DEBUG"), false),
        ] {
            let record = MetadataRecord::from(ConfigRecord {
                resource_type: kind.code(),
                resource_name: "1".into(),
                name: key.into(),
                value: value.map(Into::into),
                ..Default::default()
            });
            let found = in_vain(&record);
            assert_eq!(found.is_some(), is_in_vain, "{key}={value:?}: {found:?}");
            if let Some(found) = found {
                assert_eq!((found.resource, found.key), ("1", key));
                assert!(found.reason.len() > 10, "{found:?}");
            }
        }
    }
}
