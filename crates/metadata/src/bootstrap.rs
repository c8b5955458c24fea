//! The first decision of a new cluster.
//!
//! Always holds: `metadata.version` comes first; `min.insync.replicas` has a cluster-wide dynamic default from the start, as in
//! Kafka 4.4, so that eligible leader replicas have something to go by (KIP-966).

use klamm_protocol::metadata_records::FeatureLevelRecord;

use crate::image::snapshot::config_record;
use crate::image::{METADATA_VERSION, ResourceKind};
use crate::record::MetadataRecord;

/// The records of a cluster that finalizes `features` at these levels (0: not at all), and needs `min_isr` in-sync
/// replicas: the value that `min.insync.replicas` was given at the start, by default 1.
pub fn records(features: &[(&str, i16)], min_isr: u32) -> Vec<MetadataRecord> {
    let (first, rest): (Vec<_>, Vec<_>) = features.iter().partition(|(name, _)| *name == METADATA_VERSION);
    let levels = first.into_iter().chain(rest).filter(|(_, level)| *level != 0);
    let mut records: Vec<MetadataRecord> = levels
        .map(|(name, level)| {
            FeatureLevelRecord {
                name: (*name).into(),
                feature_level: level,
                ..Default::default()
            }
            .into()
        })
        .collect();
    let min_isr = min_isr.to_string();
    records.push(config_record(ResourceKind::Broker, "", "min.insync.replicas", Some(&min_isr)).into());
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Image, Position};

    #[test]
    fn a_new_cluster_has_its_features_and_a_min_isr() {
        let records = records(
            &[("group.version", 1), ("share.version", 0), (METADATA_VERSION, 33)],
            1,
        );
        let first = FeatureLevelRecord {
            name: METADATA_VERSION.into(),
            feature_level: 33,
            ..Default::default()
        };
        assert_eq!(records[0], first.into());
        let (image, _) = Image::default()
            .apply(Position { index: 0, term: 1 }, &records)
            .unwrap();
        let levels: Vec<_> = image
            .features()
            .iter()
            .map(|(name, level)| (&**name, *level))
            .collect();
        assert_eq!(levels, [("group.version", 1), (METADATA_VERSION, 33)]);
        assert_eq!(image.configs().broker_default()["min.insync.replicas"], "1");
    }
}
