//! The simulated CAs' lists over plain HTTP, as certificates name them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
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
use crate::simulator::crls::{CrlMode, ListName};
use crate::simulator::listener::{MOST_CONNECTIONS, http_date};
use crate::simulator::world::World;
use crate::trust::fingerprint::Fingerprint;

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
