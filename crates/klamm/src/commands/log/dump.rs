//! `klamm log dump PATH...`: what is in the files of a partition or a log dir, of ours or of Apache Kafka.
//!
//! Always holds: nothing is written; a damaged file is shown up to the damage, which then fails the command. A segment is
//! printed while it is read.
//!
//! Next: `verify.rs` for what is wrong with them, and past the damage.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use klamm_env::{Env, Files};
use klamm_log::checkpoint;
use klamm_log::inspect::{self, BatchAt, Segment};
use klamm_log::names::{self, FileKind};
use klamm_records::{ControlType, EndTransactionMarker, Record};
use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::time;
use crate::failure::Hinted;
use crate::output::{Format, Output};

/// What a batch may unpack to.
const UNPACK_LIMIT_BYTES: u64 = 1 << 30;
/// The name of the file with the leader epochs.
const EPOCHS: &str = "leader-epoch-checkpoint";
/// Bytes of a key or value that are printed in a line.
const SHOWN_BYTES: usize = 200;

/// What to try when a segment does not end with a whole batch.
const TORN: &str =
    "a write that is under way, or was when the broker ended? klamm serve cuts a torn end at its next start";

#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    /// Files: *.log, *.index, *.timeindex, *.txnindex, *.snapshot, *-checkpoint; or the folder of a partition: all in it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Args, Debug, Clone, Copy)]
struct Shown {
    /// Print the records of the batches too, with keys, values and headers
    #[arg(short, long, visible_alias = "deep")]
    records: bool,
    /// Of segments, begin with the batch of this offset
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
    /// Of segments, print at most so many batches
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<u64>,
}

pub(super) fn run(args: DumpArgs, out: &mut Output) -> anyhow::Result<()> {
    let env = Env::real();
    let files = env.files();
    let mut paths = Vec::new();
    for path in &args.files {
        let found = expand(&**files, path).with_context(|| path.display().to_string())?;
        paths.extend(found);
    }
    for path in &paths {
        if paths.len() > 1 && out.format() == Format::Table {
            writeln!(out.raw(), "{}", path.display())?;
        }
        dump(&**files, path, args.shown, out).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// A file is itself; a folder is the files in it that can be shown.
fn expand(files: &dyn Files, path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !files.entry(path)?.is_some_and(|entry| entry.is_dir) {
        return Ok(vec![path.to_path_buf()]);
    }
    let is_known = |name: &str| names::parse_file(name).is_some() || name == EPOCHS || is_checkpoint(name);
    let entries = files.read_dir(path)?.into_iter();
    let known: Vec<PathBuf> = entries
        .filter(|entry| !entry.is_dir && is_known(&entry.name))
        .map(|entry| path.join(entry.name))
        .collect();
    if known.is_empty() {
        return Err(Hinted::error(
            "there is nothing in this folder that can be shown",
            "name the folder of a partition, like orders-0, or files in it",
        ));
    }
    Ok(known)
}

/// Whether the file says an offset of each partition of a log dir.
fn is_checkpoint(name: &str) -> bool {
    name.ends_with("-offset-checkpoint")
}

fn dump(files: &dyn Files, path: &Path, shown: Shown, out: &mut Output) -> anyhow::Result<()> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if name == EPOCHS {
        return epochs(files, path, out);
    }
    if is_checkpoint(&name) {
        return checkpoint(files, path, out);
    }
    match names::parse_file(&name).map(|(kind, _)| kind) {
        Some(FileKind::Log) => segment(files, path, shown, out),
        Some(FileKind::OffsetIndex) => {
            for entry in inspect::offset_index(files, path)? {
                line(
                    out,
                    &[
                        ("offset", json!(entry.offset.0)),
                        ("position", json!(entry.position)),
                    ],
                )?;
            }
            Ok(())
        }
        Some(FileKind::TimeIndex) => {
            for entry in inspect::time_index(files, path)? {
                line(
                    out,
                    &[
                        ("timestamp", json!(entry.timestamp)),
                        ("offset", json!(entry.offset.0)),
                    ],
                )?;
            }
            Ok(())
        }
        Some(FileKind::TransactionIndex) => transactions(files, path, out),
        Some(FileKind::Snapshot) => producers(files, path, out),
        None => Err(Hinted::error(
            "its name is none of a partition's files",
            "segments are named like 00000000000000000000.log; klamm log dump --help lists the others",
        )),
    }
}

fn epochs(files: &dyn Files, path: &Path, out: &mut Output) -> anyhow::Result<()> {
    for (epoch, offset) in inspect::leader_epochs(files, path)? {
        let shown = [
            ("leader_epoch", json!(epoch.0)),
            ("start_offset", json!(offset.0)),
        ];
        line(out, &shown)?;
    }
    Ok(())
}

fn checkpoint(files: &dyn Files, path: &Path, out: &mut Output) -> anyhow::Result<()> {
    if files.entry(path)?.is_none() {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    for (partition, offset) in checkpoint::read_offsets(files, path)? {
        let shown = [
            ("topic", json!(&*partition.topic)),
            ("partition", json!(partition.partition)),
            ("offset", json!(offset.0)),
        ];
        line(out, &shown)?;
    }
    Ok(())
}

fn transactions(files: &dyn Files, path: &Path, out: &mut Output) -> anyhow::Result<()> {
    for entry in inspect::transaction_index(files, path)? {
        let shown = [
            ("producer_id", json!(entry.producer_id.0)),
            ("first_offset", json!(entry.first_offset.0)),
            ("last_offset", json!(entry.last_offset.0)),
            ("last_stable_offset", json!(entry.last_stable_offset.0)),
        ];
        line(out, &shown)?;
    }
    Ok(())
}

fn producers(files: &dyn Files, path: &Path, out: &mut Output) -> anyhow::Result<()> {
    for producer in inspect::producer_snapshot(files, path)? {
        let shown = [
            ("producer_id", json!(producer.producer_id.0)),
            ("producer_epoch", json!(producer.producer_epoch.0)),
            ("last_sequence", json!(producer.last_sequence)),
            ("last_timestamp", json!(producer.last_timestamp.0)),
            ("coordinator_epoch", json!(producer.coordinator_epoch)),
            (
                "transaction_start_offset",
                json!(producer.current_txn_start_offset.map(|offset| offset.0)),
            ),
        ];
        line(out, &shown)?;
    }
    Ok(())
}

/// A name and a value of an entry of a file.
type Field = (&'static str, Value);
type Fields = Vec<Field>;

/// Prints an entry as `name: value` in one line, or as an object.
fn line(out: &mut Output, fields: &[Field]) -> anyhow::Result<()> {
    if out.format() != Format::Table {
        return out.show_one(&object(fields));
    }
    let shown: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", plain(value)))
        .collect();
    Ok(writeln!(out.raw(), "{}", shown.join("  "))?)
}

fn object(fields: &[Field]) -> Value {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Serialize)]
struct BatchRow {
    position: u64,
    size_bytes: usize,
    base_offset: i64,
    last_offset: i64,
    records: i32,
    leader_epoch: Option<i32>,
    codec: &'static str,
    timestamp_type: &'static str,
    max_timestamp: i64,
    producer_id: Option<i64>,
    producer_epoch: Option<i16>,
    base_sequence: Option<i32>,
    is_transactional: bool,
    is_control: bool,
    delete_horizon: Option<i64>,
    crc: u32,
    is_valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Vec<Value>>,
}

fn segment(files: &dyn Files, path: &Path, limits: Shown, out: &mut Output) -> anyhow::Result<()> {
    let Shown {
        records,
        offset,
        limit,
    } = limits;
    let (mut damaged, mut printed) = (0, 0);
    let mut position = 0;
    for item in Segment::open(files, path)? {
        let at = item.map_err(|error| Hinted::error(error.to_string(), TORN))?;
        position = at.position + at.batch.bytes().len() as u64;
        if offset.is_some_and(|offset| at.batch.header().last_offset().0 < offset) {
            continue;
        }
        if limit.is_some_and(|limit| printed >= limit) {
            return fail_if_damaged(damaged, out);
        }
        printed += 1;
        damaged += usize::from(at.checksum.is_err());
        let mut row = row(&at);
        let mut content = Vec::new();
        if records && at.checksum.is_ok() {
            for record in at.batch.records(UNPACK_LIMIT_BYTES)? {
                content.push(shown(&record?, row.is_control));
            }
        }
        if out.format() == Format::Table {
            writeln!(out.raw(), "{}", described(&row))?;
            for record in &content {
                write!(out.raw(), "    ")?;
                line(out, record)?;
            }
        } else {
            row.content = records.then(|| content.iter().map(|fields| object(fields)).collect());
            out.show_one(&row)?;
        }
    }
    let rest = files
        .open(path, klamm_env::OpenMode::Read)?
        .len()?
        .saturating_sub(position);
    fail_if_damaged(damaged, out)?;
    if rest > 0 {
        return Err(Hinted::error(
            format!("{rest} bytes at the end, from position {position}, are no whole batch"),
            TORN,
        ));
    }
    Ok(())
}

/// Fails if any of the batches that were printed is damaged.
fn fail_if_damaged(damaged: usize, out: &mut Output) -> anyhow::Result<()> {
    out.flush()?;
    if damaged > 0 {
        return Err(Hinted::error(
            format!("the checksums of {damaged} batches are wrong"),
            "klamm log dump FILE | grep CHECKSUM shows which; klamm log verify says what can be done",
        ));
    }
    Ok(())
}

fn row(at: &BatchAt) -> BatchRow {
    let header = at.batch.header();
    let producer = header.producer();
    BatchRow {
        position: at.position,
        size_bytes: at.batch.bytes().len(),
        base_offset: header.base_offset.0,
        last_offset: header.last_offset().0,
        records: header.record_count,
        leader_epoch: header.leader_epoch().map(|epoch| epoch.0),
        codec: header.compression().map_or("unknown", |codec| codec.name()),
        timestamp_type: match header.timestamp_type() {
            klamm_records::TimestampType::CreateTime => "CreateTime",
            klamm_records::TimestampType::LogAppendTime => "LogAppendTime",
        },
        max_timestamp: header.max_timestamp.0,
        producer_id: producer.map(|producer| producer.id.0),
        producer_epoch: producer.map(|producer| producer.epoch.0),
        base_sequence: producer.and_then(|producer| producer.base_sequence),
        is_transactional: header.is_transactional(),
        is_control: header.is_control(),
        delete_horizon: header.delete_horizon().map(|time| time.0),
        crc: header.crc,
        is_valid: at.checksum.is_ok(),
        content: None,
    }
}

/// A batch in a line.
fn described(row: &BatchRow) -> String {
    let mut text = format!(
        "position {}  offsets {}-{}  {} records  {} bytes  {}  {}",
        row.position,
        row.base_offset,
        row.last_offset,
        row.records,
        row.size_bytes,
        row.codec,
        time::format(klamm_model::TimestampMs(row.max_timestamp)),
    );
    if let Some(epoch) = row.leader_epoch {
        text += &format!("  epoch {epoch}");
    }
    if let (Some(id), Some(epoch)) = (row.producer_id, row.producer_epoch) {
        let sequence = row
            .base_sequence
            .map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
        text += &format!("  producer {id}/{epoch} sequence {sequence}");
    }
    for (flag, name) in [
        (row.is_transactional, "transactional"),
        (row.is_control, "control"),
    ] {
        if flag {
            text += "  ";
            text += name;
        }
    }
    if !row.is_valid {
        text += "  WRONG CHECKSUM";
    }
    text
}

fn shown(record: &Record, is_control: bool) -> Fields {
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    if is_control {
        let kind = key.and_then(ControlType::parse);
        let marker = key
            .zip(value)
            .and_then(|(key, value)| EndTransactionMarker::parse(key, value));
        return vec![
            ("offset", json!(record.offset.0)),
            ("control", json!(kind.map(|kind| format!("{kind:?}")))),
            (
                "coordinator_epoch",
                json!(marker.map(|marker| marker.coordinator_epoch)),
            ),
        ];
    }
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|header| json!([text(Some(&header.key)), text(header.value.as_deref())]))
        .collect();
    vec![
        ("offset", json!(record.offset.0)),
        ("timestamp", json!(record.timestamp.0)),
        ("key", json!(text(key))),
        ("value", json!(text(value))),
        ("headers", json!(headers)),
    ]
}

/// Text as it is, other bytes as base64; cut when long.
fn text(bytes: Option<&[u8]>) -> Option<String> {
    let bytes = bytes?;
    let is_cut = bytes.len() > SHOWN_BYTES;
    let begin = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let mut shown = match std::str::from_utf8(begin) {
        Ok(text) => text.escape_default().to_string(),
        // A character that was cut is no reason to call it bytes.
        Err(error) if is_cut && error.error_len().is_none() => {
            String::from_utf8_lossy(&begin[..error.valid_up_to()])
                .escape_default()
                .to_string()
        }
        Err(_) => format!("base64:{}", STANDARD.encode(begin)),
    };
    if is_cut {
        shown += &format!("... ({} bytes)", bytes.len());
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_text_where_they_are() {
        let long = "ä".repeat(150);
        let cases: [(Option<&[u8]>, Option<String>); 5] = [
            (None, None),
            (Some(b"a\nb"), Some("a\\nb".into())),
            (Some(b"\xff\0"), Some("base64:/wA=".into())),
            (
                Some(&[b'x'; 201]),
                Some(format!("{}... (201 bytes)", "x".repeat(200))),
            ),
            (
                Some(long.as_bytes()),
                Some(format!("{}... (300 bytes)", "\\u{e4}".repeat(100))),
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(text(bytes), expected);
        }
    }
}
