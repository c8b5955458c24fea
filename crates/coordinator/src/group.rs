//! Groups of consumers: their members, what these are assigned, and the offsets they have committed.
//!
//! Next: [`record`] for what is recorded.

pub mod record;

pub use record::GroupRecord;
