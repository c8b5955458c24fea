//! The task that keeps a member in its group, whether its owner polls or not.
//!
//! Always holds: the task takes the steps of the membership, one at a time. What a step demands of the owner is outstanding until
//! the owner says that it is done; until then the task only shows signs of life. A member whose owner stays away for longer than
//! the rebalance timeout, which is what the group was promised, leaves: others wait for it at every change.

use std::sync::Arc;
use std::time::Duration;

use klamm_env::{Env, Task};
use klamm_protocol::ApiKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::GroupConfig;
use super::membership::{Membership, Step};
use crate::backoff;
use crate::coordinator::Coordinator;
use crate::error::{ClientError, ConnectionError};
use crate::offsets::Committer;

/// Steps in a row without a result before the next ones wait.
const STEPS_AT_ONCE: u32 = 4;
/// How long a newer epoch is waited for.
const EPOCH_PATIENCE: Duration = Duration::from_secs(5);
/// The longest sleep: whoever has nothing to do looks again.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// What the owner is to do.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    number: u64,
    pub(super) step: Step,
}

/// The owner's side.
pub(super) struct Keeper {
    env: Env,
    shared: Arc<Shared>,
    task: Task<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the task.
    ordered: Notify,
    /// Wakes the task from a step, whatever it waits for.
    leaving: Notify,
    /// Wakes the owner.
    learned: Notify,
}

#[derive(Debug, Default)]
struct State {
    presence: Presence,
    /// The last one that is not done.
    demand: Option<Demand>,
    demands: u64,
    committer: Option<Committer>,
    failure: Option<ClientError>,
    /// What the owner wants the task to do.
    orders: Orders,
}

#[derive(Debug, Default)]
struct Orders {
    /// The demand of this number is done.
    done: Option<u64>,
    /// A commit was refused because the group does not know the member any more.
    is_fenced: bool,
    hurries: bool,
    leaves: bool,
}

/// Where the owner is.
#[derive(Clone, Copy, Debug, Default)]
enum Presence {
    /// It has not polled yet.
    #[default]
    NotYet,
    /// It polls.
    Here,
    /// It does something else since then.
    Away(Duration),
}

/// The owner polls as long as this lives.
pub(super) struct Here {
    env: Env,
    shared: Arc<Shared>,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.shared.state.lock().presence = Presence::Away(self.env.monotonic());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    /// Keeps `membership` from the first poll on.
    pub(super) fn new(coordinator: Coordinator, membership: Membership, config: &GroupConfig) -> Self {
        let env = coordinator.client().env().clone();
        let shared = Arc::new(Shared::default());
        let work = Work {
            env: env.clone(),
            shared: shared.clone(),
            coordinator,
            membership,
            absence: config.rebalance_timeout,
            outstanding: None,
            is_stopped: false,
            failures: 0,
            failing_since: None,
            not_before: Duration::ZERO,
        };
        let task = env.spawn(work.run());
        Self { env, shared, task }
    }

    /// The owner polls now.
    pub(super) fn here(&self) -> Here {
        let before = std::mem::replace(&mut self.shared.state.lock().presence, Presence::Here);
        if let Presence::NotYet = before {
            self.shared.ordered.notify_one();
        }
        Here {
            env: self.env.clone(),
            shared: self.shared.clone(),
        }
    }

    /// What the owner is to do before anything else.
    pub(super) fn demand(&self) -> Option<Demand> {
        self.shared.state.lock().demand.clone()
    }

    /// That is done.
    pub(super) fn done(&self, demand: &Demand) {
        let mut state = self.shared.state.lock();
        // Another one may have come meanwhile, to which this was no answer.
        if state
            .demand
            .as_ref()
            .is_some_and(|last| last.number == demand.number)
        {
            state.demand = None;
            state.orders.done = Some(demand.number);
            self.shared.ordered.notify_one();
        }
    }

    /// A commit was refused because the group does not know the member in this way any more. What was demanded of it holds no
    /// longer.
    pub(super) fn was_fenced(&self) {
        let mut state = self.shared.state.lock();
        (state.demand, state.committer) = (None, None);
        state.orders.is_fenced = true;
        self.shared.ordered.notify_one();
    }

    /// Takes the next step now.
    pub(super) fn hurry(&self) {
        self.shared.state.lock().orders.hurries = true;
        self.shared.ordered.notify_one();
    }

    /// As whom the member commits; `None` when it is none at the moment.
    pub(super) fn committer(&self) -> Option<Committer> {
        self.shared.state.lock().committer.clone()
    }

    /// Waits a moment until the member commits as somebody else: it is in another epoch, which an answer to a heartbeat names.
    pub(super) async fn another_committer(&self, old: &Committer) {
        self.hurry();
        let changed = async {
            while self.committer().as_ref() == Some(old) {
                self.shared.learned.notified().await;
            }
        };
        // Whoever still has the old one is told so again.
        let _ = self.env.timeout(EPOCH_PATIENCE, changed).await;
    }

    /// Why the membership cannot be kept up; told once.
    pub(super) fn take_failure(&self) -> Option<ClientError> {
        let failure = self.shared.state.lock().failure.take();
        if failure.is_some() {
            self.shared.ordered.notify_one();
        }
        failure
    }

    /// Whether there is something for the owner.
    pub(super) fn has_news(&self) -> bool {
        let state = self.shared.state.lock();
        state.demand.is_some() || state.failure.is_some()
    }

    /// Waits until there may be something for the owner.
    pub(super) async fn learned(&self) {
        self.shared.learned.notified().await;
    }

    /// Leaves the group.
    pub(super) async fn leave(mut self) {
        self.shared.state.lock().orders.leaves = true;
        self.shared.leaving.notify_one();
        self.shared.ordered.notify_one();
        (&mut self.task).await;
    }
}

/// The task.
struct Work {
    env: Env,
    shared: Arc<Shared>,
    coordinator: Coordinator,
    membership: Membership,
    /// How long the owner may be away.
    absence: Duration,
    /// What the owner has not done yet.
    outstanding: Option<Demand>,
    /// Whether the owner has to learn first that it cannot go on.
    is_stopped: bool,
    failures: u32,
    failing_since: Option<Duration>,
    not_before: Duration,
}

impl Work {
    async fn run(mut self) {
        while self.obey() {
            let now = self.env.monotonic();
            let (due, ends) = (self.due(), self.absence_ends());
            if now >= ends {
                self.give_up().await;
            } else if now >= due {
                self.step(now).await;
            } else {
                let sleep = (due.min(ends) - now).min(LONGEST_SLEEP);
                // An order is looked at before the next sleep.
                let _ = self.env.timeout(sleep, self.shared.ordered.notified()).await;
            }
        }
        self.leave().await;
    }

    /// Does what the owner ordered; whether the member stays.
    fn obey(&mut self) -> bool {
        let mut state = self.shared.state.lock();
        let orders = std::mem::take(&mut state.orders);
        if orders.is_fenced {
            self.membership.was_fenced();
            self.outstanding = None;
        }
        if let Some(demand) = self.outstanding.take_if(|last| orders.done == Some(last.number)) {
            self.membership.did(&demand.step);
        }
        if orders.hurries {
            self.membership.hurry();
        }
        if state.failure.is_none() {
            self.is_stopped = false;
        }
        state.committer = self.membership.committer();
        !orders.leaves
    }

    /// Whether the member is none before the owner has done what it is to do.
    fn is_out(&self) -> bool {
        self.outstanding.is_some() && self.membership.committer().is_none()
    }

    /// When the next step is to be taken.
    fn due(&self) -> Duration {
        let has_begun = !matches!(self.shared.state.lock().presence, Presence::NotYet);
        if !has_begun || self.is_stopped || self.is_out() {
            return Duration::MAX;
        }
        self.membership.due().max(self.not_before)
    }

    /// When the owner has been away for too long.
    fn absence_ends(&self) -> Duration {
        match self.shared.state.lock().presence {
            Presence::Away(since) if !self.is_out() => since.saturating_add(self.absence),
            _ => Duration::MAX,
        }
    }

    async fn step(&mut self, now: Duration) {
        let is_busy = self.outstanding.is_some();
        let stepped = tokio::select! {
            biased;
            () = self.shared.leaving.notified() => return,
            stepped = self.membership.step(&self.coordinator, is_busy) => stepped,
        };
        match stepped {
            Ok(step) => {
                self.failing_since = None;
                self.shared.state.lock().failure = None;
                let is_done = step != Step::Nothing || self.membership.due() > now;
                self.failures = if is_done { 0 } else { self.failures + 1 };
                if self.failures >= STEPS_AT_ONCE {
                    self.rest(now);
                }
                self.tell(step);
            }
            Err(error) => self.failed(now, error),
        }
    }

    /// Tells the owner what a step brought.
    fn tell(&mut self, step: Step) {
        let mut state = self.shared.state.lock();
        if state.orders.is_fenced {
            // It was said to a member that is none any more.
            return;
        }
        let committer = self.membership.committer();
        let has_changed = state.committer != committer;
        state.committer = committer;
        if step != Step::Nothing {
            state.demands += 1;
            let demand = Demand {
                number: state.demands,
                step,
            };
            state.demand = Some(demand.clone());
            self.outstanding = Some(demand);
        } else if !has_changed {
            return;
        }
        self.shared.learned.notify_one();
    }

    /// Lets the membership rest; tells the owner when it has failed for as long as a call may take.
    fn failed(&mut self, now: Duration, error: ClientError) {
        if is_held_up(&error) {
            tracing::debug!(%error, "the others are waited for again");
            self.failing_since = None;
            return;
        }
        self.failures += 1;
        self.rest(now);
        let since = *self.failing_since.get_or_insert(now);
        let patience = self.coordinator.client().config().deadline;
        self.is_stopped = !error.is_transient();
        if self.is_stopped || now.saturating_sub(since) >= patience {
            self.failing_since = None;
            self.shared.state.lock().failure = Some(error);
            self.shared.learned.notify_one();
        } else {
            tracing::debug!(%error, "the coordinator will be asked again");
        }
    }

    fn rest(&mut self, now: Duration) {
        self.not_before = now + backoff::pause(&self.env, self.failures);
    }

    /// Leaves the group because the owner does not come back. When it does, it joins again.
    async fn give_up(&mut self) {
        let group = &**self.coordinator.key();
        tracing::warn!(group, after = ?self.absence, "left the group: nothing more was read for too long");
        self.leave().await;
        self.membership.was_fenced();
        self.tell(Step::Lost);
    }

    async fn leave(&mut self) {
        if let Err(error) = self.membership.leave(&self.coordinator).await {
            // The group lets go of a member that shows no sign of life.
            tracing::debug!(%error, "the group could not be left");
        }
    }
}

/// Whether a change of the group takes longer than was waited for, because another member is slow: no failure.
fn is_held_up(error: &ClientError) -> bool {
    let ClientError::Connection(ConnectionError::TimedOut { api, .. }) = error else {
        return false;
    };
    matches!(api, ApiKey::JoinGroup | ApiKey::SyncGroup)
}
