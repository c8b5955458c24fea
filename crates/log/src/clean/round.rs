//! One round of cleaning a log: the keys of its dirty part are put into a map, then every segment up to there is written
//! anew with what stays.
//!
//! Always holds: it goes on in steps of bounded size, between which its owner waits, or gives it up; no lock is held
//! longer than for a look. What it has not swapped yet counts for nothing. A log that changes under it, for retention or
//! a truncation, ends it.
//!
//! A map that is full ends the dirty part early: the next round goes on from there.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::hash::Map;
use klamm_model::{Offset, ProducerId, TimestampMs};
use klamm_records::raw::{RawRecords, unpack};
use klamm_records::{BatchError, BatchHeader};

use super::filter::{Fate, Knowledge, LastOfProducer, UNPACKED_LIMIT_BYTES, Workspace, control_type};
use super::map::KeyMap;
use super::output::Output;
use super::source::{Found, Reading, Source, group_length, sources};
use super::swap::{Swapped, swap};
use super::transactions::Transactions;
use super::{CleanSettings, Cleaned, Dirtiness};
use crate::aborted::aborted_transactions;
use crate::error::LogError;
use crate::flush::{FlushScope, flush};
use crate::gate::home_of;
use crate::home::{Cleaning, Home};
use crate::log::Log;
use crate::prepare::LogCell;
use crate::retention::Retired;

#[derive(Debug)]
enum Phase {
    /// The dirty part is read.
    Map { at: usize },
    /// The sources of this group are written anew, from this one on.
    Write {
        group: Range<usize>,
        at: usize,
        output: Option<Box<Writing>>,
    },
}

/// A segment that is being written.
#[derive(Debug)]
struct Writing {
    output: Output,
    /// Something is not as it was.
    differs: bool,
}

impl Writing {
    /// A batch was decided on; returns how many bytes were written for that.
    fn take(&mut self, fate: Fate, batch: &Found<'_>, interval: u32) -> Result<u64, LogError> {
        self.differs |= fate != Fate::Same;
        let header = match fate {
            Fate::Gone => return Ok(0),
            Fate::Same => {
                self.output.buffer.extend_from_slice(batch.bytes);
                batch.header
            }
            Fate::Anew(header) => header,
        };
        self.output.note(&header, interval)
    }
}

/// What a step has done.
#[derive(Debug)]
pub enum Progress {
    /// There is more to do. So many bytes were read and written.
    More(u64),
    /// The round is over.
    Done(Box<Cleaned>),
    /// The log changed under the round, which is over.
    Overtaken,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Round {
    home: Arc<Home>,
    settings: CleanSettings,
    sources: Vec<Source>,
    /// How often the log had been cut when the round began.
    generation: u32,
    /// `segment.bytes` and `segment.index.bytes`.
    limits: (u32, u32),
    first_dirty: Offset,
    knowledge: Knowledge,
    transactions: Transactions,
    phase: Phase,
    reading: Option<Reading>,
    workspace: Workspace,
    retired: Vec<PathBuf>,
    cleaned: Cleaned,
    _cleaning: Cleaning,
}

impl Round {
    /// Begins a round over what `dirtiness` says; `None` if one is under way, or nothing is left to do. What is not known on
    /// the device to the next start is brought there first. `keys` are the secret of the map. Blocks.
    pub fn begin(
        cell: &impl LogCell,
        dirtiness: &Dirtiness,
        settings: CleanSettings,
        keys: (u64, u64),
        now: TimestampMs,
    ) -> Result<Option<Self>, LogError> {
        let home = home_of(cell);
        let Some(cleaning) = home.begin_cleaning() else {
            return Ok(None);
        };
        let end = dirtiness.first_uncleanable;
        if home.dir.flush_checkpoint(&home.partition) < end {
            flush(cell, FlushScope::Sealed)?;
            home.dir
                .checkpoint(|| vec![(home.partition.clone(), cell.with(|log| log.positions()))])?;
        }
        if home.dir.flush_checkpoint(&home.partition) < end {
            return Ok(None);
        }
        let (sources, last_of_producers, high_watermark, generation, limits) = cell.with(|log| {
            log.check_dir()?;
            let limits = (log.config.segment_bytes, log.config.segment_index_bytes);
            let producers = last_of_producers(log);
            Ok::<_, LogError>((
                sources(log, end),
                producers,
                log.high_watermark,
                log.generation,
                limits,
            ))
        })?;
        let first = sources.partition_point(|source| source.end <= dirtiness.first_dirty);
        if first >= sources.len() {
            return Ok(None);
        }
        let map = KeyMap::new(settings.map_bytes, settings.map_load_factor, keys);
        Ok(Some(Self {
            knowledge: Knowledge {
                map,
                latest: Offset(dirtiness.first_dirty.0 - 1),
                now,
                tombstone_retention_ms: i64::try_from(settings.tombstone_retention.as_millis())
                    .unwrap_or(i64::MAX),
                last_of_producers,
                high_watermark,
            },
            sources,
            generation,
            limits,
            first_dirty: dirtiness.first_dirty,
            transactions: Transactions::default(),
            phase: Phase::Map { at: first },
            reading: None,
            workspace: Workspace::default(),
            retired: Vec::new(),
            cleaned: Cleaned::begin(dirtiness.first_dirty, now),
            settings,
            home,
            _cleaning: cleaning,
        }))
    }

    /// Goes on until so many bytes were read and written, or a little longer. After an error, and after the end, the round is of
    /// no more use. Blocks.
    pub fn step(&mut self, cell: &impl LogCell, budget_bytes: u64) -> Result<Progress, LogError> {
        let outcome = self.go_on(cell, budget_bytes);
        match outcome {
            Ok(Progress::More(bytes)) => Ok(Progress::More(bytes)),
            // Retention takes segments away, and of one that was cut less is there than was known.
            Err(error) if self.is_overtaken(cell, &error) => {
                self.give_up()?;
                Ok(Progress::Overtaken)
            }
            other => {
                let given_up = self.give_up();
                let over = other?;
                given_up.map(|()| over)
            }
        }
    }

    fn is_overtaken(&self, cell: &impl LogCell, error: &LogError) -> bool {
        matches!(error, LogError::Superseded) || cell.with(|log| log.generation != self.generation)
    }

    /// Leaves the log as it is, without the rest of what was begun. Blocks.
    pub fn give_up(&mut self) -> Result<(), LogError> {
        self.reading = None;
        match &mut self.phase {
            Phase::Write { output, .. } => output.take().map_or(Ok(()), |writing| writing.output.abandon()),
            Phase::Map { .. } => Ok(()),
        }
    }

    /// The files of the segments that were replaced so far, to be given to [`reap`](crate::retention::reap).
    pub fn take_retired(&mut self, cell: &impl LogCell, now: TimestampMs) -> Option<Retired> {
        if self.retired.is_empty() {
            return None;
        }
        let delay = cell.with(|log| log.config.file_delete_delay);
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Some(Retired {
            files: std::mem::take(&mut self.retired),
            segment_count: 0,
            not_before: now.plus_ms(delay_ms),
        })
    }

    fn go_on(&mut self, cell: &impl LogCell, budget_bytes: u64) -> Result<Progress, LogError> {
        let mut done = 0;
        while done < budget_bytes {
            done += match &self.phase {
                Phase::Map { at } if *at == self.sources.len() => {
                    self.mapped();
                    0
                }
                Phase::Map { at } => {
                    let at = *at;
                    self.map_some(cell, at)?
                }
                Phase::Write { group, .. } if group.is_empty() => {
                    return self.over(cell).map(|()| Progress::Done(Box::new(self.cleaned)));
                }
                Phase::Write { group, at, .. } if *at == group.end => match self.swap_group(cell)? {
                    Some(bytes) => bytes,
                    None => return Ok(Progress::Overtaken),
                },
                Phase::Write { at, .. } => {
                    let at = *at;
                    self.write_some(cell, at)?
                }
            };
        }
        Ok(Progress::More(done))
    }

    /// Begins with the source at `at`, unless that was done.
    fn begin_source(&mut self, cell: &impl LogCell, at: usize, from: Offset) -> Result<(), LogError> {
        if self.reading.as_ref().is_some_and(|reading| reading.at == at) {
            return Ok(());
        }
        let source = &self.sources[at];
        let range = source.base_offset.max(from)..source.end;
        // Deleted, or cut, meanwhile.
        let found = aborted_transactions(cell, range)?.ok_or(LogError::Superseded)?;
        self.transactions.expect(found);
        let source = &self.sources[at];
        self.reading = Some(Reading::begin(source, at, self.settings.read_bytes)?);
        Ok(())
    }

    /// Reads one piece of the source into the map.
    fn map_some(&mut self, cell: &impl LogCell, at: usize) -> Result<u64, LogError> {
        self.begin_source(cell, at, self.first_dirty)?;
        let reading = self.reading.as_mut().expect("begun above");
        let (begin, mut is_full) = (reading.position, false);
        while reading.position - begin < self.settings.read_bytes as u64 && !is_full {
            let Some(batch) = reading.next()? else { break };
            let mapped = map_batch(
                (&batch.header, batch.body()),
                self.first_dirty,
                &mut self.knowledge,
                &mut self.transactions,
                &mut self.workspace,
            );
            is_full = !mapped.map_err(|error| batch.damaged(&error))?;
            self.workspace.trim();
        }
        let done = reading.position - begin;
        let is_read = reading.is_over();
        self.cleaned.map_bytes += done;
        if is_full || is_read {
            self.reading = None;
        }
        if is_full {
            self.phase = Phase::Map {
                at: self.sources.len(),
            };
        } else if is_read {
            // What was compacted away at its end is known as well.
            let last = Offset(self.sources[at].end.0 - 1);
            self.knowledge.latest = self.knowledge.latest.max(last);
            self.phase = Phase::Map { at: at + 1 };
        }
        Ok(done)
    }

    /// The map is made: begins with the first group.
    fn mapped(&mut self) {
        self.transactions = Transactions::default();
        self.cleaned.map_utilization = self.knowledge.map.utilization();
        self.begin_group(0);
    }

    fn begin_group(&mut self, first: usize) {
        let end = self.knowledge.latest.plus(1);
        let count = self.sources.partition_point(|source| source.base_offset < end);
        let group = first..first + group_length(&self.sources[first..count.max(first)], self.limits);
        self.phase = Phase::Write {
            at: group.start,
            group,
            output: None,
        };
    }

    /// Writes one piece of the source anew.
    fn write_some(&mut self, cell: &impl LogCell, at: usize) -> Result<u64, LogError> {
        self.begin_source(cell, at, Offset(0))?;
        self.begin_output()?;
        let interval = cell.with(|log| log.config.index_interval_bytes);
        let Phase::Write {
            group,
            output: Some(writing),
            ..
        } = &mut self.phase
        else {
            unreachable!("a source is written in this phase only, and its output was begun");
        };
        let behind: u64 = self.sources[at + 1..group.end]
            .iter()
            .map(|source| u64::from(source.size))
            .sum();
        let reading = self.reading.as_mut().expect("begun above");
        let (begin, mut written) = (reading.position, 0);
        while reading.position - begin < self.settings.read_bytes as u64 {
            let Some(batch) = reading.next()? else { break };
            // What is to come may have to be taken over as it is.
            let taken = u64::from(writing.output.size()) + behind + batch.left;
            let room = usize::try_from(MOST_BYTES.saturating_sub(taken)).unwrap_or(usize::MAX);
            let decided = self.knowledge.decide(
                &batch.header,
                batch.body(),
                &mut self.transactions,
                &mut self.workspace,
                (&mut writing.output.buffer, room),
            );
            let (fate, counts) = decided.map_err(|error| batch.damaged(&error))?;
            self.cleaned.count(&counts);
            written += writing.take(fate, &batch, interval)?;
            self.workspace.trim();
        }
        let done = reading.position - begin;
        self.cleaned.bytes_read += done;
        if reading.is_over() {
            self.reading = None;
            if let Phase::Write { at, .. } = &mut self.phase {
                *at += 1;
            }
        }
        Ok(done + written)
    }

    fn begin_output(&mut self) -> Result<(), LogError> {
        let Phase::Write { group, output, .. } = &mut self.phase else {
            unreachable!("a source is written in this phase only");
        };
        if output.is_none() {
            let first = &self.sources[group.start];
            let begun = Output::begin(
                &self.home,
                first.base_offset,
                self.settings.write_bytes,
                first.created,
            )?;
            *output = Some(Box::new(Writing {
                output: begun,
                differs: group.len() > 1,
            }));
        }
        Ok(())
    }

    /// The group is written: puts it in its place. `None` if the log has changed.
    fn swap_group(&mut self, cell: &impl LogCell) -> Result<Option<u64>, LogError> {
        let Phase::Write { group, output, .. } = &mut self.phase else {
            unreachable!("a group is swapped in this phase only");
        };
        let (group, writing) = (group.clone(), output.take().expect("begun above"));
        let aborted = std::mem::take(&mut self.transactions.kept);
        self.cleaned.bytes_kept += u64::from(writing.output.size());
        if !writing.differs {
            writing.output.abandon()?;
            self.begin_group(group.end);
            return Ok(Some(0));
        }
        let mut output = writing.output;
        let written = match output.finish(&aborted) {
            Ok(written) => written,
            Err(error) => {
                // The first error says more.
                let _ = output.abandon();
                return Err(error);
            }
        };
        let files: Vec<_> = self.sources[group.clone()]
            .iter()
            .map(|source| Arc::clone(&source.files))
            .collect();
        let old_bytes: u64 = self.sources[group.clone()]
            .iter()
            .map(|source| u64::from(source.size))
            .sum();
        let new_bytes = u64::from(output.size());
        match swap(cell, output, &files, self.generation)? {
            Swapped::Done(retired) => {
                self.retired.extend(retired);
                tracing::debug!(
                    partition = %self.home.partition, base_offset = files[0].base_offset().0,
                    segments = files.len(), old_bytes, new_bytes, "segments compacted"
                );
                self.begin_group(group.end);
                Ok(Some(written))
            }
            Swapped::Overtaken => Ok(None),
        }
    }

    /// Everything is swapped: the next round begins behind it.
    fn over(&mut self, cell: &impl LogCell) -> Result<(), LogError> {
        let end = self.knowledge.latest.plus(1);
        self.cleaned.end = end;
        let _inside = self.home.gate.enter()?;
        // What was cut off meanwhile, and came anew, is dirty.
        let end = cell.with(|log| end.min(log.log_end_offset));
        self.home.dir.note_cleaned(&self.home.partition, end)
    }
}

/// What a segment file may have.
const MOST_BYTES: u64 = i32::MAX as u64;

/// Takes a batch into the map; `false` if there is no room for one of its keys.
fn map_batch(
    (header, body): (&BatchHeader, &[u8]),
    first_dirty: Offset,
    knowledge: &mut Knowledge,
    transactions: &mut Transactions,
    workspace: &mut Workspace,
) -> Result<bool, BatchError> {
    if header.is_control() {
        let said = control_type(header, body, workspace)?;
        transactions.control(header, said);
    } else if !transactions.data(header) && header.last_offset() >= first_dirty {
        let Workspace {
            scratch, unpacked, ..
        } = workspace;
        let records = unpack(header, body, UNPACKED_LIMIT_BYTES, scratch, unpacked)?;
        for record in RawRecords::new(header, records)? {
            let record = record?;
            let offset = header.base_offset.plus(i64::from(record.offset_delta));
            if offset < first_dirty {
                continue;
            }
            if let Some(key) = record.key
                && !knowledge.map.put(key, offset)
            {
                return Ok(false);
            }
            knowledge.latest = knowledge.latest.max(offset);
        }
    }
    knowledge.latest = knowledge.latest.max(header.last_offset());
    Ok(true)
}

fn last_of_producers(log: &Log) -> Map<ProducerId, LastOfProducer> {
    let last = log.producers.entries().map(|(id, entry)| {
        let last = LastOfProducer {
            data: entry.last().map(|batch| batch.last_offset),
            epoch: entry.epoch,
        };
        (id, last)
    });
    last.collect()
}
