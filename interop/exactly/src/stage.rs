//! Where the clients play: their books come in here, and here it is waited for something to be so.
//!
//! Always holds: everything that is heard is entered in the ledger before anybody looks; workers are looked after while it is
//! waited. One thread does all of it, so that what is decided is decided on one state.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::Surroundings;
use crate::crew::{Crew, Plan};
use crate::describe::Group;
use crate::entry::Entry;
use crate::ledger::Ledger;
use crate::programs::{Heard, Id, Program, Programs};

/// How often it is looked whether a life is to begin, or hangs.
const TURN: Duration = Duration::from_millis(20);
/// How often a group is described while it is waited for it.
const LOOK: Duration = Duration::from_millis(300);
/// How long processes get for their end: longer than one that hangs is waited for.
const END: Duration = Duration::from_secs(90);
/// How long it may take to read everything.
const AUDIT: Duration = Duration::from_secs(150);

/// The topics of a play.
pub(crate) struct Topics {
    pub(crate) source: (String, i32),
    pub(crate) targets: Vec<(String, i32)>,
}

/// All who take part, and what they said.
pub(crate) struct Stage {
    pub(crate) programs: Programs,
    pub(crate) ledger: Ledger,
    pub(crate) crew: Crew,
    group: String,
    topics: Topics,
    seed: u64,
    heard: Receiver<Heard>,
    /// Those that are not workers, and whether they said that they are done.
    others: Vec<Other>,
    /// The broker was killed and its next life has not begun.
    pub(crate) is_broker_down: bool,
}

struct Other {
    name: &'static str,
    program: Program,
    is_done: bool,
    has_ended: bool,
}

impl Stage {
    /// Makes the topics; nobody is there yet.
    pub(crate) fn new(surroundings: Surroundings, topics: Topics, plan: Plan) -> Result<Self> {
        let (sender, heard) = mpsc::channel();
        let programs = Programs::new(surroundings, sender);
        for (topic, partitions) in topics.targets.iter().chain([&topics.source]) {
            programs.klamm(&["topic", "create", topic, "--partitions", &partitions.to_string()])?;
        }
        Ok(Stage {
            programs,
            ledger: Ledger::default(),
            group: plan.group.clone(),
            seed: plan.seed,
            crew: Crew::new(plan),
            topics,
            heard,
            others: Vec::new(),
            is_broker_down: false,
        })
    }

    /// Starts who writes the inputs, so many a second.
    pub(crate) fn feed(&mut self, rate: f64) -> Result<()> {
        let (source, partitions) = &self.topics.source;
        let arguments = [
            "--source",
            source,
            "--partitions",
            &partitions.to_string(),
            "--rate",
            &rate.to_string(),
            "--seed",
            &self.seed.to_string(),
        ];
        let arguments = arguments.map(str::to_owned);
        self.add("feeder", "feeder.py", &arguments).map(drop)
    }

    /// Starts who reads meanwhile.
    pub(crate) fn follow(&mut self) -> Result<()> {
        let arguments = self.reading();
        let id = self.add("follower", "auditor.py", &arguments)?;
        self.ledger.add_reader(id, "the follower");
        Ok(())
    }

    fn reading(&self) -> Vec<String> {
        let (source, partitions) = &self.topics.source;
        let mut arguments: Vec<String> = ["--group", &self.group, "--source", source, "--partitions"]
            .map(str::to_owned)
            .into();
        arguments.push(partitions.to_string());
        let targets = self.topics.targets.iter();
        arguments.extend(targets.map(|(topic, partitions)| format!("{topic}:{partitions}")));
        arguments
    }

    fn add(&mut self, name: &'static str, file: &str, arguments: &[String]) -> Result<Id> {
        let program = self.programs.start(file, arguments)?;
        let id = program.id;
        self.others.push(Other {
            name,
            program,
            is_done: false,
            has_ended: false,
        });
        Ok(id)
    }

    /// Hears one thing, or nothing for a while, and looks after the workers.
    pub(crate) fn turn(&mut self) -> Result<()> {
        match self.heard.recv_timeout(TURN) {
            Ok(heard) => self.hear(heard)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("nobody is there any more"),
        }
        self.crew.look_after(&mut self.programs)
    }

    fn hear(&mut self, heard: Heard) -> Result<()> {
        match heard {
            Heard::Said { by, said } => {
                self.crew.hear(by, &said.entry);
                if let Some(other) = self.others.iter_mut().find(|other| other.program.id == by) {
                    match &said.entry {
                        Entry::Died { why } => bail!("the {} cannot go on: {why}", other.name),
                        Entry::Done => other.is_done = true,
                        _ => {}
                    }
                }
                self.ledger.enter(by, said);
            }
            Heard::Odd { by, line } => println!("{by:?} said: {line}"),
            Heard::Ended { by } => {
                self.crew.ended(by);
                if let Some(other) = self.others.iter_mut().find(|other| other.program.id == by) {
                    ensure!(other.is_done, "the {} ended by itself", other.name);
                    other.has_ended = true;
                }
            }
            Heard::Again => {
                self.is_broker_down = false;
                self.crew.broker_is_back();
            }
        }
        Ok(())
    }

    /// Goes on until something is so, which is looked at after each thing that is heard.
    pub(crate) fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut is_so: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let begun = Instant::now();
        while !is_so(self)? {
            if begun.elapsed() > limit {
                let does: Vec<_> = (0..self.crew.len()).map(|at| self.crew.does(at)).collect();
                let counts = &self.crew.counts;
                bail!("not after {limit:?}: {what}; the workers are {does:?}, {counts:?}");
            }
            self.turn()?;
        }
        Ok(())
    }

    /// Goes on until the group is described in a way, and says how it is described then.
    pub(crate) fn until_described(
        &mut self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Group) -> bool,
    ) -> Result<Group> {
        let (mut described, mut looked) = (None, None::<Instant>);
        let last = std::cell::RefCell::new(String::new());
        let waited = self.until(what, limit, |stage| {
            if looked.is_some_and(|looked| looked.elapsed() < LOOK) {
                return Ok(false);
            }
            looked = Some(Instant::now());
            // It may not be there yet, or be loaded.
            match Group::ask(&stage.programs, &stage.group) {
                Ok(group) if is_so(&group) => described = Some(group),
                Ok(group) => *last.borrow_mut() = format!("{:?}", group.parts()),
                Err(error) => *last.borrow_mut() = format!("{error:#}"),
            }
            Ok(described.is_some())
        });
        waited.with_context(|| format!("described at last: {}", last.borrow()))?;
        described.context("it was described")
    }

    /// Shows the group in the log, as everybody sees it.
    pub(crate) fn show(&self, when: &str) -> Result<()> {
        println!("$ klamm group describe {}    # {when}", self.group);
        for line in self.programs.klamm(&["group", "describe", &self.group])?.lines() {
            println!("  {line}");
        }
        Ok(())
    }

    /// Asks the harness to kill the broker, and to start it again after so long.
    pub(crate) fn kill_broker(&mut self, away: Duration) -> Result<()> {
        println!("kill {}", away.as_millis());
        io::stdout().flush()?;
        self.is_broker_down = true;
        self.crew.broker_died();
        Ok(())
    }

    /// No input comes any more.
    pub(crate) fn end_feeding(&mut self) -> Result<()> {
        self.end_of("feeder")
    }

    fn end_of(&mut self, name: &'static str) -> Result<()> {
        for other in self.others.iter_mut().filter(|other| other.name == name) {
            other.program.tell_to_end();
        }
        let others = |stage: &mut Stage| {
            let mut others = stage.others.iter().filter(|other| other.name == name);
            Ok(others.all(|other| other.has_ended))
        };
        self.until(&format!("the {name} ends"), END + END, others)
    }

    /// All workers come to their end, in order.
    pub(crate) fn end_work(&mut self) -> Result<()> {
        self.crew.tell_to_end();
        self.until("the workers end", END, |stage| Ok(stage.crew.are_gone()))?;
        self.end_of("follower")
    }

    /// A new reader reads everything.
    pub(crate) fn audit(&mut self) -> Result<()> {
        let mut arguments = self.reading();
        arguments.push("--to-the-end".to_owned());
        let id = self.add("auditor", "auditor.py", &arguments)?;
        self.ledger.add_reader(id, "the auditor");
        let is_over = |stage: &mut Stage| {
            let mut auditors = stage.others.iter().filter(|other| other.name == "auditor");
            Ok(auditors.all(|other| other.has_ended))
        };
        self.until("the auditor has read everything", AUDIT, is_over)
    }
}
