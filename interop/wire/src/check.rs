//! Runs the scenarios and compares.
//!
//! Always holds: every step of the table is told of in one line, `ok` or `not ok`, also when a scenario ended early;
//! a step that is answered differently on purpose must be answered as it was accepted, once something was (`differences/`).

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use klamm_protocol::ApiKey;
use serde_json::json;

use crate::Target;
use crate::answers;
use crate::diff::diff;
use crate::differences::Differences;
use crate::normal::Place;
use crate::scenario::{Scenario, Taken};
use crate::scenarios::SCENARIOS;

const HEAD: &str =
    "# Recorded from Apache Kafka 4.4.0. Never edited: `klamm-wire-table record` writes this file.\n";
const ACCEPTED_HEAD: &str = "# What Klamm answers otherwise on purpose; the reasons are in ../differences.txt. Written by `check --accept`.\n";

/// Writes the answers of the broker into the table.
pub(crate) fn record(target: &Target) -> Result<bool> {
    let place = arrive(target)?;
    let mut count = 0;
    for (name, run) in chosen(target) {
        let mut scenario = Scenario::new(target.subject(&place), &[]);
        run(&mut scenario).with_context(|| format!("scenario {name}"))?;
        let taken = scenario.into_taken();
        count += taken.len();
        answers::write(&target.answers, name, HEAD, &taken)?;
        say(&format!("{name}: {} steps", taken.len()))?;
    }
    say(&format!("{count} steps recorded"))?;
    Ok(true)
}

/// Compares the answers of the broker with the table.
pub(crate) fn check(target: &Target, differences: Option<&Path>, accept: bool) -> Result<bool> {
    let place = arrive(target)?;
    let mut report = Report {
        differences: differences
            .map(Differences::read)
            .transpose()?
            .unwrap_or_default(),
        accepted_folder: differences.map(|path| path.with_extension("")),
        accept,
        passed: 0,
        failed: 0,
    };
    for (name, run) in chosen(target) {
        let expected = answers::read(&target.answers, name)?;
        let mut scenario = Scenario::new(target.subject(&place), &expected);
        let ended = run(&mut scenario);
        report.scenario(name, &expected, &scenario.into_taken())?;
        if let Err(error) = ended {
            report.fail(&format!("{name}: the scenario ended early: {error:#}"), &[])?;
        }
    }
    if target.scenario.is_empty() {
        report.unneeded()?;
    }
    say(&format!(
        "{} passed, {} failed, 0 skipped",
        report.passed, report.failed
    ))?;
    Ok(report.failed == 0)
}

struct Report {
    differences: Differences,
    accepted_folder: Option<PathBuf>,
    accept: bool,
    passed: usize,
    failed: usize,
}

impl Report {
    fn scenario(&mut self, name: &str, expected: &[Taken], taken: &[Taken]) -> Result<()> {
        // Before anything was accepted, a reason is enough.
        let accepted = match &self.accepted_folder {
            Some(folder) if folder.exists() && !self.accept => Some(answers::read(folder, name)?),
            _ => None,
        };
        let mut deliberate = Vec::new();
        for step in expected {
            let found = same_step(taken, step);
            if self.step(&title(name, step), step, found, accepted.as_deref())? {
                deliberate.extend(found.cloned());
            }
        }
        for step in taken.iter().filter(|step| same_step(expected, step).is_none()) {
            self.fail(&title(name, step), &["not recorded".to_owned()])?;
        }
        match &self.accepted_folder {
            Some(folder) if self.accept => answers::write(folder, name, ACCEPTED_HEAD, &deliberate),
            _ => Ok(()),
        }
    }

    /// Judges one step; true for a deliberate difference.
    fn step(
        &mut self,
        title: &str,
        step: &Taken,
        found: Option<&Taken>,
        accepted: Option<&[Taken]>,
    ) -> Result<bool> {
        if found.is_some_and(|found| found.text == step.text) {
            self.pass(title)?;
            return Ok(false);
        }
        let answered = found.map(|found| found.text.as_str());
        let reason = self.differences.reason(title, &step.text, answered);
        let Some(reason) = reason.map(str::to_owned) else {
            let details = found.map_or_else(
                || vec!["not reached".to_owned()],
                |found| diff(&step.text, &found.text),
            );
            self.fail(title, &details)?;
            return Ok(false);
        };
        let Some(found) = found else {
            self.pass(&format!("{title} # not asked: {reason}"))?;
            return Ok(false);
        };
        let held = accepted.map(|accepted| same_step(accepted, step));
        match held {
            Some(None) => self.fail(
                title,
                &["listed as a difference, but not accepted yet".to_owned()],
            )?,
            Some(Some(held)) if held.text != found.text => {
                let mut details = vec!["other than what was accepted:".to_owned()];
                details.extend(diff(&held.text, &found.text));
                self.fail(title, &details)?;
            }
            _ => self.pass(&format!("{title} # differs: {reason}"))?,
        }
        Ok(true)
    }

    fn unneeded(&mut self) -> Result<()> {
        let unneeded: Vec<_> = self.differences.unneeded().map(str::to_owned).collect();
        for pattern in unneeded {
            self.fail(
                &format!("{pattern}: listed as a difference, but nothing differs"),
                &[],
            )?;
        }
        Ok(())
    }

    fn pass(&mut self, title: &str) -> Result<()> {
        self.passed += 1;
        say(&format!("ok {title}"))
    }

    fn fail(&mut self, title: &str, details: &[String]) -> Result<()> {
        self.failed += 1;
        say(&format!("not ok {title}"))?;
        details.iter().try_for_each(|line| say(&format!("    {line}")))
    }
}

fn same_step<'a>(steps: &'a [Taken], step: &Taken) -> Option<&'a Taken> {
    steps
        .iter()
        .find(|other| other.name == step.name && other.version == step.version)
}

fn title(scenario: &str, step: &Taken) -> String {
    match step.version {
        Some(version) => format!("{scenario}/{} v{version}", step.name),
        None => format!("{scenario}/{}", step.name),
    }
}

fn chosen(target: &Target) -> impl Iterator<Item = &'static (&'static str, crate::scenarios::Run)> {
    let all = target.scenario.is_empty();
    SCENARIOS
        .iter()
        .filter(move |(name, _)| all || target.scenario.iter().any(|wanted| wanted == name))
}

/// Learns what the broker calls itself, and makes sure that it has no topics.
fn arrive(target: &Target) -> Result<Place> {
    let (host, port) = target
        .bootstrap
        .rsplit_once(':')
        .context("HOST:PORT is missing its port")?;
    let mut place = Place {
        host: host.to_owned(),
        port: port.parse().context("the port")?,
        controller_port: 0,
        cluster_id: String::new(),
    };
    let mut scenario = Scenario::new(target.subject(&place), &[]);
    let all = json!({"Topics": null});
    let metadata = scenario.quiet(ApiKey::Metadata, 9, &all)?;
    place.cluster_id = metadata.text("ClusterId")?;
    let log = json!({"Topics": [{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 0}]}]});
    let quorum = scenario.quiet(ApiKey::DescribeQuorum, 2, &log)?;
    place.controller_port = u16::try_from(quorum.int("Nodes.0.Listeners.0.Port")?)?;
    let topics: Result<Vec<_>> = metadata
        .list("Topics")?
        .iter()
        .map(|topic| topic.text("Name"))
        .collect();
    let topics = topics?;
    ensure!(
        topics.is_empty() || target.clean,
        "the broker has topics: give it an empty folder, or let --clean delete them"
    );
    if !topics.is_empty() {
        let names: Vec<_> = topics.iter().map(|name| json!({"Name": name})).collect();
        scenario.quiet(
            ApiKey::DeleteTopics,
            6,
            &json!({"Topics": names, "TimeoutMs": 10_000}),
        )?;
        scenario.until(ApiKey::Metadata, 9, &all, |answer| {
            answer.list("Topics").is_ok_and(<[_]>::is_empty)
        })?;
    }
    Ok(place)
}

fn say(line: &str) -> Result<()> {
    writeln!(stdout().lock(), "{line}").context("writing the report")
}
