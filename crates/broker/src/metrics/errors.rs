//! Where the answers have their error codes.
//!
//! Always holds: an API is served only if its answer has a line here: the dispatch counts the errors of every answer.

use klamm_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, AlterConfigsResponse, AlterReplicaLogDirsResponse,
    ApiVersionsResponse, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse,
    CreatePartitionsResponse, CreateTopicsResponse, DeleteGroupsResponse, DeleteRecordsResponse,
    DeleteTopicsResponse, DescribeAclsResponse, DescribeClientQuotasResponse, DescribeClusterResponse,
    DescribeConfigsResponse, DescribeGroupsResponse, DescribeLogDirsResponse, DescribeProducersResponse,
    DescribeQuorumResponse, DescribeTopicPartitionsResponse, DescribeTransactionsResponse, EndTxnResponse,
    FetchResponse, FindCoordinatorResponse, HeartbeatResponse, IncrementalAlterConfigsResponse,
    InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse, ListConfigResourcesResponse,
    ListGroupsResponse, ListOffsetsResponse, ListPartitionReassignmentsResponse, ListTransactionsResponse,
    MetadataResponse, OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse,
    OffsetForLeaderEpochResponse, ProduceResponse, SyncGroupResponse, TxnOffsetCommitResponse,
    UpdateFeaturesResponse, WriteTxnMarkersResponse,
};

/// An answer that can have error codes.
pub(crate) trait ErrorCodes {
    /// Gives every error code to `see`, 0 (no error) included.
    fn each_error_code(&self, see: &mut dyn FnMut(i16));
}

macro_rules! visit {
    ($at:expr, $see:ident, $code:ident) => {
        $see($at.$code)
    };
    ($at:expr, $see:ident, $list:ident $($rest:ident)+) => {
        for each in &$at.$list {
            visit!(each, $see, $($rest)+);
        }
    };
}

macro_rules! error_codes {
    ($($response:ident: $($($step:ident).+),+;)*) => {
        $(impl ErrorCodes for $response {
            fn each_error_code(&self, see: &mut dyn FnMut(i16)) {
                $(visit!(self, see, $($step)+);)+
            }
        })*
    };
}

error_codes! {
    AddOffsetsToTxnResponse: error_code;
    AddPartitionsToTxnResponse: error_code, results_by_transaction.topic_results.results_by_partition.partition_error_code,
        results_by_topic_v3_and_below.results_by_partition.partition_error_code;
    AlterConfigsResponse: responses.error_code;
    AlterReplicaLogDirsResponse: results.partitions.error_code;
    ApiVersionsResponse: error_code;
    ConsumerGroupDescribeResponse: groups.error_code;
    ConsumerGroupHeartbeatResponse: error_code;
    CreatePartitionsResponse: results.error_code;
    CreateTopicsResponse: topics.error_code;
    DeleteGroupsResponse: results.error_code;
    DeleteRecordsResponse: topics.partitions.error_code;
    DeleteTopicsResponse: responses.error_code;
    DescribeAclsResponse: error_code;
    DescribeClientQuotasResponse: error_code;
    DescribeClusterResponse: error_code;
    DescribeConfigsResponse: results.error_code;
    DescribeGroupsResponse: groups.error_code;
    DescribeLogDirsResponse: error_code, results.error_code;
    DescribeProducersResponse: topics.partitions.error_code;
    DescribeQuorumResponse: error_code, topics.partitions.error_code;
    DescribeTopicPartitionsResponse: topics.error_code, topics.partitions.error_code;
    DescribeTransactionsResponse: transaction_states.error_code;
    EndTxnResponse: error_code;
    FetchResponse: error_code, responses.partitions.error_code;
    FindCoordinatorResponse: error_code, coordinators.error_code;
    HeartbeatResponse: error_code;
    IncrementalAlterConfigsResponse: responses.error_code;
    InitProducerIdResponse: error_code;
    JoinGroupResponse: error_code;
    LeaveGroupResponse: error_code, members.error_code;
    ListConfigResourcesResponse: error_code;
    ListGroupsResponse: error_code;
    ListOffsetsResponse: topics.partitions.error_code;
    ListPartitionReassignmentsResponse: error_code;
    ListTransactionsResponse: error_code;
    MetadataResponse: error_code, topics.error_code, topics.partitions.error_code;
    OffsetCommitResponse: topics.partitions.error_code;
    OffsetDeleteResponse: error_code, topics.partitions.error_code;
    OffsetFetchResponse: error_code, topics.partitions.error_code, groups.error_code, groups.topics.partitions.error_code;
    OffsetForLeaderEpochResponse: topics.partitions.error_code;
    ProduceResponse: responses.partition_responses.error_code;
    SyncGroupResponse: error_code;
    TxnOffsetCommitResponse: topics.partitions.error_code;
    UpdateFeaturesResponse: error_code, results.error_code;
    WriteTxnMarkersResponse: markers.topics.partitions.error_code;
}
