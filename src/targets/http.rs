//! One request to a server on this machine (or elsewhere, by https), over TCP or a Unix socket: a reload, or a
//! question. No redirect is followed, no proxy asked, no connection used twice; the answer is read up to a bound.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use reqwest::Method;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::http_client::{causes, is_loopback};
use crate::targets::endpoint::Endpoint;

/// An answer of any status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 100 to 599.
    pub status: u16,
    /// As they came, each as often as it came.
    pub headers: HeaderMap,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The URL is plain HTTP to another machine.
    #[error("{url} is refused: without TLS it must name a loopback address")]
    NotLoopback {
        /// Without user, password and query.
        url: String,
    },
    /// No answer came, or not in time.
    #[error("{url} brought no answer ({reason})")]
    NoAnswer {
        /// Without user, password and query.
        url: String,
        /// The error of each layer, from the outer to the inner.
        reason: String,
    },
}

/// Asks at one place, each time by a connection of its own.
#[derive(Debug, Clone)]
pub struct Asker {
    endpoint: Endpoint,
    client: Option<reqwest::Client>,
}

impl Asker {
    /// An error for an endpoint that must not or cannot be asked.
    pub fn of(endpoint: &Endpoint) -> Result<Self, HttpError> {
        let client = match endpoint {
            Endpoint::Unix { .. } => None,
            Endpoint::Url(url) if url.scheme() == "https" || url.scheme() == "http" && is_loopback(url) => {
                let no_answer = |reason| HttpError::NoAnswer { url: endpoint.to_string(), reason };
                Some(client(url.scheme() == "https").map_err(no_answer)?)
            }
            Endpoint::Url(_) => return Err(HttpError::NotLoopback { url: endpoint.to_string() }),
        };
        Ok(Self { endpoint: endpoint.clone(), client })
    }

    /// The same at a path below this one, which costs nothing.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let endpoint = match &self.endpoint {
            Endpoint::Url(url) => {
                let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
                let mut url = url.clone();
                let base = url.path().trim_end_matches('/').to_owned();
                url.set_path(&format!("{base}/{path}"));
                url.set_query(query);
                Endpoint::Url(url)
            }
            Endpoint::Unix { socket, path: base } => {
                Endpoint::Unix { socket: socket.clone(), path: format!("{}/{path}", base.trim_end_matches('/')) }
            }
        };
        Self { endpoint, client: self.client.clone() }
    }

    /// One request, and the answer with up to `kept` bytes of its body, all within `limit`.
    pub async fn ask(&self, method: Method, limit: Duration, kept: usize) -> Result<Answer, HttpError> {
        let asked = timeout(limit, async {
            match (&self.client, &self.endpoint) {
                (Some(client), Endpoint::Url(url)) => {
                    let request = client.request(method, url.clone()).send().await;
                    Ok(Answer::of(request.map_err(with_causes)?, kept).await)
                }
                (_, Endpoint::Unix { socket, path }) => {
                    let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
                    over_unix(stream, method, path, kept).await
                }
                (None, Endpoint::Url(_)) => Err("no client".to_owned()),
            }
        });
        let answered = asked.await.unwrap_or_else(|_| Err(format!("none within {} seconds", limit.as_secs_f32())));
        answered.map_err(|reason| HttpError::NoAnswer { url: self.endpoint.to_string(), reason })
    }
}

impl Answer {
    /// Reads the body as far as it is kept; one that breaks off is as long as it came.
    async fn of(mut response: reqwest::Response, kept: usize) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while body.len() < kept
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend(chunk.iter().take(kept.saturating_sub(body.len())));
        }
        Self { status, headers, body }
    }
}

async fn over_unix(stream: UnixStream, method: Method, path: &str, kept: usize) -> Result<Answer, String> {
    let said = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("user-agent", "trustsync")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(said)?;
        Ok(Answer::of(response.map(reqwest::Body::wrap).into(), kept).await)
    };
    // The connection is driven beside the answer; what ends it while there is none yet, the answer says itself.
    let driven = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answer => answer,
        never = driven => never,
    }
}

fn client(with_roots: bool) -> Result<reqwest::Client, String> {
    let mut roots = RootCertStore::empty();
    if with_roots {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .map_err(|error| error.to_string())
}

fn with_causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut texts: Vec<String> = causes(&error).map(ToString::to_string).collect();
    // An `io::Error` has the text of what it wraps.
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn paths_below_keep_what_stands_before_them() {
        let of =
            |text: &str| match Asker::of(&Endpoint::parse(text).unwrap()).unwrap().below("dump?resource=x").endpoint {
                Endpoint::Url(url) => url.to_string(),
                Endpoint::Unix { socket, path } => format!("{} {path}", socket.display()),
            };
        assert_eq!(of("http://127.0.0.1:9901"), "http://127.0.0.1:9901/dump?resource=x");
        assert_eq!(of("http://127.0.0.1:9901/"), "http://127.0.0.1:9901/dump?resource=x");
        assert_eq!(of("https://edge/admin"), "https://edge/admin/dump?resource=x");
        assert_eq!(of("unix:/run/envoy.sock"), "/run/envoy.sock /dump?resource=x");
    }
}
