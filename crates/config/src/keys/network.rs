//! Keys of listeners, sockets, connections and fetches.
//!
//! Always holds: one row a key, in the order of the reference; `server.properties` speaks these names.
//! Next: `broker/listeners.rs` turns the listeners into addresses.

use super::keys;
use super::reasons::{DEVELOPMENT, NO_AUTHORIZATION, NO_RATE, NO_SWEEPS, ONE_NODE, ONE_POOL};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    List "listeners" = "PLAINTEXT://127.0.0.1:9092", filled, high, served;
        "Addresses to listen on: NAME://HOST:PORT, separated by commas; an empty host means every \
         interface, port 0 a free one."
    List "advertised.listeners", filled, high, served;
        "Addresses told to clients, by listener name; unset, those of listeners."
    String "listener.security.protocol.map" = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", low, served;
        "Protocol of each listener name: NAME:PROTOCOL, separated by commas."
    String "inter.broker.listener.name", served;
        "Listener that brokers use among themselves; checked at the start (it exists, and stands alone without security.inter.broker.protocol), used by no single node."
    String "security.inter.broker.protocol" = "PLAINTEXT",
        one_of(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), served;
        "Protocol that brokers use among themselves when no listener name is given for it; checked at the start, used by no single node."
    List "early.start.listeners", items(&[]), high, not_served(NO_AUTHORIZATION);
        "Listeners that open before authorization is ready."
    Int "socket.send.buffer.bytes" = "102400", bytes, high, served;
        "Send buffer of a client's socket (SO_SNDBUF); -1 leaves it to the system."
    Int "socket.receive.buffer.bytes" = "102400", bytes, high, served;
        "Receive buffer of a client's socket (SO_RCVBUF); -1 leaves it to the system."
    Int "socket.request.max.bytes" = "104857600", at_least(1), bytes, high, served;
        "Largest request frame; a larger one closes the connection."
    Int "socket.listen.backlog.size" = "50", at_least(1), served;
        "Connections the system may hold before they are accepted."
    Long "socket.connection.setup.timeout.ms" = "10000", ms, not_served(ONE_NODE);
        "First wait for a connection from this node to another one."
    Long "socket.connection.setup.timeout.max.ms" = "30000", ms, not_served(ONE_NODE);
        "Longest wait for a connection from this node to another one, after retries."
    Int "max.connections" = "2147483647", at_least(0), cluster_wide, served;
        "Client connections open at once on this node."
    Int "max.connections.per.ip" = "2147483647", at_least(0), cluster_wide, served;
        "Client connections open at once from one address."
    String "max.connections.per.ip.overrides" = "", cluster_wide, served;
        "Other limits for single addresses: ADDRESS:COUNT, separated by commas."
    Int "max.connection.creation.rate" = "2147483647", at_least(0), cluster_wide, not_served(NO_RATE);
        "New client connections a second."
    Long "connections.max.idle.ms" = "600000", ms, served;
        "A connection without traffic for this long is closed."
    Int "num.network.threads" = "3", at_least(1), high, cluster_wide, not_served(ONE_POOL);
        "Threads that read requests and write answers."
    Int "num.io.threads" = "8", at_least(1), high, cluster_wide, not_served(ONE_POOL);
        "Threads that execute requests."
    Int "background.threads" = "10", at_least(1), high, cluster_wide, not_served(ONE_POOL);
        "Threads for housekeeping."
    Int "queued.max.requests" = "500", at_least(1), high, not_served(ONE_POOL);
        "Requests that may wait for a thread."
    Long "queued.max.request.bytes" = "-1", bytes, served;
        "Bytes of requests in memory before reading pauses; -1 leaves klamm.memory.request.bytes in charge."
    Int "max.request.partition.size.limit" = "2000", at_least(1), served;
        "Partitions in one answer to DescribeTopicPartitions."
    Int "max.incremental.fetch.session.cache.slots" = "1000", at_least(0), served;
        "Incremental fetch sessions kept, of at most 100000 partitions each and 500000 together; 0 turns them off."
    Int "fetch.max.bytes" = "57671680", at_least(1024), bytes, served;
        "Most bytes of records in one answer to a fetch, except that a first batch always fits."
    Int "request.timeout.ms" = "30000", ms, high, not_served(ONE_NODE);
        "How long a request from this node to another one may wait for its answer."
    Int "fetch.purgatory.purge.interval.requests" = "1000", not_served(NO_SWEEPS);
        "Waiting fetches between two sweeps."
    Int "producer.purgatory.purge.interval.requests" = "1000", not_served(NO_SWEEPS);
        "Waiting produce requests between two sweeps."
    Int "delete.records.purgatory.purge.interval.requests" = "1", not_served(NO_SWEEPS);
        "Waiting record deletions between two sweeps."
    Int "share.fetch.purgatory.purge.interval.requests" = "1000", not_served(NO_SWEEPS);
        "Waiting share fetches between two sweeps."
    Boolean "unstable.api.versions.enable" = "false", high, internal, not_served(DEVELOPMENT);
        "Offers request versions that are still in development."
    Boolean "unstable.feature.versions.enable" = "false", high, internal, not_served(DEVELOPMENT);
        "Offers feature levels that are still in development."
    Long "server.max.startup.time.ms" = "9223372036854775807", at_least(0), ms, internal,
        not_served(DEVELOPMENT);
        "Limit on the time a start may take."
};
