//! Metrics and health over HTTP, for monitoring and orchestration: `/metrics`, `/healthz`, `/readyz`.
//!
//! Always holds: it listens before the node starts, so that a long recovery is seen as *not ready* and not as *dead*, and
//! until the process ends; nothing that is asked here changes anything; connections are bounded ([`bounded`]).
//!
//! What is told comes from `klamm_broker::Observer`.
#![expect(
    clippy::disallowed_types,
    reason = "an edge of the binary, which no simulation runs: axum has a listener of its own"
)]

mod bounded;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use klamm_broker::Observer;
use klamm_config::BrokerConfig;
use klamm_env::Env;
use serde_json::json;
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use self::bounded::Bounded;
use crate::failure::Hinted;

const KEY: &str = "klamm.http.listener";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";

/// A server that listens.
pub(crate) struct HttpServer {
    address: SocketAddr,
    seen: Arc<Seen>,
}

/// What there is to tell.
#[derive(Default)]
struct Seen {
    observer: OnceLock<Observer>,
    is_stopping: AtomicBool,
}

/// Listens at `klamm.http.listener`, if it is not turned off. That nobody can listen there stops the start only if the
/// key was set: by default, a second node on one machine shall start as well.
pub(crate) async fn start(env: &Env, config: &BrokerConfig) -> anyhow::Result<Option<HttpServer>> {
    let Some(wanted) = &config.net.http_listener else {
        return Ok(None);
    };
    let bound = TcpListener::bind((wanted.host.as_str(), wanted.port)).await;
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = match bound {
        Ok(bound) => bound,
        Err(error) if config.fixed.contains_key(KEY) => {
            let hint =
                format!("klamm serve --set {KEY}=127.0.0.1:0 takes a free port; set to nothing, it is off");
            return Err(Hinted::error(
                format!("{KEY}={wanted}: cannot listen there: {error}"),
                hint,
            ));
        }
        Err(error) => {
            warn!(
                address = %wanted, %error,
                "no metrics and health over HTTP: cannot listen; set {KEY} to a free address, or to nothing"
            );
            return Ok(None);
        }
    };
    let seen = Arc::new(Seen::default());
    let app = routes(seen.clone());
    env.spawn(async move {
        if let Err(error) = axum::serve(Bounded::new(listener), app).await {
            error!(%error, "metrics and health over HTTP ended");
        }
    });
    info!(%address, "metrics and health");
    Ok(Some(HttpServer { address, seen }))
}

impl HttpServer {
    /// The address that is listened at, with the port that was found for 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The node has started.
    pub(crate) fn started(&self, observer: Observer) {
        // Once a process: a second node would not be told of.
        let _ = self.seen.observer.set(observer);
    }

    /// The node is about to end: it is not ready any more, though it works.
    pub(crate) fn stopping(&self) {
        self.seen.is_stopping.store(true, Ordering::Release);
    }
}

fn routes(seen: Arc<Seen>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(seen)
}

async fn metrics(State(seen): State<Arc<Seen>>) -> Response {
    match seen.observer.get() {
        Some(observer) => ([(header::CONTENT_TYPE, OPENMETRICS)], observer.metrics().await).into_response(),
        // An empty page is one that a scraper accepts.
        None => ([(header::CONTENT_TYPE, OPENMETRICS)], "# EOF\n").into_response(),
    }
}

async fn healthz(State(seen): State<Arc<Seen>>) -> Response {
    let failures = seen.observer.get().map(|observer| observer.health().failures);
    verdict("healthy", "unhealthy", &failures.unwrap_or_default())
}

async fn readyz(State(seen): State<Arc<Seen>>) -> Response {
    let obstacles = match seen.observer.get() {
        _ if seen.is_stopping.load(Ordering::Acquire) => vec!["the node is stopping".to_owned()],
        Some(observer) => observer.health().obstacles,
        None => vec!["the node is starting".to_owned()],
    };
    verdict("ready", "not ready", &obstacles)
}

fn verdict(good: &str, bad: &str, reasons: &[String]) -> Response {
    let (code, status) = match reasons {
        [] => (StatusCode::OK, good),
        _ => (StatusCode::SERVICE_UNAVAILABLE, bad),
    };
    let body = json!({ "status": status, "reasons": reasons }).to_string();
    (code, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use klamm_config::Sources;
    use klamm_config::broker::HostPort;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn config(set: &[(&str, &str)]) -> BrokerConfig {
        let sources = Sources {
            set: set
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            data_folder: "/nowhere".into(),
            ..Sources::default()
        };
        BrokerConfig::load(&sources).unwrap().0
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_node_that_starts_works_and_is_not_ready() {
        let server = start(&Env::real(), &config(&[(KEY, "127.0.0.1:0")]))
            .await
            .unwrap()
            .unwrap();
        for (path, status, body) in [
            ("/healthz", "200 OK", r#"{"reasons":[],"status":"healthy"}"#),
            (
                "/readyz",
                "503 Service Unavailable",
                r#"{"reasons":["the node is starting"],"status":"not ready"}"#,
            ),
            ("/metrics", "200 OK", "# EOF\n"),
            ("/", "404 Not Found", ""),
        ] {
            let answer = ask(server.address(), path).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{path}: {answer}"
            );
            assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{path}: {answer}");
        }
        server.stopping();
        assert!(
            ask(server.address(), "/readyz")
                .await
                .contains("the node is stopping")
        );
    }

    #[tokio::test]
    async fn a_taken_address_stops_the_start_only_if_the_key_was_set() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let text = format!("127.0.0.1:{port}");
        let error = start(&Env::real(), &config(&[(KEY, &text)])).await.err().unwrap();
        let words = format!("{KEY}={text}: cannot listen there: Address already in use");
        assert!(error.to_string().starts_with(&words), "{error}");
        let mut default = config(&[]);
        default.net.http_listener = HostPort::parse(&text);
        assert!(start(&Env::real(), &default).await.unwrap().is_none());
        assert!(
            start(&Env::real(), &config(&[(KEY, "")]))
                .await
                .unwrap()
                .is_none(),
            "it is turned off"
        );
    }
}
