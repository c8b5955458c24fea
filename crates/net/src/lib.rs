//! Listeners and connections: frames in, answers out, in order.
//!
//! Always holds:
//! - a frame is charged to the node's [`RequestMemory`] by the bytes received, never by the length announced, and the
//!   charge is held as long as the frame; the first [`READ_BYTES`] are each connection's own;
//! - answers leave in the order of their requests; the next request of a connection starts when the answer before it is
//!   decided, except that requests which may overlap do so in their background stage (see [`Outcome::Parked`]);
//! - a connection is one task; while nothing arrives it holds no buffer of request size, and no lock is taken on the way
//!   of a request.
//!
//! Start with [`Service`] and [`Connection`], which the broker implements; [`server`] accepts, [`connection`] drives one
//! connection, [`output`] is what is being sent.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)
)]

mod activity;
mod admission;
mod connection;
mod frames;
mod memory;
mod output;
mod server;
mod service;
mod stop;

pub use admission::{AdmissionLimits, Refused};
pub use frames::{FrameError, Frames, READ_BYTES};
pub use memory::{Charge, RequestMemory};
pub use output::{Output, Piece};
pub use server::{Server, ServerConfig};
pub use service::{Connection, ConnectionInfo, Frame, NetMetrics, Outcome, Overlap, Pending, Service};
pub use stop::Stopping;
