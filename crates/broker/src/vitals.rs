//! The tasks that a node cannot do without: what follows the metadata, makes appends durable, removes what is old.
//!
//! Always holds: a panic of one of them is an error in the log and the node's failure ([`crate::Node::failed`]); without
//! that, whoever waits for it would wait for ever.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use klamm_env::{Env, Task};
use tokio::sync::watch;
use tracing::error;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Vitals {
    failure: watch::Sender<Option<String>>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            failure: watch::Sender::new(None),
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
        env.spawn(async move {
            // What it has changed half is not used any more: the node ends.
            let Err(panic) = AssertUnwindSafe(future).catch_unwind().await else {
                return;
            };
            let why = format!("the task that {name} panicked: {}", message(&*panic));
            error!(%why, "the node must stop");
            vitals.failure.send_if_modified(|failure| {
                let first = failure.is_none();
                failure.get_or_insert(why);
                first
            });
        })
    }

    /// Waits until one of the tasks has panicked, and says which.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
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
        assert_eq!(vitals.failed().await, "the task that works panicked: no more");
        let task = vitals.spawn(&env, "works on", async { panic!("either") });
        task.await;
        assert_eq!(
            vitals.failed().await,
            "the task that works panicked: no more",
            "the first says most"
        );
    }
}
