//! What is committed, fetched, and kept of it.

use std::time::Duration;

use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::coordinator_records::{LegacyOffsetCommitKey, LegacyOffsetCommitValue};

use super::{OTHER, TOPIC, delete, fetch_named};
use crate::group::Answer;
use crate::group::driver::{Driver, commit, commit_codes, commit_of, fetched};
use crate::group::record::GroupRecord;
use crate::group::request::Request;

#[test]
fn what_is_committed_is_fetched() {
    let mut driver = Driver::new();
    let mut request = commit_of(-1, "", &[(2, 20), (0, 5), (1, 10), (0, 6)]);
    request.topics[0].partitions[1].committed_metadata = Some("where".into());
    request.topics[0].partitions[0].committed_leader_epoch = 4;
    let committed = driver.at_once(Request::OffsetCommit {
        version: 9,
        request: request.into(),
    });
    assert_eq!(commit_codes(&committed), [0, 0, 0, 0]);
    for _ in 0..2 {
        assert_eq!(driver.offsets(), [(0, 6), (1, 10), (2, 20)]);
        let Answer::OffsetFetch(answer) = driver.at_once(fetch_named(TOPIC, &[2, 3], false)) else {
            panic!()
        };
        let told: Vec<_> = answer.topics[0]
            .partitions
            .iter()
            .map(|told| {
                (
                    told.committed_offset,
                    told.committed_leader_epoch,
                    told.metadata.as_deref(),
                    told.error_code,
                )
            })
            .collect();
        assert_eq!(told, [(20, 4, Some(""), 0), (-1, -1, Some(""), 0)]);
        driver.reload();
    }
    driver.at_once(commit(-1, "", &[(1, 3)]));
    assert_eq!(
        driver.offsets(),
        [(0, 6), (1, 3), (2, 20)],
        "an offset may be set back"
    );
}

#[test]
fn offsets_of_another_topic_of_the_name_are_not_found() {
    let mut driver = Driver::new();
    driver.at_once(commit(-1, "", &[(0, 5)]));
    let mut request = commit_of(-1, "", &[(1, 6)]);
    request.topics[0].topic_id = OTHER;
    driver.at_once(Request::OffsetCommit {
        version: 10,
        request: request.into(),
    });
    for (asked, expected) in [(TOPIC, [5, -1]), (OTHER, [-1, 6]), (Uuid::ZERO, [5, 6])] {
        let answer = driver.at_once(fetch_named(asked, &[0, 1], false));
        let offsets: Vec<_> = fetched(&answer)
            .into_iter()
            .map(|(_, _, offset, _)| offset)
            .collect();
        assert_eq!(offsets, expected, "{asked}");
    }
}

#[test]
fn metadata_is_measured_in_utf_16() {
    let mut driver = Driver::new();
    driver.config.offset_metadata_max_bytes = 4;
    let too_large = ErrorCode::OffsetMetadataTooLarge.code();
    for (metadata, expected) in [
        ("abcd", 0),
        ("abcde", too_large),
        ("éééé", 0),
        ("𝄞𝄞", 0),
        ("𝄞𝄞a", too_large),
    ] {
        let mut request = commit_of(-1, "", &[(0, 5), (1, 6)]);
        request.topics[0].partitions[0].committed_metadata = Some(metadata.into());
        let answer = driver.at_once(Request::OffsetCommit {
            version: 9,
            request: request.into(),
        });
        assert_eq!(commit_codes(&answer), [expected, 0], "{metadata}");
    }
}

#[test]
fn what_the_first_brokers_wrote_is_read() {
    let mut driver = Driver::new();
    let key = LegacyOffsetCommitKey {
        group: "g".into(),
        topic: "t".into(),
        partition: 3,
    };
    let value = LegacyOffsetCommitValue {
        offset: 12,
        ..Default::default()
    };
    driver.write(None, GroupRecord::LegacyOffsetCommit(key, Some(value)));
    assert_eq!(driver.offsets(), [(3, 12)]);
}

#[test]
fn names_that_nobody_needs_are_forgotten() {
    let mut driver = Driver::new();
    driver.at_once(commit(-1, "", &[(0, 1)]));
    assert_eq!(driver.shard.offsets.names.len(), 1);
    driver.at_once(delete(&[0]));
    assert!(driver.shard.offsets.names.is_empty() && driver.shard.offsets.groups.is_empty());
}

#[test]
fn an_old_client_says_how_long_its_offsets_stay() {
    let mut driver = Driver::new();
    let mut request = commit_of(-1, "", &[(0, 1)]);
    request.retention_time_ms = 1_000;
    driver.at_once(Request::OffsetCommit {
        version: 4,
        request: request.into(),
    });
    let of_another_topic = |driver: &mut Driver| fetched(&driver.at_once(fetch_named(OTHER, &[0], false)));
    let before_load = of_another_topic(&mut driver);
    driver.config.offsets_retention_check_interval = Duration::from_millis(100);
    driver.reload();
    assert_eq!(of_another_topic(&mut driver), before_load);
    driver.pass(999);
    assert_eq!(driver.offsets(), [(0, 1)]);
    driver.pass(101);
    assert_eq!(driver.offsets(), []);
}
