//! Configuration as texts: files, the environment, the command line, and the changes that clients ask for.
//!
//! Always holds: a text gives a configuration, or errors that can be shown; what a change has made can be described, and
//! stands when it is checked again.

use klamm_config::alter::{self, Operation, Target, logger};
use klamm_config::broker::Dynamic;
use klamm_config::{BrokerConfig, Key, Layers, Resource, Sources, Values, describe, env, properties, topic};
use klamm_protocol::schema::sample::Seed;

/// Stands between the file, the environment and the command line.
const BETWEEN: char = '\u{1e}';

const VALUES: [&str; 26] = [
    "",
    "0",
    "1",
    "-1",
    "-2",
    "3",
    "1000",
    "1048588",
    "2147483647",
    "9223372036854775807",
    "9223372036854775808",
    "0.5",
    "1e9",
    "NaN",
    "true",
    "false",
    "a",
    "a,b",
    "delete,compact",
    "zstd",
    "producer",
    "PLAINTEXT://localhost:9092",
    "PLAINTEXT://[::1]:0,OTHER://:9093",
    "1@localhost:9093,2@[::1]:9094",
    "PLAINTEXT:PLAINTEXT,OTHER:SSL",
    "/data,/other",
];

fn value(key: &Key, seed: &mut Seed) -> String {
    match (seed.below(3), key.default) {
        (0, Some(default)) => default.to_owned(),
        _ => VALUES[seed.below(VALUES.len())].to_owned(),
    }
}

fn any_key(resource: Resource, seed: &mut Seed) -> &'static Key {
    let count = Key::all(resource).count();
    Key::all(resource)
        .nth(seed.below(count))
        .expect("below the count")
}

pub(super) fn sample_file(seed: &mut Seed) -> Vec<u8> {
    let mut text = String::from("# a broker\nnode.id=1\nprocess.roles=broker,controller\n");
    text += "controller.quorum.voters=1@localhost:9093\ncontroller.listener.names=CONTROLLER\n";
    text += "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nlog.dirs=/data\n";
    let mut lines = |text: &mut String, form: fn(&Key, &str) -> String| {
        for _ in 0..seed.below(4) {
            let key = any_key(Resource::Broker, seed);
            *text += &form(key, &value(key, seed));
            text.push('\n');
        }
    };
    lines(&mut text, |key, value| format!("{}={value}", key.name));
    text.push(BETWEEN);
    lines(&mut text, |key, value| {
        let name = key.name.replace(['.', '-'], "_").to_uppercase();
        format!("KLAMM_{name}={value}")
    });
    text.push(BETWEEN);
    lines(&mut text, |key, value| {
        format!("listener.name.other.{}={value}", key.name)
    });
    text.into_bytes()
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(super) fn run_file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.splitn(3, BETWEEN);
    let mut part = || parts.next().unwrap_or_default();
    let file = properties::parse(part());
    if let Err(error) = &file {
        let _ = error.to_string();
    }
    let sources = Sources {
        file: file
            .ok()
            .map(|properties| ("server.properties".to_owned(), properties)),
        environment: env::keys(pairs(part())),
        set: pairs(part()),
        data_folder: "/data".to_owned(),
    };
    match BrokerConfig::load(&sources) {
        Ok((config, warnings)) => {
            warnings.iter().for_each(|warning| drop(warning.to_string()));
            let layers = Layers::fixed(&config.fixed);
            let _ = (describe::broker(&layers), Dynamic::resolve(&layers));
            let _ = topic::resolve(&Values::new(), &layers);
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "what is refused has a reason");
            errors.iter().for_each(|error| drop(error.to_string()));
        }
    }
}

const TARGETS: [(&str, Target, Resource); 5] = [
    ("topic", Target::Topic, Resource::Topic),
    ("broker", Target::Broker, Resource::Broker),
    ("brokers", Target::BrokerDefault, Resource::Broker),
    ("group", Target::Group, Resource::Group),
    ("metrics", Target::ClientMetrics, Resource::ClientMetrics),
];

/// Lines of: target, operation, key, value. A line without a value has none.
pub(super) fn sample_changes(seed: &mut Seed) -> Vec<u8> {
    let mut text = String::new();
    let (name, _, resource) = TARGETS[seed.below(TARGETS.len())];
    for _ in 0..=seed.below(6) {
        let key = any_key(resource, seed);
        let operation = seed.below(5);
        let value = value(key, seed);
        text += &format!("{name} {operation} {} {value}\n", key.name);
    }
    text.into_bytes()
}

pub(super) fn run_changes(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(4, ' ').collect()).collect();
    let layers = Layers::defaults();
    for (name, target, _) in TARGETS {
        let operations: Vec<Operation<'_>> = lines
            .iter()
            .filter(|line| line[0] == name && line.len() > 2)
            .map(|line| Operation {
                name: line[2],
                operation: line[1].parse().unwrap_or(0),
                value: line.get(3).copied(),
            })
            .collect();
        change(target, &operations, &layers);
        let _ = logger::levels(&operations, |name| name.len() < 20).map_err(|error| error.to_string());
    }
}

fn change(target: Target, operations: &[Operation<'_>], layers: &Layers<'_>) {
    let mut values = Values::new();
    // Together, and one after another.
    let steps = std::iter::once(operations).chain(operations.chunks(1));
    for step in steps {
        match alter::alter(target, &values, step, layers) {
            Ok(altered) => values = altered,
            Err(error) => drop((error.code(), error.message())),
        }
    }
    let entries: Vec<_> = operations.iter().map(|each| (each.name, each.value)).collect();
    let _ = alter::replace(target, &values, &entries, layers);
    let _ = alter::new_topic(&entries, layers);
    alter::alter(target, &values, &[], layers).expect("what was accepted stands");
    match target {
        Target::Topic => {
            let _ = (describe::topic(&values, layers), topic::resolve(&values, layers));
        }
        Target::Group => drop(describe::group(&values, layers)),
        Target::ClientMetrics => drop(describe::client_metrics(&values)),
        Target::Broker | Target::BrokerDefault => {
            let changed = Layers {
                dynamic_broker: &values,
                ..*layers
            };
            let _ = (
                describe::broker(&changed),
                describe::broker_default(&changed),
                Dynamic::resolve(&changed),
            );
        }
    }
}
