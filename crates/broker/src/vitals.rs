//! What a node cannot do without: the tasks that follow the metadata, make appends durable, remove what is old, accept
//! connections; and a log dir that is in service.
//!
//! Always holds: a panic of one of the tasks, and the failure of the last log dir, is an error in the log and the node's
//! failure ([`crate::Node::failed`]); without that, whoever waits for it would wait for ever. The tasks of the quorum tell it
//! themselves ([`klamm_quorum::Quorum::fatal`]).

use std::future::Future;
use std::sync::{Arc, Weak};

use klamm_env::{Env, Task, task};
use klamm_log::LogDir;
use tokio::sync::watch;
use tracing::error;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Vitals {
    failure: watch::Sender<Option<String>>,
    /// How many log dirs have failed.
    failed_dirs: watch::Sender<usize>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            failure: watch::Sender::new(None),
            failed_dirs: watch::Sender::new(0),
        }
    }
}

impl Vitals {
    /// Starts a task whose panic is the node's failure.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        env: &Env,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Task<()> {
        let vitals = self.clone();
        env.spawn(task::telling_of_panic(future, move |why| {
            vitals.panicked(name, why)
        }))
    }

    /// The task that `does` this panicked, and said `why`.
    pub(crate) fn panicked(&self, does: &str, why: &str) {
        self.fail(format!("the task that {does} panicked: {why}"));
    }

    /// Watches the log dirs: when the last of them fails, the node has nothing left to serve. As in Kafka.
    pub(crate) fn watch(self: &Arc<Self>, dirs: &[Arc<LogDir>]) {
        let all: Arc<[Weak<LogDir>]> = dirs.iter().map(Arc::downgrade).collect();
        for dir in dirs {
            let (vitals, all) = (self.clone(), all.clone());
            dir.on_failure(move || {
                vitals.failed_dirs.send_modify(|count| *count += 1);
                let held: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
                let failures: Vec<_> = held.iter().filter_map(|dir| dir.failure()).collect();
                if failures.len() == held.len() {
                    vitals.fail(format!("all log dirs have failed: {}", failures.join("; ")));
                }
            });
        }
    }

    /// Tells of each log dir that fails from now on.
    pub(crate) fn failed_dirs(&self) -> watch::Receiver<usize> {
        self.failed_dirs.subscribe()
    }

    /// The node cannot go on. The first reason stays.
    fn fail(&self, why: String) {
        error!(%why, "the node must stop");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(why);
            first
        });
    }

    /// Waits until the node cannot go on, and says why.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_task_that_is_needed_is_told_and_an_end_is_not() {
        let (vitals, env) = (Arc::new(Vitals::default()), Env::real());
        vitals.spawn(&env, "ends", async {}).await;
        assert_eq!(vitals.failed().now_or_never(), None);
        let work = env.clone();
        let task = vitals.spawn(&env, "works", async move {
            work.blocking(|| panic!("no {}", "more")).await;
        });
        task.await;
        let why = Some("the task that works panicked: no more".to_owned());
        assert_eq!(vitals.failed().now_or_never(), why);
        let task = vitals.spawn(&env, "works on", async { panic!("either") });
        task.await;
        assert_eq!(vitals.failed().now_or_never(), why, "the first says most");
    }
}
