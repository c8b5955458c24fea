//! The one table of what this broker serves: from it come ApiVersions, dispatch and `docs/reference/protocol.md`.
//!
//! Always holds: an API that is advertised is served, at exactly the versions that Apache Kafka 4.4 advertises. Each row
//! names the file in `handlers/` that answers.

use std::ops::RangeInclusive;

use klamm_net::Overlap;
use klamm_protocol::{ApiKey, RequestHeader};

use crate::context::RequestContext;
use crate::dispatch::{Fault, Serial, Wait};
use crate::handlers;
use crate::metrics::Phases;

/// One served API.
#[derive(Debug)]
pub struct Row {
    /// The API.
    pub api: ApiKey,
    /// The versions that are advertised.
    pub versions: RangeInclusive<i16>,
    /// How its requests stand to their neighbours on a connection.
    pub overlap: Overlap,
    /// The file in `handlers/`, without its ending.
    pub handler: &'static str,
}

macro_rules! api_table {
    (
        hot { $($hot:ident $hot_min:literal..=$hot_max:literal $hot_overlap:ident $hot_module:ident;)* }
        serial { $($name:ident $min:literal..=$max:literal $request:ident $module:ident;)* }
        waiting { $($late:ident $late_min:literal..=$late_max:literal $late_request:ident $late_module:ident;)* }
    ) => {
        /// The rows.
        pub static ROWS: &[Row] = &[
            $(Row {
                api: ApiKey::$hot,
                versions: $hot_min..=$hot_max,
                overlap: Overlap::$hot_overlap,
                handler: stringify!($hot_module),
            },)*
            $(Row {
                api: ApiKey::$name,
                versions: $min..=$max,
                overlap: Overlap::Serial,
                handler: stringify!($module),
            },)*
            $(Row {
                api: ApiKey::$late,
                versions: $late_min..=$late_max,
                overlap: Overlap::SerialWait,
                handler: stringify!($late_module),
            },)*
        ];

        /// Whether a request of this API may wait for long: it keeps nothing of its frame then.
        pub(crate) fn is_waiting(api: ApiKey) -> bool {
            [$(ApiKey::$late),*].contains(&api)
        }

        /// Decodes, handles and encodes a request of a serial API.
        pub(crate) async fn serve_serial(
            context: &RequestContext<'_>,
            header: &RequestHeader,
            serial: &mut Serial<'_>,
            phases: &mut Phases,
        ) -> Result<(), Fault> {
            match header.api_key {
                $(ApiKey::$name => {
                    let request = serial.decode::<klamm_protocol::messages::$request>(header.api_version).await?;
                    context.memory.begin(serial.body.answer_charge());
                    let response = Box::pin(handlers::$module::handle(context, request)).await;
                    context.broker.metrics.requests.answered(header.api_key, &response);
                    serial.encode(header, &response)
                })*
                $(ApiKey::$late => {
                    let request = serial.decode::<klamm_protocol::messages::$late_request>(header.api_version).await?;
                    let wait = Wait::new(serial.body, phases, context);
                    let response = Box::pin(handlers::$late_module::handle(context, request, wait)).await;
                    context.broker.metrics.requests.answered(header.api_key, &response);
                    serial.encode(header, &response)
                })*
                other => Err(Fault::NotServed(other.to_i16())),
            }
        }
    };
}

api_table! {
    hot {
        Produce 0..=13 Pipelined produce;
        Fetch 4..=18 SerialWait fetch;
    }
    serial {
        ListOffsets 1..=11 ListOffsetsRequest list_offsets;
        Metadata 0..=13 MetadataRequest metadata;
        OffsetCommit 2..=10 OffsetCommitRequest offset_commit;
        OffsetFetch 1..=10 OffsetFetchRequest offset_fetch;
        FindCoordinator 0..=6 FindCoordinatorRequest find_coordinator;
        Heartbeat 0..=4 HeartbeatRequest heartbeat;
        LeaveGroup 0..=5 LeaveGroupRequest leave_group;
        DescribeGroups 0..=6 DescribeGroupsRequest describe_groups;
        ListGroups 0..=5 ListGroupsRequest list_groups;
        ApiVersions 0..=5 ApiVersionsRequest api_versions;
        CreateTopics 2..=7 CreateTopicsRequest create_topics;
        DeleteTopics 1..=6 DeleteTopicsRequest delete_topics;
        DeleteRecords 0..=2 DeleteRecordsRequest delete_records;
        InitProducerId 0..=5 InitProducerIdRequest init_producer_id;
        AddPartitionsToTxn 0..=5 AddPartitionsToTxnRequest add_partitions_to_txn;
        AddOffsetsToTxn 0..=4 AddOffsetsToTxnRequest add_offsets_to_txn;
        EndTxn 0..=5 EndTxnRequest end_txn;
        OffsetForLeaderEpoch 2..=4 OffsetForLeaderEpochRequest offset_for_leader_epoch;
        WriteTxnMarkers 1..=2 WriteTxnMarkersRequest write_txn_markers;
        TxnOffsetCommit 0..=6 TxnOffsetCommitRequest txn_offset_commit;
        DescribeAcls 1..=3 DescribeAclsRequest describe_acls;
        DescribeConfigs 1..=4 DescribeConfigsRequest describe_configs;
        AlterConfigs 0..=2 AlterConfigsRequest alter_configs;
        AlterReplicaLogDirs 1..=2 AlterReplicaLogDirsRequest alter_replica_log_dirs;
        DescribeLogDirs 1..=5 DescribeLogDirsRequest describe_log_dirs;
        CreatePartitions 0..=3 CreatePartitionsRequest create_partitions;
        DeleteGroups 0..=3 DeleteGroupsRequest delete_groups;
        IncrementalAlterConfigs 0..=1 IncrementalAlterConfigsRequest incremental_alter_configs;
        ListPartitionReassignments 0..=0 ListPartitionReassignmentsRequest list_partition_reassignments;
        OffsetDelete 0..=0 OffsetDeleteRequest offset_delete;
        DescribeClientQuotas 0..=1 DescribeClientQuotasRequest describe_client_quotas;
        DescribeQuorum 0..=2 DescribeQuorumRequest describe_quorum;
        UpdateFeatures 0..=2 UpdateFeaturesRequest update_features;
        DescribeCluster 0..=2 DescribeClusterRequest describe_cluster;
        DescribeProducers 0..=0 DescribeProducersRequest describe_producers;
        DescribeTransactions 0..=0 DescribeTransactionsRequest describe_transactions;
        ListTransactions 0..=2 ListTransactionsRequest list_transactions;
        ConsumerGroupHeartbeat 0..=1 ConsumerGroupHeartbeatRequest consumer_group_heartbeat;
        ConsumerGroupDescribe 0..=1 ConsumerGroupDescribeRequest consumer_group_describe;
        ListConfigResources 0..=1 ListConfigResourcesRequest list_config_resources;
        DescribeTopicPartitions 0..=0 DescribeTopicPartitionsRequest describe_topic_partitions;
    }
    waiting {
        JoinGroup 0..=9 JoinGroupRequest join_group;
        SyncGroup 0..=5 SyncGroupRequest sync_group;
    }
}

/// The table as a page of the documentation.
pub fn reference() -> String {
    let mut page = "# Protocol\n\nThe APIs of Apache Kafka that a broker serves, at the versions that Apache Kafka 4.4 \
        advertises. What is not here is not served and not advertised. A *serial* request is answered before the next of \
        its connection begins; consecutive *pipelined* ones overlap. Produce 0 to 2 are advertised and refused, as in \
        Kafka.\n\nMade by `cargo xtask docs` from the table that the broker dispatches by.\n\n\
        | key | API | versions | order |\n|---:|---|---|---|\n"
        .to_owned();
    let mut rows: Vec<&Row> = ROWS.iter().collect();
    rows.sort_by_key(|row| row.api.to_i16());
    for row in rows {
        let order = match row.overlap {
            Overlap::Serial | Overlap::SerialWait => "serial",
            Overlap::Pipelined => "pipelined",
        };
        let (key, name) = (row.api.to_i16(), row.api.name());
        let (first, last) = (row.versions.start(), row.versions.end());
        page.push_str(&format!("| {key} | {name} | {first}–{last} | {order} |\n"));
    }
    page
}

/// The row of the API with this number, if it is served.
pub fn row(api_key: i16) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.api.to_i16() == api_key)
}

/// Whether a message of the API in `version` has a schema: Produce 0 to 2 are advertised and have none.
pub(crate) fn has_schema(api: ApiKey, version: i16) -> bool {
    api.versions().contains(&version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_up_to_date() {
        let written = include_str!("../../../docs/reference/protocol.md");
        assert!(
            written == reference(),
            "docs/reference/protocol.md is stale: cargo xtask docs"
        );
    }

    #[test]
    fn rows_are_unique_and_have_schemas() {
        for (place, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS[..place].iter().all(|other| other.api != row.api),
                "{:?} stands twice",
                row.api
            );
            assert!(has_schema(row.api, *row.versions.end()), "{:?}", row.api);
            assert!(
                !row.api.latest_version_unstable() || row.versions.end() <= row.api.stable_versions().end()
            );
        }
    }

    /// What `kafka-broker-api-versions` printed for Apache Kafka 4.4.0, of the APIs that are served here.
    #[test]
    fn versions_are_those_of_kafka() {
        let kafka = include_str!("../tests/kafka-4.4.0-api-versions.txt");
        for row in ROWS {
            let line = kafka
                .lines()
                .find(|line| line.split_whitespace().next() == Some(row.api.name()));
            let expected = format!(
                "{} {} {}",
                row.api.name(),
                row.versions.start(),
                row.versions.end()
            );
            assert_eq!(line, Some(expected.as_str()));
        }
    }
}
