//! The answer to a produce request, as far as it matters: whose it is, and that every batch was taken.

use anyhow::{Context, Result, bail};

use crate::admin;
use crate::walk::Walk;

/// Answers are short; what is longer is not one.
const LARGEST: usize = 1 << 20;

/// The length of the frame that `bytes` begin with, without its length field; `None` while it is not complete.
pub(crate) fn complete(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(length) = Walk::new(bytes).i32() else {
        return Ok(None);
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST);
    let length = length.context("an answer of no possible length")?;
    Ok((bytes.len() >= 4 + length).then_some(length))
}

/// Reads an answer without its length field. Fails unless it is that of `correlation_id` and takes `batches` batches.
pub(crate) fn check(frame: &[u8], correlation_id: i32, batches: usize) -> Result<()> {
    let mut walk = Walk::new(frame);
    let answered = walk.i32().context("an answer without a header")?;
    if answered != correlation_id {
        bail!("the answer to request {answered} came, that to {correlation_id} was next");
    }
    let taken = taken(&mut walk)?.context("an answer to Produce that is too short")?;
    if walk.at() != frame.len() {
        bail!("an answer to Produce that is too long");
    }
    if taken != batches {
        bail!("{taken} batches are answered, {batches} were sent");
    }
    Ok(())
}

/// Reads the answer to ApiVersions that ends a connection without acknowledgements.
pub(crate) fn check_barrier(frame: &[u8], correlation_id: i32) -> Result<()> {
    let mut walk = Walk::new(frame);
    let (answered, error) = (walk.i32(), walk.i16());
    if answered != Some(correlation_id) {
        bail!("the answer to the last request is that of another");
    }
    admin::check(error.context("an answer without an error code")?, || {
        "the last request".to_owned()
    })
}

/// How many batches were taken; `None` when the answer ends too early.
fn taken(walk: &mut Walk<'_>) -> Result<Option<usize>> {
    let mut taken = 0;
    let mut fields = || {
        walk.tags()?;
        for _ in 0..walk.length()? {
            walk.uuid()?;
            for _ in 0..walk.length()? {
                if let Err(error) = partition(walk)? {
                    return Some(Err(error));
                }
                taken += 1;
            }
            walk.tags()?;
        }
        walk.i32()?;
        walk.tags()?;
        Some(Ok(()))
    };
    match fields() {
        Some(Ok(())) => Ok(Some(taken)),
        Some(Err(error)) => Err(error),
        None => Ok(None),
    }
}

fn partition(walk: &mut Walk<'_>) -> Option<Result<()>> {
    let index = walk.i32()?;
    let error = walk.i16()?;
    if error != 0 {
        return Some(admin::check(error, || {
            format!("a batch for partition {index} was refused")
        }));
    }
    let _base_offset = walk.i64()?;
    let _log_append_time = walk.i64()?;
    let _log_start_offset = walk.i64()?;
    for _ in 0..walk.length()? {
        walk.i32()?;
        let message = walk.length()?;
        walk.take(message)?;
        walk.tags()?;
    }
    let message = walk.length()?;
    walk.take(message)?;
    walk.tags()?;
    Some(Ok(()))
}

#[cfg(test)]
mod tests {
    use klamm_protocol::messages::produce_response::{
        PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
    };
    use klamm_protocol::{ApiKey, Writer, encode_response};

    use super::*;

    fn answer(errors: &[i16]) -> Vec<u8> {
        let partitions = errors.iter().enumerate();
        let response = ProduceResponse {
            responses: vec![TopicProduceResponse {
                partition_responses: partitions
                    .map(|(index, error_code)| PartitionProduceResponse {
                        index: index as i32,
                        error_code: *error_code,
                        error_message: (index == 1).then(|| "well".into()),
                        ..PartitionProduceResponse::default()
                    })
                    .collect(),
                ..TopicProduceResponse::default()
            }],
            ..ProduceResponse::default()
        };
        let mut writer = Writer::contiguous();
        encode_response(&mut writer, ApiKey::Produce, 9, admin::PRODUCE, &response).unwrap();
        writer.into_bytes().to_vec()
    }

    #[test]
    fn answers_are_taken_when_all_is_well_and_refused_otherwise() {
        for (errors, correlation_id, batches, expected) in [
            (&[0][..], 9, 1, Ok(())),
            (&[0, 0, 0], 9, 3, Ok(())),
            (&[0, 0, 0], 9, 2, Err("3 batches are answered, 2 were sent")),
            (&[], 9, 1, Err("0 batches are answered, 1 were sent")),
            (
                &[0],
                8,
                1,
                Err("the answer to request 9 came, that to 8 was next"),
            ),
            (
                &[0, 6],
                9,
                2,
                Err("a batch for partition 1 was refused: NOT_LEADER_OR_FOLLOWER (6)"),
            ),
            (
                &[999],
                9,
                1,
                Err("a batch for partition 0 was refused: an unknown error (999)"),
            ),
        ] {
            let bytes = answer(errors);
            assert_eq!(complete(&bytes).unwrap(), Some(bytes.len() - 4));
            let found = check(&bytes[4..], correlation_id, batches).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
        }
    }

    #[test]
    fn cut_answers_are_not_complete_and_never_well() {
        let bytes = answer(&[0, 0]);
        for cut in 0..bytes.len() {
            assert_eq!(complete(&bytes[..cut]).unwrap(), None);
            if cut >= 4 {
                assert!(check(&bytes[4..cut], 9, 2).is_err());
            }
        }
        let longer = [&bytes[4..], &[0]].concat();
        assert!(check(&longer, 9, 2).is_err());
        assert!(complete(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(complete(&[0x7f, 0, 0, 0]).is_err());
    }
}
