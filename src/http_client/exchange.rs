//! One exchange: how long each of its phases may take, and why no whole answer came.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, LOCATION};
use reqwest::{RequestBuilder, Response, StatusCode};
use rustls::CertificateError;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;
use url::Url;

use super::Limits;
use crate::trust::values::timestamp::span;

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// [`Limits::connect`].
    Connect,
    /// [`Limits::read`], before the answer's head.
    Head,
    /// [`Limits::read`], within its body.
    Body,
    /// [`Limits::whole`].
    Whole,
    /// The caller's own deadline.
    Deadline,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting took longer than the limit of",
            Self::Head => "no answer began within",
            Self::Body => "the answer's body stood still for",
            Self::Whole => "the whole answer took longer than the limit of",
            Self::Deadline => "the run's deadline was reached, which left for this request",
        })
    }
}

/// The limits of one request, from its beginning.
pub(crate) struct Stopwatch {
    started: Instant,
    /// The caller's deadline.
    ends: Instant,
    limits: Limits,
}

impl Stopwatch {
    /// The request begins now.
    pub fn start(ends: Instant, limits: Limits) -> Self {
        Self { started: Instant::now(), ends, limits }
    }

    /// Sends a request and waits for the answer's head.
    pub async fn send(&self, request: RequestBuilder) -> Result<reqwest::Result<Response>, Transport> {
        // The head's limit begins with the connection, which has its own.
        let limit = self.limits.connect.saturating_add(self.limits.read);
        self.within(Phase::Head, limit, request.send()).await
    }

    /// Reads a body in the pieces in which it comes; stops at `limit` whatever the server has announced or still sends.
    /// On failure, why, and what had come until then.
    pub async fn read(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, (Stop, Vec<u8>)> {
        let announced = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
        if announced > limit {
            return Err((Stop::Full, Vec::new()));
        }
        let mut body = Vec::with_capacity(announced);
        loop {
            match self.within(Phase::Body, self.limits.read, response.chunk()).await {
                Err(late) => return Err((Stop::Late(late), body)),
                Ok(Err(error)) => return Err((Stop::Broken { received: body.len(), is_cut: broke_off(&error) }, body)),
                Ok(Ok(None)) => return Ok(body),
                Ok(Ok(Some(piece))) if body.len().saturating_add(piece.len()) > limit => {
                    return Err((Stop::Full, body));
                }
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
            }
        }
    }

    /// Waits for `work` until the first of its own limit, the request's and the caller's deadline, and names which it
    /// was.
    async fn within<T>(&self, phase: Phase, limit: Duration, work: impl Future<Output = T>) -> Result<T, Transport> {
        let now = Instant::now();
        let own = (now.checked_add(limit), phase, limit);
        let whole = (self.started.checked_add(self.limits.whole), Phase::Whole, self.limits.whole);
        let deadline = (Some(self.ends), Phase::Deadline, self.ends.saturating_duration_since(self.started));
        let first = [own, whole, deadline]
            .into_iter()
            .filter_map(|(at, phase, after)| Some((at?, phase, after)))
            .min_by_key(|(at, ..)| *at);
        match first {
            Some((at, phase, after)) => timeout_at(at, work).await.map_err(|_| Transport::TimedOut { phase, after }),
            None => Ok(work.await),
        }
    }
}

/// Why a body was not read to its end.
pub(crate) enum Stop {
    /// A limit of time.
    Late(Transport),
    /// The limit of bytes.
    Full,
    /// The connection ended before the body did, or its framing is broken.
    Broken { received: usize, is_cut: bool },
}

/// Where an answer redirects to, if it does; nowhere without a usable Location.
pub(crate) fn redirect(response: &Response, asked: &Url) -> Option<Option<Url>> {
    let status = response.status();
    let target = || asked.join(response.headers().get(LOCATION)?.to_str().ok()?).ok();
    (status.is_redirection() && status != StatusCode::NOT_MODIFIED).then(target)
}

/// The encoding of an answer's body, of which none was asked for: nothing is ever decompressed.
pub(crate) fn unasked_encoding(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .find(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"))
}

/// Why no whole answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Transport {
    /// A limit was reached.
    #[error("{phase} {}", span(*.after))]
    TimedOut {
        /// The limit that was reached.
        phase: Phase,
        /// How long it is.
        after: Duration,
    },
    /// The connection could not be made or used.
    #[error("{}", .failure.text(host, reason))]
    Failed {
        /// In what way.
        failure: ConnectionFailure,
        /// The server, without credentials.
        host: String,
        /// The libraries' text, made fit to be shown.
        reason: String,
    },
}

/// Why a proxy made no tunnel. hyper-util names the type only as what its connector fails with.
type TunnelError = <Tunnel<HttpConnector> as Service<Uri>>::Error;

/// In what way a connection failed. A proxy is named without its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionFailure {
    /// The name has no address.
    Dns,
    /// No TCP connection.
    Connect,
    /// The proxy was not there, or would not make the tunnel.
    Proxy(String),
    /// The proxy answered 407.
    ProxyAuthentication(String),
    /// The server's chain ends at no root that is known.
    UnknownCa,
    /// The server's certificate names another host.
    WrongName,
    /// The server's certificate has expired.
    ServerCertificateExpired,
    /// The server's certificate begins in the future.
    ServerCertificateNotYetValid,
    /// Any other fault of the server's certificate.
    ServerCertificate,
    /// TLS failed for another reason.
    Tls,
    /// The connection broke before an answer.
    Closed,
    /// What came is not HTTP.
    NotHttp,
}

impl ConnectionFailure {
    fn text(&self, host: &str, reason: &str) -> String {
        match self {
            Self::Dns => format!(
                "the name {host} could not be resolved ({reason}); check this machine's DNS, or whether it needs a \
                 `proxy`"
            ),
            Self::Connect => {
                format!("no connection to {host} ({reason}); check routes and firewalls, or whether it needs a `proxy`")
            }
            Self::Proxy(proxy) => format!(
                "the proxy ({proxy}) made no connection to {host} ({reason}); check that it runs and allows this host \
                 on this port"
            ),
            Self::ProxyAuthentication(proxy) => format!(
                "the proxy ({proxy}) wants other credentials (407 Proxy Authentication Required) before it connects to \
                 {host}; put them into the proxy's URL, http://USER:PASSWORD@HOST:PORT; if it also inspects TLS, its \
                 CA belongs into `ca_file`"
            ),
            Self::UnknownCa => format!(
                "{host} showed a certificate of an unknown CA ({reason}), so nothing was sent; if a proxy inspects TLS \
                 on the way, or this is a private endpoint, put that CA's certificate into a file and name it as \
                 `ca_file`; if not, someone else answers in its place"
            ),
            Self::WrongName => format!(
                "{host} showed a certificate of another name ({reason}), so nothing was sent; check the host in the \
                 configuration, DNS and proxies"
            ),
            Self::ServerCertificateExpired => format!(
                "{host} showed an expired server certificate ({reason}), so nothing was sent; check this machine's \
                 clock first, then tell its operator"
            ),
            Self::ServerCertificateNotYetValid => format!(
                "{host} showed a server certificate that is not valid yet ({reason}), so nothing was sent; check this \
                 machine's clock"
            ),
            Self::ServerCertificate => {
                format!("{host} showed a server certificate that cannot be accepted ({reason}), so nothing was sent")
            }
            Self::Tls => format!(
                "no TLS connection with {host} ({reason}); check that it speaks TLS 1.2 or 1.3 there, and what stands \
                 between"
            ),
            Self::Closed => format!("{host} closed the connection before it answered ({reason})"),
            Self::NotHttp => format!(
                "what {host} sent is not an HTTP answer that can be read ({reason}); check host and port, and what \
                 stands between"
            ),
        }
    }
}

impl Transport {
    /// Whether it may pass by itself within seconds. A certificate or a proxy's demand does not.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use ConnectionFailure::{Closed, Connect, Dns, Proxy, Tls};
        match self {
            Self::TimedOut { phase, .. } => *phase != Phase::Deadline,
            Self::Failed { failure, .. } => matches!(failure, Dns | Connect | Proxy(_) | Tls | Closed),
        }
    }

    /// What reqwest's error means. `host` and `proxy` are how they are shown; `clean` makes the libraries' texts fit to
    /// be shown (a server's certificate can bring any name into them).
    #[must_use]
    pub fn of(
        error: &reqwest::Error,
        host: &str,
        proxy: Option<&str>,
        limits: Limits,
        clean: &dyn Fn(&str) -> String,
    ) -> Self {
        if error.is_connect() && error.is_timeout() {
            return Self::TimedOut { phase: Phase::Connect, after: limits.connect };
        }
        let mut reason = clean(&root_cause(error));
        let tunnel = causes(error).find_map(|cause| cause.downcast_ref::<TunnelError>());
        let failure = if let Some(tunnel) = tunnel {
            let proxy = proxy.unwrap_or("that of HTTPS_PROXY or ALL_PROXY in the environment").to_owned();
            match tunnel {
                TunnelError::ProxyAuthRequired => ConnectionFailure::ProxyAuthentication(proxy),
                TunnelError::TunnelUnsuccessful => {
                    reason = "it refused the CONNECT request, as some do for wrong credentials too".into();
                    ConnectionFailure::Proxy(proxy)
                }
                _ => ConnectionFailure::Proxy(proxy),
            }
        } else if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            ConnectionFailure::of_tls(tls)
        } else if error.is_dns() {
            ConnectionFailure::Dns
        } else if error.is_connect() {
            ConnectionFailure::Connect
        } else if causes(error)
            .find_map(|cause| cause.downcast_ref::<hyper::Error>())
            .is_some_and(hyper::Error::is_parse)
        {
            ConnectionFailure::NotHttp
        } else {
            ConnectionFailure::Closed
        };
        Self::Failed { failure, host: host.to_owned(), reason }
    }
}

impl ConnectionFailure {
    fn of_tls(error: &rustls::Error) -> Self {
        use CertificateError as Certificate;
        let rustls::Error::InvalidCertificate(why) = error else { return Self::Tls };
        match why {
            // A CA that only has the name of a known one shows as a bad signature.
            Certificate::UnknownIssuer | Certificate::BadSignature => Self::UnknownCa,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => Self::WrongName,
            Certificate::Expired | Certificate::ExpiredContext { .. } => Self::ServerCertificateExpired,
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => Self::ServerCertificateNotYetValid,
            _ => Self::ServerCertificate,
        }
    }
}

/// An error and what caused it. `io::Error` hides what it wraps from `source`, so that is looked into.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}

pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

/// Whether a body broke off, rather than being unreadable.
fn broke_off(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some()
            || cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(|http| http.is_incomplete_message() || http.is_closed() || http.is_canceled())
    })
}
