//! The vendor's cloud as an HTTPS server: the token endpoint and the listing, as read from the vendor's SDKs and page, with its own TLS
//! CA; and its CAs' revocation lists over plain HTTP. What it says comes from the [`World`]; how it fails, from the failures in force there.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::listener::Listener;
use crate::simulator::answer::{Answer, correlation_id};
use crate::simulator::crl_server;
use crate::simulator::crls::CrlPlace;
use crate::simulator::failure::{Endpoint, Failure};
use crate::simulator::listener::{MOST_CONNECTIONS, http_date};
use crate::simulator::pki::{CertificateAuthority, ClientCertificate, PkiError};
use crate::simulator::script::Script;
use crate::simulator::world::{
    LISTING_PATH, Listed, SeenRequest, Strike, TOKEN_PATH, TokenState, VendorOptions, World,
};

/// The vendor could not start.
#[derive(Debug, thiserror::Error)]
pub enum VendorError {
    /// Its certificates could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The address could not be had.
    #[error("the simulated vendor cannot listen on {address}: {source}; choose another address")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Its own TLS certificate was refused.
    #[error("the simulated vendor cannot serve TLS: {0}; check the names given for its certificate")]
    Tls(#[from] rustls::Error),
}

/// The running vendor; it ends when dropped.
#[derive(Debug)]
pub struct Vendor {
    world: World,
    listener: Listener,
    crls: Option<Listener>,
    ca_pem: String,
}

impl Vendor {
    /// Starts a vendor with a fresh PKI.
    pub async fn start(mut options: VendorOptions) -> Result<Self, VendorError> {
        let address = options.listen;
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
        names.extend(options.tls_names.iter().cloned());
        if !address.ip().is_unspecified() && !address.ip().is_loopback() {
            names.push(address.ip().to_string());
        }
        let ca = CertificateAuthority::for_servers()?;
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&ca.server_certificate(&names)?)?));
        let failed = |source| VendorError::Listen { address, source };
        let socket = match options.crls {
            CrlPlace::Vendor => {
                let socket = crl_server::bind(address).await.map_err(failed)?;
                let here = reachable(socket.local_addr().map_err(failed)?);
                options.crls = CrlPlace::At(format!("http://{here}"));
                Some(socket)
            }
            CrlPlace::At(_) | CrlPlace::Nowhere => None,
        };
        let world = World::new(options)?;
        let crls = socket.map(|socket| crl_server::serve(socket, world.clone())).transpose().map_err(failed)?;
        let served = world.clone();
        let listener = Listener::start(address, MOST_CONNECTIONS, move |stream| {
            connection(stream, acceptor.clone(), served.clone())
        })
        .await
        .map_err(failed)?;
        Ok(Self { world, listener, crls, ca_pem: ca.pem() })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The base of both services, `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("https://{}", reachable(self.address()))
    }

    /// The CA of its HTTPS certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The OAuth client's id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.world.options().client_id
    }

    /// The OAuth client's secret.
    #[must_use]
    pub fn client_secret(&self) -> &str {
        self.world.client_secret()
    }

    /// The handle on what it serves.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Ends it, and waits for that.
    pub async fn stop(self) {
        self.listener.stop().await;
        if let Some(crls) = self.crls {
            crls.stop().await;
        }
    }
}

/// The address that a client on this machine asks.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

/// A server configuration for one of the simulator's own certificates, HTTP/1.1 only.
fn server_config(certificate: &ClientCertificate) -> Result<rustls::ServerConfig, rustls::Error> {
    let (chain, key) = tls_pair(certificate);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Chain and key in rustls' types.
pub(super) fn tls_pair(certificate: &ClientCertificate) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = certificate.presented().into_iter().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(certificate.key_der().to_vec());
    (chain, PrivateKeyDer::from(key))
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, world: World) {
    let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await else {
        return;
    };
    let reset = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let reset = Arc::clone(&reset);
        move |request| {
            let (world, reset) = (world.clone(), Arc::clone(&reset));
            Box::pin(async move {
                let answer = respond(&world, request).await;
                if answer.is_err() {
                    reset.store(true, Ordering::SeqCst);
                }
                answer
            })
        }
    });
    let mut served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| served.poll_without_shutdown(context)).await;
    let mut stream = served.into_parts().io.into_inner();
    if reset.load(Ordering::SeqCst) {
        // Without lingering, closing sends RST.
        let _ = stream.get_ref().0.set_zero_linger();
    } else if ended.is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// The connection is to be reset.
#[derive(Debug, thiserror::Error)]
#[error("told to reset the connection")]
struct Reset;

/// What was asked, without the body.
struct Asked {
    endpoint: Option<Endpoint>,
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    host: String,
    headers: HeaderMap,
}

impl Asked {
    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The same port under another name.
    fn other_host(&self) -> String {
        let (name, port) = self.host.rsplit_once(':').unwrap_or((&self.host, "443"));
        let other = if name == "localhost" { "127.0.0.1" } else { "localhost" };
        format!("{other}:{port}")
    }
}

async fn respond(world: &World, request: Request<Incoming>) -> Result<Response<Script>, Reset> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let asked = Asked {
        endpoint: match path {
            TOKEN_PATH => Some(Endpoint::Token),
            LISTING_PATH => Some(Endpoint::Listing),
            _ => None,
        },
        method: parts.method,
        path: path.chars().take(512).collect(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .take(32)
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect(),
        host: parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .chars()
            .take(256)
            .collect(),
        headers: parts.headers,
    };
    let mut seen = SeenRequest {
        at: world.now(),
        endpoint: asked.endpoint,
        method: asked.method.to_string(),
        path: asked.path.clone(),
        query: parts.uri.query().unwrap_or_default().chars().take(512).collect(),
        host: asked.host.clone(),
        authorization: asked.headers.contains_key(header::AUTHORIZATION),
        status: None,
    };
    let body = Limited::new(body, 16 * 1_024).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).ok();
    let strikes = asked.endpoint.map_or_else(Vec::new, |endpoint| world.strike(endpoint, asked.parameter("status")));
    if strikes.iter().any(|strike| strike.failure == Failure::ConnectionReset) {
        world.note(seen);
        return Err(Reset);
    }
    let struck = strikes.iter().map(|strike| strike.failure).find(|failure| !failure.is_content());
    let refused = struck.and_then(|failure| refusal(world, failure));
    let proper = refused.unwrap_or_else(|| match (asked.endpoint, body) {
        (_, None) => Answer::error(413, "request.too.large", "The body is too large."),
        (Some(Endpoint::Token), Some(body)) => token(world, &asked, &body),
        (Some(Endpoint::Listing), Some(_)) => listing(world, &asked, &strikes),
        _ => Answer::error(404, "not.found", "The requested resource was not found."),
    });
    let answer = match struck {
        Some(failure) => proper.disturbed(world, &asked.other_host(), failure),
        None => proper.honest(),
    };
    seen.status = Some(answer.status().as_u16());
    world.note(seen);
    if struck == Some(Failure::SlowHeaders) {
        tokio::time::sleep(world.options().slow).await;
    }
    Ok(dressed(world, answer))
}

/// The headers that each answer has.
fn dressed(world: &World, mut answer: Response<Script>) -> Response<Script> {
    let headers = answer.headers_mut();
    for (name, value) in
        [(header::DATE, http_date(world.now())), (HeaderName::from_static("inin-correlation-id"), correlation_id())]
    {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    answer
}

/// The error that a failure answers, where it is one.
fn refusal(world: &World, failure: Failure) -> Option<Answer> {
    let pause = world.options().retry_after;
    let (status, code, message) = match failure {
        Failure::BadRequest => (400, "bad.request", "The request could not be understood."),
        Failure::Unauthorized => (401, "bad.credentials", "Invalid login credentials."),
        Failure::CredentialsExpired => (401, "credentials.expired", "The token has expired."),
        Failure::Forbidden => (
            403,
            "missing.any.permissions",
            "Unable to perform the requested action. You must have at least one of the following permissions assigned: [integrations:actionCertificate:view]",
        ),
        Failure::NotFound => (404, "not.found", "The requested resource was not found."),
        Failure::RequestTimeout => (408, "request.timeout", "The request timed out."),
        Failure::Conflict => (409, "conflict", "The request conflicts with another."),
        Failure::TooManyRequests | Failure::TooManyRequestsDate => {
            (429, "too.many.requests", "Rate limit exceeded the maximum. Retry the request in a moment.")
        }
        Failure::InternalError => (500, "internal.server.error", "The server failed."),
        Failure::BadGateway => (502, "bad.gateway", "An upstream answered badly."),
        Failure::ServiceUnavailable => (503, "service.unavailable", "The service is temporarily unavailable."),
        Failure::GatewayTimeout => (504, "gateway.timeout", "An upstream did not answer."),
        _ => return None,
    };
    let answer = Answer::error(status, code, message);
    Some(match failure {
        Failure::TooManyRequests => answer
            .with("retry-after", pause.as_secs().to_string())
            .with("inin-ratelimit-reset", pause.as_secs().to_string()),
        Failure::TooManyRequestsDate => answer
            .with("retry-after", http_date(world.now().plus(pause)))
            .with("inin-ratelimit-reset", pause.as_secs().to_string()),
        _ => answer,
    })
}

/// `POST /oauth/token`: client credentials by HTTP Basic.
fn token(world: &World, asked: &Asked, body: &[u8]) -> Answer {
    if asked.method != Method::POST {
        return method_not_allowed("POST");
    }
    let basic = asked
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, base64)| STANDARD.decode(base64.trim()).ok())
        .and_then(|decoded| String::from_utf8(decoded).ok());
    let Some((id, secret)) = basic.as_deref().and_then(|basic| basic.split_once(':')) else {
        return Answer::oauth_error(400, "invalid_request", "client credentials are missing");
    };
    let grant =
        url::form_urlencoded::parse(body).find(|(key, _)| key == "grant_type").map(|(_, value)| value.into_owned());
    if grant.as_deref() != Some("client_credentials") {
        return Answer::oauth_error(400, "unsupported_grant_type", "grant_type must be client_credentials");
    }
    if id != world.options().client_id {
        return Answer::oauth_error(400, "invalid_client", "client not found: invalid client");
    }
    if secret != world.client_secret() {
        return Answer::oauth_error(401, "invalid_client", "authentication failed");
    }
    Answer::of(json!({
        "access_token": world.issue_token(),
        "token_type": "bearer",
        "expires_in": world.options().token_lifetime.as_secs(),
    }))
}

/// `GET /api/v2/integrations/actions/certificates`.
fn listing(world: &World, asked: &Asked, strikes: &[Strike]) -> Answer {
    if asked.method != Method::GET {
        return method_not_allowed("GET");
    }
    let bearer = asked
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match bearer.map(|(_, token)| world.judge_token(token.trim())) {
        Some(TokenState::Good) => {}
        None => {
            let message = "No authentication bearer token specified in authorization header.";
            return Answer::error(401, "authentication.required", message);
        }
        Some(TokenState::Unknown) => {
            return Answer::error(401, "bad.credentials", "Invalid login credentials.");
        }
        Some(TokenState::Expired) => {
            return Answer::error(401, "credentials.expired", "The token has expired.");
        }
    }
    let allowed = world.options().rate_limit;
    let (made, reset) = world.count_against_limit();
    let limits = |answer: Answer| {
        answer
            .with("inin-ratelimit-count", made.to_string())
            .with("inin-ratelimit-allowed", allowed.to_string())
            .with("inin-ratelimit-reset", reset.as_secs().to_string())
    };
    if made > allowed {
        let message = format!("Rate limit exceeded the maximum. Retry the request in [{}] seconds", reset.as_secs());
        let wait = reset.as_secs().saturating_add(1).to_string();
        let answer = Answer::error(429, "too.many.requests", &message);
        return limits(answer.with("retry-after", wait));
    }
    limits(page(world, asked, strikes).unwrap_or_else(|answer| answer))
}

fn page(world: &World, asked: &Asked, strikes: &[Strike]) -> Result<Answer, Answer> {
    let struck = |failure| strikes.iter().any(|strike| strike.failure == failure);
    let bad = |message: String| Answer::error(400, "bad.request", &message);
    let number = |name: &str, otherwise: usize, most: usize| match asked.parameter(name) {
        None => Ok(otherwise),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| bad(format!("{name} must be a number between 1 and {most}."))),
    };
    let size = number("pageSize", 25, 500)?;
    let current = number("pageNumber", 1, 1_000_000_000)?;
    let status = asked.parameter("status");
    if status.is_some_and(|status| !["Current", "Upcoming"].contains(&status)) {
        return Err(bad("status must be Current or Upcoming.".into()));
    }
    let kind = asked.parameter("type");
    if kind.is_some_and(|kind| kind != "Client") {
        return Err(bad("type must be Client.".into()));
    }
    let listed = world
        .listed(status, kind, strikes)
        .map_err(|why| Answer::error(500, "internal.server.error", &why.to_string()))?;
    let total = listed.len();
    let pages = total.div_ceil(size).max(1);
    let endless = struck(Failure::EndlessPaging);
    let skipped = if endless { 0 } else { size.saturating_mul(current.saturating_sub(1)) };
    let entities: Vec<Value> = listed.iter().skip(skipped).take(size).map(entity).collect();
    let path = |number: usize| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("pageSize", &size.to_string());
        query.append_pair("pageNumber", &number.to_string());
        for name in ["status", "type"] {
            if let Some(value) = asked.parameter(name) {
                query.append_pair(name, value);
            }
        }
        format!("{LISTING_PATH}?{}", query.finish())
    };
    let uri = |number: usize| match world.options().absolute_uris {
        true => format!("https://{}{}", asked.host, path(number)),
        false => path(number),
    };
    let following = current.saturating_add(1);
    let next = if struck(Failure::PagingLoop) {
        Some(uri(current))
    } else if endless {
        Some(uri(following))
    } else if struck(Failure::NextUriOtherHost) {
        Some(format!("https://{}{}", asked.other_host(), path(following)))
    } else if struck(Failure::NextUriOtherScheme) {
        Some(format!("http://{}{}", asked.host, path(following)))
    } else {
        (current < pages).then(|| uri(following))
    };
    let mut body = json!({
        "entities": entities,
        "pageSize": size,
        "pageNumber": current,
        "total": total,
        "pageCount": pages,
        "firstUri": uri(1),
        "selfUri": uri(current),
        "lastUri": uri(pages),
    });
    if let Some(fields) = body.as_object_mut() {
        if let Some(next) = next {
            fields.insert("nextUri".into(), next.into());
        }
        if current > 1 {
            fields.insert("previousUri".into(), uri(current.saturating_sub(1)).into());
        }
        if struck(Failure::MissingEntities) {
            fields.remove("entities");
        }
    }
    Ok(Answer::of(body))
}

fn entity(listed: &Listed) -> Value {
    let mut entity = json!({
        "certificate": listed.certificate,
        "status": listed.status,
        "type": listed.kind,
    });
    if let (Some(fields), Some(authority)) = (entity.as_object_mut(), &listed.authority) {
        fields.insert("signingAuthority".into(), authority.as_str().into());
    }
    entity
}

fn method_not_allowed(allowed: &str) -> Answer {
    Answer::error(405, "method.not.allowed", "The method is not allowed here.").with("allow", allowed.to_owned())
}
