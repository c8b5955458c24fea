//! The start's configuration: sources, single values, listeners, and what is refused.

use super::*;
use crate::env;
use crate::key::{Key, Kind, Resource, Serving};
use crate::properties;
use crate::source::Origin;

fn file(text: &str) -> Sources {
    let parsed = properties::parse(text).unwrap();
    Sources {
        file: Some(("f".to_owned(), parsed)),
        data_folder: "/home/data".to_owned(),
        ..Sources::default()
    }
}

fn load(text: &str) -> Result<BrokerConfig, String> {
    let errors = |errors: Vec<ConfigError>| {
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    BrokerConfig::load(&file(text))
        .map(|(config, _)| config)
        .map_err(errors)
}

fn warnings(text: &str) -> Vec<String> {
    BrokerConfig::load(&file(text))
        .unwrap()
        .1
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn listener(
    name: &str,
    host: Option<&str>,
    port: u16,
    advertised: Option<(Option<&str>, Option<u16>)>,
) -> Listener {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let advertised = advertised.map(|(host, port)| Advertised {
        host: owned(host),
        port,
    });
    Listener {
        name: name.to_owned(),
        host: owned(host),
        port,
        advertised,
    }
}

#[test]
fn without_a_file_everything_has_a_default() {
    let config = load("").unwrap();
    assert_eq!(config.node.id.0, 1);
    assert_eq!(
        (
            config.node.log_dirs.as_slice(),
            config.node.metadata_log_dir.as_str()
        ),
        (&["/home/data".to_owned()][..], "/home/data")
    );
    assert_eq!(
        config.listeners.client,
        [listener(
            "PLAINTEXT",
            Some("127.0.0.1"),
            9092,
            Some((Some("127.0.0.1"), Some(9092)))
        )]
    );
    assert!(config.listeners.controller.is_empty());
    assert_eq!(
        config.net.http_listener.as_ref().unwrap().to_string(),
        "127.0.0.1:9644"
    );
    assert_eq!(
        (config.net.workers, config.net.request_memory_bytes),
        (None, 512 << 20)
    );
    assert_eq!(config.net.idle_timeout, Some(Duration::from_secs(600)));
    assert_eq!(config.housekeeping.flush_interval, None);
    assert!(warnings("").is_empty());
}

#[test]
fn the_file_that_kafka_ships_starts() {
    let text = include_str!("../../fixtures/shipped.properties");
    let config = load(text).unwrap();
    let told = |port| Some((Some("localhost"), Some(port)));
    assert_eq!(
        config.listeners.client,
        [listener("PLAINTEXT", None, 9092, told(9092))]
    );
    assert_eq!(
        config.listeners.controller,
        [listener("CONTROLLER", None, 9093, None)]
    );
    assert_eq!(
        config.node.bootstrap_servers,
        [HostPort {
            host: "localhost".to_owned(),
            port: 9093
        }]
    );
    assert!(config.node.voters.is_empty());
    let about: Vec<_> = warnings(text)
        .iter()
        .map(|text| text.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(about, ["num.recovery.threads.per.data.dir"]);
}

#[test]
fn internal_topics_have_one_replica_unless_more_are_set() {
    let unset = load("").unwrap().internal_topics;
    let counts = |topic: &InternalTopic| (topic.partitions, topic.replication_factor, topic.min_isr);
    assert_eq!(counts(&unset.offsets), (50, 1, None));
    assert_eq!(counts(&unset.transactions), (50, 1, Some(1)));
    assert_eq!(counts(&unset.shares), (50, 1, Some(1)));
    // Kafka's defaults, set.
    let set = load(
        "offsets.topic.replication.factor=3\ntransaction.state.log.replication.factor=3\n\
         transaction.state.log.min.isr=2\nshare.coordinator.state.topic.replication.factor=3\n\
         share.coordinator.state.topic.min.isr=2\n",
    );
    let set = set.unwrap().internal_topics;
    assert_eq!(counts(&set.offsets), (50, 3, None));
    assert_eq!(counts(&set.transactions), (50, 3, Some(2)));
    assert_eq!(counts(&set.shares), (50, 3, Some(2)));
}

#[test]
fn the_file_of_a_real_node_starts() {
    let text = include_str!("../../fixtures/recorded.properties");
    let config = load(text).unwrap();
    assert_eq!(config.node.voters.len(), 1);
    assert_eq!(config.node.voters[0].address.port, 22120);
    assert_eq!(config.node.log_dirs, ["/data"]);
    assert_eq!(config.listeners.inter_broker, "PLAINTEXT");
}

#[test]
fn the_command_line_wins_over_the_environment_over_the_file() {
    let mut sources = file("num.partitions=2\nfetch.max.bytes=2000\nlog.retention.ms=5\nlog.retention.ms=6");
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    sources.environment = env::keys([
        variable("KLAMM_NUM_PARTITIONS", "3"),
        variable("KLAMM_FETCH_MAX_BYTES", "3000"),
    ]);
    sources.set = vec![
        ("num.partitions".to_owned(), "4".to_owned()),
        ("klamm.workers".to_owned(), "2".to_owned()),
    ];
    let (config, warnings) = BrokerConfig::load(&sources).unwrap();
    assert_eq!(
        (
            config.topics.partitions,
            config.net.fetch_max_bytes,
            config.net.workers
        ),
        (4, 3000, Some(2))
    );
    assert_eq!(config.fixed["log.retention.ms"], "6");
    let (first, origin) = (Origin::File("f".to_owned(), 3), Origin::File("f".to_owned(), 4));
    assert_eq!(
        warnings,
        [Warning::SetTwice {
            key: "log.retention.ms".to_owned(),
            first,
            origin
        }]
    );
}

#[test]
fn errors_name_key_value_place_and_what_is_allowed() {
    for (text, words) in [
        (
            "\nnum.partitions=x",
            "num.partitions=x (f:2): Not a number of type INT; allowed: int, at least 1",
        ),
        (
            "num.partitions=0",
            "num.partitions=0 (f:1): Value must be at least 1; allowed: int, at least 1",
        ),
        (
            "auto.create.topics.enable=ja",
            "auto.create.topics.enable=ja (f:1): Expected value to be either true or false; allowed: boolean",
        ),
        (
            "klamm.durability=disk",
            "klamm.durability=disk (f:1): String must be one of: fsync, page-cache; allowed: string, one of fsync, page-cache",
        ),
        (
            "log.cleanup.policy=delete,keep",
            "log.cleanup.policy=delete,keep (f:1): String must be one of: compact, delete; allowed: list, any of compact, delete",
        ),
        (
            "log.segment.bytes=10",
            "log.segment.bytes=10 (f:1): Value must be at least 1048576; allowed: int in bytes, at least 1048576",
        ),
        (
            "log.dirs=",
            "log.dirs= (f:1): Configuration 'log.dirs' must not be empty. Valid values include: any non-empty value; allowed: list, at least one item",
        ),
        (
            "log.dirs=/a,,/b",
            "log.dirs=/a,,/b (f:1): Configuration 'log.dirs' values must not be empty; allowed: list, at least one item",
        ),
        ("log.dirs=/a,/a", "log.dirs=/a,/a (f:1): names /a twice"),
    ] {
        assert_eq!(load(text).unwrap_err(), words, "{text}");
    }
    assert_eq!(
        load("num.partitions=x\nfetch.max.bytes=y")
            .unwrap_err()
            .lines()
            .count(),
        2,
        "all errors at once"
    );
}

#[test]
fn values_that_do_not_go_together_and_values_that_are_refused() {
    for (text, words) in [
        (
            "log.retention.minutes=0",
            "log.retention.minutes=0 (f:1): log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        ),
        (
            "log.roll.ms=0",
            "log.roll.ms=0 (f:1): log.roll.ms must be greater than or equal to 1",
        ),
        (
            "max.connections.per.ip=0",
            "max.connections.per.ip=0 (f:1): max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
        ),
        (
            "max.connections.per.ip.overrides=host:3",
            "max.connections.per.ip.overrides=host:3 (f:1): host:3 is not ADDRESS:COUNT; names are not looked up",
        ),
        (
            "group.consumer.max.heartbeat.interval.ms=4000",
            "group.consumer.max.heartbeat.interval.ms=4000 (f:1): group.consumer.max.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms",
        ),
        (
            "group.consumer.session.timeout.ms=44999",
            "group.consumer.session.timeout.ms=44999 (f:1): group.consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (
            "group.consumer.assignment.interval.ms=15001",
            "group.consumer.assignment.interval.ms=15001 (f:1): group.consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms",
        ),
        (
            "group.consumer.heartbeat.interval.ms=45000\ngroup.consumer.max.heartbeat.interval.ms=45000",
            "group.consumer.heartbeat.interval.ms=45000 (f:1): group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms",
        ),
        (
            "group.consumer.assignors=range,a.B",
            "group.consumer.assignors=range,a.B (f:1): allowed: uniform, range; Klamm runs no Java classes",
        ),
        (
            "group.coordinator.rebalance.protocols=consumer",
            "group.coordinator.rebalance.protocols=consumer (f:1): disabling the classic protocol is not supported",
        ),
        (
            "queued.max.request.bytes=5",
            "queued.max.request.bytes=5 (f:1): must be at least socket.request.max.bytes (104857600)",
        ),
        (
            "klamm.memory.request.bytes=1048576",
            "klamm.memory.request.bytes=1048576 (f:1): must be at least socket.request.max.bytes (104857600)",
        ),
        (
            "klamm.http.listener=9644",
            "klamm.http.listener=9644 (f:1): allowed: HOST:PORT, or nothing to turn it off",
        ),
        (
            "authorizer.class.name=a.B",
            "authorizer.class.name=a.B (f:1): not served: Klamm runs no Java classes; remove it to start without",
        ),
        (
            "remote.log.storage.system.enable=true",
            "remote.log.storage.system.enable=true (f:1): not served: tiered storage is not there yet; remove it to start without",
        ),
    ] {
        assert_eq!(load(text).unwrap_err(), words, "{text}");
    }
}

#[test]
fn warnings_name_the_nearest_key_and_the_reason() {
    for (text, expected) in [
        (
            "log.retension.ms=5",
            &["log.retension.ms (f:1): no such key; did you mean log.retention.ms?"][..],
        ),
        ("my.plugin.x=1", &["my.plugin.x (f:1): no such key"]),
        (
            "num.io.threads=9",
            &[
                "num.io.threads (f:1): known but not served: one pool of threads does all work, sized by klamm.workers",
            ],
        ),
        ("num.io.threads=8", &[]),
        (
            "listener.name.plaintext.max.connections=5",
            &[
                "listener.name.plaintext.max.connections (f:1): known but not served: settings of a single listener are not there yet; the key without its prefix serves all of them",
            ],
        ),
    ] {
        assert_eq!(warnings(text), expected, "{text}");
    }
}

#[test]
fn secrets_do_not_appear() {
    let sources = file("ssl.key.password=geheim\nsasl.jaas.config=geheim\nx.password=geheim");
    let (_, warnings) = BrokerConfig::load(&sources).unwrap();
    assert!(
        warnings
            .iter()
            .all(|warning| !format!("{warning} {warning:?}").contains("geheim"))
    );
}

#[test]
fn listeners_that_start() {
    let told = |host, port| Some((Some(host), Some(port)));
    for (text, expected) in [
        (
            "listeners=PLAINTEXT://:9092",
            vec![listener("PLAINTEXT", None, 9092, Some((None, Some(9092))))],
        ),
        (
            "listeners=plaintext://[::1]:0",
            vec![listener("PLAINTEXT", Some("::1"), 0, Some((Some("::1"), None)))],
        ),
        (
            "listeners=PLAINTEXT://0.0.0.0:9092\nadvertised.listeners=PLAINTEXT://my_host.x:1,CONTROLLER://h:2",
            vec![listener("PLAINTEXT", Some("0.0.0.0"), 9092, told("my_host.x", 1))],
        ),
        (
            "listeners=PLAINTEXT://a:1,Docker://:2\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,DOCKER:plaintext\n\
             advertised.listeners=PLAINTEXT://a:1,DOCKER://b:1",
            vec![
                listener("PLAINTEXT", Some("a"), 1, told("a", 1)),
                listener("DOCKER", None, 2, told("b", 1)),
            ],
        ),
        (
            "listeners=PLAINTEXT://127.0.0.1:1,EXT://[::1]:1\nlistener.security.protocol.map=EXT:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             advertised.listeners=PLAINTEXT://:7",
            vec![
                listener("PLAINTEXT", Some("127.0.0.1"), 1, Some((None, Some(7)))),
                listener("EXT", Some("::1"), 1, None),
            ],
        ),
        (
            "listeners=PLAINTEXT://a:0,CONTROLLER://a:0",
            vec![listener("PLAINTEXT", Some("a"), 0, Some((Some("a"), None)))],
        ),
        (
            "listeners=IN://a:1\ninter.broker.listener.name=in\nlistener.security.protocol.map=IN:PLAINTEXT",
            vec![listener("IN", Some("a"), 1, told("a", 1))],
        ),
        (
            "listeners=PLAINTEXT://a:1,C2://a:2\ncontroller.listener.names=c2",
            vec![listener("PLAINTEXT", Some("a"), 1, told("a", 1))],
        ),
    ] {
        assert_eq!(
            load(text).map(|config| config.listeners.client),
            Ok(expected),
            "{text}"
        );
    }
}

#[test]
fn listeners_that_do_not() {
    for (text, words) in [
        ("listeners=PLAINTEXT:9092", "PLAINTEXT:9092 is no listener"),
        ("listeners=PLAINTEXT://h", "is no listener"),
        ("listeners=PLAINTEXT://h:65536", "is no listener"),
        ("listeners=PLAINTEXT://h:-1", "is no listener"),
        ("listeners=PLAINTEXT://h:+1", "is no listener"),
        ("listeners=PLAINTEXT://h h:1", "is no listener"),
        ("listeners=://h:1", "is no listener"),
        (
            "listeners=PLAINTEXT://a:1,plaintext://a:2",
            "PLAINTEXT stands twice",
        ),
        (
            "listeners=PLAINTEXT://a:1,CONTROLLER://b:1",
            "PLAINTEXT and CONTROLLER both have 1",
        ),
        (
            "listeners=PLAINTEXT://:9092,SSL://:9093",
            "SSL is SSL, which is not served yet; allowed: PLAINTEXT",
        ),
        ("listeners=SASL_SSL://:9093", "SASL_SSL, which is not served yet"),
        (
            "listeners=PLAINTEXT://:1\nlistener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT",
            "PLAINTEXT is SASL_PLAINTEXT",
        ),
        ("listeners=FOO://h:1", "no protocol for FOO"),
        (
            "listener.security.protocol.map=PLAINTEXT:FOO",
            "FOO is no protocol; allowed: PLAINTEXT, SSL",
        ),
        ("listener.security.protocol.map=PLAINTEXT", "PLAINTEXT is no pair"),
        (
            "listeners=PLAINTEXT://0.0.0.0:9092",
            "clients cannot reach 0.0.0.0",
        ),
        ("listeners=PLAINTEXT://[::]:9092", "clients cannot reach ::"),
        (
            "advertised.listeners=PLAINTEXT://0.0.0.0:9092",
            "clients cannot reach 0.0.0.0",
        ),
        (
            "advertised.listeners=PLAINTEXT://a:1,EXT://b:2",
            "EXT is not among the listeners",
        ),
        (
            "listeners=CONTROLLER://h:1",
            "at least one listener must not be named in controller.listener.names",
        ),
        (
            "controller.listener.names=C",
            "at least one of the names must appear in listeners",
        ),
        (
            "inter.broker.listener.name=EXT",
            "EXT is no advertised listener; allowed: PLAINTEXT",
        ),
        (
            "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT",
            "not both",
        ),
        (
            "security.inter.broker.protocol=SSL",
            "SSL is no advertised listener",
        ),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn node_ids() {
    for (text, id) in [
        ("node.id=7", Some(7)),
        ("broker.id=7", Some(7)),
        ("broker.id=7\nnode.id=7", Some(7)),
        ("broker.id=7\nnode.id=8", None),
        ("broker.id=-1", Some(1)),
        ("node.id=-1", None),
    ] {
        assert_eq!(load(text).ok().map(|config| config.node.id.0), id, "{text}");
    }
}

#[test]
fn quorums() {
    for (text, words) in [
        ("controller.quorum.voters=1@h:9093", ""),
        ("controller.quorum.voters=1@[::1]:9093", ""),
        ("controller.quorum.bootstrap.servers=h:1", ""),
        (
            "controller.quorum.voters=1@h:1\ncontroller.quorum.bootstrap.servers=h:1",
            "",
        ),
        (
            "controller.quorum.voters=2@h:9093",
            "must name this node, whose node.id is 1",
        ),
        (
            "controller.quorum.voters=1@a:1,2@b:1",
            "a quorum of several nodes is not served yet",
        ),
        ("controller.quorum.voters=x", "allowed: ID@HOST:PORT"),
        ("controller.quorum.voters=1@:5", "allowed: ID@HOST:PORT"),
        ("controller.quorum.bootstrap.servers=h", "allowed: HOST:PORT"),
        (
            "controller.quorum.bootstrap.servers=a:1,b:2",
            "a quorum of several nodes is not served yet",
        ),
    ] {
        let error = load(text).err().unwrap_or_default();
        assert!(
            error.contains(words) && error.is_empty() == words.is_empty(),
            "{text}: {error}"
        );
    }
}

#[test]
fn roles_apart_are_refused() {
    assert!(load("process.roles=controller , broker").is_ok());
    for text in [
        "process.roles=broker",
        "process.roles=controller",
        "process.roles=broker,broker",
        "process.roles=",
        "process.roles=x",
    ] {
        assert!(load(text).unwrap_err().starts_with("process.roles="), "{text}");
    }
}

/// A value that the key takes and that is not its default.
fn other_value(key: &Key) -> String {
    let numbers = [
        "3",
        "200",
        "60000",
        "600000",
        "104857601",
        "1048577",
        "0.3",
        "20",
        "7",
        "12",
        "2001",
    ];
    let texts = [
        "true", "false", "x", "SSL", "required", "DISABLED", "ES256", "classic", "a.B",
    ];
    let mut candidates = numbers.into_iter().chain(texts);
    let fits = |text: &&str| key.parse(text).is_ok() && !key.is_default(text);
    candidates
        .find(fits)
        .unwrap_or_else(|| panic!("{}: no other value", key.name))
        .to_owned()
}

#[test]
fn every_key_that_is_not_served_is_a_warning_or_a_refusal() {
    for key in Key::all(Resource::Broker) {
        let text = format!(
            "{}={}",
            key.name,
            if key.serving == Serving::Served {
                String::new()
            } else {
                other_value(key)
            }
        );
        match key.serving {
            Serving::Served => {}
            Serving::NotServed(reason) => {
                assert_eq!(
                    warnings(&text),
                    [format!("{} (f:1): known but not served: {reason}", key.name)]
                );
            }
            Serving::Refused(reason) => assert!(load(&text).unwrap_err().contains(reason), "{text}"),
        }
    }
}

#[test]
fn every_key_refuses_what_is_not_of_its_type() {
    for key in Key::all(Resource::Broker) {
        let typed = !matches!(key.kind, Kind::String | Kind::Class | Kind::Password | Kind::List);
        if typed {
            let error = load(&format!("{}=1x", key.name)).unwrap_err();
            assert!(error.starts_with(&format!("{}=1x (f:1): ", key.name)), "{error}");
        }
    }
}

/// What a group gets that asks for as little, and for as much, as it can.
fn groups_at_the_bounds(layers: &Layers<'_>) -> [crate::group::ConsumerGroupConfig; 2] {
    [i64::from(i32::MAX), 1].map(|value| {
        let names = [
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "assignment.interval.ms",
        ];
        let values = names.map(|name| (format!("consumer.{name}"), value.to_string()));
        crate::group::resolve(&Values::from(values), layers)
    })
}

#[test]
fn every_served_number_and_flag_reaches_the_typed_values() {
    let before = load("").unwrap();
    let none = Values::new();
    let resolved = |config: &BrokerConfig| {
        let layers = config.layers(&none, &none);
        let typed = BrokerConfig {
            fixed: Values::new(),
            ..config.clone()
        };
        (
            typed,
            Dynamic::resolve(&layers),
            crate::topic::resolve(&none, &layers),
            groups_at_the_bounds(&layers),
        )
    };
    // A level shows only with its codec, a fallback only without what it stands behind.
    let beside = |name: &str| match name {
        "compression.gzip.level" => "compression.type=gzip\n",
        "compression.lz4.level" => "compression.type=lz4\n",
        "compression.zstd.level" => "compression.type=zstd\n",
        _ => "",
    };
    for key in Key::all(Resource::Broker).filter(|key| key.serving == Serving::Served) {
        if matches!(key.kind, Kind::String | Kind::List) || key.name == "broker.id" {
            continue;
        }
        let value = match key.name {
            "queued.max.request.bytes" | "log.cleaner.dedupe.buffer.size" => "104857601".to_owned(),
            "klamm.memory.request.bytes" => "104857602".to_owned(),
            "socket.request.max.bytes" | "log.segment.bytes" => "1048577".to_owned(),
            "group.consumer.session.timeout.ms" => "45001".to_owned(),
            "group.consumer.heartbeat.interval.ms" => "5001".to_owned(),
            "group.consumer.max.session.timeout.ms" => "60001".to_owned(),
            "group.consumer.max.heartbeat.interval.ms" | "group.consumer.max.assignment.interval.ms" => {
                "15001".to_owned()
            }
            "group.consumer.min.session.timeout.ms" => "44999".to_owned(),
            "group.consumer.min.heartbeat.interval.ms" => "4999".to_owned(),
            "group.consumer.min.assignment.interval.ms" => "999".to_owned(),
            _ => other_value(key),
        };
        let with = load(&format!("{}{}={value}", beside(key.name), key.name)).unwrap();
        let base = if beside(key.name).is_empty() {
            before.clone()
        } else {
            load(beside(key.name)).unwrap()
        };
        assert_ne!(resolved(&with), resolved(&base), "{}={value}", key.name);
    }
}
