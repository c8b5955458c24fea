//! How many connections are let in: in all, and from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use parking_lot::Mutex;

/// The limits; `max.connections`, `max.connections.per.ip` and its overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// In all.
    pub max: usize,
    /// From one address.
    pub max_per_address: usize,
    /// From these addresses instead.
    pub overrides: BTreeMap<IpAddr, usize>,
}

/// Why a connection was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The broker has as many as it may.
    #[error("{0} connections are open (max.connections)")]
    Full(usize),
    /// The address has as many as it may.
    #[error("{address} has {open} connections (max.connections.per.ip)")]
    Address {
        /// Whose connections.
        address: IpAddr,
        /// How many it has.
        open: usize,
    },
}

/// Counts the open connections.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Mutex<AdmissionLimits>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits: Mutex::new(limits),
            open: Mutex::default(),
        }
    }

    /// Changes the limits; connections that are open stay.
    pub(crate) fn limit(&self, limits: AdmissionLimits) {
        *self.limits.lock() = limits;
    }

    /// Lets a connection from `address` in; [`Admission::leave`] must follow.
    pub(crate) fn enter(&self, address: IpAddr) -> Result<(), Refused> {
        let limits = self.limits.lock();
        let mut open = self.open.lock();
        if open.all >= limits.max {
            return Err(Refused::Full(open.all));
        }
        let limit = limits
            .overrides
            .get(&address)
            .copied()
            .unwrap_or(limits.max_per_address);
        let of_address = open.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= limit {
            return Err(Refused::Address {
                address,
                open: of_address,
            });
        }
        open.all += 1;
        *open.by_address.entry(address).or_default() += 1;
        Ok(())
    }

    /// A connection from `address` has ended.
    pub(crate) fn leave(&self, address: IpAddr) {
        let mut open = self.open.lock();
        open.all = open.all.saturating_sub(1);
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_in_all_and_by_address() {
        let a: IpAddr = "10.0.0.1".parse().unwrap();
        let b: IpAddr = "10.0.0.2".parse().unwrap();
        let c: IpAddr = "::1".parse().unwrap();
        let limits = AdmissionLimits {
            max: 4,
            max_per_address: 2,
            overrides: [(b, 1)].into(),
        };
        let admission = Admission::new(limits);
        assert_eq!(admission.enter(a), Ok(()));
        assert_eq!(admission.enter(a), Ok(()));
        assert_eq!(admission.enter(a), Err(Refused::Address { address: a, open: 2 }));
        assert_eq!(admission.enter(b), Ok(()));
        assert_eq!(admission.enter(b), Err(Refused::Address { address: b, open: 1 }));
        assert_eq!(admission.enter(c), Ok(()));
        assert_eq!(admission.enter(c), Err(Refused::Full(4)));
        admission.leave(a);
        assert_eq!(admission.enter(c), Ok(()));
    }
}
