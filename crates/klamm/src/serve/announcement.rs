//! What `klamm serve` prints when clients can use it: where the node is, and what to do first.
//!
//! Always holds: the commands reach this node from the machine that it runs on, in the shell of whoever reads them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use klamm_client::address::DEFAULT_PORT;

use super::invocation::{Invocation, quoted};

/// What there is to say.
pub(super) struct Announcement {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) cluster: String,
    /// The log dirs.
    pub(super) data: String,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) invocation: Invocation,
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(SocketAddr::to_string).collect();
        writeln!(
            f,
            "Klamm {} is listening on {}",
            env!("CARGO_PKG_VERSION"),
            addresses.join(", ")
        )?;
        writeln!(f, "  cluster  {}", self.cluster)?;
        writeln!(f, "  data     {}", self.data)?;
        if let Some(address) = self.metrics {
            writeln!(f, "  metrics  http://{address}/metrics")?;
        }
        let bootstrap = self.addresses.first().copied().and_then(bootstrap);
        let bootstrap = bootstrap.map_or_else(String::new, |address| format!(" -b {address}"));
        let klamm = &self.invocation.command;
        match &self.invocation.folder {
            Some(folder) => writeln!(f, "\nIn another shell, in {}:", quoted(&folder.to_string_lossy()))?,
            None => writeln!(f, "\nIn another shell:")?,
        }
        writeln!(f, "  {klamm} topic create greetings{bootstrap}")?;
        writeln!(f, "  echo hello | {klamm} produce greetings{bootstrap}")?;
        writeln!(f, "  {klamm} consume greetings --from beginning{bootstrap}")
    }
}

/// What `-b` must say on this machine to reach a listener; `None` where commands go to without it.
fn bootstrap(mut listener: SocketAddr) -> Option<SocketAddr> {
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listener.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listener.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    (listener != SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))).then_some(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_listener_unless_they_find_it_anyway() {
        let cases = [
            ("127.0.0.1:9092", None),
            ("0.0.0.0:9092", None),
            ("127.0.0.1:9093", Some("127.0.0.1:9093")),
            ("0.0.0.0:9093", Some("127.0.0.1:9093")),
            ("192.0.2.1:9092", Some("192.0.2.1:9092")),
            ("[::]:9092", Some("[::1]:9092")),
            ("[2001:db8::1]:9092", Some("[2001:db8::1]:9092")),
        ];
        for (listener, expected) in cases {
            let seen = bootstrap(listener.parse().unwrap());
            assert_eq!(seen, expected.map(|text| text.parse().unwrap()), "{listener}");
        }
    }

    #[test]
    fn everything_is_said() {
        let announcement = Announcement {
            addresses: vec!["0.0.0.0:7".parse().unwrap(), "[::1]:8".parse().unwrap()],
            cluster: "C".into(),
            data: "/d".into(),
            metrics: Some("127.0.0.1:9".parse().unwrap()),
            invocation: Invocation {
                command: "target/klamm".into(),
                folder: Some("/my src".into()),
            },
        };
        let expected = "Klamm VERSION is listening on 0.0.0.0:7, [::1]:8
  cluster  C
  data     /d
  metrics  http://127.0.0.1:9/metrics

In another shell, in '/my src':
  target/klamm topic create greetings -b 127.0.0.1:7
  echo hello | target/klamm produce greetings -b 127.0.0.1:7
  target/klamm consume greetings --from beginning -b 127.0.0.1:7
";
        let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(announcement.to_string(), expected);
    }
}
