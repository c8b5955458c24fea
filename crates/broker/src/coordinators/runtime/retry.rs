//! How long what nobody has asked for waits when it cannot be appended.
//!
//! Always holds: longer and longer for as long as nothing can be, and the same for all who try in the meantime, so that what a
//! shard does in vain becomes less.
//!
//! Next: `loaded.rs`.

use std::time::Duration;

/// At least, at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// See the head of the file. Times are those of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Zero while nothing fails.
    wait: Duration,
    /// When it is made longer at the earliest.
    longer_from: Duration,
}

impl Retry {
    /// Something could not be appended: how long it waits, and whether that is news.
    pub(super) fn failed(&mut self, now: Duration) -> (Duration, bool) {
        let is_news = self.wait.is_zero();
        if is_news || now >= self.longer_from {
            self.wait = (2 * self.wait).clamp(WAITS.0, WAITS.1);
            self.longer_from = now.saturating_add(self.wait);
        }
        (self.wait, is_news)
    }

    /// Something could be appended.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_wait_longer_with_each_round_and_from_the_beginning_after_a_success() {
        let ms = Duration::from_millis;
        let mut retry = Retry::default();
        for (now, expected) in [
            (0, (ms(500), true)),
            (1, (ms(500), false)),
            (499, (ms(500), false)),
            (500, (ms(1_000), false)),
            (501, (ms(1_000), false)),
            (1_500, (ms(2_000), false)),
            (100_000, (ms(4_000), false)),
            (200_000, (ms(8_000), false)),
            (300_000, (ms(16_000), false)),
            (400_000, (ms(30_000), false)),
            (500_000, (ms(30_000), false)),
        ] {
            assert_eq!(retry.failed(ms(now)), expected, "{now}");
        }
        retry.succeeded();
        assert_eq!(retry.failed(ms(500_001)), (ms(500), true));
    }
}
