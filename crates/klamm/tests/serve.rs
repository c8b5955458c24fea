//! The server as a process: what it prints, how it ends, and what it says when it cannot start; and commands that
//! are kept waiting.
//!
//! Always holds: each test runs the binary itself, on a folder of its own and ports that the system finds.
//!
//! Next: `serve/process.rs` starts it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a test at the edge

#[path = "serve/process.rs"]
mod process;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process::{Serve, klamm};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

/// What a log dir says that was left in order.
const CLEAN: &str = ".kafka_cleanshutdown";

#[test]
fn signals_end_it_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().unwrap();
        let serve = Serve::new(folder.path()).start();
        serve.signal(signal);
        let ended = serve.wait();
        assert_eq!(ended.code, Some(0), "{signal:?}: {}", ended.stderr);
        assert!(folder.path().join(CLEAN).exists(), "{signal:?}");
    }
}

#[test]
fn who_is_kept_waiting_by_a_pipe_ends_at_once_and_commits_what_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::new(folder.path()).start();
    let bootstrap = serve.bootstrap();
    let ask = |arguments: &str, input: &str| {
        let mut words: Vec<&str> = arguments.split(' ').collect();
        words.extend(["-b", &bootstrap]);
        let done = klamm(&words, input);
        assert_eq!(done.code, Some(0), "{arguments}: {}", done.stderr);
        done.stdout
    };
    ask("topic create t", "");
    ask("produce t", "first\n");
    let mut consume = process::spawn(&["consume", "t", "-g", "g", "--from", "beginning", "-b", &bootstrap]);
    let mut printed = BufReader::new(consume.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    // More than a pipe takes.
    let filler = "x".repeat(2_000);
    let lines: String = (0..200).map(|number| format!("{number} {filler}\n")).collect();
    ask("produce t", &lines);
    // It is full once nothing more comes.
    let (mut held, mut since) = (0, Instant::now());
    while held < 20_000 || since.elapsed() < Duration::from_millis(500) {
        let now = ioctl_fionread(printed.get_ref()).unwrap();
        if now != held {
            (held, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "the pipe is never full"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&consume), Signal::INT).unwrap();
    assert_eq!(consume.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    let taken = 1 + rest.matches('\n').count();
    assert!(taken < 201);
    let shown = ask("group describe g -o yaml", "");
    assert!(shown.contains("state: empty"), "{shown}");
    let committed = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("committed_offset: "));
    let committed: usize = committed.unwrap().parse().unwrap();
    assert!((1..=taken).contains(&committed), "{committed} of {taken}");
}

#[test]
fn a_node_whose_metadata_log_fails_ends_in_order_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    // A write beyond the limit is then an error, and no signal.
    let serve = Serve::new(folder.path()).under("trap '' XFSZ").start();
    let bootstrap = serve.bootstrap();
    let created = klamm(&["topic", "create", "before", "-b", &bootstrap], "");
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    let limit = largest(&folder.path().join("klamm-metadata"));
    let limits = Rlimit {
        current: Some(limit),
        maximum: None,
    };
    prlimit(Some(serve.pid()), Resource::Fsize, limits).unwrap();
    // It would look for the node until its patience ends.
    let mut asking = process::spawn(&["topic", "create", "after", "-b", &bootstrap]);
    let ended = serve.wait();
    asking.kill().ok();
    assert!(!asking.wait().unwrap().success());
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().find(|line| line.starts_with("error:"));
    assert!(
        last.is_some_and(|line| line.contains("the node cannot go on")),
        "{}",
        ended.stderr
    );
    assert!(folder.path().join(CLEAN).exists(), "{}", ended.stderr);
}

#[test]
fn a_node_whose_last_log_dir_fails_ends_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    // A write beyond the limit is then an error, and no signal.
    let serve = Serve::new(folder.path()).under("trap '' XFSZ").start();
    let bootstrap = serve.bootstrap();
    let created = klamm(&["topic", "create", "orders", "-b", &bootstrap], "");
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    let limits = Rlimit {
        current: Some(largest(&folder.path().join("klamm-metadata")).max(64 * 1024)),
        maximum: None,
    };
    prlimit(Some(serve.pid()), Resource::Fsize, limits).unwrap();
    let mut asking = process::spawn(&["produce", "orders", "-b", &bootstrap]);
    let mut records = asking.stdin.take().unwrap();
    std::thread::spawn(move || {
        records
            .write_all("a record of some length\n".repeat(40_000).as_bytes())
            .ok()
    });
    let ended = serve.wait();
    asking.kill().ok();
    asking.wait().unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().find(|line| line.starts_with("error:"));
    assert!(
        last.is_some_and(|line| line.contains("all log dirs have failed: ")
            && line.contains(folder.path().to_str().unwrap())),
        "{}",
        ended.stderr
    );
    assert!(!folder.path().join(CLEAN).exists(), "{}", ended.stderr);
}

/// The size of the largest file below a folder.
fn largest(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let sizes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => largest(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    sizes.max().unwrap_or(0)
}

#[test]
fn who_does_not_wait_for_the_commit_of_what_was_printed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::new(folder.path()).start();
    let bootstrap = serve.bootstrap();
    assert_eq!(klamm(&words("topic create t", &bootstrap), "").code, Some(0));
    assert_eq!(klamm(&words("produce t", &bootstrap), "first\n").code, Some(0));
    let mut consume = process::spawn(&words("consume t -g g --from beginning", &bootstrap));
    let mut printed = BufReader::new(consume.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    serve.signal(Signal::STOP);
    let (code, stderr) = interrupt_until_it_ends(consume);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("what was printed last may be printed again"),
        "{stderr}"
    );
    assert!(stderr.contains("klamm group describe g"), "{stderr}");
}

#[test]
fn who_does_not_wait_for_the_end_of_a_transaction_is_not_told_that_it_was_aborted() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::new(folder.path()).start();
    let bootstrap = serve.bootstrap();
    assert_eq!(klamm(&words("topic create t", &bootstrap), "").code, Some(0));
    let mut produce = process::spawn(&words("produce t --transactional-id x", &bootstrap));
    let mut lines = produce.stdin.take().unwrap();
    lines.write_all(b"first\n").unwrap();
    wait_until_open(&bootstrap, 'x');
    serve.signal(Signal::STOP);
    let (code, stderr) = interrupt_until_it_ends(produce);
    assert_eq!(code, Some(1), "{stderr}");
    let told = "failed: interrupted: the transaction may stay open until its timeout\n";
    assert!(stderr.contains(told), "{stderr}");
    assert!(stderr.contains("klamm transaction abort x"), "{stderr}");
}

#[test]
fn a_transaction_with_a_longer_timeout_than_is_allowed_by_now_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::new(folder.path()).start();
    let bootstrap = serve.bootstrap();
    let begin = "produce t --transactional-id x --transaction-timeout 10m";
    assert_eq!(klamm(&words("topic create t", &bootstrap), "").code, Some(0));
    let mut produce = process::spawn(&words(begin, &bootstrap));
    let mut lines = produce.stdin.take().unwrap();
    lines.write_all(b"first\n").unwrap();
    wait_until_open(&bootstrap, 'x');
    produce.kill().unwrap();
    produce.wait().unwrap();
    serve.signal(Signal::TERM);
    assert_eq!(serve.wait().code, Some(0));
    let serve = Serve::new(folder.path())
        .set("transaction.max.timeout.ms", "1")
        .start();
    let ended = klamm(&words("transaction abort x -y", &serve.bootstrap()), "");
    assert_eq!(
        ended.stdout, "TRANSACTION  STATUS\nx            ended\n",
        "{}",
        ended.stderr
    );
}

/// A command line for the cluster there.
fn words<'a>(arguments: &'a str, bootstrap: &'a str) -> Vec<&'a str> {
    arguments.split(' ').chain(["-b", bootstrap]).collect()
}

/// Waits until the transactional id, one letter, has a transaction open.
fn wait_until_open(bootstrap: &str, id: char) {
    let began = Instant::now();
    while !klamm(&words("transaction list --state ongoing", bootstrap), "")
        .stdout
        .contains(id)
    {
        assert!(began.elapsed() < Duration::from_secs(60), "it is never open");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first signal ends a command in order, any other one at once.
fn interrupt_until_it_ends(mut command: Child) -> (Option<i32>, String) {
    let began = Instant::now();
    while command.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not end");
        kill_process(Pid::from_child(&command), Signal::INT).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = command.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn few_open_files_are_a_warning() {
    let warning = "few files may be open";
    for (limit, is_few) in [(1_000, true), (8_192, false)] {
        if getrlimit(Resource::Nofile)
            .maximum
            .is_some_and(|most| most < limit)
        {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let serve = Serve::new(folder.path())
            .under(&format!("ulimit -Sn 500; ulimit -Hn {limit}"))
            .start();
        serve.signal(Signal::TERM);
        let ended = serve.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let line = ended.stderr.lines().find(|line| line.contains(warning));
        assert_eq!(line.is_some(), is_few, "{limit}: {}", ended.stderr);
        // The hard limit is in force, not the soft one.
        assert!(line.is_none_or(|line| line.contains("limit=1000")), "{line:?}");
    }
}

#[test]
fn it_serves_when_nobody_reads_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    // An address of its own: no connection or listener of another test takes its port before the server does.
    let metrics = std::net::TcpListener::bind("127.0.0.77:0").unwrap();
    let address = metrics.local_addr().unwrap();
    drop(metrics);
    let mut child = Serve::new(folder.path())
        .set("klamm.http.listener", &address.to_string())
        .command()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let is_ready = (0..2_400).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(25));
        process::get(&address.to_string(), "/readyz").is_some_and(|answer| answer.contains(" 200 "))
    });
    let status = child.try_wait().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).ok();
    let end = child.wait().unwrap();
    assert!(is_ready && status.is_none(), "{status:?}");
    assert_eq!(end.code(), Some(0));
}

#[test]
fn a_start_that_fails_says_why_and_what_to_try() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let held = tempfile::tempdir().unwrap();
    let holder = Serve::new(held.path()).start();
    let holder_id = holder.pid().as_raw_pid().to_string();
    let kafka = tempfile::tempdir().unwrap();
    let meta =
        "version=1\nnode.id=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\ndirectory.id=vtw3YpyHQ-qmbcbXjIbqEQ\n";
    fs::write(kafka.path().join("meta.properties"), meta).unwrap();
    let newer = tempfile::tempdir().unwrap();
    fs::create_dir(newer.path().join("klamm.format")).unwrap();
    fs::write(newer.path().join("klamm.format/version"), "99\n").unwrap();
    let file = tempfile::tempdir().unwrap();
    let below = file.path().join("file/data");
    fs::write(file.path().join("file"), "").unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let fresh = || Serve::new(fresh.path());
    let cases: [(&str, Serve, &[&str]); 8] = [
        (
            "port taken",
            fresh()
                .set("listeners", &format!("INSIDE://127.0.0.1:{port}"))
                .set("listener.security.protocol.map", "INSIDE:PLAINTEXT")
                .set("inter.broker.listener.name", "INSIDE"),
            &[
                "listener INSIDE",
                &port,
                "ss -ltnp",
                "klamm serve --set listeners=INSIDE://",
            ],
        ),
        (
            "port of the metrics taken",
            fresh().set("klamm.http.listener", &format!("127.0.0.1:{port}")),
            &[
                "klamm.http.listener=127.0.0.1:",
                &port,
                "--set klamm.http.listener=127.0.0.1:0",
            ],
        ),
        (
            "folder locked",
            Serve::new(held.path()),
            &[
                held.path().to_str().unwrap(),
                "in use by",
                &holder_id,
                "kill ",
                "--data DIR",
            ],
        ),
        (
            "folder of Kafka",
            Serve::new(kafka.path()),
            &[
                kafka.path().to_str().unwrap(),
                "Apache Kafka",
                "klamm serve --data DIR",
            ],
        ),
        (
            "newer format",
            Serve::new(newer.path()),
            &["format version 99", "up to 2", "the version that wrote it"],
        ),
        (
            "no folder",
            Serve::new(&below),
            &[below.parent().unwrap().to_str().unwrap(), "ls -ld "],
        ),
        (
            "bad value",
            fresh().set("num.partitions", "many").set("log.retention.ms", "x"),
            &[
                "num.partitions=many (--set)",
                "klamm config reference num.partitions",
                "klamm config reference log.retention.ms",
            ],
        ),
        (
            "no file",
            fresh().config("/no/such.properties"),
            &["cannot read /no/such.properties", "klamm serve without --config"],
        ),
    ];
    for (name, serve, words) in cases {
        let ended = serve.refused();
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.stderr);
        let (_, error) = ended.stderr.split_once("error: ").expect(name);
        for word in words {
            assert!(error.contains(word), "{name}: {word:?} is not in {error}");
        }
    }
    holder.signal(Signal::TERM);
    assert_eq!(holder.wait().code, Some(0));
}

#[test]
fn keys_without_effect_are_said_to_whoever_sets_them_and_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::new(folder.path()).start();
    let bootstrap = serve.bootstrap();
    let set = "unclean.leader.election.enable=true";
    let commands: [(&[&str], bool); 5] = [
        (&["topic", "create", "a", "-c", set], true),
        (&["topic", "create", "b", "-c", "retention.ms=1000"], false),
        (&["topic", "alter", "b", "--set", set], true),
        (&["config", "set", "--cluster", set], true),
        (&["config", "set", "--cluster", "log.retention.ms=100000"], false),
    ];
    for (command, is_in_vain) in commands {
        let arguments = [command, &["-b", &bootstrap]].concat();
        let done = klamm(&arguments, "");
        assert_eq!(done.code, Some(0), "{command:?}: {}", done.stderr);
        assert!(!done.stdout.contains("note"), "{}", done.stdout);
        let note = "note: unclean.leader.election.enable is stored, but has no effect: there is one node";
        assert_eq!(
            done.stderr.contains(note),
            is_in_vain,
            "{command:?}: {}",
            done.stderr
        );
    }
    serve.signal(Signal::TERM);
    let log = serve.wait().stderr;
    let warnings = log.lines().filter(|line| line.contains("without effect"));
    let warnings: Vec<_> = warnings
        .map(|line| line.contains("unclean.leader.election.enable"))
        .collect();
    assert_eq!(warnings, [true; 3], "{log}");
}

#[test]
fn the_printed_commands_are_run_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    // The search path leads to no klamm: the commands name the program by its path.
    let serve = Serve::new(folder.path()).start();
    let commands = serve.commands();
    let printed = [
        "TOPIC      PARTITIONS  REPLICAS  STATUS\ngreetings  1           1         created\n",
        "",
        "hello\n",
    ];
    assert_eq!(commands.len(), printed.len(), "{commands:?}");
    for (command, printed) in commands.iter().zip(printed) {
        let mut shell = Command::new("sh")
            .args(["-c", command])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = vec![0; printed.len()];
        let read = shell.stdout.as_mut().unwrap().read_exact(&mut out);
        // The last one waits for more records, until nobody reads them.
        drop(shell.stdout.take());
        let done = shell.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(read.is_ok() && done.status.success(), "{command}: {errors}");
        assert_eq!(String::from_utf8(out).unwrap(), printed, "{command}");
    }
}
