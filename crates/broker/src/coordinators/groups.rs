//! The coordinators of groups that this broker is: the way from a handler to the shard of a group, and back.
//!
//! Always holds: every request gets an answer of its own shape, whatever becomes of the shard. A request is decided on when
//! [`begin`] returns, and nothing of it is kept by who waits for the answer, but for what a refusal has to name.
//!
//! Next: `runtime.rs`; `klamm_coordinator::group` for what is decided.

use std::net::IpAddr;
use std::sync::Arc;

use klamm_config::broker::{self, Dynamic};
use klamm_config::{BrokerConfig, Layers};
use klamm_coordinator::Answer as _;
use klamm_coordinator::group::{
    Answer, Client, Effect, GroupConfig, GroupOverrides, GroupShard, MigrationPolicy, Request, Shape,
};
use klamm_env::Env;
use klamm_log::VerificationGuard;
use klamm_metadata::ResourceKind;
use klamm_metadata::image::{Configs, Values};
use klamm_model::ErrorCode;
use klamm_records::Compression;

use super::runtime::{Asked, Coordinator, Parts, Place, Runtime};
use super::{Key, Kind};
use crate::context::RequestContext;
use crate::metadata_store::MetadataStore;
use crate::vitals::Vitals;

/// The feature, and its level from which on there is a consumer protocol.
const GROUP_VERSION: &str = "group.version";
const CONSUMER_PROTOCOL: i16 = 1;

/// Groups, as the runtime needs to know them.
pub(crate) struct Groups;

/// The runtime of the coordinators of groups.
pub(crate) type GroupRuntime = Runtime<Groups>;

/// A runtime for a broker that is set like this.
pub(crate) fn runtime(
    env: &Env,
    vitals: &Arc<Vitals>,
    metadata: &Arc<MetadataStore>,
    config: &BrokerConfig,
) -> GroupRuntime {
    let set = &config.groups;
    let parts = Parts {
        env: env.clone(),
        vitals: vitals.clone(),
        metadata: metadata.clone(),
        load_bytes: set.load_bytes as usize,
        // The configuration lets no other number through.
        codec: Compression::from_id(set.codec)
            .unwrap_or(Compression::None)
            .into(),
        commit_timeout: set.commit_timeout,
    };
    let config = self::config(set, &Layers::fixed(&config.fixed), &Configs::default());
    Runtime::new(parts, Groups, config)
}

/// What decisions about groups follow: what was set at the start, and what may change since.
pub(crate) fn config(set: &broker::Groups, layers: &Layers<'_>, configs: &Configs) -> GroupConfig {
    let consumer = &set.consumer;
    let own = |(id, values): (&Arc<str>, &Arc<Values>)| {
        let own = klamm_config::group::resolve(values, layers);
        let overrides = GroupOverrides {
            consumer_session_timeout: own.session_timeout,
            consumer_heartbeat_interval: own.heartbeat_interval,
            consumer_assignment_interval: own.assignment_interval,
        };
        (overrides != GroupOverrides::default()).then(|| (id.clone(), overrides))
    };
    GroupConfig {
        initial_rebalance_delay: set.initial_rebalance_delay,
        min_session_timeout: set.min_session_timeout,
        max_session_timeout: set.max_session_timeout,
        max_size: set.max_size as usize,
        consumer_assignment_interval: Dynamic::resolve(layers).consumer_assignment_interval,
        consumer_assignors: consumer.assignors.clone(),
        consumer_heartbeat_interval: consumer.heartbeat_interval,
        consumer_session_timeout: consumer.session_timeout,
        consumer_max_size: consumer.max_size as usize,
        consumer_migration_policy: match consumer.migration_policy {
            broker::MigrationPolicy::Disabled => MigrationPolicy::Disabled,
            broker::MigrationPolicy::Downgrade => MigrationPolicy::Downgrade,
            broker::MigrationPolicy::Upgrade => MigrationPolicy::Upgrade,
            broker::MigrationPolicy::Bidirectional => MigrationPolicy::Bidirectional,
        },
        consumer_regex_refresh_interval: consumer.regex_refresh_interval,
        offset_metadata_max_bytes: set.offset_metadata_max_bytes as usize,
        offsets_retention: set.offsets_retention,
        offsets_retention_check_interval: set.offsets_retention_check_interval,
        overrides: configs.iter(ResourceKind::Group).filter_map(own).collect(),
    }
}

/// Whether groups of the consumer protocol are served: offered here, and a feature of the cluster (KIP-848).
pub(crate) fn serve_consumer_protocol(context: &RequestContext<'_>) -> bool {
    let level = context.broker.metadata.published().feature_level(GROUP_VERSION);
    context.broker.config.groups.consumer.offered && level >= CONSUMER_PROTOCOL
}

impl Coordinator for Groups {
    type Shard = GroupShard;
    const KIND: Kind = Kind::Group;

    fn carry_out(&self, _from: Place, effect: Effect) {
        match effect {}
    }
}

/// Takes the answer out of the variant that belongs to the request.
macro_rules! answer_to {
    ($variant:ident, $answer:expr) => {
        match $answer {
            klamm_coordinator::group::Answer::$variant(answer) => answer,
            other => unreachable!("an answer to another request: {other:?}"),
        }
    };
}
pub(crate) use answer_to;

/// A request that was decided on, or refused.
pub(crate) enum Begun {
    Refused(Answer),
    Asked(Shape, Asked<Groups>),
}

/// Has a request about `group` decided by its shard.
pub(crate) fn begin(context: &RequestContext<'_>, group: &str, request: Request) -> Begun {
    let groups = &context.broker.groups;
    if let Some(refused) = request.refused_anywhere(&groups.config()) {
        return Begun::Refused(refused);
    }
    let shape = request.shape();
    match groups.ask(&Key::Group(group), request) {
        Ok(asked) => Begun::Asked(shape, asked),
        Err(code) => Begun::Refused(Answer::refused(&shape, code)),
    }
}

/// The same for a request in a transaction, about a group of `partition`, that has waited for the verification of `guard`.
pub(crate) fn begin_verified(
    context: &RequestContext<'_>,
    partition: i32,
    request: Request,
    guard: Option<VerificationGuard>,
) -> Begun {
    let shape = request.shape();
    match context.broker.groups.ask_verified(partition, request, guard) {
        Ok(asked) => Begun::Asked(shape, asked),
        Err(code) => Begun::Refused(Answer::refused(&shape, code)),
    }
}

/// The same for a request about several groups, all of one partition, or about all groups of one.
pub(crate) fn begin_in(context: &RequestContext<'_>, partition: i32, request: Request) -> Begun {
    let shape = request.shape();
    match context.broker.groups.ask_partition(partition, request) {
        Ok(asked) => Begun::Asked(shape, asked),
        Err(code) => Begun::Refused(Answer::refused(&shape, code)),
    }
}

impl Begun {
    /// The answer, once everything is committed that it tells of.
    pub(crate) async fn answer(self) -> Answer {
        match self {
            Self::Refused(answer) => answer,
            Self::Asked(shape, asked) => match asked.answer().await {
                Ok(answer) => answer,
                Err(code) => refused(&shape, code),
            },
        }
    }
}

/// The answer when there is none. Of one that is not committed in time Kafka says what clients of that API take for a reason
/// to ask again: to OffsetFetch, older ones expect nothing but to look for another coordinator.
fn refused(shape: &Shape, code: ErrorCode) -> Answer {
    let code = match (code, shape) {
        (ErrorCode::RequestTimedOut, Shape::OffsetFetch(_)) => ErrorCode::NotCoordinator,
        (ErrorCode::RequestTimedOut, _) => ErrorCode::CoordinatorNotAvailable,
        (code, _) => code,
    };
    Answer::refused(shape, code)
}

/// Who asks, as members are described.
pub(crate) fn client(context: &RequestContext<'_>) -> Client {
    Client {
        client_id: context.client_id.cloned().unwrap_or_default(),
        client_host: host(context.connection.peer.ip()).into(),
    }
}

/// An address as Kafka writes it, which is recorded and shown: behind a slash, and all eight groups of one of IPv6.
fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("/{ip}"),
        IpAddr::V6(ip) => {
            let groups = ip.segments().map(|group| format!("{group:x}"));
            format!("/{}", groups.join(":"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_kafka_writes_them() {
        let cases = [
            ("10.0.0.1", "/10.0.0.1"),
            ("::1", "/0:0:0:0:0:0:0:1"),
            ("2001:db8::1", "/2001:db8:0:0:0:0:0:1"),
            ("::", "/0:0:0:0:0:0:0:0"),
        ];
        for (ip, shown) in cases {
            assert_eq!(host(ip.parse().unwrap()), shown);
        }
    }

    #[test]
    fn what_is_not_committed_in_time_has_the_code_that_clients_expect() {
        use ErrorCode::{CoordinatorNotAvailable, NotCoordinator, RequestTimedOut};
        let heartbeat = Shape::Heartbeat;
        let fetch = Shape::OffsetFetch("group".into());
        let code = |shape: &Shape, code| match refused(shape, code) {
            Answer::Heartbeat(answer) => answer.error_code,
            Answer::OffsetFetch(answer) => answer.error_code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(&heartbeat, RequestTimedOut), CoordinatorNotAvailable.code());
        assert_eq!(code(&fetch, RequestTimedOut), NotCoordinator.code());
        assert_eq!(
            code(&fetch, CoordinatorNotAvailable),
            CoordinatorNotAvailable.code()
        );
    }
}
