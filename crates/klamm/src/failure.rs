//! How a command fails: the message, what to try next, the exit code.
//!
//! Always holds: whoever reads an error learns what to do; a reader of the output that went away is no error.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use klamm_client::ClientError;
use klamm_client::consumer::ConsumeError;
use klamm_client::producer::ProduceError;
use klamm_model::ErrorCode;

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

/// The exit code of a command that prints nothing more.
pub(crate) fn exit(result: anyhow::Result<()>) -> ExitCode {
    exit_with(result.map(|()| ExitCode::SUCCESS))
}

/// The exit code of a command that chooses its own.
pub(crate) fn exit_with(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whether whoever read the output stopped doing so, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn report(error: &anyhow::Error) {
    let stderr = io::stderr();
    let (begin, end) = if colours(stderr.is_terminal()) {
        ("\x1b[1;31m", "\x1b[0m")
    } else {
        ("", "")
    };
    let mut stderr = stderr.lock();
    // Nobody is left to tell when this fails.
    let _ = writeln!(stderr, "{begin}error:{end} {error:#}");
    if let Some(hint) = hint(error) {
        for line in hint.lines() {
            let _ = writeln!(stderr, "  {line}");
        }
    }
}

/// Whether to write colours, by the convention of <https://no-color.org>.
pub(crate) fn colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What to try next.
fn hint(error: &anyhow::Error) -> Option<String> {
    for cause in error.chain() {
        if let Some(hinted) = cause.downcast_ref::<Hinted>() {
            return Some(hinted.hint.clone());
        }
        let client = cause
            .downcast_ref::<ClientError>()
            .or_else(|| match cause.downcast_ref::<ProduceError>() {
                Some(ProduceError::Client(error)) => Some(error),
                _ => None,
            })
            .or_else(|| match cause.downcast_ref::<ConsumeError>() {
                Some(ConsumeError::Client(error)) => Some(error),
                _ => None,
            });
        if let Some(hint) = client.and_then(client_hint) {
            return Some(hint);
        }
        if let Some(ProduceError::Refused { refusal, partition }) = cause.downcast_ref::<ProduceError>() {
            return produce_hint(refusal.code, &partition.topic);
        }
        if let Some(ConsumeError::OutOfRange { partition, .. }) = cause.downcast_ref::<ConsumeError>() {
            return Some(format!("klamm consume {} --from beginning", partition.topic));
        }
    }
    None
}

fn client_hint(error: &ClientError) -> Option<String> {
    Some(match error {
        ClientError::Unreachable { .. } => {
            "is a broker running there? `klamm serve` starts one here; -b HOST:PORT names another".to_owned()
        }
        ClientError::UnknownTopic { topic } => {
            format!("klamm topic create {topic}\nklamm topic list shows those that exist")
        }
        ClientError::UnknownPartition { topic, .. } => format!("klamm topic describe {topic}"),
        ClientError::UnknownBroker(_) => "klamm cluster describe lists the brokers".to_owned(),
        ClientError::Connection(_) | ClientError::NoLeader { .. } | ClientError::Refused { .. } => {
            return None;
        }
    })
}

fn produce_hint(code: ErrorCode, topic: &str) -> Option<String> {
    match code {
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => Some(format!(
            "klamm config get --topic {topic} max.message.bytes shows the limit, klamm config set changes it"
        )),
        ErrorCode::InvalidRecord => Some(format!(
            "does the topic need keys? klamm config get --topic {topic} cleanup.policy; -k DELIMITER gives them"
        )),
        _ => None,
    }
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
    use super::*;
    use klamm_client::{ConnectionError, HostPort};

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
    fn errors_say_what_to_try() {
        let address: HostPort = "127.0.0.1:9092".parse().unwrap();
        let refused = ConnectionError::Connect {
            address,
            reason: "Connection refused".into(),
        };
        let cases = [
            (
                anyhow::Error::from(ClientError::Unreachable { tried: vec![refused] }),
                "klamm serve",
            ),
            (
                ProduceError::Client(ClientError::UnknownTopic { topic: "a".into() }).into(),
                "klamm topic create a",
            ),
            (Hinted::error("x", "try y").context("z"), "try y"),
        ];
        for (error, words) in cases {
            let hint = hint(&error).unwrap_or_default();
            assert!(hint.contains(words), "{error:#}: {hint}");
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = anyhow::Error::from(io::Error::from(ErrorKind::BrokenPipe));
        assert!(is_broken_pipe(&gone.context("writing")));
        assert!(!is_broken_pipe(&io::Error::from(ErrorKind::NotFound).into()));
    }
}
