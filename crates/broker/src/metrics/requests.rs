//! Requests by API: how many, how long in which phase, and with which errors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use klamm_env::Env;
use klamm_model::ErrorCode;
use klamm_protocol::ApiKey;

use super::errors::ErrorCodes;
use super::timing::Timing;
use crate::api_table;

/// Codes begin at −1, so a code stands one further.
const CODES_BELOW_ZERO: i16 = 1;

/// Where a request was when: on the monotonic clock.
///
/// *Queue* is from the arrival of its last byte to the start of its handling, *remote* is what it waited for others (for
/// replicas and the device, for records, for the controller), *local* is the rest until the answer is decided.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phases {
    received: Duration,
    begun: Duration,
    waited: Duration,
    waits_since: Option<Duration>,
}

/// The lengths of the phases of a request that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lengths {
    queue: Duration,
    local: Duration,
    /// `None` if it never waited.
    remote: Option<Duration>,
}

impl Phases {
    /// Handling begins now; of a fresh request nothing was done since it was received, and no clock is looked at.
    pub(crate) fn begin(env: &Env, received: Duration, is_fresh: bool) -> Self {
        let begun = if is_fresh { received } else { env.monotonic() };
        Self {
            received,
            begun,
            ..Self::default()
        }
    }

    /// From now on the request waits for others, until [`Phases::resume`] or its end.
    pub(crate) fn wait(&mut self, env: &Env) {
        self.waits_since.get_or_insert_with(|| env.monotonic());
    }

    /// The wait is over, if there was one.
    pub(crate) fn resume(&mut self, env: &Env) {
        if let Some(since) = self.waits_since.take() {
            self.waited += env.monotonic().saturating_sub(since);
        }
    }

    fn lengths(&self, end: Duration) -> Lengths {
        let waits = self
            .waits_since
            .map_or(Duration::ZERO, |since| end.saturating_sub(since));
        let remote = self.waited + waits;
        Lengths {
            queue: self.begun.saturating_sub(self.received),
            local: end.saturating_sub(self.begun).saturating_sub(remote),
            remote: (remote > Duration::ZERO || self.waits_since.is_some()).then_some(remote),
        }
    }
}

/// Requests by API.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    /// By the number of the API.
    by_number: Vec<Option<Box<ApiMetrics>>>,
    /// Requests of APIs that are not served.
    pub(super) unknown: AtomicU64,
}

/// One API's requests.
#[derive(Debug)]
pub(super) struct ApiMetrics {
    pub(super) queue: Timing,
    pub(super) local: Timing,
    pub(super) remote: Timing,
    pub(super) send: Timing,
    /// Requests that ended their connection.
    pub(super) faults: AtomicU64,
    /// Error codes in answers, by number.
    errors: Vec<AtomicU64>,
}

impl Default for ApiMetrics {
    fn default() -> Self {
        let codes = ErrorCode::ALL.iter().map(|code| code.code()).max().unwrap_or(0) + CODES_BELOW_ZERO + 1;
        Self {
            queue: Timing::default(),
            local: Timing::default(),
            remote: Timing::default(),
            send: Timing::default(),
            faults: AtomicU64::new(0),
            errors: (0..codes).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl ApiMetrics {
    fn count_error(&self, code: i16) {
        if code != ErrorCode::None.code()
            && let Some(counter) = usize::try_from(code + CODES_BELOW_ZERO)
                .ok()
                .and_then(|at| self.errors.get(at))
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The codes that were answered, and how often.
    pub(super) fn errors(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        let counted = ErrorCode::ALL.iter().filter_map(|code| {
            let at = usize::try_from(code.code() + CODES_BELOW_ZERO).ok()?;
            Some((*code, self.errors.get(at)?.load(Ordering::Relaxed)))
        });
        counted.filter(|(_, count)| *count > 0)
    }
}

impl Default for RequestMetrics {
    fn default() -> Self {
        let mut by_number = Vec::new();
        for row in api_table::ROWS {
            let at = place(row.api).expect("numbers of APIs are not negative");
            by_number.resize_with(by_number.len().max(at + 1), || None);
            by_number[at] = Some(Box::default());
        }
        Self {
            by_number,
            unknown: AtomicU64::new(0),
        }
    }
}

fn place(api: ApiKey) -> Option<usize> {
    usize::try_from(api.to_i16()).ok()
}

impl RequestMetrics {
    pub(super) fn of(&self, api: ApiKey) -> Option<&ApiMetrics> {
        self.by_number.get(place(api)?)?.as_deref()
    }

    /// A request was answered, or needs no answer.
    pub(crate) fn served(&self, api: ApiKey, env: &Env, phases: Phases) {
        if let Some(metrics) = self.of(api) {
            let lengths = phases.lengths(env.monotonic());
            metrics.queue.record(lengths.queue);
            metrics.local.record(lengths.local);
            if let Some(remote) = lengths.remote {
                metrics.remote.record(remote);
            }
        }
    }

    /// The last byte of an answer of the API with this number was given to the system, so long after the socket first took
    /// no more.
    pub(super) fn sent(&self, api_key: i16, took: Duration) {
        if let Some(metrics) = api_table::row(api_key).and_then(|row| self.of(row.api)) {
            metrics.send.record(took);
        }
    }

    /// Counts the error codes of an answer.
    pub(crate) fn answered(&self, api: ApiKey, response: &impl ErrorCodes) {
        if let Some(metrics) = self.of(api) {
            response.each_error_code(&mut |code| metrics.count_error(code));
        }
    }

    /// A request ended its connection; its API is the one with this number, served or not.
    pub(crate) fn faulted(&self, api_key: i16) {
        match api_table::row(api_key).and_then(|row| self.of(row.api)) {
            Some(metrics) => &metrics.faults,
            None => &self.unknown,
        }
        .fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use klamm_protocol::messages::MetadataResponse;
    use klamm_protocol::messages::metadata_response::MetadataResponseTopic;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn phases_add_up() {
        let begun = Phases {
            received: ms(10),
            begun: ms(13),
            ..Phases::default()
        };
        for (waited, waits_since, local, remote) in [
            (0, None, 7, None),
            (2, None, 5, Some(2)),
            (0, Some(15), 2, Some(5)),
            (2, Some(19), 4, Some(3)),
            (0, Some(20), 7, Some(0)),
        ] {
            let phases = Phases {
                waited: ms(waited),
                waits_since: waits_since.map(ms),
                ..begun
            };
            let expected = Lengths {
                queue: ms(3),
                local: ms(local),
                remote: remote.map(ms),
            };
            assert_eq!(phases.lengths(ms(20)), expected, "{waited} {waits_since:?}");
        }
    }

    #[test]
    fn errors_are_counted_by_api_and_code() {
        let requests = RequestMetrics::default();
        let topic = |code: ErrorCode| MetadataResponseTopic {
            error_code: code.code(),
            ..Default::default()
        };
        let response = MetadataResponse {
            topics: vec![
                topic(ErrorCode::None),
                topic(ErrorCode::UnknownTopicOrPartition),
                topic(ErrorCode::UnknownTopicOrPartition),
                topic(ErrorCode::UnknownServerError),
            ],
            error_code: 32_000,
            ..Default::default()
        };
        requests.answered(ApiKey::Metadata, &response);
        let metrics = requests.of(ApiKey::Metadata).unwrap();
        let counted: Vec<_> = metrics.errors().collect();
        assert_eq!(
            counted,
            [
                (ErrorCode::UnknownServerError, 1),
                (ErrorCode::UnknownTopicOrPartition, 2)
            ],
            "a code that nobody knows is not counted"
        );
        requests.faulted(ApiKey::Metadata.to_i16());
        requests.faulted(9_999);
        assert_eq!(metrics.faults.load(Ordering::Relaxed), 1);
        assert_eq!(requests.unknown.load(Ordering::Relaxed), 1);
    }
}
