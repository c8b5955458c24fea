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
        /// A classic group, whole.
        ClassicGroup(GroupMetadataKey, GroupMetadataValue) |_| 4;
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
