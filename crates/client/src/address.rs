//! Where a broker listens.

use std::fmt;
use std::str::FromStr;

/// The port that Kafka's clients assume.
pub const DEFAULT_PORT: u16 = 9092;

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address of a broker: write HOST:PORT, or [ADDRESS]:PORT for IPv6")]
pub struct InvalidAddress(String);

impl HostPort {
    /// The addresses in a list with commas, as `bootstrap.servers` has it.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, InvalidAddress> {
        let parts: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect();
        if parts.is_empty() {
            return Err(InvalidAddress(text.to_owned()));
        }
        parts.into_iter().map(str::parse).collect()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = InvalidAddress;

    /// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.chars().take(256).collect());
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(invalid)?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or_else(invalid)?),
                };
                (host, port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_bad = |c: char| c.is_whitespace() || matches!(c, '/' | '@' | '[' | ']');
        if host.is_empty() || host.contains(is_bad) {
            return Err(invalid());
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(invalid()),
            },
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let cases = [
            ("localhost:9092", Some(("localhost", 9092, "localhost:9092"))),
            ("broker", Some(("broker", 9092, "broker:9092"))),
            ("127.0.0.1:1", Some(("127.0.0.1", 1, "127.0.0.1:1"))),
            ("[::1]:9093", Some(("::1", 9093, "[::1]:9093"))),
            ("[::1]", Some(("::1", 9092, "[::1]:9092"))),
            ("", None),
            (":9092", None),
            ("a:", None),
            ("a:0", None),
            ("a:70000", None),
            ("a b:1", None),
            ("http://a:1", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]9092", None),
        ];
        for (text, expected) in cases {
            let parsed = text.parse::<HostPort>().ok();
            let seen = parsed.as_ref().map(|a| (a.host.as_str(), a.port, a.to_string()));
            let expected = expected.map(|(host, port, shown)| (host, port, shown.to_owned()));
            assert_eq!(seen, expected, "{text}");
        }
    }

    #[test]
    fn a_list_may_have_blanks_and_must_have_an_address() {
        let list = HostPort::parse_list("a:1, b:2,").unwrap();
        assert_eq!(list.iter().map(|a| a.port).collect::<Vec<_>>(), [1, 2]);
        assert!(HostPort::parse_list(" , ").is_err());
        assert!(HostPort::parse_list("a:1,b:x").is_err());
    }
}
