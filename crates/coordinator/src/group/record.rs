//! What is recorded of groups in `__consumer_offsets`.
//!
//! Next: `records.rs` for the bytes.

use crate::records::coordinator_records;

coordinator_records! {
    /// A record of `__consumer_offsets`; without a value it is a tombstone, which takes back what its key said.
    GroupRecord {
        /// A committed offset, as the first brokers wrote it; read, and never written.
        LegacyOffsetCommit(LegacyOffsetCommitKey, LegacyOffsetCommitValue) |_| 0;
        /// A committed offset.
        OffsetCommit(OffsetCommitKey, OffsetCommitValue) |value| if value.expire_timestamp == -1 { 4 } else { 1 };
        /// A classic group, whole. A 4.4 broker reads version 4 as well, and writes none.
        ClassicGroup(GroupMetadataKey, GroupMetadataValue) |_| 3;
        /// The epoch of a consumer group.
        ConsumerGroup(ConsumerGroupMetadataKey, ConsumerGroupMetadataValue) |_| 0;
        /// What a consumer group knew of its topics; read, and written as a tombstone only.
        ConsumerGroupPartitionMetadata(ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue) |_| 0;
        /// A member of a consumer group.
        ConsumerGroupMember(ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue) |_| 0;
        /// The epoch of a consumer group's target assignment.
        ConsumerGroupTarget(ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue) |_| 0;
        /// What a member of a consumer group is to have.
        ConsumerGroupTargetMember(
            ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue
        ) |_| 0;
        /// What a member of a consumer group has.
        ConsumerGroupCurrent(
            ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue
        ) |_| 0;
        /// Which topics a regular expression of a consumer group stands for.
        ConsumerGroupRegularExpression(
            ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue
        ) |_| 0;
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::Uuid;
    use klamm_protocol::coordinator_records::group_metadata_value::MemberMetadata;
    use klamm_protocol::coordinator_records::{
        GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue,
    };

    use super::*;
    use crate::contract::CoordinatorRecord;

    /// The bytes that a 4.4 broker has written for the same.
    #[test]
    fn records_are_written_as_a_broker_writes_them() {
        let group = || GroupMetadataKey { group: "g1".into() };
        let empty = GroupMetadataValue {
            protocol: None,
            leader: None,
            current_state_timestamp: 5,
            ..Default::default()
        };
        let stable = GroupMetadataValue {
            protocol_type: "consumer".into(),
            generation: 1,
            protocol: Some("range".into()),
            leader: Some("m".into()),
            current_state_timestamp: 5,
            members: vec![MemberMetadata {
                member_id: "m".into(),
                group_instance_id: None,
                client_id: "c".into(),
                client_host: "/h".into(),
                rebalance_timeout: 6,
                session_timeout: 7,
                subscription: "x".into(),
                assignment: "A".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let commit = || OffsetCommitKey {
            group: "g1".into(),
            topic: "t".into(),
            partition: 1,
        };
        let offset = OffsetCommitValue {
            offset: 11,
            commit_timestamp: 5,
            topic_id: Uuid([9; 16]),
            ..Default::default()
        };
        let expiring = OffsetCommitValue {
            expire_timestamp: 6,
            ..offset.clone()
        };
        const GROUP: &str = "0002 0002 6731";
        const COMMIT: &str = "0001 0002 6731 0001 74 00000001";
        let cases: Vec<(GroupRecord, &str, Option<&str>)> = vec![
            (
                GroupRecord::ClassicGroup(group(), Some(empty)),
                GROUP,
                Some("0003 0000 00000000 ffff ffff 0000000000000005 00000000"),
            ),
            (
                GroupRecord::ClassicGroup(group(), Some(stable)),
                GROUP,
                Some(
                    "0003 0008 636f6e73756d6572 00000001 0005 72616e6765 0001 6d 0000000000000005 00000001 \
                     0001 6d ffff 0001 63 0002 2f68 00000006 00000007 00000001 78 00000001 41",
                ),
            ),
            (GroupRecord::ClassicGroup(group(), None), GROUP, None),
            (
                GroupRecord::OffsetCommit(commit(), Some(offset)),
                COMMIT,
                Some(
                    "0004 000000000000000b ffffffff 01 0000000000000005 01 00 10 09090909090909090909090909090909",
                ),
            ),
            (
                GroupRecord::OffsetCommit(commit(), Some(expiring)),
                COMMIT,
                Some("0001 000000000000000b 0000 0000000000000005 0000000000000006"),
            ),
            (GroupRecord::OffsetCommit(commit(), None), COMMIT, None),
        ];
        let hex = |text: &str| {
            let digits: String = text.split_whitespace().collect();
            let bytes = (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
            bytes.collect::<Vec<u8>>()
        };
        for (record, key, value) in cases {
            let bytes = record.encode().unwrap();
            assert_eq!(bytes.key, hex(key), "{record:?}");
            assert_eq!(bytes.value.as_deref(), value.map(hex).as_deref(), "{record:?}");
        }
    }
}
