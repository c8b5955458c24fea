//! Record batches of the scenarios: good ones, broken ones, and both as text.
//!
//! Always holds: what a batch is made of is given, so that two runs send the same bytes; [`SOME_TIME`] is no time that
//! retention or a broker's clock would care about in topics made by a scenario (they keep records for ever).

use bytes::Bytes;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::{Batch, BatchBuilder, BatchHeader, Batches, Compression, HEADER_BYTES, TimestampType};

/// The timestamp of the first record, unless a scenario wants another one.
pub(crate) const SOME_TIME: i64 = 1_700_000_000_000;

/// Unpacked batches above this size are not looked into.
const UNPACK_LIMIT: u64 = 64 << 20;

/// What a batch is made of.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) values: Vec<Vec<u8>>,
    pub(crate) keys: bool,
    pub(crate) compression: Compression,
    pub(crate) timestamp: i64,
    pub(crate) producer: Option<(i64, i16, i32)>,
}

/// `values` as uncompressed records with keys.
pub(crate) fn spec(values: &[&str]) -> Spec {
    Spec {
        values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        keys: true,
        compression: Compression::None,
        timestamp: SOME_TIME,
        producer: None,
    }
}

/// `values` as a batch.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    spec(values).build()
}

impl Spec {
    /// Packs the records.
    pub(crate) fn packed(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Leaves out the keys.
    pub(crate) fn keyless(mut self) -> Self {
        self.keys = false;
        self
    }

    /// Sets the timestamp of the first record; each later one is 1 ms later.
    pub(crate) fn at(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Makes it the batch of an idempotent producer.
    pub(crate) fn by(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = Some((id, epoch, sequence));
        self
    }

    /// The bytes.
    pub(crate) fn build(&self) -> Bytes {
        let mut builder = BatchBuilder::new(self.compression);
        if let Some((id, epoch, sequence)) = self.producer {
            builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), Some(sequence));
        }
        for (place, value) in self.values.iter().enumerate() {
            let key = format!("k{place}");
            let timestamp = TimestampMs(self.timestamp + if self.timestamp < 0 { 0 } else { place as i64 });
            builder.append(timestamp, self.keys.then_some(key.as_bytes()), Some(value), &[]);
        }
        builder.build(Offset(0)).expect("a codec can be made")
    }
}

/// A batch with its header changed, and the checksum made right again.
pub(crate) fn changed(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).expect("a scenario's batch");
    change(&mut header);
    header.seal(&batch[HEADER_BYTES..]);
    [&header.to_bytes()[..], &batch[HEADER_BYTES..]].concat().into()
}

/// A batch with other bytes behind its header: the length and the checksum are made right, the counts are kept.
pub(crate) fn with_body(batch: &Bytes, body: &[u8]) -> Bytes {
    let mut header = BatchHeader::parse(batch).expect("a scenario's batch");
    header.batch_length = i32::try_from(HEADER_BYTES - 12 + body.len()).expect("a small batch");
    header.seal(body);
    [&header.to_bytes()[..], body].concat().into()
}

/// A batch with one byte set, the checksum left as it was.
pub(crate) fn with_byte(batch: &Bytes, at: usize, byte: u8) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at] = byte;
    bytes.into()
}

/// Whether a batch among these is packed: how small it got is the codec's own affair.
pub(crate) fn are_packed(bytes: &Bytes) -> bool {
    Batches::new(bytes.clone()).flatten().any(|batch| {
        batch
            .header()
            .compression()
            .is_ok_and(|codec| codec != Compression::None)
    })
}

/// What stands in fetched bytes, a line for each batch and each record.
pub(crate) fn lines(bytes: &Bytes) -> Vec<String> {
    let mut out = Vec::new();
    let mut batches = Batches::new(bytes.clone());
    for batch in &mut batches {
        match batch {
            Ok(batch) => batch_lines(&batch, &mut out),
            Err(error) => out.push(format!("no batch: {error}")),
        }
    }
    if !batches.rest().is_empty() {
        out.push(format!("a cut batch of {} bytes", batches.rest().len()));
    }
    out
}

fn batch_lines(batch: &Batch, out: &mut Vec<String>) {
    let header = batch.header();
    let codec = header
        .compression()
        .map_or_else(|e| e.to_string(), |c| c.to_string());
    let kind = match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    let mut line = format!(
        "batch {}..={} epoch {} {codec} {kind} max {}",
        header.base_offset.0,
        header.last_offset().0,
        header.partition_leader_epoch,
        time(header.max_timestamp.0),
    );
    if header.producer_id >= 0 {
        line += &format!(
            " producer epoch {} sequence {}",
            header.producer_epoch, header.base_sequence
        );
    }
    if batch.check_crc().is_err() {
        line += " WRONG CRC";
    }
    out.push(line);
    match batch.records(UNPACK_LIMIT) {
        Ok(records) => {
            for record in records {
                out.push(match record {
                    Ok(record) => format!(
                        "  {} at {} key {} value {}",
                        record.offset.0,
                        time(record.timestamp.0),
                        text(record.key.as_ref()),
                        text(record.value.as_ref()),
                    ),
                    Err(error) => format!("  no record: {error}"),
                });
            }
        }
        Err(error) => out.push(format!("  no records: {error}")),
    }
}

fn time(timestamp: i64) -> String {
    if crate::normal::is_near_now(timestamp) {
        crate::normal::NOW.to_owned()
    } else {
        timestamp.to_string()
    }
}

fn text(bytes: Option<&Bytes>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() > 40 => format!("{} bytes", bytes.len()),
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
    }
}
