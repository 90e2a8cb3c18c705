//! `[listen]`: `/healthz`, `/readyz`, `/status` and `/metrics`, plain and without authentication, since probes have
//! none: the answers hold names, times and fingerprints, as the store does for everyone; no secret and no certificate.
//!
//! Bounded against anyone who connects: one request a connection, a few seconds for all of it, a few connections at a
//! time, small headers. A task in the daemon's own thread; while that one is stuck, no answer is the answer.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Facts;
use super::health::{Liveness, Readiness};
use super::metrics;
use crate::listener::Listener;

/// One more ends the oldest.
const MOST_CONNECTIONS: usize = 64;

/// From a connection's first byte to its last.
const LONGEST_CONNECTION: Duration = Duration::from_secs(10);

/// What of that a request's head may take.
const LONGEST_HEAD: Duration = Duration::from_secs(2);

/// Hyper takes no less.
const LARGEST_HEAD: usize = 8 * 1024;

const MOST_HEADERS: usize = 64;

const JSON: &str = "application/json";

/// What there is.
const PATHS: [&str; 4] = ["/healthz", "/readyz", "/status", "/metrics"];

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen.address: {address} cannot be listened on: {}. {}", source.kind(), hint(source))]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "Another process has that port (`ss -ltnp` names it): end it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "This machine has no such address: 127.0.0.1 is one, 0.0.0.0 is all of them",
        io::ErrorKind::PermissionDenied => "Ports below 1024 are for root: choose another one, such as 9464",
        _ => "Choose another address, or leave [listen] away",
    }
}

/// The server, where one is configured; it ends when dropped.
pub struct Server {
    facts: Facts,
    listening: Option<(SocketAddr, Listener)>,
}

impl Server {
    /// Listens there, if anywhere.
    pub async fn start(address: Option<SocketAddr>, facts: Facts) -> Result<Self, ListenError> {
        let mut server = Self { facts, listening: None };
        server.move_to(address).await?;
        Ok(server)
    }

    /// Listens there from now on, and nowhere else. If that is not possible, it listens where it did before.
    pub async fn move_to(&mut self, address: Option<SocketAddr>) -> Result<(), ListenError> {
        let before = self.listening.as_ref().map(|(at, _)| *at);
        if before == address {
            return Ok(());
        }
        let Some(wanted) = address else {
            self.listening = None;
            return Ok(());
        };
        // One address of a port is in the way of all of its addresses, so the old one has to make room first.
        if let Some((at, listener)) = self.listening.take_if(|(at, _)| at.port() == wanted.port()) {
            listener.stop().await;
            let moved = self.listen(wanted).await;
            if moved.is_err() && self.listen(at).await.is_err() {
                log_line!(
                    ListenLost,
                    address = %at,
                    "probes and metrics are answered no more: the port was taken meanwhile. Trust goes on; a changed \
                     configuration or a restart tries again"
                );
            }
            return moved;
        }
        self.listen(wanted).await
    }

    async fn listen(&mut self, address: SocketAddr) -> Result<(), ListenError> {
        let facts = self.facts.clone();
        let listener =
            Listener::start(address, MOST_CONNECTIONS, move |stream| connection(stream, facts.clone())).await;
        let listener = listener.map_err(|source| ListenError { address, source })?;
        log_line!(Listening, address = %listener.address(), "answers {}", PATHS.join(", "));
        self.listening = Some((address, listener));
        Ok(())
    }

    /// What the answers are made from.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

async fn connection(stream: TcpStream, facts: Facts) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&facts, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(LONGEST_HEAD)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that is slow, or breaks off, concerns only itself.
    let _ = timeout(LONGEST_CONNECTION, served).await;
}

fn answer(facts: &Facts, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !PATHS.contains(&path) {
        let error = format!("there is nothing here; there are {}", PATHS.join(", "));
        return in_json(StatusCode::NOT_FOUND, &json!({ "error": error }));
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let error = "this can only be read";
        let mut refused = in_json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": error }));
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let now = facts.clock.now();
    let alive = Liveness::of(facts.progress.stuck());
    match path {
        "/healthz" => in_json(yes_or_no(alive.healthy), &alive),
        "/status" => in_json(StatusCode::OK, &facts.status()),
        "/readyz" => {
            let readiness = Readiness::of(&facts.in_force().settings, &facts.summaries.all(), now);
            in_json(yes_or_no(readiness.ready), &readiness)
        }
        _ => {
            let text = metrics::render(&facts.in_force(), alive.healthy, &facts.summaries.all(), now);
            response(StatusCode::OK, metrics::CONTENT_TYPE, text)
        }
    }
}

fn yes_or_no(yes: bool) -> StatusCode {
    if yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn in_json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let mut text = serde_json::to_string(body).unwrap_or_default();
    text.push('\n');
    response(status, JSON, text)
}

fn response(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;
    use crate::clock::SystemClock;
    use crate::report::{Progress, Summaries};
    use crate::settings::resolved::Settings;

    async fn asked(facts: &Facts, path: &str) -> (u16, String) {
        let answer = answer(facts, &Method::GET, path);
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_gets_nowhere_is_not_healthy_and_is_named() {
        let progress = Progress::default();
        let settings = Settings {
            sources: Default::default(),
            stores: Default::default(),
            schedule: Default::default(),
            listen: None,
            plan: Default::default(),
            verify: Default::default(),
            crl: Default::default(),
        };
        let facts = Facts::new(Arc::new(SystemClock), progress.clone(), Summaries::default(), Arc::new(settings));
        progress.promise("store main", "acting", Duration::from_secs(60));
        assert_eq!(asked(&facts, "/healthz").await, (200, "{\"healthy\":true}\n".to_owned()));
        assert!(asked(&facts, "/metrics").await.1.contains("\ntrustsync_healthy 1\n"));
        tokio::time::advance(Duration::from_secs(90)).await;
        let (status, body) = asked(&facts, "/healthz").await;
        assert_eq!(status, 503);
        assert_eq!(body, "{\"healthy\":false,\"stuck\":\"store main (acting) is 30 s late\"}\n");
        assert!(asked(&facts, "/metrics").await.1.contains("\ntrustsync_healthy 0\n"));
        progress.release("store main");
        assert_eq!(asked(&facts, "/healthz").await.0, 200);
    }
}
