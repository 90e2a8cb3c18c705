//! Small plain-HTTP services for this machine alone.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::listener::Listener;
use crate::trust::timestamp::Timestamp;

/// More at once wait in the kernel's queue.
pub(super) const MOST_CONNECTIONS: usize = 256;

/// A request to a small service for people and tests.
pub(super) struct PlainRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
}

/// Its answer.
pub(super) struct PlainAnswer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) text: String,
}

impl PlainAnswer {
    /// Text for people.
    pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Self { status, content_type: "text/plain; charset=utf-8", text }
    }
}

/// Plain HTTP for this machine alone: other addresses than loopback are refused, and so are requests that a web page could have made a
/// browser send (they carry an Origin, or a Host that is a name on the internet pointing here).
pub(super) async fn loopback_http<H, F>(address: SocketAddr, handle: H) -> io::Result<Listener>
where
    H: Fn(PlainRequest) -> F + Clone + Send + 'static,
    F: Future<Output = PlainAnswer> + Send + 'static,
{
    if !address.ip().is_loopback() {
        return Err(io::Error::other("this endpoint has no authentication and listens on a loopback address only"));
    }
    Listener::start(address, MOST_CONNECTIONS, move |stream| {
        let handle = handle.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let handle = handle.clone();
            async move {
                let answer = if from_a_page(&request) {
                    let why = "requests from web pages are refused here";
                    PlainAnswer::text(StatusCode::FORBIDDEN, why)
                } else {
                    let query = request.uri().query().unwrap_or_default().as_bytes();
                    let query = url::form_urlencoded::parse(query)
                        .take(32)
                        .map(|(key, value)| (key.into_owned(), value.into_owned()))
                        .collect();
                    handle(PlainRequest {
                        method: request.method().clone(),
                        path: request.uri().path().to_owned(),
                        query,
                    })
                    .await
                };
                let mut response = Response::new(Full::new(Bytes::from(answer.text)));
                *response.status_mut() = answer.status;
                let content_type = HeaderValue::from_static(answer.content_type);
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                Ok::<_, Infallible>(response)
            }
        });
        async move {
            // A peer that breaks off concerns nobody but itself.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

fn from_a_page(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let name = host.map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    });
    let here = name.is_none_or(|name| {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    !here || request.headers().contains_key(header::ORIGIN)
}

/// IMF-fixdate (RFC 9110, 5.6.7).
pub(super) fn http_date(at: Timestamp) -> String {
    let since_1970 = Duration::from_secs(u64::try_from(at.unix()).unwrap_or(0));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_1970)
}
