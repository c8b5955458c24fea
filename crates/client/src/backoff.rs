//! How long to wait between attempts, and when to give up.

use std::time::Duration;

use klamm_env::Env;

/// The first pause.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after `failures` attempts in a row: doubled each time, and up to a quarter shorter, as drawn, so that many
/// clients do not come back at the same moment.
pub(crate) fn pause(env: &Env, failures: u32) -> Duration {
    let whole = FIRST_PAUSE
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST_PAUSE);
    let quarter = u64::try_from(whole.as_micros() / 4).unwrap_or(u64::MAX).max(1);
    whole - Duration::from_micros(env.random_u64() % quarter)
}

/// The attempts of one call.
pub(crate) struct Retry {
    env: Env,
    deadline: Duration,
    failures: u32,
}

impl Retry {
    /// Attempts that end after `limit`.
    pub(crate) fn within(env: &Env, limit: Duration) -> Self {
        Self {
            env: env.clone(),
            deadline: env.monotonic().saturating_add(limit),
            failures: 0,
        }
    }

    /// Waits before the next attempt; `false`, at once, when there is no time for one.
    pub(crate) async fn again(&mut self) -> bool {
        self.failures += 1;
        let pause = pause(&self.env, self.failures);
        if self.env.monotonic().saturating_add(pause) >= self.deadline {
            return false;
        }
        self.env.sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_env::sim::World;

    #[test]
    fn pauses_double_up_to_a_second() {
        let env = World::new(1).env("client");
        let cases = [(1, 50), (2, 100), (3, 200), (5, 800), (6, 1000), (60, 1000)];
        for (failures, most_ms) in cases {
            let pause = pause(&env, failures);
            let most = Duration::from_millis(most_ms);
            assert!(pause <= most && pause >= most * 3 / 4, "{failures}: {pause:?}");
        }
    }
}
