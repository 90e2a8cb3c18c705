//! What the simulator's HTTP services share; all but the vendor's API are small and plain, for this machine alone.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::listener::Listener;
use crate::trust::values::timestamp::Timestamp;

/// How many connections are served at once; more wait in the kernel's queue.
pub(super) const MOST_CONNECTIONS: usize = 256;
/// The content type of answers for people.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// An answer of known length.
pub(super) type Whole = Response<Full<Bytes>>;

/// An answer with this body.
pub(super) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Whole {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Sets a header, unless the value cannot be one.
pub(super) fn set_header(headers: &mut HeaderMap, name: &'static str, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// The first value of a query's parameter.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default().as_bytes();
    let found = url::form_urlencoded::parse(query).take(32).find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

/// The text of a header, where it is text.
pub(super) fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Answers the one request of a connection.
pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, answer: impl Fn(&Request<Incoming>) -> Whole) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    // A peer that breaks off harms only itself.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Plain HTTP for this machine alone: other addresses than loopback are refused, and so are requests that a web page
/// could have made a browser send (they carry an Origin, or a Host that is a name on the internet pointing here).
pub(super) async fn serve_loopback(
    address: SocketAddr,
    answer: impl Fn(&Request<Incoming>) -> Whole + Send + Sync + 'static,
) -> io::Result<Listener> {
    if !address.ip().is_loopback() {
        return Err(io::Error::other("this endpoint has no authentication and listens on a loopback address only"));
    }
    let answer = Arc::new(answer);
    Listener::start(address, MOST_CONNECTIONS, move |stream| {
        let answer = Arc::clone(&answer);
        serve(stream, move |request| {
            if is_from_a_page(request.headers()) {
                return whole(StatusCode::FORBIDDEN, TEXT, "requests from web pages are refused here\n");
            }
            answer(request)
        })
    })
    .await
}

fn is_from_a_page(headers: &HeaderMap) -> bool {
    let name = text_of(headers, header::HOST).map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    });
    let here = name.is_none_or(|name| {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    !here || headers.contains_key(header::ORIGIN)
}

/// The credentials of an `Authorization` header of this scheme.
pub(super) fn credentials<'a>(request: &'a Parts, scheme: &str) -> Option<&'a str> {
    let (name, rest) = text_of(&request.headers, header::AUTHORIZATION)?.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// A moment as an HTTP header has it: IMF-fixdate (RFC 9110, 5.6.7).
pub(super) fn http_date(at: Timestamp) -> String {
    let since_1970 = Duration::from_secs(u64::try_from(at.unix()).unwrap_or(0));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH.checked_add(since_1970).unwrap_or(SystemTime::UNIX_EPOCH))
}
