//! The vendor's cloud as an HTTPS server: the token endpoint and the listing, as the vendor's SDKs and page show them,
//! with its own TLS CA; and its CAs' revocation lists over plain HTTP. What it says comes from the [`World`]; how it
//! fails, from the failures in force there.

use std::error::Error;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Collected, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::listener::Listener;
use crate::simulator::answer::{Answer, correlation_id};
use crate::simulator::crl_server;
use crate::simulator::crls::CrlPlace;
use crate::simulator::error::SimulatorError;
use crate::simulator::failure::{Endpoint, Failure};
use crate::simulator::http::{self, MOST_CONNECTIONS, credentials, http_date, parameter, set_header, text_of};
use crate::simulator::pki::{CertificateAuthority, DAY};
use crate::simulator::script::Script;
use crate::simulator::tls::{self, LOCAL_NAMES};
use crate::simulator::world::{
    CLIENT_ID, LISTING_PATH, SeenRequest, Strike, TOKEN_PATH, VendorOptions, World, is_struck,
};

const SERVICE: &str = "the simulated vendor";

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
    pub async fn start(mut options: VendorOptions) -> Result<Self, SimulatorError> {
        let address = options.listen;
        let mut names: Vec<String> = LOCAL_NAMES.map(String::from).into();
        names.extend(options.tls_names.iter().cloned());
        if !address.ip().is_unspecified() && !address.ip().is_loopback() {
            names.push(address.ip().to_string());
        }
        let ca = CertificateAuthority::for_servers()?;
        let config = tls::server_config(&ca.server_certificate(&names)?, WebPkiClientVerifier::no_client_auth())
            .map_err(|source| SimulatorError::Tls { service: SERVICE, source })?;
        let config = Arc::new(config);
        let failed = |source| SimulatorError::Listen { service: SERVICE, address, source };
        // Bound before there is a certificate that names it.
        let socket = match options.crls {
            CrlPlace::Vendor => {
                let socket = TcpListener::bind(SocketAddr::new(address.ip(), 0)).await.map_err(failed)?;
                let here = reachable(socket.local_addr().map_err(failed)?);
                options.crls = CrlPlace::At(format!("http://{here}"));
                Some(socket)
            }
            CrlPlace::At(_) | CrlPlace::Nowhere => None,
        };
        let world = World::new(options)?;
        let serve_lists = |socket| {
            let world = world.clone();
            Listener::on(socket, MOST_CONNECTIONS, move |stream| {
                let world = world.clone();
                http::serve(stream, move |request| crl_server::answer(&world, request))
            })
        };
        let crls = socket.map(serve_lists).transpose().map_err(failed)?;
        let served = world.clone();
        let listener = Listener::start(address, MOST_CONNECTIONS, move |stream| {
            connection(stream, Arc::clone(&config), served.clone())
        })
        .await
        .map_err(failed)?;
        Ok(Self { world, listener, crls, ca_pem: ca.pem() })
    }

    /// The address of the API, with the port that it was given.
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

    /// The id of the OAuth client, the same for every vendor.
    #[must_use]
    pub fn client_id(&self) -> &str {
        CLIENT_ID
    }

    /// The secret of the OAuth client, as given or made up.
    #[must_use]
    pub fn client_secret(&self) -> &str {
        self.world.client_secret()
    }

    /// The world that it shows: certificates, failures, requests.
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

async fn connection(stream: TcpStream, config: Arc<ServerConfig>, world: World) {
    let Some(stream) = tls::accept(&config, stream).await else { return };
    let service = service_fn(|request| Box::pin(respond(&world, request)));
    let mut served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| served.poll_without_shutdown(context)).await;
    let mut stream = served.into_parts().io.into_inner();
    match ended {
        Ok(()) => drop(stream.shutdown().await),
        // Without lingering, closing sends RST.
        Err(error) if error.source().is_some_and(|cause| cause.is::<Reset>()) => {
            let _ = stream.get_ref().0.set_zero_linger();
        }
        Err(_) => {}
    }
}

/// The connection is to be reset.
#[derive(Debug, thiserror::Error)]
#[error("reset on command")]
struct Reset;

async fn respond(world: &World, request: Request<Incoming>) -> Result<Response<Script>, Reset> {
    let (request, body) = request.into_parts();
    let endpoint = match request.uri.path() {
        TOKEN_PATH => Some(Endpoint::Token),
        LISTING_PATH => Some(Endpoint::Listing),
        _ => None,
    };
    let bounded = |text: &str| text.chars().take(512).collect();
    let mut seen = SeenRequest {
        endpoint,
        method: request.method.to_string(),
        path: bounded(request.uri.path()),
        query: bounded(request.uri.query().unwrap_or_default()),
        host: bounded(host(&request)),
        authorization: request.headers.contains_key(header::AUTHORIZATION),
        no_cache: text_of(&request.headers, header::CACHE_CONTROL) == Some("no-cache"),
        status: None,
    };
    let body = Limited::new(body, 16 * 1_024).collect().await.map(Collected::to_bytes).ok();
    let status = parameter(&request.uri, "status");
    let strikes = endpoint.map_or_else(Vec::new, |endpoint| world.strike(endpoint, status.as_deref()));
    if is_struck(&strikes, Failure::ConnectionReset) {
        world.note(seen);
        return Err(Reset);
    }
    let struck = strikes.iter().map(|strike| strike.failure).find(|failure| !failure.is_content());
    let refused = struck.and_then(|failure| refusal(world, failure));
    let proper = refused.unwrap_or_else(|| match (endpoint, body) {
        (_, None) => Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "request.too.large", "The body is too large."),
        (Some(Endpoint::Token), Some(body)) => token(world, &request, &body),
        (Some(Endpoint::Listing), Some(_)) => listing(world, &request, &strikes),
        _ => not_found(),
    });
    let mut answer = proper.written(world, &other_host(&request), struck);
    let age = if is_struck(&strikes, Failure::DayOldDate) { DAY } else { Duration::ZERO };
    set_header(answer.headers_mut(), "date", http_date(world.now().minus(age)));
    set_header(answer.headers_mut(), "inin-correlation-id", correlation_id());
    seen.status = Some(answer.status().as_u16());
    world.note(seen);
    if struck == Some(Failure::SlowHeaders) {
        tokio::time::sleep(world.options().slow).await;
    }
    Ok(answer)
}

fn host(request: &Parts) -> &str {
    text_of(&request.headers, header::HOST).unwrap_or_default()
}

/// The same port under another name.
fn other_host(request: &Parts) -> String {
    let (name, port) = host(request).rsplit_once(':').unwrap_or((host(request), "443"));
    let other = if name == "localhost" { "127.0.0.1" } else { "localhost" };
    format!("{other}:{port}")
}

fn not_found() -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "not.found", "The requested resource was not found.")
}

fn method_not_allowed(allowed: &str) -> Answer {
    let message = "The method is not allowed here.";
    Answer::error(StatusCode::METHOD_NOT_ALLOWED, "method.not.allowed", message).with("allow", allowed)
}

/// The error that a failure answers, where it is one.
fn refusal(world: &World, failure: Failure) -> Option<Answer> {
    const NOT_PERMITTED: &str = "Unable to perform the requested action. You must have at least one of the following \
                                 permissions assigned: [integrations:actionCertificate:view]";
    let pause = world.options().retry_after;
    let too_many = |retry_after: String| {
        let message = "Rate limit exceeded the maximum. Retry the request in a moment.";
        Answer::error(StatusCode::TOO_MANY_REQUESTS, "too.many.requests", message)
            .with("retry-after", retry_after)
            .with("inin-ratelimit-reset", pause.as_secs())
    };
    let (status, code, message) = match failure {
        Failure::TooManyRequests => return Some(too_many(pause.as_secs().to_string())),
        Failure::TooManyRequestsDate => return Some(too_many(http_date(world.now().plus(pause)))),
        Failure::NotFound => return Some(not_found()),
        Failure::BadRequest => (StatusCode::BAD_REQUEST, "bad.request", "The request could not be understood."),
        Failure::Unauthorized => (StatusCode::UNAUTHORIZED, "bad.credentials", "Invalid login credentials."),
        Failure::CredentialsExpired => (StatusCode::UNAUTHORIZED, "credentials.expired", "The token has expired."),
        Failure::Forbidden => (StatusCode::FORBIDDEN, "missing.any.permissions", NOT_PERMITTED),
        Failure::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request.timeout", "The request timed out."),
        Failure::Conflict => (StatusCode::CONFLICT, "conflict", "The request conflicts with another."),
        Failure::InternalError => (StatusCode::INTERNAL_SERVER_ERROR, "internal.server.error", "The server failed."),
        Failure::BadGateway => (StatusCode::BAD_GATEWAY, "bad.gateway", "An upstream answered badly."),
        Failure::ServiceUnavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "service.unavailable", "The service is temporarily unavailable.")
        }
        Failure::GatewayTimeout => (StatusCode::GATEWAY_TIMEOUT, "gateway.timeout", "An upstream did not answer."),
        _ => return None,
    };
    Some(Answer::error(status, code, message))
}

/// `POST /oauth/token`: client credentials by HTTP Basic.
fn token(world: &World, request: &Parts, body: &[u8]) -> Answer {
    if request.method != Method::POST {
        return method_not_allowed("POST");
    }
    let refused = |status, error, description| Answer::oauth_error(status, error, description);
    let basic = credentials(request, "basic")
        .and_then(|base64| STANDARD.decode(base64).ok())
        .and_then(|decoded| String::from_utf8(decoded).ok());
    let Some((id, secret)) = basic.as_deref().and_then(|basic| basic.split_once(':')) else {
        return refused(StatusCode::BAD_REQUEST, "invalid_request", "client credentials are missing");
    };
    let mut fields = url::form_urlencoded::parse(body);
    if !fields.any(|(key, value)| key == "grant_type" && value == "client_credentials") {
        let description = "grant_type must be client_credentials";
        return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type", description);
    }
    if id != CLIENT_ID {
        return refused(StatusCode::BAD_REQUEST, "invalid_client", "client not found: invalid client");
    }
    if secret != world.client_secret() {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client", "authentication failed");
    }
    let body = json!({
        "access_token": world.issue_token(),
        "token_type": "bearer",
        "expires_in": world.options().token_lifetime.as_secs(),
    });
    Answer::new(StatusCode::OK, body)
}

/// `GET /api/v2/integrations/actions/certificates`.
fn listing(world: &World, request: &Parts, strikes: &[Strike]) -> Answer {
    if request.method != Method::GET {
        return method_not_allowed("GET");
    }
    if let Err((code, message)) = world.check_token(credentials(request, "bearer")) {
        return Answer::error(StatusCode::UNAUTHORIZED, code, message);
    }
    let allowed = world.options().rate_limit;
    let (made, reset) = world.count_against_limit();
    let answer = if made > allowed {
        let message = format!("Rate limit exceeded the maximum. Retry the request in [{}] seconds", reset.as_secs());
        Answer::error(StatusCode::TOO_MANY_REQUESTS, "too.many.requests", &message)
            .with("retry-after", reset.as_secs().saturating_add(1))
    } else {
        page(world, request, strikes)
    };
    answer
        .with("inin-ratelimit-count", made)
        .with("inin-ratelimit-allowed", allowed)
        .with("inin-ratelimit-reset", reset.as_secs())
}

/// What a listing's query asks for.
struct Query {
    size: usize,
    page: usize,
    status: Option<String>,
    kind: Option<String>,
}

impl Query {
    /// Reads the query, or says what is wrong with it.
    fn read(uri: &Uri) -> Result<Self, String> {
        let number = |name: &str, default: usize, most: usize| match parameter(uri, name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=most).contains(number))
                .ok_or_else(|| format!("{name} must be a number between 1 and {most}.")),
        };
        let size = number("pageSize", 25, 500)?;
        let page = number("pageNumber", 1, 1_000_000_000)?;
        let status = parameter(uri, "status");
        if status.as_deref().is_some_and(|status| !["Current", "Upcoming"].contains(&status)) {
            return Err("status must be Current or Upcoming.".into());
        }
        let kind = parameter(uri, "type");
        if kind.as_deref().is_some_and(|kind| kind != "Client") {
            return Err("type must be Client.".into());
        }
        Ok(Self { size, page, status, kind })
    }

    /// The path and query of another page.
    fn path(&self, page: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("pageSize", &self.size.to_string());
        query.append_pair("pageNumber", &page.to_string());
        query.extend_pairs(self.status.iter().map(|status| ("status", status)));
        query.extend_pairs(self.kind.iter().map(|kind| ("type", kind)));
        format!("{LISTING_PATH}?{}", query.finish())
    }
}

fn page(world: &World, request: &Parts, strikes: &[Strike]) -> Answer {
    let struck = |failure| is_struck(strikes, failure);
    let query = match Query::read(&request.uri) {
        Ok(query) => query,
        Err(message) => return Answer::error(StatusCode::BAD_REQUEST, "bad.request", &message),
    };
    let listed = match world.listed(query.status.as_deref(), query.kind.as_deref(), strikes) {
        Ok(listed) => listed,
        Err(why) => {
            let message = why.to_string();
            return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "internal.server.error", &message);
        }
    };
    let total = listed.len();
    let pages = total.div_ceil(query.size).max(1);
    let endless = struck(Failure::EndlessPaging);
    let (following, preceding) = (query.page.saturating_add(1), query.page.saturating_sub(1));
    let skipped = if endless || struck(Failure::RepeatedPage) { 0 } else { query.size.saturating_mul(preceding) };
    let entities: Vec<_> = listed.iter().skip(skipped).take(query.size).collect();
    let uri = |page: usize| match world.options().absolute_uris {
        true => format!("https://{}{}", host(request), query.path(page)),
        false => query.path(page),
    };
    let next = if struck(Failure::PagingLoop) {
        Some(uri(query.page))
    } else if endless {
        Some(uri(following))
    } else if struck(Failure::NextUriOtherHost) {
        Some(format!("https://{}{}", other_host(request), query.path(following)))
    } else if struck(Failure::NextUriOtherScheme) {
        Some(format!("http://{}{}", host(request), query.path(following)))
    } else if struck(Failure::EmptySecondPage) || struck(Failure::RepeatedPage) {
        (query.page == 1).then(|| uri(2))
    } else {
        (query.page < pages).then(|| uri(following))
    };
    let mut body = json!({
        "entities": (!struck(Failure::MissingEntities)).then_some(entities),
        "pageSize": query.size,
        "pageNumber": if struck(Failure::PageNumberOutOfOrder) { 3 } else { query.page },
        "total": if struck(Failure::TotalAboveListed) { total.saturating_add(1) } else { total },
        "pageCount": if struck(Failure::AbsurdPageCount) { 1_000_000_000 } else { pages },
        "firstUri": uri(1),
        "selfUri": uri(query.page),
        "nextUri": next,
        "previousUri": (preceding > 0).then(|| uri(preceding)),
        "lastUri": uri(pages),
    });
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    Answer::new(StatusCode::OK, body)
}
