//! The workers: who is there, who was killed and when its next life begins, who does not go on.
//!
//! Always holds: a worker that was killed counts as killed, one that ended by itself or hung as that; nothing of it is silent.
//! A life has a name of its own (`GROUP-SLOT.LIFE`), and the lives of a slot share a transactional id.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Protocol;
use crate::death;
use crate::entry::Entry;
use crate::programs::{Id, Program, Programs};
use crate::verdict::Verdict;

/// A worker that says nothing for so long hangs: it is killed, as if by chance. The broker is away for less, and workers give each
/// single step less (`LIMIT` in `interop/python/books.py`).
const PATIENCE: Duration = Duration::from_secs(45);
/// When a worker that ended by itself begins its next life.
const AGAIN: Duration = Duration::from_millis(300);
/// What a worker does that has said nothing yet.
const STARTING: &str = "starting";

/// What all workers are told.
pub(crate) struct Plan {
    pub(crate) task: &'static str,
    pub(crate) group: String,
    pub(crate) source: String,
    pub(crate) protocol: Protocol,
    pub(crate) seed: u64,
    /// Partitions of the topic of postings.
    pub(crate) postings: i32,
    pub(crate) at_once: u32,
    /// Between the writes and the commit, on average.
    pub(crate) pause: Duration,
    /// So many of the slots have static members.
    pub(crate) statics: u32,
}

/// What happened to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) killed: u32,
    /// Of those, in a transaction.
    pub(crate) killed_in_transactions: u32,
    pub(crate) stopped: u32,
    /// Of those, let go on when their session had run out.
    pub(crate) went_on: u32,
    /// Killed because they hung, by what they were doing, in a life in which the broker died or was away.
    pub(crate) hung: BTreeMap<String, u32>,
    /// The same, in a life in which it did not.
    pub(crate) hung_in_calm: BTreeMap<String, u32>,
    /// Ended by themselves, by what they said.
    pub(crate) died: BTreeMap<String, u32>,
    /// Of those, what nobody may die of, in calm or at all.
    pub(crate) died_wrongly: Vec<String>,
}

impl Counts {
    /// Says how workers hung and died, and whether they may.
    pub(crate) fn judge(&self, verdict: &mut Verdict) {
        println!("hung after a death of the broker: {:?}", self.hung);
        println!("ended by themselves: {:?}", self.died);
        let calm = self.hung_in_calm.iter();
        let calm: Vec<String> = calm.map(|(does, times)| format!("{does}: {times}")).collect();
        verdict.say("nobody hung while the broker lived", &calm);
        verdict.say("nobody died of what must not be", &self.died_wrongly);
    }
}

/// The workers.
pub(crate) struct Crew {
    plan: Plan,
    slots: Vec<Slot>,
    pub(crate) counts: Counts,
    is_leaving: bool,
    /// Who begins now begins on a dead broker.
    is_broker_down: bool,
}

/// A worker in all its lives.
#[derive(Default)]
struct Slot {
    lives: u32,
    running: Option<Running>,
    /// When the next life begins.
    begins: Option<Instant>,
    /// Transactions that were committed, in all lives.
    commits: u32,
}

struct Running {
    program: Program,
    /// What it did last, and when it said so.
    does: String,
    heard: Instant,
    is_in_transaction: bool,
    /// The broker died in this life, or was away when it began.
    saw_broker_die: bool,
    was_stopped: bool,
    /// It is stopped until then.
    stopped: Option<Instant>,
}

impl Crew {
    pub(crate) fn new(plan: Plan) -> Self {
        Crew {
            plan,
            slots: Vec::new(),
            counts: Counts::default(),
            is_leaving: false,
            is_broker_down: false,
        }
    }

    /// Adds a worker, and starts it.
    pub(crate) fn hire(&mut self, programs: &mut Programs) -> Result<usize> {
        self.slots.push(Slot::default());
        let slot = self.slots.len() - 1;
        self.start(slot, programs)?;
        Ok(slot)
    }

    fn start(&mut self, at: usize, programs: &mut Programs) -> Result<()> {
        let slot = &mut self.slots[at];
        slot.lives += 1;
        let program = programs.start("worker.py", &self.plan.arguments(at, slot.lives))?;
        slot.begins = None;
        slot.running = Some(Running {
            program,
            does: STARTING.to_owned(),
            heard: Instant::now(),
            is_in_transaction: false,
            saw_broker_die: self.is_broker_down,
            was_stopped: false,
            stopped: None,
        });
        Ok(())
    }

    /// Takes note of what a worker says.
    pub(crate) fn hear(&mut self, by: Id, entry: &Entry) {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.is(by)) else {
            return;
        };
        let Some(running) = &mut slot.running else { return };
        running.heard = Instant::now();
        let does = match entry {
            Entry::Step { step } => step.as_str(),
            Entry::Began { .. } => {
                running.is_in_transaction = true;
                "writing"
            }
            Entry::Wrote { .. } => "pausing",
            Entry::Asked { .. } => "committing",
            Entry::Committed { .. } | Entry::Aborted { .. } => {
                running.is_in_transaction = false;
                slot.commits += u32::from(matches!(entry, Entry::Committed { .. }));
                "between"
            }
            Entry::Trouble { .. } => "in trouble",
            Entry::Died { why } => {
                *self.counts.died.entry(shortened(why)).or_default() += 1;
                let is_calm = !running.saw_broker_die && !running.was_stopped;
                if death::is_wrong(why, is_calm) {
                    let when = if is_calm { "in calm" } else { "not in calm" };
                    self.counts.died_wrongly.push(format!("{when}: {why}"));
                }
                "dying"
            }
            Entry::Done => "done",
            _ => return,
        };
        does.clone_into(&mut running.does);
    }

    /// A worker's process has ended by itself.
    pub(crate) fn ended(&mut self, by: Id) {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.is(by)) else {
            return;
        };
        slot.running = None;
        if !self.is_leaving {
            slot.begins = Some(Instant::now() + AGAIN);
        }
    }

    /// The workers that are not stopped, and of those the ones in a transaction if it matters.
    pub(crate) fn awake(&self, in_transaction: bool) -> Vec<usize> {
        let is_meant = |at: &usize| match &self.slots[*at].running {
            Some(running) => running.stopped.is_none() && (running.is_in_transaction || !in_transaction),
            None => !in_transaction,
        };
        (0..self.slots.len()).filter(is_meant).collect()
    }

    /// Kills a worker, whose next life begins after a while, or never; whether there was one to kill.
    pub(crate) fn kill(&mut self, at: usize, again: Option<Duration>) -> Result<bool> {
        let slot = &mut self.slots[at];
        let Some(mut running) = slot.running.take() else {
            return Ok(false);
        };
        running.program.kill()?;
        slot.begins = again.map(|pause| Instant::now() + pause);
        self.counts.killed += 1;
        self.counts.killed_in_transactions += u32::from(running.is_in_transaction);
        Ok(true)
    }

    /// Stops a worker for a while, after which it goes on where it was; whether there was one to stop that has begun to work.
    pub(crate) fn stop(&mut self, at: usize, pause: Duration) -> Result<bool> {
        let running = self.slots[at].running.as_mut();
        let works = |running: &&mut Running| {
            running.stopped.is_none() && running.does != STARTING && running.does != "initializing"
        };
        let Some(running) = running.filter(works) else {
            return Ok(false);
        };
        running.program.signal("-STOP")?;
        running.was_stopped = true;
        running.stopped = Some(Instant::now() + pause);
        self.counts.stopped += 1;
        Ok(true)
    }

    /// Begins the lives that are due, lets those go on that were stopped, and ends those that do not go on.
    pub(crate) fn look_after(&mut self, programs: &mut Programs) -> Result<()> {
        let now = Instant::now();
        for at in 0..self.slots.len() {
            if self.slots[at].begins.is_some_and(|begins| begins <= now) {
                self.start(at, programs)?;
            }
            let slot = &mut self.slots[at];
            if let Some(running) = &mut slot.running
                && running.stopped.is_some_and(|until| until <= now)
            {
                running.program.signal("-CONT")?;
                (running.stopped, running.heard) = (None, now);
                self.counts.went_on += 1;
            }
            let hangs = |running: &Running| {
                running.stopped.is_none() && now.saturating_duration_since(running.heard) > PATIENCE
            };
            let Some(mut running) = slot.running.take_if(|running| hangs(&*running)) else {
                continue;
            };
            println!("worker {at} hangs while {}: it is killed", running.does);
            running.program.kill()?;
            slot.begins = (!self.is_leaving).then(|| now + AGAIN);
            let counts = match running.saw_broker_die {
                true => &mut self.counts.hung,
                false => &mut self.counts.hung_in_calm,
            };
            *counts.entry(running.does).or_default() += 1;
        }
        Ok(())
    }

    /// The broker has died: what workers do from now on may fail, or hang.
    pub(crate) fn broker_died(&mut self) {
        self.is_broker_down = true;
        for running in self.slots.iter_mut().filter_map(|slot| slot.running.as_mut()) {
            running.saw_broker_die = true;
        }
    }

    /// Its next life has begun.
    pub(crate) fn broker_is_back(&mut self) {
        self.is_broker_down = false;
    }

    /// Tells all to come to their end. Who is not there does not come back.
    pub(crate) fn tell_to_end(&mut self) {
        self.is_leaving = true;
        for slot in &mut self.slots {
            slot.begins = None;
            if let Some(running) = &mut slot.running {
                running.program.tell_to_end();
            }
        }
    }

    pub(crate) fn are_gone(&self) -> bool {
        self.slots.iter().all(|slot| slot.running.is_none())
    }

    pub(crate) fn are_all_there(&self) -> bool {
        self.slots.iter().all(|slot| slot.running.is_some())
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What a worker does, if there is one.
    pub(crate) fn does(&self, at: usize) -> Option<&str> {
        self.slots[at]
            .running
            .as_ref()
            .map(|running| running.does.as_str())
    }

    /// How many transactions a worker has committed, in all its lives.
    pub(crate) fn commits(&self, at: usize) -> u32 {
        self.slots[at].commits
    }

    /// The name of a worker's life.
    pub(crate) fn name(&self, at: usize) -> String {
        format!("{}-{at}.{}", self.plan.group, self.slots[at].lives)
    }
}

impl Slot {
    fn is(&self, id: Id) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.program.id == id)
    }
}

impl Plan {
    fn arguments(&self, slot: usize, life: u32) -> Vec<String> {
        let pairs = [
            ("--group", self.group.clone()),
            ("--source", self.source.clone()),
            ("--seed", self.seed.to_string()),
            ("--task", self.task.to_owned()),
            ("--protocol", self.protocol.name().to_owned()),
            ("--slot", slot.to_string()),
            ("--life", life.to_string()),
            ("--postings", self.postings.to_string()),
            ("--at-once", self.at_once.to_string()),
            ("--pause", self.pause.as_secs_f64().to_string()),
        ];
        let mut arguments: Vec<String> = pairs
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect();
        if slot < self.statics as usize {
            arguments.extend(["--instance".to_owned(), format!("{}-{slot}", self.group)]);
        }
        arguments
    }
}

/// A reason without what is different each time.
fn shortened(why: &str) -> String {
    let digits = |c: char| c.is_ascii_digit();
    why.split(digits)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("N")
        .chars()
        .take(160)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_numbers_are_one() {
        assert_eq!(shortened("input 17 of 3 came"), shortened("input 4 of 12 came"));
        assert_eq!(shortened("no number"), "no number");
    }

    fn plan() -> Plan {
        Plan {
            task: "copy",
            group: "g".to_owned(),
            source: "s".to_owned(),
            protocol: Protocol::Classic,
            seed: 1,
            postings: 1,
            at_once: 10,
            pause: Duration::ZERO,
            statics: 1,
        }
    }

    /// Programs that end at once.
    fn programs() -> Programs {
        let surroundings = crate::Surroundings {
            bootstrap: String::new(),
            python: "true".into(),
            programs: "/".into(),
            klamm: "true".into(),
            seed: None,
        };
        Programs::new(surroundings, std::sync::mpsc::channel().0)
    }

    #[test]
    fn a_worker_born_while_the_broker_is_away_is_not_in_calm() {
        let (mut programs, mut crew) = (programs(), Crew::new(plan()));
        let saw = |crew: &Crew, at: usize| crew.slots[at].running.as_ref().unwrap().saw_broker_die;
        let before = crew.hire(&mut programs).unwrap();
        assert!(!saw(&crew, before));
        crew.broker_died();
        let meanwhile = crew.hire(&mut programs).unwrap();
        assert!(saw(&crew, before) && saw(&crew, meanwhile));
        crew.broker_is_back();
        let after = crew.hire(&mut programs).unwrap();
        assert!(!saw(&crew, after));
    }

    #[test]
    fn a_worker_that_is_stopped_is_no_victim_until_it_goes_on() {
        let (mut programs, mut crew) = (programs(), Crew::new(plan()));
        for _ in 0..2 {
            crew.hire(&mut programs).unwrap();
        }
        assert!(!crew.stop(0, Duration::ZERO).unwrap(), "it has not begun to work");
        let running = crew.slots[0].running.as_mut().unwrap();
        running.does = "reading".to_owned();
        assert!(crew.stop(0, Duration::ZERO).unwrap());
        assert_eq!((crew.awake(false), crew.awake(true)), (vec![1], vec![]));
        crew.look_after(&mut programs).unwrap();
        assert_eq!((crew.counts.stopped, crew.counts.went_on), (1, 1));
        crew.slots[1].running.as_mut().unwrap().is_in_transaction = true;
        assert_eq!((crew.awake(false), crew.awake(true)), (vec![0, 1], vec![1]));
    }

    #[test]
    fn a_hole_in_the_inputs_is_no_death_like_others() {
        let (mut programs, mut crew) = (programs(), Crew::new(plan()));
        crew.hire(&mut programs).unwrap();
        let by = crew.slots[0].running.as_ref().unwrap().program.id;
        for (why, wrong) in [
            ("KafkaException KafkaError{code=_TIMED_OUT,val=-185,str=\"?\"}", 0),
            ("AssertionError input 5 of 3 came in place of 4", 1),
        ] {
            crew.hear(by, &Entry::Died { why: why.to_owned() });
            assert_eq!(crew.counts.died_wrongly.len(), wrong, "{why}");
        }
    }

    #[test]
    fn who_hangs_in_calm_is_a_breach() {
        for (counts, is_bad) in [
            (Counts::default(), false),
            (
                Counts {
                    hung: [("committing".to_owned(), 1)].into(),
                    ..Counts::default()
                },
                false,
            ),
            (
                Counts {
                    hung_in_calm: [("leaving".to_owned(), 1)].into(),
                    ..Counts::default()
                },
                true,
            ),
        ] {
            let mut verdict = Verdict::default();
            counts.judge(&mut verdict);
            assert_eq!(
                verdict.code() == std::process::ExitCode::FAILURE,
                is_bad,
                "{counts:?}"
            );
        }
    }

    #[test]
    fn who_is_static_and_who_is_not() {
        let plan = plan();
        let text = |slot| plan.arguments(slot, 2).join(" ");
        assert!(text(0).ends_with("--instance g-0"), "{}", text(0));
        assert!(!text(1).contains("--instance"), "{}", text(1));
    }
}
