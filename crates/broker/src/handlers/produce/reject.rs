//! What a producer is told of a batch that was refused before it reached the log.
//!
//! Always holds: codes, and words where Kafka has any, are Kafka's; where it has none, the words say what is wrong. The
//! wire table (`interop/wire`) holds them against its answers.

use std::fmt;

use klamm_model::ErrorCode;
use klamm_protocol::messages::produce_response::BatchIndexAndErrorMessage;
use klamm_records::{BatchError, RecordErrors, RecordReason, Rejection, RejectionKind};

use super::answer::{Answer, Refused};
use crate::replicas::Partition;

/// Below this many bytes Kafka takes a batch's length for spoilt: a record of format 0 without key and value.
const SMALLEST_RECORD: i32 = 14;

/// Records at fault that the message of a batch names; all of them stand beside it.
const RECORDS_IN_A_MESSAGE: usize = 3;

/// Puts the refusal of a batch for `partition` into the answer.
pub(super) fn reject(partition: &Partition, index: i32, rejection: &Rejection, answer: &mut Answer) {
    let code = match rejection.kind() {
        RejectionKind::CorruptMessage => ErrorCode::CorruptMessage,
        RejectionKind::InvalidRecord => ErrorCode::InvalidRecord,
        RejectionKind::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        RejectionKind::UnsupportedCompression => ErrorCode::UnsupportedCompressionType,
        RejectionKind::MessageTooLarge => ErrorCode::MessageTooLarge,
        RejectionKind::Unknown => ErrorCode::UnknownServerError,
    };
    let errors: Vec<_> = rejection
        .record_errors()
        .iter()
        .map(|error| (error.index, record_message(partition, &error.reason)))
        .collect();
    let message = match rejection {
        Rejection::Records(all) => records_message(all, &errors),
        other => batch_message(other),
    };
    let record_errors = errors
        .into_iter()
        .map(|(batch_index, message)| BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: Some(message.into()),
            ..Default::default()
        });
    let refused = Refused {
        message: Some(message),
        record_errors: record_errors.collect(),
        log_start_offset: rejection.tells_log_start().then(|| partition.log_start_offset()),
        leader: None,
    };
    answer.refuse_with(index, code, refused);
}

/// What is wrong with a batch: in Kafka's words where it has any.
fn batch_message(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Corrupt(BatchError::Magic(magic)) => format!("Invalid magic found in record: {magic}"),
        Rejection::Corrupt(BatchError::Length(length)) if *length < SMALLEST_RECORD => {
            format!("Record size {length} is less than the minimum record overhead ({SMALLEST_RECORD})")
        }
        other => other.to_string(),
    }
}

/// What is wrong with one record, in Kafka's words: a missing key is told with the partition that asks for it.
fn record_message(partition: &impl fmt::Display, reason: &RecordReason) -> String {
    match reason {
        RecordReason::NoKey => format!("{reason} in topic partition {partition}"),
        RecordReason::Timestamp { .. } | RecordReason::TimestampType => reason.to_string(),
    }
}

/// What is wrong with a batch some of whose records are at fault: `told`, the first of them, and what is wrong with each.
fn records_message(errors: &RecordErrors, told: &[(i32, String)]) -> String {
    if errors.has_timestamp() {
        return "One or more records have been rejected due to invalid timestamp".to_owned();
    }
    let named: Vec<_> = told
        .iter()
        .take(RECORDS_IN_A_MESSAGE)
        .map(|(index, message)| format!("RecordError(batchIndex={index}, message='{message}')"))
        .collect();
    format!(
        "One or more records have been rejected due to {} record errors in total, and only showing the first three \
         errors at most: [{}]",
        errors.total(),
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use klamm_model::{Offset, TimestampMs};
    use klamm_records::{BatchBuilder, Compression, Origin, Rules, Scratch, validate};

    use super::*;

    /// What is wrong with records of these keys and timestamps, on a compacted topic.
    fn errors(records: &[(Option<&[u8]>, i64)]) -> RecordErrors {
        let mut builder = BatchBuilder::new(Compression::None);
        for (key, timestamp) in records {
            builder.append(TimestampMs(*timestamp), *key, None, &[]);
        }
        let bytes = builder.build(Offset(0)).unwrap();
        let rules = Rules {
            compacted: true,
            ..Rules::defaults(Origin::Client { produce_version: 9 }, TimestampMs(0))
        };
        match validate(&bytes, &rules, &mut Scratch::new()) {
            Err(Rejection::Records(errors)) => errors,
            other => panic!("{other:?}"),
        }
    }

    fn told(errors: &RecordErrors) -> Vec<(i32, String)> {
        let shown = errors.shown().iter();
        shown
            .map(|error| (error.index, record_message(&"t-0", &error.reason)))
            .collect()
    }

    #[test]
    fn the_first_three_records_without_a_key_are_named() {
        for (count, named) in [(1, 1), (3, 3), (4, 3)] {
            let records: Vec<(Option<&[u8]>, i64)> = vec![(None, 0); count];
            let errors = errors(&records);
            let told = told(&errors);
            assert_eq!(told.len(), count);
            let words = "Compacted topic cannot accept message without key in topic partition t-0";
            assert!(told.iter().all(|(_, message)| message == words));
            let message = records_message(&errors, &told);
            assert!(
                message.contains(&format!("{count} record errors in total")),
                "{message}"
            );
            assert_eq!(
                message.matches("RecordError(batchIndex=").count(),
                named,
                "{message}"
            );
        }
    }

    #[test]
    fn a_timestamp_out_of_range_decides_the_words() {
        let errors = errors(&[(None, 0), (Some(b"k"), i64::MAX)]);
        let message = records_message(&errors, &told(&errors));
        assert_eq!(
            message,
            "One or more records have been rejected due to invalid timestamp"
        );
    }

    #[test]
    fn spoilt_framing_is_told_in_the_words_of_kafka() {
        for (error, words) in [
            (BatchError::Magic(3), "Invalid magic found in record: 3"),
            (
                BatchError::Length(13),
                "Record size 13 is less than the minimum record overhead (14)",
            ),
            // Kafka is silent about this one.
            (
                BatchError::Length(48),
                "a batch length of 48 bytes is not possible",
            ),
        ] {
            assert_eq!(batch_message(&Rejection::Corrupt(error)), words);
        }
    }
}
