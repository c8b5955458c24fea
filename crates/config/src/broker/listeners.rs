//! Where a broker listens and what it tells clients.
//!
//! Always holds: names are upper case and unique, ports are unique (but 0, and an IPv4 beside an IPv6 address), every
//! listener is PLAINTEXT, nothing that cannot be routed to is advertised, and the controller's listeners are not advertised
//! at all. The rules are Apache Kafka's. Host names are not looked up here.
//!
//! Next: the broker binds these, fills in ports and its host name, and answers each client with the advertised address of
//! the listener that the client came in by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::read::Reader;
use crate::source::Fixed;

/// Where a broker listens and what it tells clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// For clients and brokers, in the order of `listeners`; at least one.
    pub client: Vec<Listener>,
    /// For controllers; empty when `listeners` names none.
    pub controller: Vec<Listener>,
    /// The name of the listener that brokers use among themselves; one of `client`, and advertised.
    pub inter_broker: String,
}

/// A PLAINTEXT listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in upper case.
    pub name: String,
    /// The host to bind; `None` for every interface.
    pub host: Option<String>,
    /// The port to bind; 0 for a free one.
    pub port: u16,
    /// What clients of this listener are told; `None` for one that is not advertised.
    pub advertised: Option<Advertised>,
}

/// What clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The host; `None` for this machine's own name.
    pub host: Option<String>,
    /// The port; `None` for the one that was bound.
    pub port: Option<u16>,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Reads `HOST:PORT` or `[IPV6]:PORT`; the host is not empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_host_port(text)?;
        Some(Self { host: host?, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

struct Endpoint {
    name: String,
    host: Option<String>,
    port: u16,
}

pub(super) fn read(reader: &Reader<'_>, fixed: &mut Fixed) -> Option<Listeners> {
    let endpoints = parse_all(reader, fixed, "listeners")?;
    let advertised = match fixed.is_set("advertised.listeners") {
        true => Some(parse_all(reader, fixed, "advertised.listeners")?),
        false => None,
    };
    let problems = [
        unique_ports(&endpoints),
        plaintext_only(reader, fixed, &endpoints),
    ];
    for (key, problem) in problems.into_iter().filter_map(Result::err) {
        fixed.refuse(key, problem);
    }
    let controllers: Vec<_> = reader
        .list("controller.listener.names")
        .iter()
        .map(|name| name.to_uppercase())
        .collect();
    let (controller, client): (Vec<_>, Vec<_>) = endpoints
        .into_iter()
        .partition(|each| controllers.contains(&each.name));
    if controller.is_empty() && fixed.is_set("controller.listener.names") {
        fixed.refuse(
            "controller.listener.names",
            "at least one of the names must appear in listeners",
        );
    }
    if client.is_empty() {
        fixed.refuse(
            "listeners",
            "at least one listener must not be named in controller.listener.names",
        );
    }
    let client = advertise(client, advertised, &controllers, fixed);
    let inter_broker = inter_broker(reader, fixed, &client)?;
    let unadvertised = |each: Endpoint| Listener {
        name: each.name,
        host: each.host,
        port: each.port,
        advertised: None,
    };
    Some(Listeners {
        client,
        controller: controller.into_iter().map(unadvertised).collect(),
        inter_broker,
    })
}

fn parse_all(reader: &Reader<'_>, fixed: &mut Fixed, key: &'static str) -> Option<Vec<Endpoint>> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for text in reader.list(key) {
        let Some(endpoint) = parse(&text) else {
            fixed.refuse(
                key,
                format!("{text} is no listener; allowed: NAME://HOST:PORT, the port from 0 to 65535"),
            );
            return None;
        };
        if endpoints.iter().any(|each| each.name == endpoint.name) {
            fixed.refuse(
                key,
                format!(
                    "each listener must have a different name; {} stands twice",
                    endpoint.name
                ),
            );
            return None;
        }
        endpoints.push(endpoint);
    }
    Some(endpoints)
}

fn parse(text: &str) -> Option<Endpoint> {
    let (name, address) = text.split_once("://")?;
    let named = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let (host, port) = split_host_port(address)?;
    named.then(|| Endpoint {
        name: name.to_uppercase(),
        host,
        port,
    })
}

/// The host (`None` when it is empty) and the port of `HOST:PORT`, an IPv6 address in brackets or without.
fn split_host_port(text: &str) -> Option<(Option<String>, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let fits = host
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-%._:".contains(c));
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits)?;
    fits.then(|| (Some(host.to_owned()).filter(|host| !host.is_empty()), port))
}

type Check = Result<(), (&'static str, String)>;

fn unique_ports(endpoints: &[Endpoint]) -> Check {
    let is_v4 = |host: &Option<String>| host.as_ref().is_some_and(|host| host.parse::<Ipv4Addr>().is_ok());
    let is_v6 = |host: &Option<String>| host.as_ref().is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    for (index, each) in endpoints.iter().enumerate().filter(|(_, each)| each.port != 0) {
        for other in endpoints[..index].iter().filter(|other| other.port == each.port) {
            let apart = is_v4(&each.host) && is_v6(&other.host) || is_v6(&each.host) && is_v4(&other.host);
            if !apart {
                let (port, one, two) = (each.port, &other.name, &each.name);
                let problem =
                    format!("each listener must have a different port; {one} and {two} both have {port}");
                return Err(("listeners", problem));
            }
        }
    }
    Ok(())
}

const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// The protocol of each listener name, by `listener.security.protocol.map`.
fn protocols(reader: &Reader<'_>, fixed: &Fixed) -> Result<BTreeMap<String, String>, (&'static str, String)> {
    let key = "listener.security.protocol.map";
    let mut protocols = BTreeMap::new();
    if !fixed.is_set(key) {
        let names = reader.list("controller.listener.names");
        protocols.extend(
            names
                .into_iter()
                .map(|name| (name.to_uppercase(), "PLAINTEXT".to_owned())),
        );
    }
    let text = reader.text(key).unwrap_or_default();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let Some((name, protocol)) = item.rsplit_once(':') else {
            return Err((
                key,
                format!("{item} is no pair; allowed: NAME:PROTOCOL items, separated by commas"),
            ));
        };
        let protocol = protocol.trim().to_uppercase();
        if !PROTOCOLS.contains(&protocol.as_str()) {
            return Err((
                key,
                format!("{protocol} is no protocol; allowed: {}", PROTOCOLS.join(", ")),
            ));
        }
        protocols.insert(name.trim().to_uppercase(), protocol);
    }
    Ok(protocols)
}

fn plaintext_only(reader: &Reader<'_>, fixed: &Fixed, endpoints: &[Endpoint]) -> Check {
    let protocols = protocols(reader, fixed)?;
    for each in endpoints {
        let name = &each.name;
        match protocols.get(name).map(String::as_str) {
            Some("PLAINTEXT") => {}
            Some(other) => {
                return Err((
                    "listeners",
                    format!("{name} is {other}, which is not served yet; allowed: PLAINTEXT"),
                ));
            }
            None => {
                let problem = format!("no protocol for {name}; name it in listener.security.protocol.map");
                return Err(("listeners", problem));
            }
        }
    }
    Ok(())
}

fn advertise(
    client: Vec<Endpoint>,
    advertised: Option<Vec<Endpoint>>,
    controllers: &[String],
    fixed: &mut Fixed,
) -> Vec<Listener> {
    let names: BTreeSet<_> = client.iter().map(|each| each.name.as_str()).collect();
    let to_controllers = |each: &&Endpoint| controllers.contains(&each.name);
    for each in advertised.iter().flatten().filter(|each| !to_controllers(each)) {
        if !names.contains(each.name.as_str()) {
            fixed.refuse(
                "advertised.listeners",
                format!("{} is not among the listeners", each.name),
            );
        }
    }
    let mut listeners = Vec::new();
    for own in client {
        let told = match &advertised {
            None => Some((&own.host, own.port)),
            Some(all) => all
                .iter()
                .find(|each| each.name == own.name)
                .map(|each| (&each.host, each.port)),
        };
        if let Some((Some(host), _)) = told
            && host
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_unspecified())
        {
            let problem = format!("clients cannot reach {host}; name an address that they can route to");
            fixed.refuse("advertised.listeners", problem);
        }
        let port = |port| Some(port).filter(|port| *port != 0);
        let told = told.map(|(host, number)| Advertised {
            host: host.clone(),
            port: port(number),
        });
        listeners.push(Listener {
            name: own.name,
            host: own.host,
            port: own.port,
            advertised: told,
        });
    }
    listeners
}

fn inter_broker(reader: &Reader<'_>, fixed: &mut Fixed, client: &[Listener]) -> Option<String> {
    let by_name = reader
        .text("inter.broker.listener.name")
        .filter(|name| !name.is_empty());
    let key = match &by_name {
        Some(_) if fixed.is_set("security.inter.broker.protocol") => {
            fixed.refuse(
                "inter.broker.listener.name",
                "set this or security.inter.broker.protocol, not both",
            );
            return None;
        }
        Some(_) => "inter.broker.listener.name",
        None => "security.inter.broker.protocol",
    };
    let name = by_name
        .or_else(|| reader.text("security.inter.broker.protocol"))?
        .to_uppercase();
    let possible: Vec<_> = client
        .iter()
        .filter(|each| each.advertised.is_some())
        .map(|each| each.name.as_str())
        .collect();
    if !possible.contains(&name.as_str()) && fixed.errors.is_empty() {
        let problem = format!(
            "{name} is no advertised listener; allowed: {}",
            possible.join(", ")
        );
        fixed.refuse(key, problem);
    }
    Some(name)
}
