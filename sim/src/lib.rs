//! Proofs of durability: clients that keep books, a broker that is ended at random moments, checkers that compare.
//!
//! Always holds: the clients speak the protocol with code of their own (`wire`), and the checkers know nothing but the
//! [`History`] that the clients wrote; so what they find does not rest on what they check. The clients run in any
//! [`klamm_env::Env`]: in the simulator ([`scenario`]) and against a process on this machine (`interop/kill`).
//!
//! Start with [`scenario`] for what happens to the broker, [`producer`] and [`observer`] for what the clients do, and
//! [`checkers`] for what must hold. [`work`] is the same for groups and transactions: other clients, other books, other rules.
//! [`exactly_once`] judges what real clients wrote down of their transactions.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod checkers;
pub mod exactly_once;
pub mod golden;
pub mod history;
pub mod observer;
pub mod payload;
pub mod places;
pub mod producer;
pub mod scenario;
mod stage;
pub mod topics;
pub mod wire;
pub mod work;

pub use checkers::{Violation, check};
pub use history::{Books, History};
pub use places::Places;
