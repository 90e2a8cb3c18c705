//! One exchange: how long each of its phases may take, and why no whole answer came.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use rustls::CertificateError;
use tokio::time::{Instant, timeout_at};

use super::Limits;
use crate::trust::timestamp::span;

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
    /// When it began.
    pub started: Instant,
    /// The caller's deadline.
    pub ends: Instant,
    /// [`Limits::whole`].
    pub whole: Duration,
}

impl Stopwatch {
    /// Waits for `work` until the first of its own limit, the request's and the caller's deadline, and names which it was.
    pub async fn within<T>(
        &self,
        phase: Phase,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Transport> {
        let now = Instant::now();
        let own = (now.checked_add(limit), phase, limit);
        let whole = (self.started.checked_add(self.whole), Phase::Whole, self.whole);
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
    /// The name has no address.
    #[error(
        "the name {host} could not be resolved ({reason}); check this machine's DNS, or whether it needs a `proxy`"
    )]
    Dns {
        /// Whose.
        host: String,
        /// Why.
        reason: String,
    },
    /// No TCP connection.
    #[error("no connection to {host} ({reason}); check routes and firewalls, or whether it needs a `proxy`")]
    Connect {
        /// With whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// The proxy was not there, or would not make the tunnel.
    #[error(
        "the proxy ({proxy}) made no connection to {host} ({reason}); check that it runs and allows this host on this port"
    )]
    Proxy {
        /// Which, without credentials.
        proxy: String,
        /// With whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// 407.
    #[error(
        "the proxy ({proxy}) wants other credentials (407 Proxy Authentication Required) before it connects to {host}; put them into the \
         proxy's URL, http://USER:PASSWORD@HOST:PORT; if it also inspects TLS, its CA belongs into `ca_file`"
    )]
    ProxyAuthentication {
        /// Which, without credentials.
        proxy: String,
        /// With whom.
        host: String,
    },
    /// The server's chain ends at nobody we know.
    #[error(
        "{host} showed a certificate of an unknown CA ({reason}), so nothing was sent; if a proxy inspects TLS on the way, or this is a private \
         endpoint, put that CA's certificate into a file and name it as `ca_file`; if not, someone else answers in its place"
    )]
    UnknownCa {
        /// Who.
        host: String,
        /// The library's words.
        reason: String,
    },
    /// The server's certificate is another's.
    #[error(
        "{host} showed a certificate of another name ({reason}), so nothing was sent; check the host in the configuration, DNS and proxies"
    )]
    WrongName {
        /// Who.
        host: String,
        /// Which name.
        reason: String,
    },
    /// The server's certificate is over.
    #[error(
        "{host} showed an expired server certificate ({reason}), so nothing was sent; check this machine's clock first, then tell its operator"
    )]
    ServerCertificateExpired {
        /// Who.
        host: String,
        /// Since when.
        reason: String,
    },
    /// The server's certificate lies in the future.
    #[error(
        "{host} showed a server certificate that is not valid yet ({reason}), so nothing was sent; check this machine's clock"
    )]
    ServerCertificateNotYetValid {
        /// Who.
        host: String,
        /// From when.
        reason: String,
    },
    /// Another reason not to believe the server's certificate.
    #[error("{host} showed a server certificate that cannot be accepted ({reason}), so nothing was sent")]
    ServerCertificate {
        /// Who.
        host: String,
        /// Why.
        reason: String,
    },
    /// TLS failed for another reason.
    #[error(
        "no TLS connection with {host} ({reason}); check that it speaks TLS 1.2 or 1.3 there, and what stands between"
    )]
    Tls {
        /// With whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// A limit was reached.
    #[error("{phase} {}", span(*.after))]
    TimedOut {
        /// Which.
        phase: Phase,
        /// How long it is.
        after: Duration,
    },
    /// The connection broke before an answer.
    #[error("{host} closed the connection before it answered ({reason})")]
    Closed {
        /// Who.
        host: String,
        /// Why.
        reason: String,
    },
    /// What came is no HTTP.
    #[error(
        "what {host} sent is no HTTP answer that can be read ({reason}); check host and port, and what stands between"
    )]
    NotHttp {
        /// Who.
        host: String,
        /// Why.
        reason: String,
    },
}

impl Transport {
    /// Whether it may pass by itself within seconds. A certificate or a proxy's demand does not.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Dns { .. }
                | Self::Connect { .. }
                | Self::Proxy { .. }
                | Self::Tls { .. }
                | Self::Closed { .. }
                | Self::TimedOut { phase: Phase::Connect | Phase::Head | Phase::Body | Phase::Whole, .. }
        )
    }

    /// What reqwest's error means. `host` and `proxy` are how they are shown; `clean` makes the libraries' texts fit to be
    /// shown (a server's certificate can bring any name into them).
    #[must_use]
    pub fn of(
        error: &reqwest::Error,
        host: &str,
        proxy: Option<&str>,
        limits: Limits,
        clean: &dyn Fn(&str) -> String,
    ) -> Self {
        let host = host.to_owned();
        if error.is_connect() && error.is_timeout() {
            return Self::TimedOut { phase: Phase::Connect, after: limits.connect };
        }
        let reason = clean(&root_cause(error));
        // hyper-util does not export its tunnel's error, so its words are read; the tests with a real proxy notice a change.
        if let Some(tunnel) = causes(error).map(ToString::to_string).find(|text| text.starts_with("tunnel error: ")) {
            let proxy = proxy.unwrap_or("that of HTTPS_PROXY or ALL_PROXY in the environment").to_owned();
            return if tunnel.ends_with("proxy authorization required") {
                Self::ProxyAuthentication { proxy, host }
            } else if tunnel.ends_with("unsuccessful") {
                Self::Proxy {
                    proxy,
                    host,
                    reason: "it refused the CONNECT request, as some do for wrong credentials too".into(),
                }
            } else {
                Self::Proxy { proxy, host, reason }
            };
        }
        if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(tls, host, reason);
        }
        if error.is_dns() || causes(error).any(|cause| cause.to_string() == "dns error") {
            return Self::Dns { host, reason };
        }
        if error.is_connect() {
            return Self::Connect { host, reason };
        }
        match causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
            Some(http) if http.is_parse() => Self::NotHttp { host, reason },
            _ => Self::Closed { host, reason },
        }
    }

    fn of_tls(error: &rustls::Error, host: String, reason: String) -> Self {
        use CertificateError as Certificate;
        match error {
            rustls::Error::InvalidCertificate(why) => match why {
                // A CA that only bears the name of one we know shows as a bad signature.
                Certificate::UnknownIssuer | Certificate::BadSignature => Self::UnknownCa { host, reason },
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                    Self::WrongName { host, reason }
                }
                Certificate::Expired | Certificate::ExpiredContext { .. } => {
                    Self::ServerCertificateExpired { host, reason }
                }
                Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                    Self::ServerCertificateNotYetValid { host, reason }
                }
                _ => Self::ServerCertificate { host, reason },
            },
            _ => Self::Tls { host, reason },
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
#[must_use]
pub fn broke_off(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some()
            || cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(|http| http.is_incomplete_message() || http.is_closed() || http.is_canceled())
    })
}
