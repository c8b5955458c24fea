//! How a command fails: the message, what to try next, the exit code.
//!
//! Always holds: whoever reads an error learns what to do; a reader of the output that went away is no error.
//!
//! Next: `failure/cluster.rs` for what is to be tried after an answer, `failure/start.rs` after a start that failed.

mod cluster;
mod start;

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use klamm_env::real::Stop;

use crate::output::printable;

pub(crate) use cluster::{of_call, of_refusal};

/// An error that comes with the next thing to try.
#[derive(Debug)]
pub(crate) struct Hinted {
    message: String,
    hint: String,
}

impl Hinted {
    /// An error.
    pub(crate) fn error(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
        .into()
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

/// What was asked for is not done, because a signal ended the command.
#[derive(Debug)]
pub(crate) struct Interrupted(pub(crate) Stop);

impl Interrupted {
    /// As a shell tells of a process that the signal has killed.
    fn code(&self) -> u8 {
        match self.0 {
            Stop::Interrupt => 128 + 2,
            Stop::Terminate => 128 + 15,
        }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The exit code of a command that prints nothing more.
pub(crate) fn exit(result: anyhow::Result<()>) -> ExitCode {
    exit_with(result.map(|()| ExitCode::SUCCESS))
}

/// The exit code of a command that chooses its own.
pub(crate) fn exit_with(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Interrupted>() {
            Some(interrupted) => interrupted.code().into(),
            None => {
                report(&error);
                ExitCode::FAILURE
            }
        },
    }
}

/// Whether whoever read the output stopped doing so, as `head` does.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Says what went wrong, and what to try.
pub(crate) fn report(error: &anyhow::Error) {
    let stderr = io::stderr();
    let (begin, end) = if colours(stderr.is_terminal()) {
        ("\x1b[1;31m", "\x1b[0m")
    } else {
        ("", "")
    };
    let mut stderr = stderr.lock();
    // Nobody is left to tell when this fails.
    // Some messages have lines of their own; names in them are in quotes and on one line.
    for (place, line) in format!("{error:#}").lines().enumerate() {
        let (begin, end) = if place == 0 { (begin, end) } else { ("", "") };
        let error = if place == 0 { "error: " } else { "" };
        let _ = writeln!(stderr, "{begin}{error}{end}{}", printable(line));
    }
    for line in hint(error).iter().flat_map(|hint| hint.lines()) {
        let _ = writeln!(stderr, "  {}", printable(line));
    }
}

/// Whether to write colours, by the convention of <https://no-color.org>.
pub(crate) fn colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What to try next.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(hinted) = cause.downcast_ref::<Hinted>() {
            return Some(hinted.hint.clone());
        }
        let client = cause.downcast_ref().map(cluster::of_call);
        client
            .or_else(|| cause.downcast_ref().map(cluster::of_produce))
            .or_else(|| cause.downcast_ref().map(cluster::of_consume))
            .or_else(|| cause.downcast_ref().map(cluster::of_group))
            .or_else(|| cause.downcast_ref().map(cluster::of_transaction))
            .or_else(|| cause.downcast_ref().map(start::of_start))
    })
}

/// The name that `wanted` was probably meant to be.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = names
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(wanted, name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(similarity, _)| *similarity >= 0.5)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use klamm_broker::StartError;
    use klamm_client::consumer::ConsumeError;
    use klamm_client::producer::{ProduceError, TransactionError};
    use klamm_client::{ClientError, ConnectionError, GroupError, HostPort, Refusal};
    use klamm_log::LogError;
    use klamm_model::{BrokerId, ErrorCode, Offset, TopicPartition};

    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["greetings", "orders", "orders-eu"];
        let cases = [
            ("gretings", Some("greetings")),
            ("order", Some("orders")),
            ("orders-us", Some("orders-eu")),
            ("payments", None),
            ("", None),
        ];
        for (wanted, expected) in cases {
            assert_eq!(nearest(wanted, names), expected, "{wanted}");
        }
    }

    #[test]
    fn errors_of_a_cluster_say_what_to_try() {
        let address = || "127.0.0.1:9092".parse::<HostPort>().unwrap();
        let connect = || ConnectionError::Connect {
            address: address(),
            reason: "Connection refused".into(),
        };
        let refused = |code| ClientError::refused(klamm_protocol::ApiKey::Metadata, Refusal::new(code));
        let partition = || TopicPartition::new("a", 1);
        let topic = || "a".to_owned();
        let calls = [
            (
                ClientError::Unreachable {
                    tried: vec![connect()],
                },
                "klamm serve",
            ),
            (
                ClientError::UnknownTopic { topic: topic() },
                "klamm topic create a",
            ),
            (
                ClientError::UnknownPartition {
                    topic: topic(),
                    partition: 7,
                    count: 1,
                },
                "klamm topic describe a",
            ),
            (
                ClientError::NoLeader {
                    topic: topic(),
                    partition: 0,
                },
                "klamm topic describe a",
            ),
            (ClientError::UnknownBroker(BrokerId(1)), "klamm cluster describe"),
            (connect().into(), "klamm cluster describe"),
            (
                ConnectionError::Decode {
                    address: address(),
                    api: klamm_protocol::ApiKey::Metadata,
                    source: klamm_protocol::DecodeError::UnexpectedEnd {
                        needed: 1,
                        remaining: 0,
                    },
                }
                .into(),
                "-b HOST:PORT",
            ),
            (refused(ErrorCode::RequestTimedOut), "klamm cluster describe"),
            (refused(ErrorCode::TopicAuthorizationFailed), "-b HOST:PORT"),
            (refused(ErrorCode::UnknownServerError), "RUST_LOG"),
        ];
        for (error, words) in calls {
            check(ProduceError::Client(error.clone()), words);
            check(ConsumeError::Client(error.clone()), words);
            check(error, words);
        }
        let refusal = Refusal::new;
        for (code, words) in [
            (
                ErrorCode::MessageTooLarge,
                "klamm config get --topic a max.message.bytes",
            ),
            (ErrorCode::InvalidRecord, "-k DELIMITER"),
            (ErrorCode::NotEnoughReplicas, "klamm topic describe a"),
            (ErrorCode::UnknownTopicId, "klamm topic list"),
        ] {
            let (refusal, partition) = (refusal(code), partition());
            check(ProduceError::Refused { partition, refusal }, words);
        }
        let expired = ProduceError::Expired {
            partition: partition(),
            after: std::time::Duration::from_secs(1),
            may_be_stored: true,
            last: String::new(),
        };
        check(expired, "klamm consume a --from -1");
        let out_of_range = ConsumeError::OutOfRange {
            partition: partition(),
            position: Offset(1),
            start: Offset(2),
        };
        check(out_of_range, "klamm consume a --from beginning");
        let damaged = ConsumeError::Damaged {
            partition: partition(),
            position: Offset(4),
            reason: String::new(),
        };
        check(damaged, "-p 1 --from 5");
    }

    #[test]
    fn errors_of_a_group_say_what_to_try() {
        let refusal = Refusal::new;
        let in_group = |code| GroupError::Group {
            group: "g".into(),
            error: ClientError::refused(klamm_protocol::ApiKey::JoinGroup, refusal(code)),
        };
        for (code, words) in [
            (
                ErrorCode::InconsistentGroupProtocol,
                "klamm group describe g shows its assignor",
            ),
            (ErrorCode::GroupMaxSizeReached, "klamm group describe g"),
            (ErrorCode::InvalidGroupId, "klamm group list"),
            (ErrorCode::CoordinatorNotAvailable, "__consumer_offsets"),
        ] {
            check(in_group(code), words);
        }
        let commit = GroupError::Commit {
            group: "g".into(),
            partition: TopicPartition::new("a", 1),
            offset: Offset(1),
            refusal: refusal(ErrorCode::UnknownTopicOrPartition),
        };
        check(commit, "klamm topic list");
    }

    #[test]
    fn errors_of_a_transaction_say_what_to_try() {
        let refused = |code| ProduceError::Refused {
            partition: TopicPartition::new("a", 1),
            refusal: Refusal::new(code),
        };
        let too_large = || refused(ErrorCode::MessageTooLarge);
        let id = || "x".to_owned();
        check(
            TransactionError::Aborted { cause: too_large() },
            "max.message.bytes",
        );
        let aborted = ProduceError::Aborted {
            because: Some(Box::new(too_large())),
        };
        check(aborted, "max.message.bytes");
        let fatal = TransactionError::Fatal {
            id: id(),
            cause: refused(ErrorCode::InvalidTransactionTimeout),
        };
        check(fatal, "transaction.max.timeout.ms");
        check(
            TransactionError::Fenced { id: id() },
            "klamm transaction describe x",
        );
        let unknown = TransactionError::OutcomeUnknown {
            id: id(),
            cause: ClientError::UnknownBroker(BrokerId(1)),
        };
        check(unknown, "klamm transaction describe x");
        let unlikely = TransactionError::Fenced { id: "-my id".into() };
        check(unlikely, "klamm transaction describe -- '-my id' shows");
    }

    fn check(error: impl std::error::Error + Send + Sync + 'static, words: &str) {
        let error = anyhow::Error::from(error);
        let hint = hint(&error).unwrap_or_default();
        assert!(hint.contains(words), "{error:#}: {hint}");
    }

    #[test]
    fn every_code_that_a_broker_answers_says_what_to_try() {
        for code in ErrorCode::ALL {
            let hint = of_refusal(*code, Some("a"));
            let names_a_command = ["klamm ", "RUST_LOG=", "-b "]
                .iter()
                .any(|word| hint.contains(word));
            assert!(names_a_command, "{code}: {hint}");
        }
    }

    #[test]
    fn errors_of_a_start_say_what_to_try() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let there = path.display().to_string();
        let io = |kind: ErrorKind, path: &std::path::Path| LogError::Io {
            path: path.to_owned(),
            source: kind.into(),
        };
        let logs = [
            (
                LogError::Locked {
                    path: path.clone(),
                    holder: "klamm, process 7".into(),
                },
                "kill 7".to_owned(),
            ),
            (
                LogError::Locked {
                    path: path.clone(),
                    holder: "another process".into(),
                },
                "--data DIR".to_owned(),
            ),
            (
                LogError::NotOurs {
                    path: path.clone(),
                    what: "a data folder of Apache Kafka".into(),
                },
                "--data DIR".to_owned(),
            ),
            (
                LogError::NewerFormat {
                    path: path.clone(),
                    found: 9,
                    known: 1,
                },
                "the version that wrote it".to_owned(),
            ),
            (
                LogError::Corrupt {
                    path: path.join("00000000000000000000.log"),
                    what: String::new(),
                },
                format!("klamm log dump {there}/0000"),
            ),
            (
                LogError::Corrupt {
                    path: path.join("meta.properties"),
                    what: String::new(),
                },
                format!("cat {there}/meta.properties"),
            ),
            (io(ErrorKind::StorageFull, &path), format!("df -h {there}")),
            (
                io(ErrorKind::PermissionDenied, &path.join("not/there")),
                format!("ls -ld {there} "),
            ),
        ];
        for (error, words) in logs {
            check(StartError::Log(error), &words);
        }
        for (kind, words) in [
            (ErrorKind::AddrInUse, "ss -ltnp"),
            (ErrorKind::AddrNotAvailable, "ip address"),
            (ErrorKind::PermissionDenied, "1024"),
            (ErrorKind::OutOfMemory, "listeners=INSIDE://HOST:PORT"),
        ] {
            let error = StartError::Listen {
                name: "INSIDE".into(),
                address: "127.0.0.1:9092".into(),
                error: kind.into(),
            };
            check(error, words);
        }
        check(StartError::Dirs(String::new()), "node.id=ID");
        let full = StartError::Full {
            folder: there.clone(),
            usable_bytes: 1,
            needed_bytes: 2,
        };
        check(full, &format!("df -h {there}"));
        check(StartError::Join(String::new()), "RUST_LOG");
        let hinted = Hinted::error("x", "try y").context("z");
        assert_eq!(hint(&hinted).as_deref(), Some("try y"));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = anyhow::Error::from(io::Error::from(ErrorKind::BrokenPipe));
        assert!(is_broken_pipe(&gone.context("writing")));
        assert!(!is_broken_pipe(&io::Error::from(ErrorKind::NotFound).into()));
    }
}
