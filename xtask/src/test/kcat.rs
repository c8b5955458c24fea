//! The group `kcat`: the command-line client over librdkafka, as Debian packages it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    check::Checks,
    group::{Ready, Scenario},
    million::{PARTITIONS, Reader, Records, SLOTS, TOPICS},
    patience::Patience,
    program::{Kills, MILLION},
};
use crate::{
    broker::{self, Broker},
    process,
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

pub(super) fn prepare() -> Result<Ready> {
    if let Some(reason) = missing() {
        return Ok(Ready::Missing(reason));
    }
    Ok(Ready::Scenarios(vec![
        Scenario::calm("package-log", package_log),
        Scenario::calm("features", features),
        Scenario::killing("million", million),
    ]))
}

/// Why there is no kcat; on a Debian machine of which we are root it is installed.
pub(super) fn missing() -> Option<String> {
    process::or_installed("kcat", "kcat")
}

fn kcat(broker: &Broker, arguments: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command
        .args([
            "-b",
            broker.address(),
            "-q",
            // How long it waits for the cluster's metadata, instead of five seconds.
            "-m",
            "60",
            "-X",
            "topic.metadata.refresh.interval.ms=1000",
        ])
        .args(arguments);
    command
}

/// The logs of the machine's package manager go in by the line and come out byte for byte, with every codec: from
/// `klamm produce` to kcat, and between two runs of kcat.
fn package_log(broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let klamm = broker::program()?;
    let logs = package_manager_logs(folder.path())?;
    for (name, log) in &logs {
        let content = fs::read(log)?;
        for codec in CODECS {
            let topic = format!("package-{name}-{codec}");
            checks.check(&format!("klamm-{name}-{codec}"), || {
                let mut create = Command::new(&klamm);
                create.args(["topic", "create", &topic, "-p", "1", "-b", broker.address()]);
                process::quietly(&mut create)?;
                // A topic that is not there yet takes nothing.
                Patience::with(broker.kind()).wait_for(|| {
                    let mut produce = Command::new(&klamm);
                    produce.args(["produce", &topic, "-b", broker.address(), "--compression", codec]);
                    let done = produce.stdin(fs::File::open(log)?).output()?;
                    let said = String::from_utf8_lossy(&done.stderr);
                    ensure!(done.status.success(), "klamm produce: {said}");
                    Ok(())
                })?;
                read_back(broker, &topic, &content)
            });
        }
    }
    // kcat itself sends no record for an empty line, and one for an unfinished last line that comes back with its end.
    let content = fs::read(&logs[0].1)?;
    let text = String::from_utf8_lossy(&content);
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    let copy = folder.path().join("lines");
    fs::write(&copy, &lines)?;
    for codec in CODECS {
        let topic = format!("package-kcat-{codec}");
        checks.check(&format!("kcat-{codec}"), || {
            let copy = copy.to_string_lossy();
            let produce = ["-P", "-t", &topic, "-p", "0", "-z", codec, "-l", &copy];
            process::quietly(&mut kcat(broker, &produce))?;
            read_back(broker, &topic, lines.as_bytes())
        });
    }
    Ok(())
}

/// Compares what kcat reads of partition 0, a line a record, with what was written.
fn read_back(broker: &Broker, topic: &str, expected: &[u8]) -> Result<()> {
    let read = process::bytes(&mut kcat(broker, &["-C", "-t", topic, "-p", "0", "-e"]))?;
    ensure!(
        read == expected,
        "{} bytes went in and others, {} of them, came out",
        expected.len(),
        read.len()
    );
    Ok(())
}

/// The logs of the machine's package manager, as they are, and one of lines of every length, none among them.
fn package_manager_logs(folder: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let logs = [("dpkg", "/var/log/dpkg.log"), ("apt", "/var/log/apt/history.log")];
    // A log whose last line is being written would come back with its end.
    let is_whole = |log: &str| fs::read(log).is_ok_and(|content| content.ends_with(b"\n"));
    let there = logs.into_iter().filter(|(_, log)| is_whole(log));
    let mut logs: Vec<_> = there.map(|(name, log)| (name, PathBuf::from(log))).collect();
    let line = |n: usize| format!("{n} {}\n\n", "line ".repeat(n % 300));
    let made = folder.join("log");
    fs::write(&made, (1..2000).map(line).collect::<String>())?;
    logs.push(("made", made));
    Ok(logs)
}

fn features(broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("lines");
    let path = file.to_string_lossy().into_owned();
    checks.check("headers", || {
        fs::write(&file, "key\tvalue\n")?;
        let headers = ["-H", "a=1", "-H", "a=2", "-H", "empty=", "-H", "null"];
        let produce = [
            &["-P", "-t", "kcat-headers", "-p", "0", "-K", "\t", "-l", &path],
            &headers[..],
        ]
        .concat();
        process::quietly(&mut kcat(broker, &produce))?;
        let read = process::output(&mut kcat(
            broker,
            &["-C", "-t", "kcat-headers", "-p", "0", "-e", "-f", "%o %k %s %h\n"],
        ))?;
        ensure!(read == "0 key value a=1,a=2,empty=,null=NULL\n", "{read:?}");
        Ok(())
    });
    checks.check("null-values", || {
        fs::write(&file, "key\t\n")?;
        process::quietly(&mut kcat(
            broker,
            &["-P", "-t", "kcat-null", "-p", "0", "-K", "\t", "-Z", "-l", &path],
        ))?;
        let read = process::output(&mut kcat(
            broker,
            &["-C", "-t", "kcat-null", "-p", "0", "-e", "-f", "%K %k %S\n"],
        ))?;
        ensure!(read == "3 key -1\n", "{read:?}");
        Ok(())
    });
    checks.check("from-the-end", || {
        fs::write(&file, "1\n2\n3\n4\n5\n")?;
        process::quietly(&mut kcat(
            broker,
            &["-P", "-t", "kcat-end", "-p", "0", "-l", &path],
        ))?;
        let read = process::output(&mut kcat(
            broker,
            &["-C", "-t", "kcat-end", "-p", "0", "-o", "-2", "-e"],
        ))?;
        ensure!(read == "4\n5\n", "{read:?}");
        Ok(())
    });
    checks.check("offsets-for-times", || {
        // The partition that nothing was written to may not serve yet.
        let asked = ["-Q", "-t", "kcat-end:0:0", "-t", "kcat-end:1:0"];
        let mut patience = Patience::with(broker.kind());
        let read = patience.wait_for(|| process::output(&mut kcat(broker, &asked)))?;
        ensure!(read.contains("kcat-end [0] offset 0"), "{read:?}");
        Ok(())
    });
    checks.check("metadata", || {
        let read = process::output(&mut kcat(broker, &["-L", "-J", "-t", "kcat-end"]))?;
        let metadata: serde_json::Value = serde_json::from_str(&read)?;
        let partitions = metadata["topics"][0]["partitions"].as_array().map_or(0, Vec::len);
        ensure!(partitions == PARTITIONS, "{partitions} partitions: {read}");
        ensure!(metadata["brokers"][0]["name"] == broker.address(), "{read}");
        Ok(())
    });
    Ok(())
}

/// A run of kcat that fills one partition. It ends with the test, also when that ends early.
struct Sender {
    slot: usize,
    process: Child,
}

impl Drop for Sender {
    fn drop(&mut self) {
        // It is usually gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A partition is one run of kcat; four of them are always under way, also when the broker dies.
fn million(broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    const AT_ONCE: usize = 4;
    let records = Records::new(MILLION);
    let folder = tempfile::tempdir()?;
    let mut kills = Kills::twice();
    let mut running: Vec<Sender> = Vec::new();
    let mut done = 0;
    for slot in 0..SLOTS {
        running.push(produce(broker, &records, slot, folder.path())?);
        while running.len() == AT_ONCE || (slot + 1 == SLOTS && !running.is_empty()) {
            if kills.due(done, SLOTS as u64) {
                broker.kill()?;
                broker.restart()?;
            }
            done += reap(&mut running)?;
            thread::sleep(Duration::from_millis(5));
        }
    }
    kills.check()?;
    checks.ok("produce");
    checks.check("consume", || read_million(broker, "kcat", &records));
    Ok(())
}

fn produce(broker: &Broker, records: &Records, slot: usize, folder: &Path) -> Result<Sender> {
    let file = folder.join(slot.to_string());
    let line = |sequence| {
        format!(
            "{}\t{}\n",
            Records::key(slot, sequence),
            records.value(slot, sequence)
        )
    };
    fs::write(&file, (0..records.count(slot)).map(line).collect::<String>())?;
    let (topic, partition) = (
        format!("million-kcat-{}", slot / PARTITIONS),
        (slot % PARTITIONS).to_string(),
    );
    let codec = CODECS[slot % CODECS.len()];
    let target = [
        "-P", "-t", &topic, "-p", &partition, "-K", "\t", "-z", codec, "-l",
    ];
    let mut command = kcat(broker, &target);
    // With -E kcat stays when no broker is reachable for a while; librdkafka goes on either way.
    command.arg(file).args(["-E", "-X", "enable.idempotence=true"]);
    Ok(Sender {
        slot,
        process: command.spawn().context("cannot run kcat")?,
    })
}

/// Takes away the runs that have ended, and returns how many.
fn reap(running: &mut Vec<Sender>) -> Result<u64> {
    let before = running.len();
    let mut index = 0;
    while index < running.len() {
        match running[index].process.try_wait()? {
            Some(status) if status.success() => drop(running.remove(index)),
            Some(status) => bail!("kcat for partition {} ended with {status}", running[index].slot),
            None => index += 1,
        }
    }
    Ok((before - running.len()) as u64)
}

/// Reads the topics `million-CLIENT-*` and compares every record with what must be there.
pub(super) fn read_million(broker: &Broker, client: &str, records: &Records) -> Result<()> {
    let mut reader = Reader::new(records);
    for topic in 0..TOPICS {
        let name = format!("million-{client}-{topic}");
        let text = process::output(&mut kcat(
            broker,
            &["-C", "-t", &name, "-e", "-f", "%p\t%k\t%s\n"],
        ))?;
        for line in text.lines() {
            let mut fields = line.splitn(3, '\t');
            let (Some(partition), Some(key), Some(value)) = (fields.next(), fields.next(), fields.next())
            else {
                bail!("kcat printed {line:?}");
            };
            reader.take(topic, partition.parse()?, key, value)?;
        }
    }
    reader.finish()
}

/// What the features of kafkajs left in its topics: `kafkajs-CODEC` holds the same three records each.
pub(super) fn read_features(broker: &Broker) -> Result<()> {
    for codec in ["none", "gzip", "snappy"] {
        let topic = format!("kafkajs-{codec}");
        let format = "%o %K %k %S %h\n";
        let read = process::output(&mut kcat(
            broker,
            &["-C", "-t", &topic, "-p", "0", "-e", "-f", format],
        ))?;
        let expected = "0 3 key 5 a=1,a=2\n1 -1  900000 \n2 4 gone -1 \n";
        ensure!(read == expected, "{topic}: {read:?}");
    }
    Ok(())
}
