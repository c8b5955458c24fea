//! Changes of the levels of loggers (IncrementalAlterConfigs of a BROKER_LOGGER).
//!
//! Always holds: either every change of a request is allowed or none; code and words are those of Apache Kafka 4.4.
//!
//! Next: the broker applies the levels and answers DescribeConfigs with them.

use klamm_model::ErrorCode;

use super::Operation;

/// The logger that every other one takes its level from.
pub const ROOT: &str = "root";

/// The levels that a logger may have, in Kafka's order.
pub const LEVELS: [&str; 6] = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

/// A change of levels that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoggerError {
    /// A logger stands twice in one request.
    #[error("Error due to duplicate config keys")]
    Duplicate,
    /// Loggers are set to nothing.
    #[error("Null value not supported for : {}", .0.join(", "))]
    NullValue(Vec<String>),
    /// No such logger.
    #[error("Logger {0} does not exist!")]
    Unknown(String),
    /// No such level.
    #[error(
        "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log levels are {valid}",
        valid = LEVELS.join(", ")
    )]
    UnknownLevel {
        /// The logger.
        logger: String,
        /// What was asked for.
        level: String,
    },
    /// The root logger always has a level.
    #[error("Removing the log level of the root logger is not allowed")]
    RemoveRoot,
    /// Levels are no lists.
    #[error("{0} operation is not allowed for the BROKER_LOGGER resource")]
    NotAList(&'static str),
    /// No such operation.
    #[error("Unknown operation type {0} is not allowed for the BROKER_LOGGER resource")]
    UnknownOperation(i8),
}

impl LoggerError {
    /// The code that a client is told.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) | Self::UnknownLevel { .. } => ErrorCode::InvalidConfig,
            Self::Duplicate
            | Self::NullValue(_)
            | Self::RemoveRoot
            | Self::NotAList(_)
            | Self::UnknownOperation(_) => ErrorCode::InvalidRequest,
        }
    }
}

/// The new level of each logger that `operations` name; `None` where its own level goes.
pub fn levels(
    operations: &[Operation<'_>],
    exists: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Option<&'static str>)>, LoggerError> {
    let mut names: Vec<_> = operations.iter().map(|each| each.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(LoggerError::Duplicate);
    }
    // Only a deletion needs no value, whatever else the operation is.
    let set_to_nothing = operations
        .iter()
        .filter(|each| each.operation != 1 && each.value.is_none());
    let set_to_nothing: Vec<_> = set_to_nothing.map(|each| each.name.to_owned()).collect();
    if !set_to_nothing.is_empty() {
        return Err(LoggerError::NullValue(set_to_nothing));
    }
    operations.iter().map(|each| level(each, &exists)).collect()
}

fn level(
    each: &Operation<'_>,
    exists: impl Fn(&str) -> bool,
) -> Result<(String, Option<&'static str>), LoggerError> {
    let logger = each.name.to_owned();
    match each.operation {
        0 | 1 if each.name != ROOT && !exists(each.name) => Err(LoggerError::Unknown(logger)),
        0 => {
            let level = each.value.unwrap_or_default();
            match LEVELS.iter().find(|known| **known == level) {
                Some(known) => Ok((logger, Some(known))),
                None => Err(LoggerError::UnknownLevel {
                    logger,
                    level: level.to_owned(),
                }),
            }
        }
        1 if each.name == ROOT => Err(LoggerError::RemoveRoot),
        1 => Ok((logger, None)),
        2 => Err(LoggerError::NotAList("APPEND")),
        3 => Err(LoggerError::NotAList("SUBTRACT")),
        other => Err(LoggerError::UnknownOperation(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_loggers() {
        for (name, operation, value, expected) in [
            ("klamm::log", 0, Some("DEBUG"), Ok(Some("DEBUG"))),
            ("klamm::log", 1, None, Ok(None)),
            ("root", 0, Some("WARN"), Ok(Some("WARN"))),
            (
                "root",
                1,
                None,
                Err((42, "Removing the log level of the root logger is not allowed")),
            ),
            (
                "nosuchlogger",
                0,
                Some("DEBUG"),
                Err((40, "Logger nosuchlogger does not exist!")),
            ),
            (
                "klamm::log",
                2,
                Some("DEBUG"),
                Err((
                    42,
                    "APPEND operation is not allowed for the BROKER_LOGGER resource",
                )),
            ),
            (
                "klamm::log",
                0,
                Some("FOO"),
                Err((
                    40,
                    "Cannot set the log level of klamm::log to FOO as it is not a supported log level. Valid log levels are \
                     DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
                )),
            ),
            (
                "klamm::log",
                0,
                None,
                Err((42, "Null value not supported for : klamm::log")),
            ),
            (
                "nosuch",
                2,
                None,
                Err((42, "Null value not supported for : nosuch")),
            ),
            (
                "nosuch",
                9,
                Some("DEBUG"),
                Err((
                    42,
                    "Unknown operation type 9 is not allowed for the BROKER_LOGGER resource",
                )),
            ),
        ] {
            let operations = [Operation {
                name,
                operation,
                value,
            }];
            let answer = levels(&operations, |name| name.starts_with("klamm"));
            let answer = answer
                .map(|levels| levels[0].1)
                .map_err(|error| (error.code() as i16, error.to_string()));
            assert_eq!(
                answer,
                expected.map_err(|(code, words)| (code, words.to_owned())),
                "{name} {operation} {value:?}"
            );
        }
    }
}
