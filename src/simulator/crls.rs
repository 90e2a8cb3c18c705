//! What the simulated CAs revoke, and their lists over plain HTTP, as certificates name them.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::listener::Listener;
use crate::simulator::listener::MOST_CONNECTIONS;
use crate::simulator::pki::{Pki, PkiError};
use crate::simulator::vendor::http_date;
use crate::simulator::world::World;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::timestamp::Timestamp;

/// Where the lists lie that the certificates name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrlPlace {
    /// At a listener of the vendor's own, on the address of its API; a [`World`] without a vendor names none.
    Vendor,
    /// Below this http URL, where somebody else serves them.
    At(String),
    /// Nowhere: the certificates have no such extension.
    Nowhere,
}

/// Which certificate is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke {
    /// What the vendor presents, by DigiCert.
    Current,
    /// What it will present.
    Upcoming,
    /// What it presented before.
    Previous,
    /// What it presents by its own private root.
    Genesys,
    /// The public intermediate, and with it all that it signed.
    Intermediate,
    /// Any certificate of this world.
    Certificate(Fingerprint),
}

/// The text names nothing that could be revoked.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{0:?} cannot be revoked; it is current, upcoming, previous, genesys, intermediate, or 64 hex digits of a SHA-256"
)]
pub struct UnknownRevoke(String);

impl FromStr for Revoke {
    type Err = UnknownRevoke;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "current" => Ok(Self::Current),
            "upcoming" => Ok(Self::Upcoming),
            "previous" => Ok(Self::Previous),
            "genesys" => Ok(Self::Genesys),
            "intermediate" => Ok(Self::Intermediate),
            hex => hex.parse().map(Self::Certificate).map_err(|_| UnknownRevoke(hex.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Revoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Upcoming => "upcoming",
            Self::Previous => "previous",
            Self::Genesys => "genesys",
            Self::Intermediate => "intermediate",
            Self::Certificate(fingerprint) => return fingerprint.fmt(f),
        })
    }
}

/// Nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There is none.
    #[error("there is no such certificate now: {0}")]
    Absent(Revoke),
    /// Its CA publishes no list.
    #[error("{0} cannot be revoked: its issuer publishes no list")]
    NoList(Revoke),
    /// The world could not advance.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// How the lists are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CrlMode {
    /// In force.
    #[default]
    Served,
    /// 503 instead of a list.
    Blocked,
    /// Signed well, and over.
    Expired,
}

impl CrlMode {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Served, Self::Blocked, Self::Expired];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Blocked => "blocked",
            Self::Expired => "expired",
        }
    }
}

/// The text names no [`CrlMode`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("the lists are served, blocked or expired, not {0:?}")]
pub struct UnknownCrlMode(String);

impl FromStr for CrlMode {
    type Err = UnknownCrlMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| UnknownCrlMode(text.chars().take(80).collect()))
    }
}

/// A CA that publishes a list, by the list's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ListName {
    DigicertRoot,
    DigicertIntermediate,
    GenesysRoot,
}

impl ListName {
    pub(super) const ALL: [Self; 3] = [Self::DigicertRoot, Self::DigicertIntermediate, Self::GenesysRoot];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DigicertRoot => "digicert-root",
            Self::DigicertIntermediate => "digicert-intermediate",
            Self::GenesysRoot => "genesys-root",
        }
    }

    pub(super) fn called(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.name() == name)
    }

    pub(super) fn issuer(self, pki: &Pki) -> &crate::simulator::pki::CertificateAuthority {
        match self {
            Self::DigicertRoot => &pki.digicert_root,
            Self::DigicertIntermediate => &pki.digicert_intermediate,
            Self::GenesysRoot => &pki.genesys_root,
        }
    }
}

/// Something that a list names.
#[derive(Debug, Clone)]
pub(super) struct Revoked {
    pub(super) list: ListName,
    pub(super) der: Vec<u8>,
    pub(super) since: Timestamp,
}

/// A list as it lies there.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) der: Vec<u8>,
    pub(super) since: Timestamp,
}

/// Binds the lists' listener: it must be known before there is a certificate to name it.
pub(super) async fn bind(api: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::new(api.ip(), 0)).await
}

/// Serves the lists of this world.
pub(super) fn serve(socket: TcpListener, world: World) -> io::Result<Listener> {
    Listener::on(socket, MOST_CONNECTIONS, move |stream| connection(stream, world.clone()))
}

async fn connection(stream: TcpStream, world: World) {
    let service = service_fn(move |request: Request<Incoming>| {
        let world = world.clone();
        async move { Ok::<_, Infallible>(respond(&world, &request)) }
    });
    // A peer that breaks off concerns nobody but itself.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn respond(world: &World, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let refused = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        response
    };
    world.count_crl_request();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refused(StatusCode::METHOD_NOT_ALLOWED);
    }
    let name = request.uri().path().strip_prefix('/').and_then(|path| path.strip_suffix(".crl"));
    let Some(list) = name.and_then(ListName::called) else { return refused(StatusCode::NOT_FOUND) };
    if world.crl_mode() == CrlMode::Blocked {
        return refused(StatusCode::SERVICE_UNAVAILABLE);
    }
    let Ok(published) = world.published(list) else { return refused(StatusCode::INTERNAL_SERVER_ERROR) };
    let etag = format!("\"{}\"", Fingerprint::of(&published.der));
    let modified = http_date(published.since);
    let asked = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    // If-None-Match comes first; the other is for those without it (RFC 9110, 13.2.2).
    let unchanged = match asked(header::IF_NONE_MATCH) {
        Some(known) => known == etag,
        None => asked(header::IF_MODIFIED_SINCE).is_some_and(|known| known == modified),
    };
    let mut response = if unchanged {
        refused(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = Response::new(Full::new(Bytes::from(published.der)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/pkix-crl"));
        response
    };
    for (name, value) in [(header::ETAG, etag), (header::LAST_MODIFIED, modified)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
