//! Another client than the load program: records of the same size through librdkafka, by `kcat`.
//!
//! Always holds: `kcat` reads lines from a file in the page cache and ends when all are acknowledged, so its whole life is
//! the measured part, with its start of some milliseconds. What its threads use is looked up while it lives, as nothing
//! tells it afterwards.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::driver::Done;
use crate::process;

/// Bytes of a line, without its end.
const LINE_BYTES: usize = 1023;
/// Lines that differ; the file repeats them, further apart than any codec looks.
const DIFFERENT_LINES: u64 = 1_000;
/// How often the threads are looked at.
const LOOK: Duration = Duration::from_millis(20);
const WORDS: [&str; 16] = [
    "order",
    "customer",
    "2026-11-21",
    "paid",
    "true",
    "amount",
    "EUR",
    "17.30",
    "warehouse",
    "north",
    "shipped",
    "pending",
    "Ana",
    "Li",
    "returned",
    "email",
];

/// What `kcat` is to write.
pub(super) struct Writing<'a> {
    pub(super) address: &'a str,
    pub(super) topic: &'a str,
    pub(super) codec: &'a str,
    pub(super) lines: &'a Path,
    pub(super) count: u64,
}

/// What is missing on this machine for it.
pub(super) fn missing() -> Option<&'static str> {
    process::find("kcat")
        .is_none()
        .then_some("there is no kcat on this machine (apt-get install kcat)")
}

/// The file with so many lines in `folder`, made when it is not there yet.
pub(super) fn lines(folder: &Path, count: u64) -> Result<PathBuf> {
    let path = folder.join(format!("lines-{count}"));
    if path.exists() {
        return Ok(path);
    }
    let text = different_lines();
    let mut file = File::create(&path)?;
    for _ in 0..count / DIFFERENT_LINES {
        file.write_all(text.as_bytes())?;
    }
    let rest = usize::try_from(count % DIFFERENT_LINES)? * (LINE_BYTES + 1);
    file.write_all(&text.as_bytes()[..rest])?;
    // What is written back later would be in somebody's run.
    file.sync_all()?;
    Ok(path)
}

/// Text that a codec makes about a third of, always the same.
fn different_lines() -> String {
    let mut text = String::new();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..DIFFERENT_LINES {
        let end = text.len() + LINE_BYTES;
        while text.len() < end {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let word = WORDS[(state >> 60) as usize];
            text.push_str(&format!("{word}={} ", state % 1_000));
        }
        text.truncate(end);
        text.push('\n');
    }
    text
}

/// A `kcat` that runs.
pub(super) struct Kcat {
    child: Child,
    begun: Instant,
    count: u64,
}

impl Kcat {
    pub(super) fn start(writing: &Writing<'_>) -> Result<Self> {
        let mut command = Command::new("kcat");
        command
            .args([
                "-b",
                writing.address,
                "-P",
                "-t",
                writing.topic,
                "-z",
                writing.codec,
            ])
            .args([
                "-X",
                "batch.size=16384",
                "-X",
                "linger.ms=5",
                "-X",
                "acks=1",
                "-l",
            ])
            .arg(writing.lines)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        process::end_with_us(&mut command);
        let begun = Instant::now();
        let child = command.spawn().context("cannot run kcat")?;
        Ok(Kcat {
            child,
            begun,
            count: writing.count,
        })
    }

    /// Waits until it has written everything.
    pub(super) fn done(mut self) -> Result<Done> {
        let mut threads = BTreeMap::new();
        let status = loop {
            look(self.child.id(), &mut threads);
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            thread::sleep(LOOK);
        };
        let seconds = self.begun.elapsed().as_secs_f64();
        let mut messages = String::new();
        if let Some(errors) = self.child.stderr.as_mut() {
            std::io::Read::read_to_string(errors, &mut messages)?;
        }
        ensure!(
            status.success(),
            "kcat ended with {status}\n{}",
            process::last_lines(&messages, 10)
        );
        let used = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
        Ok(Done {
            records: Some(self.count),
            payload_bytes: Some(self.count * LINE_BYTES as u64),
            seconds,
            driver_cpu_seconds: used(threads.values().sum()),
            busiest_thread: used(threads.values().copied().max().unwrap_or_default()) / seconds,
            ..Done::default()
        })
    }
}

impl Drop for Kcat {
    fn drop(&mut self) {
        // It has ended already, or its result is not wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Notes how long each thread has run, in nanoseconds; those that have ended keep what was noted.
fn look(pid: u32, threads: &mut BTreeMap<String, u64>) {
    // A process or a thread that ends meanwhile has nothing to say any more.
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.into_iter().flatten().filter_map(Result::ok) {
        let ran = fs::read_to_string(task.path().join("schedstat"))
            .ok()
            .and_then(|text| ran(&text));
        if let Some(ran) = ran {
            threads.insert(task.file_name().to_string_lossy().into_owned(), ran);
        }
    }
}

/// The first number of `schedstat`.
fn ran(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_one_length_and_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = lines(folder.path(), 2_500).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2_500);
        assert!(text.lines().all(|line| line.len() == LINE_BYTES));
        assert!(text.lines().next() != text.lines().nth(1));
        fs::write(&path, "kept").unwrap();
        assert_eq!(lines(folder.path(), 2_500).unwrap(), path);
        assert_eq!(fs::read_to_string(path).unwrap(), "kept");
    }

    #[test]
    fn threads_are_looked_at() {
        let mut threads = BTreeMap::new();
        look(std::process::id(), &mut threads);
        assert!(!threads.is_empty());
        look(u32::MAX, &mut threads);
        assert_eq!(ran("123 4 5\n"), Some(123));
        assert_eq!(ran(""), None);
    }
}
