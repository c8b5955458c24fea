//! What to try next after what a cluster answered, or did not.

use std::borrow::Cow;

use klamm_client::consumer::ConsumeError;
use klamm_client::producer::{ProduceError, TransactionError};
use klamm_client::{ClientError, ConnectionError, GroupError};
use klamm_model::ErrorCode;

use crate::output::argument;

/// When nothing better is known: what was asked and answered, for a report.
const LOOK: &str = "with RUST_LOG=klamm_client=debug the same command shows what the client does";

/// What to try after a call that failed.
pub(crate) fn of_call(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { .. } => {
            "is a broker running there? `klamm serve` starts one here; -b HOST:PORT names another".to_owned()
        }
        ClientError::UnknownTopic { topic } => {
            format!("klamm topic create {topic}\nklamm topic list shows those that exist")
        }
        ClientError::UnknownPartition { topic, .. } => {
            format!("klamm topic describe {topic} shows the partitions")
        }
        ClientError::UnknownBroker(_) => "klamm cluster describe lists the brokers".to_owned(),
        ClientError::NoLeader { topic, .. } => format!(
            "klamm topic describe {topic} shows the replicas, klamm cluster describe which brokers are alive"
        ),
        ClientError::Connection(error) => of_connection(error),
        ClientError::Refused { refusal, .. } => of_refusal(refusal.code, None),
    }
}

fn of_connection(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Connect { .. }
        | ConnectionError::Closed { .. }
        | ConnectionError::TimedOut { .. } => {
            "klamm cluster describe shows which brokers are alive and the addresses that they give to clients"
                .to_owned()
        }
        ConnectionError::Decode { .. } => {
            "-b HOST:PORT names another listener; a broker's `listeners` says which of them is PLAINTEXT"
                .to_owned()
        }
        ConnectionError::Version { .. } | ConnectionError::Encode { .. } => {
            "klamm --version shows this side's; the broker is too old or too new for this command".to_owned()
        }
        ConnectionError::Refused { refusal, .. } => of_refusal(refusal.code, None),
    }
}

/// What to try after a record that was not stored.
pub(super) fn of_produce(error: &ProduceError) -> String {
    match error {
        ProduceError::Client(error) => of_call(error),
        ProduceError::Refused { refusal, partition } => of_refusal(refusal.code, Some(&partition.topic)),
        ProduceError::RecordTooLarge { .. } => {
            "split -C 1m FILE cuts a file at its lines; a record is one line".to_owned()
        }
        ProduceError::Expired { partition, .. } | ProduceError::OutcomeUnknown { partition } => format!(
            "klamm consume {} --from -1 --until end shows what was stored last",
            partition.topic
        ),
        ProduceError::Aborted {
            because: Some(because),
        } => of_produce(because),
        ProduceError::Aborted { because: None } | ProduceError::Closed => LOOK.to_owned(),
    }
}

/// What to try after a transaction that was not committed.
pub(super) fn of_transaction(error: &TransactionError) -> String {
    match error {
        TransactionError::Aborted { cause } | TransactionError::Fatal { cause, .. } => of_produce(cause),
        TransactionError::Fenced { id } => format!(
            "klamm transaction describe {} shows who has it now; producers that work at the same time need ids of their own, and slow input a longer --transaction-timeout",
            argument(id)
        ),
        TransactionError::OutcomeUnknown { id, .. } => format!(
            "klamm transaction describe {} shows how the last one ended",
            argument(id)
        ),
    }
}

/// What to try after a read that failed.
pub(super) fn of_consume(error: &ConsumeError) -> String {
    match error {
        ConsumeError::Client(error) => of_call(error),
        ConsumeError::Refused { partition, refusal } => of_refusal(refusal.code, Some(&partition.topic)),
        ConsumeError::OutOfRange { partition, .. } => {
            format!("klamm consume {} --from beginning", partition.topic)
        }
        ConsumeError::Damaged {
            partition, position, ..
        } => format!(
            "klamm log dump on the broker shows the damage; klamm consume {} -p {} --from {} reads what follows",
            partition.topic,
            partition.partition,
            position.0 + 1
        ),
    }
}

/// What to try after a member of a group failed.
pub(super) fn of_group(error: &GroupError) -> String {
    match error {
        GroupError::Group { group, error } => match error.code() {
            Some(ErrorCode::InconsistentGroupProtocol) => format!(
                "klamm group describe {} shows its assignor; klamm speaks range, so one of the group's must be range",
                argument(group)
            ),
            Some(ErrorCode::GroupMaxSizeReached) => format!(
                "klamm group describe {} shows its members; another --group has its own",
                argument(group)
            ),
            _ => of_call(error),
        },
        GroupError::Commit {
            refusal, partition, ..
        } => of_refusal(refusal.code, Some(&partition.topic)),
        GroupError::Consume(error) => of_consume(error),
    }
}

/// What to try after an answer with this code, about what has this name, a topic or a group, if that is known.
pub(crate) fn of_refusal(code: ErrorCode, name: Option<&str>) -> String {
    let topic = name.map_or(Cow::Borrowed("TOPIC"), argument);
    let group = name.map_or(Cow::Borrowed("GROUP"), argument);
    match code {
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => format!(
            "klamm config get --topic {topic} max.message.bytes shows the limit, klamm config set changes it"
        ),
        ErrorCode::InvalidRecord => format!(
            "does the topic need keys? klamm config get --topic {topic} cleanup.policy; -k DELIMITER gives them"
        ),
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => format!(
            "klamm topic describe {topic} shows who is in sync; klamm config get --topic {topic} min.insync.replicas how many must be"
        ),
        ErrorCode::TopicAlreadyExists => {
            format!("klamm topic describe {topic} shows it; with --if-not-exists this is no failure")
        }
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
            "klamm topic list shows those that exist".to_owned()
        }
        ErrorCode::InvalidTopicException => {
            "klamm topic list shows the names there are; letters, digits, '.', '_' and '-' make a name"
                .to_owned()
        }
        ErrorCode::InvalidReplicationFactor => {
            "klamm cluster describe lists the brokers; -r COUNT asks for fewer replicas".to_owned()
        }
        ErrorCode::InvalidPartitions => format!(
            "klamm topic describe {topic} shows how many it has; they can only become more: -p COUNT"
        ),
        ErrorCode::InvalidConfig => "klamm config reference lists the keys and what they allow".to_owned(),
        ErrorCode::TopicDeletionDisabled => {
            "klamm config get --broker ID delete.topic.enable shows what forbids it".to_owned()
        }
        ErrorCode::TransactionalIdAuthorizationFailed
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::SaslAuthenticationFailed => {
            "the cluster wants to know who asks, which klamm does not tell yet; -b HOST:PORT names another listener"
                .to_owned()
        }
        ErrorCode::GroupIdNotFound | ErrorCode::InvalidGroupId => {
            "klamm group list shows the groups that exist".to_owned()
        }
        ErrorCode::NonEmptyGroup | ErrorCode::GroupSubscribedToTopic => {
            format!("stop its consumers; klamm group describe {group} shows who and where they are")
        }
        ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator => {
            "klamm cluster describe shows which brokers are alive; klamm topic describe __consumer_offsets who leads the groups, __transaction_state who the transactions"
                .to_owned()
        }
        ErrorCode::LeaderNotAvailable
        | ErrorCode::NotLeaderOrFollower
        | ErrorCode::NotController
        | ErrorCode::BrokerNotAvailable
        | ErrorCode::ReplicaNotAvailable
        | ErrorCode::RequestTimedOut
        | ErrorCode::KafkaStorageError => {
            "klamm cluster describe shows which brokers and log dirs are alive".to_owned()
        }
        _ => of_refused_transaction(code).unwrap_or(LOOK).to_owned(),
    }
}

/// What to try after an answer with this code, which only transactions get.
fn of_refused_transaction(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::TransactionalIdNotFound
        | ErrorCode::ProducerFenced
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::InvalidProducerIdMapping
        | ErrorCode::InvalidTxnState
        | ErrorCode::TransactionAbortable
        | ErrorCode::TransactionCoordinatorFenced => {
            "klamm transaction list shows the transactional ids, their states and producers"
        }
        ErrorCode::ConcurrentTransactions => {
            "klamm transaction list --state prepare-commit,prepare-abort shows what is being ended"
        }
        ErrorCode::InvalidTransactionTimeout => {
            "klamm config get --broker ID transaction.max.timeout.ms shows the longest that there may be"
        }
        ErrorCode::InvalidRegularExpression => {
            "klamm transaction list without --id shows all; a point with a star, .*, stands for anything"
        }
        _ => return None,
    })
}
