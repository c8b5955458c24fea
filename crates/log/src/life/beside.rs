//! Logs that live beside the one that a test is about, and the journal that all of them share.
//!
//! Always holds: what was committed of them is there at each start.

use std::sync::Arc;

use bytes::Bytes;
use klamm_model::{Offset, TopicPartition, Uuid};

use crate::commit::{Commit, Submission};
use crate::config::LogConfig;
use crate::error::{AppendError, LogError};
use crate::flush::close;
use crate::journal::{Journal, Limits};
use crate::testing::{Held, NOW, Owner, batch};

const LOGS: usize = 3;
/// Files of three rounds, so that they are used again soon.
pub(crate) const LIMITS: Limits = Limits {
    file_bytes: 16 * 1024,
    max_bytes: 48 * 1024,
};

/// See the head of the file.
#[derive(Default)]
pub(super) struct Beside {
    journal: Option<Journal>,
    owners: Vec<(Arc<Owner>, Arc<Submission>)>,
    /// Of the logs, each: every record that may be there, and how many must be.
    records: [Vec<Bytes>; LOGS],
    durable: [usize; LOGS],
    count: u64,
    /// Rounds of the journals before this one.
    rounds: u64,
}

impl Beside {
    /// Lets go of everything, so that the log dir can be opened again.
    pub(super) fn leave(&mut self) {
        self.rounds = self.rounds();
        self.journal = None;
        self.owners.clear();
    }

    /// Opens the logs in the dir of `main`, which is committed with them.
    pub(super) fn open(&mut self, main: Held) -> Result<Arc<Held>, LogError> {
        let dir = Arc::clone(&main.dir);
        let mut owners = vec![Owner::new(main)];
        for log in 0..LOGS {
            let name = TopicPartition::new("beside", i32::try_from(log).unwrap());
            let held = Held::open_in(&dir, &name, Uuid([9; 16]), LogConfig::default())?;
            let found: Vec<Bytes> = held.records(Offset(0)).into_iter().map(|found| found.1).collect();
            let expected = &mut self.records[log];
            assert!(found.len() >= self.durable[log], "{name}: records are lost");
            assert_eq!(found, expected[..found.len()], "{name}");
            expected.truncate(found.len());
            self.durable[log] = found.len();
            owners.push(Owner::new(held));
        }
        let held = Arc::clone(&owners[0].0.held);
        self.owners = owners;
        self.journal = Some(Journal::new(dir, LIMITS));
        Ok(held)
    }

    /// Commits the log together with a record of each of these.
    pub(super) fn commit(&mut self) -> Result<(), LogError> {
        for log in 0..LOGS {
            self.append(log)?;
        }
        let journal = self.journal.as_ref().expect("open");
        for (_, submission) in &self.owners {
            journal.submit(submission);
        }
        while journal.run_round() > 0 {}
        let told = |owner: &Arc<Owner>| owner.told.lock().drain(..).all(|(_, is_durable)| is_durable);
        let went_well = self.owners.iter().filter(|(owner, _)| !told(owner)).count() == 0;
        for (log, (owner, _)) in self.owners[1..].iter().enumerate() {
            self.durable[log] = usize::try_from(owner.held.log.lock().durable_end_offset().0).unwrap();
        }
        if !went_well {
            return Err(LogError::DirFailed("a commit failed".into()));
        }
        if journal.is_tidying_due() {
            journal.tidy();
        }
        Ok(())
    }

    fn append(&mut self, log: usize) -> Result<(), LogError> {
        self.count += 1;
        let text = format!("beside {}", self.count);
        self.records[log].push(Bytes::copy_from_slice(text.as_bytes()));
        let held = &self.owners[log + 1].0.held;
        match held.append(&batch(NOW.0, &[&text])) {
            Ok(_) => Ok(()),
            Err(AppendError::Storage(error)) => {
                if held.dir.failure().is_none() {
                    self.records[log].pop();
                }
                Err(error)
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// How many rounds were written.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds + self.journal.as_ref().map_or(0, |journal| journal.stats().rounds)
    }

    pub(super) fn close(&mut self) -> Result<(), LogError> {
        for (owner, _) in &self.owners[1..] {
            close(&owner.held.log)?;
            owner.held.checkpoint()?;
        }
        Ok(())
    }
}
