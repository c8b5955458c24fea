//! Where a batch lies in a Produce request, and the answers: encoded once, and the same each time but for the
//! correlation id.
//!
//! Always holds: no read goes beyond the frame.

use anyhow::{Context, Result, bail, ensure};
use crc_fast::{CrcAlgorithm, checksum};
use klamm_protocol::messages::api_versions_response::ApiVersion;
use klamm_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use klamm_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use klamm_protocol::messages::{ApiVersionsResponse, FetchResponse, ProduceResponse};
use klamm_protocol::{ApiKey, Message, Records, Writer, encode_response};

/// Behind the length of an answer.
const CORRELATION_ID_AT: usize = 4;
/// In the answer to a fetch: behind header, throttling, error, session, and the topic with its id.
const PARTITION_AT: usize = 37;

/// What a frame asks for.
pub(crate) enum Asked<'a> {
    /// To append `batch`, and to answer if `acks` is not 0.
    Produce {
        batch: &'a [u8],
        acks: i16,
    },
    /// To be sent records, as if of `partition`, the first that is named.
    Fetch {
        partition: [u8; 4],
    },
    ApiVersions,
}

/// Reads a frame, without its length. The checksum of a batch is compared.
pub(crate) fn read(frame: &[u8]) -> Result<([u8; 4], Asked<'_>)> {
    let mut fields = Fields(frame);
    let (api, version) = (fields.i16()?, fields.i16()?);
    let correlation_id = fields.take(4)?.try_into()?;
    match (api, version) {
        (0, 13) | (1, 18) => {}
        (18, 3 | 4) => return Ok((correlation_id, Asked::ApiVersions)),
        _ => bail!("API {api} in version {version} is not known here"),
    }
    let client_id = usize::try_from(fields.i16()?).unwrap_or(0);
    fields.take(client_id + 1)?; // and the tags of the header
    if api == 1 {
        fields.take(21)?; // how long to wait, how much to send, which isolation, the session
        fields.topic()?;
        let partition = fields.take(4)?.try_into()?;
        return Ok((correlation_id, Asked::Fetch { partition }));
    }
    fields.take(1)?; // no transactional id
    let acks = fields.i16()?;
    fields.take(4)?; // the time limit
    ensure!(fields.topic()? == (1, 1), "more than one batch in a request");
    fields.take(4)?; // the partition
    let length = fields.varint()?.saturating_sub(1);
    let batch = fields.take(length)?;
    let sum = checksum(CrcAlgorithm::Crc32Iscsi, batch.get(21..).context("no batch")?);
    ensure!(batch[17..21] == sum.to_be_bytes()[4..], "wrong checksum");
    Ok((correlation_id, Asked::Produce { batch, acks }))
}

/// Takes fields off the front of a frame.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).context("a frame is cut")?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    /// The numbers of topics and of partitions of the first one, up to where that begins.
    fn topic(&mut self) -> Result<(usize, usize)> {
        let topics = self.varint()?;
        self.take(16)?; // its id
        Ok((topics.saturating_sub(1), self.varint()?.saturating_sub(1)))
    }

    fn varint(&mut self) -> Result<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }
}

/// An answer; the record bytes of a fetch belong between its two parts.
pub(crate) struct Answer {
    head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

impl Answer {
    fn new(api: ApiKey, version: i16, response: &impl Message) -> Result<Self> {
        let mut writer = Writer::new();
        encode_response(&mut writer, api, 0, version, response)?;
        let cut = writer
            .holes()
            .first()
            .map_or(writer.buffer().len(), |hole| hole.at);
        let (head, tail) = writer.buffer().split_at(cut);
        Ok(Self {
            head: head.to_vec(),
            tail: tail.to_vec(),
        })
    }

    /// [`Answer::put`] of an answer to a fetch, as if the records were of `partition`.
    pub(crate) fn put_for(&self, out: &mut Vec<u8>, correlation_id: [u8; 4], partition: [u8; 4]) {
        let at = out.len() + PARTITION_AT;
        self.put(out, correlation_id);
        out[at..at + 4].copy_from_slice(&partition);
    }

    /// Puts the answer behind `out`, up to the record bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>, correlation_id: [u8; 4]) {
        let at = out.len() + CORRELATION_ID_AT;
        out.extend_from_slice(&self.head);
        out[at..at + 4].copy_from_slice(&correlation_id);
    }
}

/// To Produce 13.
pub(crate) fn produced() -> Result<Answer> {
    let partition = PartitionProduceResponse {
        log_start_offset: 0,
        ..Default::default()
    };
    let topic = TopicProduceResponse {
        partition_responses: vec![partition],
        ..Default::default()
    };
    let response = ProduceResponse {
        responses: vec![topic],
        ..Default::default()
    };
    Answer::new(ApiKey::Produce, 13, &response)
}

/// To Fetch 18, with so many bytes and records, which are all that there are.
pub(crate) fn fetched(bytes: usize, records: usize) -> Result<Answer> {
    let end = i64::try_from(records)?;
    let partition = PartitionData {
        high_watermark: end,
        last_stable_offset: end,
        log_start_offset: 0,
        aborted_transactions: None,
        records: Records::External { token: 0, len: bytes },
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        partitions: vec![partition],
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..Default::default()
    };
    Answer::new(ApiKey::Fetch, 18, &response)
}

/// To ApiVersions 3 and 4.
pub(crate) fn api_versions() -> Result<Answer> {
    let known = [(0, 13, 13), (1, 18, 18), (18, 3, 4)];
    let api_keys = known.map(|(api_key, min_version, max_version)| ApiVersion {
        api_key,
        min_version,
        max_version,
        ..Default::default()
    });
    let response = ApiVersionsResponse {
        api_keys: api_keys.into(),
        ..Default::default()
    };
    Answer::new(ApiKey::ApiVersions, 3, &response)
}
