//! The one task that writes.
//!
//! Always holds: writes happen in the order they were asked for, one at a time; appends that wait together share one
//! sync; a caller hears `Ok` only of what is durable. After the first failure every later write fails with it, and
//! [`Failure`] tells the quorum.

use std::future::Future;
use std::io;
use std::sync::Arc;

use klamm_env::{Env, Task, task};
use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::FileError;
use crate::storage::log::{DiskLog, Place};
use crate::storage::store::Memory;
use crate::storage::{Folder, vote};
use crate::types::{Entry, LogId, Types, Vote};

/// Writes that may wait.
const QUEUE: usize = 1024;
/// Entries that share one sync.
const BATCH_ENTRIES: usize = 4096;

/// The first failure of a write, once there is one.
pub(crate) type Failure = watch::Sender<Option<String>>;

/// Tells a caller how its write went.
pub(crate) type Done = oneshot::Sender<io::Result<()>>;

/// A write.
pub(crate) enum Write {
    Append {
        entries: Vec<Entry>,
        flushed: IOFlushed<Types>,
    },
    Vote(Vote, Done),
    /// Cuts the entries from this index on.
    Cut(u64, Done),
    Purge(LogId, Done),
}

/// Starts a task whose panic is the quorum's failure.
pub(crate) fn spawn(
    env: &Env,
    failure: &Failure,
    does: &'static str,
    future: impl Future<Output = ()> + Send + 'static,
) -> Task<()> {
    let failure = failure.clone();
    env.spawn(task::telling_of_panic(future, move |why| {
        panicked(&failure, does, why)
    }))
}

/// A task that the quorum cannot do without panicked, and said `why`.
pub(crate) fn panicked(failure: &Failure, does: &str, why: &str) {
    failure.send_if_modified(|failure| {
        let first = failure.is_none();
        if first {
            let text = format!("the task that {does} panicked: {why}");
            tracing::error!(error = text, "this node's quorum stops");
            *failure = Some(text);
        }
        first
    });
}

/// Starts the task. It ends when all senders are gone and all writes are done.
pub(crate) fn start(
    env: &Env,
    folder: Folder,
    log: DiskLog,
    memory: Arc<Mutex<Memory>>,
    failure: Failure,
) -> (mpsc::Sender<Write>, Task<()>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let failing = failure.clone();
    let writer = Writer {
        env: env.clone(),
        folder,
        log: Arc::new(Mutex::new(log)),
        memory,
        failure,
    };
    let task = spawn(env, &failing, "writes the metadata log", writer.run(receiver));
    (sender, task)
}

struct Writer {
    env: Env,
    folder: Folder,
    log: Arc<Mutex<DiskLog>>,
    memory: Arc<Mutex<Memory>>,
    failure: Failure,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<Write>) {
        let mut held = None;
        loop {
            let next = match held.take() {
                Some(write) => Some(write),
                None => receiver.recv().await,
            };
            match next {
                None => return,
                Some(Write::Append { entries, flushed }) => {
                    let mut batch = entries;
                    let mut waiting = vec![flushed];
                    while held.is_none() && batch.len() < BATCH_ENTRIES {
                        match receiver.try_recv() {
                            Ok(Write::Append { entries, flushed }) => {
                                batch.extend(entries);
                                waiting.push(flushed);
                            }
                            Ok(other) => held = Some(other),
                            Err(_) => break,
                        }
                    }
                    let result = self.append(batch).await;
                    for flushed in waiting {
                        flushed.io_completed(again(&result));
                    }
                }
                Some(Write::Vote(vote, done)) => answer(done, self.vote(vote).await),
                Some(Write::Cut(from, done)) => answer(done, self.cut(from).await),
                Some(Write::Purge(upto, done)) => answer(done, self.purge(upto).await),
            }
        }
    }

    async fn append(&self, entries: Vec<Entry>) -> io::Result<()> {
        let Some(first) = entries.first() else {
            return Ok(());
        };
        let (previous, committed_end) = {
            let memory = self.memory.lock();
            (memory.before(first.log_id.index), memory.committed_end())
        };
        let write = move |log: &mut DiskLog, _: &Folder| {
            let places = log.append(previous, &entries, committed_end)?;
            Ok((entries, places))
        };
        let (entries, places): (Vec<Entry>, Vec<Place>) = self.blocking(write).await?;
        let mut memory = self.memory.lock();
        for (entry, place) in entries.iter().zip(places) {
            memory.written(&entry.log_id, place);
        }
        Ok(())
    }

    async fn vote(&self, vote: Vote) -> io::Result<()> {
        self.blocking(move |_, folder| vote::write(folder, &vote)).await?;
        self.memory.lock().vote = Some(vote);
        Ok(())
    }

    async fn cut(&self, from: u64) -> io::Result<()> {
        let Some(place) = self.memory.lock().place(from) else {
            return Ok(());
        };
        self.blocking(move |log, _| log.cut(&place)).await?;
        self.memory.lock().cut(from);
        Ok(())
    }

    async fn purge(&self, upto: LogId) -> io::Result<()> {
        let last = {
            let memory = self.memory.lock();
            if memory.purged().is_some_and(|purged| purged.index >= upto.index) {
                return Ok(());
            }
            memory.last()
        };
        self.blocking(move |log, _| log.purge(upto, last)).await?;
        self.memory.lock().purge(upto);
        Ok(())
    }

    /// Runs `work` where blocking is allowed, unless a write has failed before.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut DiskLog, &Folder) -> Result<T, FileError> + Send + 'static,
    ) -> io::Result<T> {
        if let Some(failure) = self.failure.borrow().clone() {
            return Err(io::Error::other(failure));
        }
        let (log, folder) = (self.log.clone(), self.folder.clone());
        let result = self.env.blocking(move || work(&mut log.lock(), &folder)).await;
        result.map_err(|error| {
            let text = error.to_string();
            tracing::error!(error = %text, "the metadata log cannot be written: this node's quorum stops");
            self.failure.send_if_modified(|failure| {
                failure.is_none() && {
                    *failure = Some(text);
                    true
                }
            });
            io::Error::from(error)
        })
    }
}

fn answer(done: Done, result: io::Result<()>) {
    // A caller that has gone away wants no answer.
    let _ = done.send(result);
}

/// The same result for another caller.
fn again(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
