//! UpdateFeatures.

use klamm_protocol::messages::update_features_request::*;

use super::update_features::ServedFeatures;
use super::*;
use crate::image::VersionRange;

fn served() -> ServedFeatures {
    let range = |min, max| VersionRange { min, max };
    ServedFeatures::from([
        (METADATA_VERSION, range(7, 33)),
        ("transaction.version", range(0, 2)),
        ("share.version", range(0, 2)),
        ("group.version", range(0, 1)),
    ])
}

/// Name, level, upgrade type.
type Update<'a> = (&'a str, i16, i8);

fn update(cluster: &mut Cluster, version: i16, updates: &[Update<'_>]) -> (i16, Option<String>, usize) {
    let one = |(feature, level, upgrade): &Update<'_>| FeatureUpdateKey {
        feature: (*feature).into(),
        max_version_level: *level,
        upgrade_type: *upgrade,
        ..Default::default()
    };
    let request = UpdateFeaturesRequest {
        feature_updates: updates.iter().map(one).collect(),
        ..Default::default()
    };
    let response = cluster.does(|context| update_features::decide(context, &served(), version, &request));
    (
        response.error_code,
        response.error_message.map(|words| words.to_string()),
        response.results.len(),
    )
}

#[test]
fn features_go_up_and_down() {
    let mut cluster = Cluster::new(1);
    for (level, upgrade) in [(1, 2), (2, 1), (2, 1), (0, 3), (2, 1)] {
        assert_eq!(
            update(&mut cluster, 2, &[("transaction.version", level, upgrade)]),
            (0, None, 0)
        );
        assert_eq!(cluster.image.feature_level("transaction.version"), level);
    }
    assert_eq!(update(&mut cluster, 2, &[]), (0, None, 0));
    assert_eq!(update(&mut cluster, 1, &[("group.version", 1, 1)]), (0, None, 1));
}

#[test]
fn updates_are_refused_as_kafka_refuses_them() {
    let mut cluster = Cluster::new(2);
    let down = "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
                downgrade.";
    let local = "Local controller 1";
    let invalid =
        |level, name, why: &str| format!("Invalid update version {level} for feature {name}. {why}");
    let metadata =
        |level, why: &str| format!("Unsupported metadata.version downgrade from 33 to {level}. {why}");
    let cases: Vec<(&[Update<'_>], String)> = vec![
        (
            &[("foo", 1, 1)],
            invalid(1, "foo", &format!("{local} does not support this feature.")),
        ),
        (&[("foo", 0, 2)], invalid(0, "foo", "Feature foo not found.")),
        (
            &[("transaction.version", 9, 1)],
            invalid(
                9,
                "transaction.version",
                &format!("{local} only supports versions 0-2"),
            ),
        ),
        (
            &[("transaction.version", 1, 1)],
            invalid(1, "transaction.version", down),
        ),
        (
            &[("group.version", 1, 2)],
            invalid(1, "group.version", "Can't downgrade to a newer version."),
        ),
        (
            &[("group.version", 0, 0)],
            invalid(
                0,
                "group.version",
                "The controller does not support the given upgrade type.",
            ),
        ),
        (
            &[("group.version", -1, 2)],
            invalid(-1, "group.version", "A feature version cannot be less than 0."),
        ),
        (
            &[("metadata.version", 0, 2)],
            invalid(
                0,
                "metadata.version",
                &format!("{local} only supports versions 7-33"),
            ),
        ),
        (
            &[("metadata.version", 32, 2)],
            metadata(
                32,
                "Refusing to perform the requested downgrade because it might delete metadata information.",
            ),
        ),
        (
            &[("metadata.version", 7, 3)],
            metadata(7, "Unsafe metadata downgrade is not supported in this version."),
        ),
        (
            &[("group.version", 1, 1), ("share.version", 1, 1)],
            invalid(1, "share.version", "Broker 1 does not support this feature."),
        ),
    ];
    for (updates, why) in cases {
        let words =
            format!("The update failed for all features since the following feature had an error: {why}");
        assert_eq!(update(&mut cluster, 2, updates), (95, Some(words), 0));
        assert_eq!(cluster.image.feature_level("group.version"), 0);
    }
}
