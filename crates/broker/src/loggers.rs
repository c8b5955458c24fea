//! The levels of the broker's loggers, which clients see and change while it runs (KIP-412): the resources of type
//! BROKER_LOGGER in DescribeConfigs and IncrementalAlterConfigs.
//!
//! Always holds: all changes of a request are made or none; the levels are this process's own and end with it, as in
//! Apache Kafka, whose words are used. What a level means to the log is behind [`Loggers`], which the binary implements.

use klamm_config::alter::Operation;
use klamm_config::alter::logger::{self, LoggerError};
use klamm_config::describe::{ConfigEntry, ConfigSource};
use klamm_model::{BrokerId, ErrorCode};

use crate::context::RequestContext;

type Refused = (ErrorCode, String);

/// Who writes the log.
pub trait Loggers: Send + Sync {
    /// Every logger with the level in force, one of Kafka's (`OFF` where nothing is logged). `root` is among them.
    fn levels(&self) -> Vec<(String, &'static str)>;

    /// Gives a logger of [`Loggers::levels`] a level, one of [`logger::LEVELS`]; `None` takes its own level away.
    fn set(&self, name: &str, level: Option<&'static str>);
}

/// For a node whose log is not its own to change: it has `root` alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedLoggers;

impl Loggers for FixedLoggers {
    fn levels(&self) -> Vec<(String, &'static str)> {
        vec![(logger::ROOT.to_owned(), "INFO")]
    }

    fn set(&self, _name: &str, _level: Option<&'static str>) {}
}

/// Changes levels, as IncrementalAlterConfigs asks for it.
pub(crate) fn alter(
    context: &RequestContext<'_>,
    resource_name: &str,
    operations: &[Operation<'_>],
    validate_only: bool,
) -> Result<(), Refused> {
    change(
        &*context.broker.loggers,
        context.broker.id,
        resource_name,
        operations,
        validate_only,
    )
}

/// The levels in force, as DescribeConfigs answers them.
pub(crate) fn describe(
    context: &RequestContext<'_>,
    resource_name: &str,
) -> Result<Vec<ConfigEntry>, Refused> {
    show(&*context.broker.loggers, context.broker.id, resource_name)
}

fn change(
    loggers: &dyn Loggers,
    own: BrokerId,
    resource_name: &str,
    operations: &[Operation<'_>],
    validate_only: bool,
) -> Result<(), Refused> {
    let known = loggers.levels();
    let decided = logger::levels(operations, |name| known.iter().any(|(logger, _)| logger == name));
    let refused = |error: LoggerError| (error.code(), error.to_string());
    // What is wrong with the request itself comes before whom it is for.
    let decided = match decided {
        Err(error @ (LoggerError::Duplicate | LoggerError::NullValue(_))) => return Err(refused(error)),
        other => other,
    };
    let invalid = |words: String| (ErrorCode::InvalidRequest, words);
    match resource_name.parse::<i32>() {
        Err(_) => {
            return Err(invalid(format!(
                "Node id must be an integer, but it is: {resource_name}"
            )));
        }
        Ok(id) if id != own.0 => {
            return Err(invalid(format!(
                "Unexpected node id. Expected {own}, but received {resource_name}"
            )));
        }
        Ok(_) => {}
    }
    for (name, level) in decided.map_err(refused)? {
        if !validate_only {
            loggers.set(&name, level);
            tracing::info!(logger = name, level, "level of a logger changed");
        }
    }
    Ok(())
}

fn show(loggers: &dyn Loggers, own: BrokerId, resource_name: &str) -> Result<Vec<ConfigEntry>, Refused> {
    let invalid = |words: String| Err((ErrorCode::InvalidRequest, words));
    match resource_name.parse::<i32>() {
        Err(_) if resource_name.is_empty() => return invalid("Broker id must not be empty".into()),
        Err(_) => {
            return invalid(format!(
                "Broker id must be an integer, but it is: {resource_name}"
            ));
        }
        Ok(id) if id != own.0 => {
            return invalid(format!(
                "Unexpected broker id, expected {own} but received {resource_name}"
            ));
        }
        Ok(_) => {}
    }
    let entries = loggers.levels().into_iter().map(|(name, level)| ConfigEntry {
        name,
        value: Some(level.to_owned()),
        source: ConfigSource::BrokerLogger,
        read_only: false,
        sensitive: false,
        kind: None,
        synonyms: Vec::new(),
        documentation: Some(""),
    });
    Ok(entries.collect())
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Recorded(Mutex<Vec<(String, Option<&'static str>)>>);

    impl Loggers for Recorded {
        fn levels(&self) -> Vec<(String, &'static str)> {
            vec![("klamm_log".into(), "DEBUG"), ("root".into(), "INFO")]
        }

        fn set(&self, name: &str, level: Option<&'static str>) {
            self.0.lock().push((name.to_owned(), level));
        }
    }

    fn set<'a>(name: &'a str, value: Option<&'a str>) -> Operation<'a> {
        Operation {
            name,
            operation: 0,
            value,
        }
    }

    /// Codes and words as Apache Kafka 4.4.0 answered them.
    #[test]
    fn changes_are_judged_as_kafka_does() {
        let twice = [set("root", Some("INFO")), set("root", Some("INFO"))];
        type Case<'a> = (&'a str, &'a [Operation<'a>], Result<(), (i16, &'a str)>);
        let cases: &[Case<'_>] = &[
            ("1", &[], Ok(())),
            ("+1", &[set("root", Some("WARN"))], Ok(())),
            (
                "2",
                &[],
                Err((42, "Unexpected node id. Expected 1, but received 2")),
            ),
            ("", &[], Err((42, "Node id must be an integer, but it is: "))),
            (" 1", &[], Err((42, "Node id must be an integer, but it is:  1"))),
            ("2", &twice, Err((42, "Error due to duplicate config keys"))),
            (
                "2",
                &[set("root", None)],
                Err((42, "Null value not supported for : root")),
            ),
            (
                "1",
                &[set("nosuch", None), set("root", None)],
                Err((42, "Null value not supported for : nosuch, root")),
            ),
            (
                "2",
                &[set("nosuch", Some("INFO"))],
                Err((42, "Unexpected node id. Expected 1, but received 2")),
            ),
            (
                "1",
                &[set("nosuch", Some("INFO"))],
                Err((40, "Logger nosuch does not exist!")),
            ),
        ];
        for (name, operations, expected) in cases {
            let answer = change(&Recorded::default(), BrokerId(1), name, operations, false);
            let answer = answer.map_err(|(code, words)| (code.code(), words));
            let expected = expected.map_err(|(code, words)| (code, words.to_owned()));
            assert_eq!(answer, expected, "{name:?} {operations:?}");
        }
    }

    #[test]
    fn levels_change_all_or_none_and_not_when_only_validated() {
        let loggers = Recorded::default();
        let good = [
            set("klamm_log", Some("TRACE")),
            Operation {
                name: "klamm_log2",
                operation: 1,
                value: None,
            },
        ];
        assert!(change(&loggers, BrokerId(1), "1", &good, false).is_err());
        assert!(change(&loggers, BrokerId(1), "1", &good[..1], true).is_ok());
        assert!(loggers.0.lock().is_empty());
        let good = [set("klamm_log", Some("TRACE")), set("root", Some("FATAL"))];
        assert!(change(&loggers, BrokerId(1), "1", &good, false).is_ok());
        let expected = [
            ("klamm_log".to_owned(), Some("TRACE")),
            ("root".to_owned(), Some("FATAL")),
        ];
        assert_eq!(*loggers.0.lock(), expected);
    }

    #[test]
    fn levels_are_described() {
        let entries = show(&Recorded::default(), BrokerId(1), "01").unwrap();
        let shown: Vec<_> = entries
            .iter()
            .map(|e| (e.name.as_str(), e.value.as_deref(), e.source))
            .collect();
        let source = ConfigSource::BrokerLogger;
        assert_eq!(
            shown,
            [
                ("klamm_log", Some("DEBUG"), source),
                ("root", Some("INFO"), source)
            ]
        );
        for (name, words) in [
            ("", "Broker id must not be empty"),
            ("abc", "Broker id must be an integer, but it is: abc"),
            ("2", "Unexpected broker id, expected 1 but received 2"),
        ] {
            let refused = show(&Recorded::default(), BrokerId(1), name);
            assert_eq!(refused, Err((ErrorCode::InvalidRequest, words.to_owned())));
        }
    }
}
