//! Keys of a subscription to client metrics (KIP-714).
//!
//! Always holds: no broker key stands behind them.
//! Next: `alter/client_metrics.rs`.

use super::keys;
use super::reasons::NO_TELEMETRY;
use crate::key::{Key, Scope};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::ClientMetrics;
    Int "interval.ms" = "300000", ms, not_served(NO_TELEMETRY);
        "Interval at which clients push metrics."
    List "match" = "", items(&[]), not_served(NO_TELEMETRY);
        "Clients that are asked: PARAMETER=PATTERN, separated by commas."
    List "metrics" = "", items(&[]), not_served(NO_TELEMETRY);
        "Metrics that are asked for: name prefixes, separated by commas; * for all."
};
