//! The groups of real clients, and how one is run: set up, then every scenario against a broker.

use anyhow::{Context, Result};

use super::{
    adopt, check::Checks, cli, exactly, faults, go, java, kcat, kill, node, python, readme, tally::Tally,
    tools, wire,
};
use crate::broker::{Broker, Disk, Jars, Kind};

/// A client that Klamm must serve as it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// The recorded table of Kafka's answers.
    Wire,
    /// The commands of the README.
    Readme,
    /// Every command of the command line.
    Cli,
    /// Clients of our own that keep books while the broker is killed.
    Kill,
    /// Workers that process exactly once while they are killed.
    Exactly,
    /// Power cuts, full disks, calls that fail.
    Faults,
    /// The data of a Kafka broker is taken over.
    Adopt,
    Kcat,
    Python,
    Java,
    Tools,
    Go,
    Node,
}

/// What setting a group up came to.
pub(super) enum Ready {
    Scenarios(Vec<Scenario>),
    /// Something that only the owner of the machine can install is not there.
    Missing(String),
}

/// What a scenario does: results go into the checks, and an error ends it.
type Run = dyn Fn(&mut Broker, &mut Checks) -> Result<()>;

/// One conversation of a client with a broker.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// A scenario that kills the broker has one of its own, and is left out of the comparison with Kafka, which takes
    /// thirteen seconds to come back each time.
    pub(super) kills: bool,
    /// Partitions of topics that are made without a number; another number than the scenario before has is another broker.
    pub(super) partitions: u16,
    /// What its broker is told besides; all scenarios of a group that share a broker say the same.
    pub(super) properties: &'static [(&'static str, &'static str)],
    /// What its broker's data lies on.
    pub(super) disk: Disk,
    /// Why it cannot run on this machine.
    pub(super) missing: Option<String>,
    pub(super) run: Box<Run>,
}

impl Scenario {
    pub(super) fn calm(
        name: &'static str,
        run: impl Fn(&mut Broker, &mut Checks) -> Result<()> + 'static,
    ) -> Self {
        Scenario {
            name,
            kills: false,
            partitions: PARTITIONS,
            properties: &[],
            disk: Disk::Machine,
            missing: None,
            run: Box::new(run),
        }
    }

    pub(super) fn killing(
        name: &'static str,
        run: impl Fn(&mut Broker, &mut Checks) -> Result<()> + 'static,
    ) -> Self {
        Scenario {
            kills: true,
            ..Self::calm(name, run)
        }
    }

    /// One that this machine cannot run.
    pub(super) fn skipped(name: &'static str, reason: String) -> Self {
        Scenario {
            missing: Some(reason),
            ..Self::killing(name, |_, _| Ok(()))
        }
    }

    /// With its broker's data on another disk.
    pub(super) fn on(self, disk: Disk) -> Self {
        Scenario { disk, ..self }
    }
}

/// What most scenarios want: three topics of so many partitions hold the million.
const PARTITIONS: u16 = 12;

impl Group {
    pub(super) const ALL: [Group; 13] = [
        Group::Wire,
        Group::Readme,
        Group::Cli,
        Group::Kill,
        Group::Exactly,
        Group::Faults,
        Group::Adopt,
        Group::Kcat,
        Group::Python,
        Group::Java,
        Group::Tools,
        Group::Go,
        Group::Node,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Group::Wire => "wire",
            Group::Readme => "readme",
            Group::Cli => "cli",
            Group::Kill => "kill",
            Group::Exactly => "exactly-once",
            Group::Faults => faults::NAME,
            Group::Adopt => "adopt",
            Group::Kcat => "kcat",
            Group::Python => "python",
            Group::Java => "java",
            Group::Tools => "tools",
            Group::Go => "go",
            Group::Node => "node",
        }
    }

    fn prepare(self, kind: Kind) -> Result<Ready> {
        match self {
            Group::Wire => wire::prepare(kind),
            Group::Readme => readme::prepare(kind),
            Group::Cli => cli::prepare(kind),
            Group::Kill => kill::prepare(kind),
            Group::Exactly => exactly::prepare(kind),
            Group::Faults => faults::prepare(kind),
            Group::Adopt => adopt::prepare(kind),
            Group::Kcat => kcat::prepare(),
            Group::Python => python::prepare(),
            Group::Java => java::prepare(),
            Group::Tools => tools::prepare(),
            Group::Go => go::prepare(),
            Group::Node => node::prepare(),
        }
    }
}

/// Runs groups, one after the other: they share two cores with the broker.
pub(super) struct Groups<'a> {
    filter: Option<&'a str>,
    kafka_missing: Option<&'static str>,
}

/// Which scenarios of a group to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    /// Without those that kill the broker.
    Calm,
}

impl<'a> Groups<'a> {
    pub(super) fn new(filter: Option<&'a str>) -> Self {
        Groups {
            filter,
            kafka_missing: Jars::missing(),
        }
    }

    pub(super) fn run(&self, group: Group, kind: Kind, scope: Scope, tally: &mut Tally) {
        let name = match kind {
            Kind::Klamm => group.name().to_owned(),
            Kind::Kafka => format!("kafka/{}", group.name()),
        };
        println!("== {name}");
        if let (Kind::Kafka, Some(reason)) = (kind, self.kafka_missing) {
            return tally.skipped(name, reason);
        }
        let mut scenarios = match group.prepare(kind) {
            Ok(Ready::Scenarios(scenarios)) => scenarios,
            Ok(Ready::Missing(reason)) => return tally.skipped(name, reason),
            Err(error) => return tally.failed(name, format!("cannot be set up: {error:#}")),
        };
        scenarios.retain(|scenario| {
            let wanted = self
                .filter
                .is_none_or(|filter| format!("{name}/{}", scenario.name).contains(filter));
            wanted && !(scope == Scope::Calm && scenario.kills)
        });
        let mut shared: Option<Broker> = None;
        for scenario in &scenarios {
            if let Some(reason) = &scenario.missing {
                tally.skipped(format!("{name}/{}", scenario.name), reason);
                continue;
            }
            let own = if scenario.kills { None } else { shared.take() };
            let mut checks = Checks::new(format!("{name}/{}", scenario.name), tally);
            let broker = run_scenario(scenario, kind, own, &mut checks);
            if !scenario.kills {
                shared = broker;
            }
        }
        if let Some(Err(error)) = shared.map(Broker::stop) {
            tally.failed(format!("{name}/stop"), format!("{error:#}"));
        }
    }
}

/// Runs a scenario on a broker, started when there is none, and gives the broker back if it is still of use.
pub(super) fn run_scenario(
    scenario: &Scenario,
    kind: Kind,
    broker: Option<Broker>,
    checks: &mut Checks,
) -> Option<Broker> {
    let (total, failures) = (checks.total(), checks.failures());
    let broker = match broker {
        Some(broker) => Ok(broker),
        None => Broker::start_with(kind, scenario.partitions, scenario.properties, scenario.disk)
            .context("the broker does not start"),
    };
    let mut broker = match broker {
        Ok(broker) => broker,
        Err(error) => {
            checks.not_ok("start", format!("{error:#}"));
            return None;
        }
    };
    if let Err(error) = (scenario.run)(&mut broker, checks) {
        checks.not_ok("end", format!("{error:#}"));
    } else if checks.total() == total {
        checks.not_ok("end", "the scenario reported no result");
    }
    if checks.failures() == failures {
        return Some(broker);
    }
    println!("the end of the broker's log:\n{}", broker.tail());
    println!("its data and log are kept in {}", broker.keep().display());
    None
}
