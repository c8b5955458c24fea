//! Keys of the node itself, of the controller quorum and of the metadata log.
//!
//! Always holds: one row a key; what only matters with more than one voter is not served yet.
//! Next: `broker/node.rs`.

use super::keys;
use super::reasons::{NO_IDLE_RECORDS, ONE_VOTER, OWN_METADATA_LOG, OWN_METRICS};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    List "process.roles" = "broker,controller", items(&["broker", "controller"]), filled, high, served;
        "Roles of this process; one node plays both."
    Int "node.id" = "1", at_least(0), high, served;
        "Number of this node, unique in the cluster."
    Int "broker.id" = "-1", high, served;
        "Old name of node.id; when both are set they must agree."
    String "broker.rack", served;
        "Rack or zone of this node, told to clients."
    List "controller.listener.names" = "CONTROLLER", filled, high, served;
        "Listeners of the controller, which are not told to clients."
    List "controller.quorum.voters" = "", items(&[]), high, served;
        "Fixed voters: ID@HOST:PORT, separated by commas; on one node, this node."
    List "controller.quorum.bootstrap.servers" = "", items(&[]), high, served;
        "Addresses at which the controllers are found: HOST:PORT, separated by commas; checked at the start, used by no single node."
    Boolean "controller.quorum.auto.join.enable" = "false", low, not_served(ONE_VOTER);
        "A controller joins the voters by itself."
    Int "controller.quorum.append.linger.ms" = "25", at_least(0), ms, not_served(ONE_VOTER);
        "How long the controller gathers records before it writes them."
    Int "controller.quorum.election.timeout.ms" = "1000", at_least(0), ms, high, not_served(ONE_VOTER);
        "Time without a leader before an election starts."
    Int "controller.quorum.election.backoff.max.ms" = "1000", at_least(0), ms, high, not_served(ONE_VOTER);
        "Longest pause before another election."
    Int "controller.quorum.fetch.timeout.ms" = "2000", at_least(0), ms, high, not_served(ONE_VOTER);
        "Time without word from the leader before a voter stands for election."
    Int "controller.quorum.fetch.max.bytes" = "1048576", at_least(1), bytes, low, not_served(ONE_VOTER);
        "Most bytes a voter fetches of the metadata log at once."
    Int "controller.quorum.fetch.snapshot.max.bytes" = "1048576", at_least(1), bytes, low,
        not_served(ONE_VOTER);
        "Most bytes a voter fetches of a snapshot at once."
    Int "controller.quorum.request.timeout.ms" = "2000", at_least(0), ms, not_served(ONE_VOTER);
        "How long a request between controllers may wait for its answer."
    Int "controller.quorum.retry.backoff.ms" = "20", at_least(0), ms, low, not_served(ONE_VOTER);
        "Pause before a request between controllers is repeated."
    Int "controller.socket.timeout.ms" = "30000", ms, not_served(ONE_VOTER);
        "How long a broker waits for the controller's answer."
    Long "controller.performance.always.log.threshold.ms" = "2000", at_least(0), ms, internal,
        not_served(OWN_METRICS);
        "Controller decisions that take longer are logged."
    Long "controller.performance.sample.period.ms" = "60000", at_least(100), ms, internal,
        not_served(OWN_METRICS);
        "Interval of the controller's performance log."
    Int "broker.heartbeat.interval.ms" = "2000", ms, not_served(ONE_VOTER);
        "Interval of a broker's heartbeats to the controller."
    Int "broker.session.timeout.ms" = "9000", ms, not_served(ONE_VOTER);
        "Without a heartbeat for this long a broker counts as gone."
    Int "initial.broker.registration.timeout.ms" = "60000", ms, not_served(ONE_VOTER);
        "How long a starting broker tries to register."
    Boolean "controlled.shutdown.enable" = "true", not_served(ONE_VOTER);
        "A stopping broker hands its leaderships over first."
    String "metadata.log.dir", high, served;
        "Folder of the metadata log; unset, the first folder of log.dirs."
    Long "metadata.log.max.record.bytes.between.snapshots" = "20971520", at_least(1), bytes, high, served;
        "Bytes of metadata records after which a snapshot is written."
    Long "metadata.log.max.snapshot.interval.ms" = "3600000", at_least(0), ms, high, not_served(OWN_METADATA_LOG);
        "Longest time between snapshots while there are new records; 0 for none."
    Int "metadata.log.segment.bytes" = "1073741824", at_least(8388608), bytes, high, not_served(OWN_METADATA_LOG);
        "Segment size of the metadata log."
    Long "metadata.log.segment.ms" = "604800000", ms, high, not_served(OWN_METADATA_LOG);
        "Age at which a segment of the metadata log is closed."
    Int "metadata.max.idle.interval.ms" = "500", at_least(0), ms, low, not_served(NO_IDLE_RECORDS);
        "Interval of empty metadata records; 0 for none."
    Long "metadata.max.retention.bytes" = "104857600", bytes, high, not_served(OWN_METADATA_LOG);
        "Size of metadata log and snapshots above which old ones go."
    Long "metadata.max.retention.ms" = "604800000", ms, high, not_served(OWN_METADATA_LOG);
        "Age above which old metadata logs and snapshots go."
    Long "internal.metadata.delete.delay.millis" = "60000", ms, low, internal, not_served(OWN_METADATA_LOG);
        "Delay of deletion in the metadata log, for tests."
    Int "internal.metadata.log.segment.bytes", bytes, low, internal, not_served(OWN_METADATA_LOG);
        "Segment size of the metadata log, for tests."
    Int "internal.metadata.max.batch.size.in.bytes" = "8388608", bytes, low, internal, not_served(OWN_METADATA_LOG);
        "Largest batch in the metadata log, for tests."
};
