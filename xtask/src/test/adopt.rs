//! The group `adopt`: the data of a real Apache Kafka broker is taken over, and everything in it is found again.
//!
//! Always: what is compared was read from Kafka, by the commands that read it from Klamm afterwards.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{
    check::Checks,
    dump,
    group::{Ready, Scenario},
};
use crate::broker::{self, Broker, Jars, Kind};

/// The topics, with what they are made with and produced to with.
const TOPICS: [(&str, &str, &str); 3] = [
    (
        "plain",
        "-p 3 -c retention.ms=-1 -c segment.bytes=1048576",
        "--compression lz4 -k :",
    ),
    ("compacted", "-p 1 -c cleanup.policy=compact", "-k :"),
    (
        "exact",
        "-p 2",
        "-k : --transactional-id mover --transaction-records 100",
    ),
];

/// Records of each.
const RECORDS: usize = 3_000;
/// Of these the group has committed so many.
const COMMITTED: usize = 1_000;

/// How Kafka ended, and where its data goes.
#[derive(Clone, Copy)]
enum Way {
    StoppedInPlace,
    KilledAndCopied,
}

pub(super) fn prepare(kind: Kind) -> Result<Ready> {
    if kind == Kind::Kafka {
        // It is here in any case.
        return Ok(Ready::Scenarios(Vec::new()));
    }
    if let Some(reason) = Jars::missing() {
        return Ok(Ready::Missing(reason.to_owned()));
    }
    Ok(Ready::Scenarios(vec![
        Scenario::killing("stopped", |_, checks| run(Way::StoppedInPlace, checks)),
        Scenario::killing("killed", |_, checks| run(Way::KilledAndCopied, checks)),
    ]))
}

/// What was read from a broker, by what was asked.
type Seen = BTreeMap<String, Vec<String>>;

fn run(way: Way, checks: &mut Checks) -> Result<()> {
    let jars = Jars::tools()?;
    let mut broker = Broker::start(Kind::Kafka, 3)?;
    fill(&broker)?;
    let before = look(&broker)?;
    match way {
        Way::StoppedInPlace => broker.terminate()?,
        Way::KilledAndCopied => broker.kill()?,
    }
    let data = broker.log_dir();
    if matches!(way, Way::StoppedInPlace) {
        checks.check("verify-kafka", || {
            klamm(None, &["log", "verify", path(&data)?], "").map(drop)
        });
    }
    checks.check("dry-run", || {
        let shown = klamm(
            None,
            &["log", "adopt", path(&data)?, "--in-place", "--dry-run"],
            "",
        )?;
        ensure!(shown.contains("topics"), "{shown}");
        ensure!(!data.join("klamm.format").exists(), "something was changed");
        Ok(())
    });
    match way {
        Way::StoppedInPlace => klamm(None, &["log", "adopt", path(&data)?, "--in-place", "-y"], "")?,
        Way::KilledAndCopied => {
            let to = data.with_file_name("copied");
            let said = klamm(
                None,
                &["log", "adopt", path(&data)?, "--copy-to", path(&to)?, "-y"],
                "",
            )?;
            fs::rename(&data, data.with_file_name("kafka"))?;
            fs::rename(&to, &data)?;
            said
        }
    };
    broker.become_klamm();
    broker.restart()?;
    judge(&broker, &before, checks);
    broker.terminate()?;
    checks.check("verify", || {
        klamm(None, &["log", "verify", path(&data)?], "").map(drop)
    });
    checks.check("dump-log", || {
        dump::records(&jars, &broker, "plain", 3, RECORDS + 1)
    });
    Ok(())
}

/// Klamm has all of it, and goes on.
fn judge(broker: &Broker, before: &Seen, checks: &mut Checks) {
    checks.check("all-is-there", || {
        let after = look(broker)?;
        for (asked, lines) in before {
            ensure!(
                after.get(asked) == Some(lines),
                "{asked} says now {:?}, Kafka said {lines:?}",
                after.get(asked)
            );
        }
        Ok(())
    });
    checks.check("the-group-goes-on", || {
        let rest = call(broker, "consume plain -g readers --until end", "")?;
        let count = rest.lines().count();
        ensure!(count == RECORDS - COMMITTED, "{count} records");
        Ok(())
    });
    checks.check("it-is-written-to", || {
        for (topic, _, options) in TOPICS {
            call(broker, &format!("produce {topic} {options}"), "new:record\n")?;
        }
        let all = call(broker, "consume exact --from beginning --until end", "")?;
        ensure!(
            all.lines().count() == RECORDS + 1,
            "{} records",
            all.lines().count()
        );
        Ok(())
    });
}

fn fill(broker: &Broker) -> Result<()> {
    for (topic, made, produced) in TOPICS {
        call(broker, &format!("topic create {topic} {made}"), "")?;
        let lines: String = (0..RECORDS)
            .map(|i| format!("key-{}:value {i} of {topic}\n", i % 500))
            .collect();
        call(broker, &format!("produce {topic} {produced}"), &lines)?;
    }
    call(
        broker,
        &format!("consume plain -g readers --from beginning -n {COMMITTED}"),
        "",
    )
    .or_else(|_| call(broker, &format!("consume plain -g readers -n {COMMITTED}"), ""))?;
    Ok(())
}

fn look(broker: &Broker) -> Result<Seen> {
    let mut seen = Seen::new();
    let mut asked = vec![
        "group describe readers -o json".to_owned(),
        "topic list -o json".to_owned(),
    ];
    for (topic, ..) in TOPICS {
        asked.push(format!("topic describe {topic} -o json"));
        asked.push(format!("consume {topic} --from beginning --until end -o json"));
    }
    for asked in asked {
        let said = call(broker, &asked, "")?;
        // Each leader begins an epoch, time goes on, and partitions are read side by side.
        let mut lines: Vec<String> = said
            .lines()
            .filter(|line| !line.contains("epoch") && !line.contains("lag_ms"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        seen.insert(asked, lines);
    }
    Ok(seen)
}

/// A command of klamm against the broker.
fn call(broker: &Broker, arguments: &str, input: &str) -> Result<String> {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    klamm(Some(broker.address()), &arguments, input)
}

fn klamm(bootstrap: Option<&str>, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(broker::program()?);
    command.args(arguments).env_remove("RUST_LOG");
    if let Some(address) = bootstrap {
        command.env("KLAMM_BOOTSTRAP", address);
    }
    let given = tempfile::tempfile().and_then(|mut file| {
        use std::io::{Seek, Write};
        file.write_all(input.as_bytes())?;
        file.rewind()?;
        Ok(file)
    })?;
    let done = command
        .stdin(Stdio::from(given))
        .output()
        .context("cannot run klamm")?;
    let said = String::from_utf8(done.stdout)?;
    ensure!(
        done.status.success(),
        "klamm {}: {said}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(said)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}
