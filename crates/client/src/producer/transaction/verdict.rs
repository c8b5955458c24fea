//! What an error means for a transaction: whether it can be aborted and the producer goes on, or whether the producer ends.
//!
//! Always holds: a commit whose answer is missing is not called a failure, because it may have happened. What could be
//! tried again was tried, for as long as a call may take, before anybody asks here.

use klamm_model::ErrorCode;

use crate::error::{ClientError, ConnectionError};
use crate::producer::ProduceError;

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    Abort,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A record was sent to its partition.
    Send,
    /// The coordinator was told of a partition.
    AddPartition,
    /// The coordinator was told of a group.
    AddGroup,
    /// A group's offsets were sent to the group's coordinator.
    CommitOffsets,
    /// The coordinator was told to end it.
    End(End),
    /// The coordinator was asked for the next epoch.
    NextEpoch,
}

/// What it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The transaction is lost; the producer can begin another.
    Abortable,
    /// Another producer has taken the transactional id over.
    Fenced,
    /// The producer cannot go on.
    Fatal,
    /// The transaction may be committed or not.
    Unknown,
}

/// What an error of a call means.
pub(super) fn of_call(step: Step, error: &ClientError) -> Verdict {
    if let Some(code) = error.code() {
        return of_code(step, code);
    }
    let cannot_be_said = matches!(
        error,
        ClientError::Connection(ConnectionError::Version { .. } | ConnectionError::Encode { .. })
    );
    match step {
        _ if cannot_be_said => Verdict::Fatal,
        Step::End(End::Commit) => Verdict::Unknown,
        Step::End(End::Abort) | Step::NextEpoch => Verdict::Fatal,
        Step::Send | Step::AddPartition | Step::AddGroup | Step::CommitOffsets => Verdict::Abortable,
    }
}

/// What a record that was not acknowledged means.
pub(super) fn of_record(error: &ProduceError) -> Verdict {
    match error {
        ProduceError::Refused { refusal, .. } => of_code(Step::Send, refusal.code),
        ProduceError::Client(error) => of_call(Step::Send, error),
        ProduceError::RecordTooLarge { .. }
        | ProduceError::Expired { .. }
        | ProduceError::OutcomeUnknown { .. }
        | ProduceError::Aborted { .. }
        | ProduceError::Closed => Verdict::Abortable,
    }
}

fn of_code(step: Step, code: ErrorCode) -> Verdict {
    use ErrorCode as Code;
    match (step, code) {
        // Leaders say so too of a producer that only lost a race: its coordinator knows, and says so at the end.
        (Step::Send, Code::InvalidProducerEpoch) => Verdict::Abortable,
        (_, Code::ProducerFenced | Code::InvalidProducerEpoch) => Verdict::Fenced,
        (
            _,
            Code::TransactionalIdAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidProducerIdMapping
            | Code::UnsupportedVersion,
        ) => Verdict::Fatal,
        (Step::Send, _) => Verdict::Abortable,
        (_, Code::InvalidTxnState) => Verdict::Fatal,
        (Step::AddPartition, _) => Verdict::Abortable,
        (Step::AddGroup, Code::GroupAuthorizationFailed | Code::UnknownProducerId) => Verdict::Abortable,
        (
            Step::CommitOffsets,
            Code::GroupAuthorizationFailed
            | Code::FencedInstanceId
            | Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::GroupIdNotFound
            | Code::StaleMemberEpoch,
        ) => Verdict::Abortable,
        (Step::AddGroup | Step::CommitOffsets, code)
            if code.is_retriable() || code == Code::TransactionAbortable =>
        {
            Verdict::Abortable
        }
        (Step::End(End::Commit), Code::TransactionAbortable | Code::UnknownProducerId) => Verdict::Abortable,
        (Step::End(End::Commit), code) if code.is_retriable() || code == Code::UnknownServerError => {
            Verdict::Unknown
        }
        (Step::AddGroup | Step::CommitOffsets | Step::End(_) | Step::NextEpoch, _) => Verdict::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;
    use Verdict::{Abortable, Fatal, Fenced, Unknown};
    use klamm_model::{BrokerId, TopicPartition};
    use klamm_protocol::ApiKey;

    const STEPS: [Step; 7] = [
        Step::Send,
        Step::AddPartition,
        Step::AddGroup,
        Step::CommitOffsets,
        Step::End(End::Commit),
        Step::End(End::Abort),
        Step::NextEpoch,
    ];

    #[test]
    fn codes_end_the_transaction_or_the_producer() {
        use ErrorCode as Code;
        // In the order of the steps above.
        let cases = [
            (Code::ProducerFenced, [Fenced; 7]),
            (
                Code::InvalidProducerEpoch,
                [Abortable, Fenced, Fenced, Fenced, Fenced, Fenced, Fenced],
            ),
            (Code::TransactionalIdAuthorizationFailed, [Fatal; 7]),
            (Code::InvalidProducerIdMapping, [Fatal; 7]),
            (
                Code::InvalidTxnState,
                [Abortable, Fatal, Fatal, Fatal, Fatal, Fatal, Fatal],
            ),
            (
                Code::TransactionAbortable,
                [
                    Abortable, Abortable, Abortable, Abortable, Abortable, Fatal, Fatal,
                ],
            ),
            (
                Code::UnknownProducerId,
                [Abortable, Abortable, Abortable, Fatal, Abortable, Fatal, Fatal],
            ),
            (
                Code::CoordinatorNotAvailable,
                [Abortable, Abortable, Abortable, Abortable, Unknown, Fatal, Fatal],
            ),
            (
                Code::TopicAuthorizationFailed,
                [Abortable, Abortable, Fatal, Fatal, Fatal, Fatal, Fatal],
            ),
            (
                Code::IllegalGeneration,
                [Abortable, Abortable, Fatal, Abortable, Fatal, Fatal, Fatal],
            ),
            (
                Code::UnknownServerError,
                [Abortable, Abortable, Fatal, Fatal, Unknown, Fatal, Fatal],
            ),
        ];
        for (code, expected) in cases {
            let error = ClientError::refused(ApiKey::EndTxn, Refusal::new(code));
            assert_eq!(STEPS.map(|step| of_call(step, &error)), expected, "{code}");
        }
    }

    #[test]
    fn a_commit_without_an_answer_may_have_happened() {
        let lost = ClientError::Unreachable { tried: Vec::new() };
        let expected = [Abortable, Abortable, Abortable, Abortable, Unknown, Fatal, Fatal];
        assert_eq!(STEPS.map(|step| of_call(step, &lost)), expected);
        let unknown = ClientError::UnknownBroker(BrokerId(1));
        assert_eq!(of_call(Step::End(End::Commit), &unknown), Unknown);
    }

    #[test]
    fn records_end_the_transaction_seldom_the_producer() {
        let refused = |code| ProduceError::Refused {
            partition: TopicPartition::new("t", 0),
            refusal: Refusal::new(code),
        };
        let cases = [
            (refused(ErrorCode::MessageTooLarge), Abortable),
            (refused(ErrorCode::OutOfOrderSequenceNumber), Abortable),
            (refused(ErrorCode::ProducerFenced), Fenced),
            (refused(ErrorCode::UnsupportedVersion), Fatal),
            (ProduceError::Closed, Abortable),
            (
                ProduceError::Client(ClientError::UnknownTopic { topic: "t".into() }),
                Abortable,
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(of_record(&error), expected, "{error}");
        }
    }
}
