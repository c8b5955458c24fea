//! A client's connection, made again when it breaks.
//!
//! Always holds: a request that was sent and not answered may have been carried out; whoever asks decides whether to ask again.

use std::time::Duration;

use klamm_env::Env;
use klamm_model::ErrorCode;
use klamm_protocol::Request;

use super::ledger::Ledger;
use crate::stage;
use crate::wire::Wire;

/// How long a client waits before it tries again.
pub(crate) const BACKOFF: Duration = Duration::from_millis(20);
/// Attempts after which a client that insists says that it does not get on.
const ATTEMPTS: u32 = 2_000;

/// There is no answer, nor will there be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// See the head of the file.
pub(crate) struct Line {
    pub(crate) env: Env,
    pub(crate) ledger: Ledger,
    client_id: String,
    wire: Option<Wire>,
}

impl Line {
    pub(crate) fn new(env: &Env, ledger: &Ledger, client_id: &str) -> Self {
        Self {
            env: env.clone(),
            ledger: ledger.clone(),
            client_id: client_id.to_owned(),
            wire: None,
        }
    }

    /// Asks once.
    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, Lost> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => match Wire::open(&self.env, &stage::address(), &self.client_id).await {
                Ok(wire) => wire,
                Err(_) => return self.lost().await,
            },
        };
        match wire.ask(version, request).await {
            Ok(answer) => {
                self.wire = Some(wire);
                Ok(answer)
            }
            Err(error) => {
                if error.is_fault() {
                    self.fault(format_args!("{error}"));
                }
                self.lost().await
            }
        }
    }

    /// Asks until there is an answer that does not tell to try again.
    pub(crate) async fn insist<R: Request>(
        &mut self,
        (api, version): (&'static str, i16),
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<(R::Response, ErrorCode), Lost> {
        for _ in 0..ATTEMPTS {
            let Ok(answer) = self.ask(version, request).await else {
                continue;
            };
            match ErrorCode::from_code(code(&answer)) {
                Some(again) if again.is_retriable() => {
                    self.ledger.refused(api, again);
                    self.env.sleep(BACKOFF).await;
                }
                Some(code) => return Ok((answer, code)),
                None => {
                    self.fault(format_args!("{api} is answered with error {}", code(&answer)));
                    return Err(Lost);
                }
            }
        }
        self.fault(format_args!("{api} gets no answer"));
        Err(Lost)
    }

    /// Without a word, as a client that dies.
    pub(crate) fn cut(&mut self) {
        self.wire = None;
    }

    pub(crate) fn fault(&self, what: std::fmt::Arguments<'_>) {
        self.ledger.fault(format!("{}: {what}", self.client_id));
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&self, n: u64) -> bool {
        self.env.random_u64().is_multiple_of(n)
    }

    /// Waits for at most so long.
    pub(crate) async fn idle(&self, most_ms: u64) {
        let ms = self.env.random_u64() % most_ms;
        self.env.sleep(Duration::from_millis(ms)).await;
    }

    async fn lost<T>(&mut self) -> Result<T, Lost> {
        self.env.sleep(BACKOFF).await;
        Err(Lost)
    }
}
