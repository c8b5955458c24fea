//! What is asked: a file for an API or for a few that belong together, a function for each scenario.
//!
//! Always holds: a scenario names its topics after itself, so that scenarios do not meet; those that look at the whole
//! broker come first, while it is still empty.

mod alter_configs;
mod api_versions;
mod batches;
mod changes;
mod cluster;
mod configs;
mod consumer_groups;
mod consumer_groups_refused;
mod coordinators;
mod create_topics;
mod fetch;
mod group_offsets;
mod groups;
mod headers;
mod idempotence;
mod in_transactions;
mod metadata;
mod offsets;
mod produce;
mod topics;
mod transactions;

use anyhow::Result;

use crate::scenario::Scenario;

/// A scenario.
pub(crate) type Run = fn(&mut Scenario) -> Result<()>;

/// All of them, in the order of running.
pub(crate) const SCENARIOS: &[(&str, Run)] = &[
    ("metadata_empty", metadata::empty),
    ("describe_topic_partitions_empty", topics::describe_empty),
    ("list_config_resources", configs::empty),
    ("api_versions", api_versions::run),
    ("headers", headers::run),
    ("describe_cluster", cluster::describe),
    ("describe_quorum", cluster::quorum),
    ("update_features", cluster::features),
    ("consoles", cluster::consoles),
    ("describe_log_dirs", cluster::log_dirs),
    ("metadata", metadata::run),
    ("create_topics", create_topics::run),
    ("delete_topics", topics::delete),
    ("create_partitions", topics::create_partitions),
    ("describe_topic_partitions", topics::describe),
    ("produce", produce::run),
    ("produce_configured", produce::configured),
    ("produce_bad_batches", batches::run),
    ("init_producer_id", idempotence::ids),
    ("idempotence", idempotence::sequences),
    ("idempotence_edges", idempotence::edges),
    ("describe_producers", idempotence::describe),
    ("fetch", fetch::run),
    ("fetch_sessions", fetch::sessions),
    ("list_offsets", offsets::list_offsets),
    ("offset_for_leader_epoch", offsets::leader_epochs),
    ("delete_records", offsets::delete_records),
    ("describe_configs", configs::described),
    ("describe_configs_broker", configs::broker_keys),
    ("alter_configs", alter_configs::whole),
    ("incremental_alter_configs", alter_configs::incremental),
    ("groups_without_topic", groups::without_topic),
    ("transactions_without_topic", transactions::without_topic),
    (
        "consumer_groups_without_topic",
        consumer_groups_refused::without_topic,
    ),
    ("find_coordinator", coordinators::run),
    ("group_offsets", group_offsets::run),
    ("groups_refused", groups::refused),
    ("groups_alone", groups::alone),
    ("groups_static", groups::fixed),
    ("transactions_refused", transactions::refused),
    ("transactions_version_1", transactions::version_1),
    ("transactions_version_2", transactions::version_2),
    ("transactions_fencing", transactions::fencing),
    ("transactions_shown", transactions::shown),
    ("transactions_internal", transactions::internal::run),
    ("in_transactions_early", in_transactions::produce_early),
    ("in_transactions_late", in_transactions::produce_late),
    ("in_transactions_offsets", in_transactions::offsets),
    ("in_transactions_markers", in_transactions::markers),
    ("consumer_groups_refused", consumer_groups_refused::run),
    ("consumer_groups_alone", consumer_groups::alone),
    ("consumer_groups_static", consumer_groups::fixed),
];
