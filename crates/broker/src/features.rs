//! The features of the cluster that this binary can serve (KIP-584).
//!
//! Always holds: a level is listed only when all that it promises is served; raising the finalized level is an operator's
//! decision, except on a new cluster, which starts with the highest. So a folder that an earlier version left at a lower level is
//! started on and stays there until UpdateFeatures raises it (docs/adr/0012-levels-of-the-metadata-version.md).

use std::ops::RangeInclusive;

use klamm_metadata::controller::update_features::ServedFeatures;
use klamm_metadata::image::VersionRange;

/// A feature and its levels. Level 0 means that it is not used.
#[derive(Debug)]
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) levels: RangeInclusive<i16>,
}

/// The features of Kafka 4.4 and how far they are served. Share groups and streams groups are not, so theirs stay at 0;
/// `group.version` 1 is the consumer protocol; `metadata.version` goes from Kafka 4.4's lowest to its own, `kraft.version` 0 means
/// that the voters are configured.
pub(crate) const SUPPORTED: &[Feature] = &[
    Feature {
        name: "eligible.leader.replicas.version",
        levels: 0..=1,
    },
    Feature {
        name: "group.version",
        levels: 0..=1,
    },
    Feature {
        name: "kraft.version",
        levels: 0..=0,
    },
    Feature {
        name: "metadata.version",
        levels: 7..=33,
    },
    Feature {
        name: "share.version",
        levels: 0..=0,
    },
    Feature {
        name: "streams.version",
        levels: 0..=0,
    },
    Feature {
        name: "transaction.version",
        levels: 0..=2,
    },
];

/// What the controller may finalize.
pub(crate) fn served() -> ServedFeatures {
    let range = |feature: &Feature| VersionRange {
        min: *feature.levels.start(),
        max: *feature.levels.end(),
    };
    SUPPORTED
        .iter()
        .map(|feature| (feature.name, range(feature)))
        .collect()
}

/// What a new cluster starts with: the highest level of each.
pub(crate) fn initial() -> Vec<(&'static str, i16)> {
    let highest = SUPPORTED
        .iter()
        .map(|feature| (feature.name, *feature.levels.end()));
    highest.filter(|(_, level)| *level > 0).collect()
}
