//! UpdateFeatures.

use klamm_protocol::messages::update_features_request::*;
use klamm_protocol::metadata_records::FeatureLevelRecord;

use super::update_features::ServedFeatures;
use super::*;
use crate::image::VersionRange;

const ELR: &str = "eligible.leader.replicas.version";

fn served() -> ServedFeatures {
    let range = |min, max| VersionRange { min, max };
    ServedFeatures::from([
        (METADATA_VERSION, range(7, 33)),
        ("transaction.version", range(0, 2)),
        ("share.version", range(0, 2)),
        ("group.version", range(0, 1)),
        (ELR, range(0, 1)),
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

/// A cluster whose brokers serve all, at this level of `metadata.version`.
fn cluster_at(level: i16) -> Cluster {
    let mut cluster = Cluster::new(0);
    let finalized = [(METADATA_VERSION, level), (ELR, 0)].map(|(name, feature_level)| {
        FeatureLevelRecord {
            name: name.into(),
            feature_level,
            ..Default::default()
        }
        .into()
    });
    cluster.commit(&finalized);
    cluster
}

#[test]
fn an_older_metadata_version_goes_up_and_down_as_far_as_its_records_allow() {
    let refused = "Refusing to perform the requested downgrade because it might delete metadata information.";
    // From, to, and whether Kafka goes there.
    for (from, to, goes) in [
        (10, 9, true),
        (10, 8, true),
        (10, 7, false),
        (16, 15, true),
        (16, 14, false),
        (22, 17, true),
        (22, 16, false),
        (29, 23, true),
        (29, 22, false),
        (31, 30, true),
        (33, 32, false),
    ] {
        for upgrade in [2, 3] {
            let mut cluster = cluster_at(from);
            let (code, words, _) = update(&mut cluster, 2, &[(METADATA_VERSION, to, upgrade)]);
            assert_eq!(
                (code == 0, words.is_none()),
                (goes, goes),
                "{from} to {to}: {words:?}"
            );
            let level = if goes { to } else { from };
            assert_eq!(cluster.image.feature_level(METADATA_VERSION), level);
            assert!(upgrade == 3 || words.is_none_or(|words| words.ends_with(refused)));
        }
    }
    let mut cluster = cluster_at(7);
    assert_eq!(
        update(&mut cluster, 2, &[(METADATA_VERSION, 33, 1)]),
        (0, None, 0)
    );
    assert_eq!(cluster.image.feature_level(METADATA_VERSION), 33);
}

#[test]
fn a_feature_waits_for_the_metadata_version_it_depends_on() {
    let words = "The update failed for all features since the following feature had an error: Invalid update version 1 for \
                 feature eligible.leader.replicas.version. eligible.leader.replicas.version could not be set to 1 because \
                 it depends on metadata.version level 23";
    let cases: [(&[Update<'_>], bool); 6] = [
        (&[(ELR, 1, 1)], false),
        (&[(METADATA_VERSION, 22, 1), (ELR, 1, 1)], false),
        (&[(ELR, 0, 2)], true),
        (&[(METADATA_VERSION, 23, 1), (ELR, 1, 1)], true),
        (&[(ELR, 1, 1), (METADATA_VERSION, 33, 1)], true),
        (&[(METADATA_VERSION, 23, 1)], true),
    ];
    for (updates, goes) in cases {
        let expected = match goes {
            true => (0, None, 0),
            false => (95, Some(words.to_owned()), 0),
        };
        assert_eq!(update(&mut cluster_at(7), 2, updates), expected, "{updates:?}");
    }
}
