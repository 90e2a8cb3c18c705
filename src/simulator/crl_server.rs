//! The simulated CAs' lists over plain HTTP, as certificates name them.

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode, header};

use crate::simulator::crls::{CrlMode, ListName};
use crate::simulator::http::{TEXT, Whole, http_date, set_header, text_of, whole};
use crate::simulator::world::World;
use crate::trust::values::fingerprint::Fingerprint;

/// The answer to a request for `/NAME.crl`.
pub(super) fn answer(world: &World, request: &Request<Incoming>) -> Whole {
    let refused = |status| whole(status, TEXT, "");
    world.count_crl_request();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refused(StatusCode::METHOD_NOT_ALLOWED);
    }
    let name = request.uri().path().strip_prefix('/').and_then(|path| path.strip_suffix(".crl"));
    let Some(Ok(list)) = name.map(str::parse::<ListName>) else { return refused(StatusCode::NOT_FOUND) };
    if world.crl_mode() == CrlMode::Blocked {
        return refused(StatusCode::SERVICE_UNAVAILABLE);
    }
    let Ok(published) = world.published(list) else { return refused(StatusCode::INTERNAL_SERVER_ERROR) };
    let etag = format!("\"{}\"", Fingerprint::of(&published.der));
    let modified = http_date(published.since);
    // If-None-Match comes first; the other is for clients without it (RFC 9110, 13.2.2).
    let unchanged = match text_of(request.headers(), header::IF_NONE_MATCH) {
        Some(known) => known == etag,
        None => text_of(request.headers(), header::IF_MODIFIED_SINCE) == Some(&*modified),
    };
    let mut response = match unchanged {
        true => refused(StatusCode::NOT_MODIFIED),
        false => whole(StatusCode::OK, "application/pkix-crl", published.der),
    };
    set_header(response.headers_mut(), "etag", etag);
    set_header(response.headers_mut(), "last-modified", modified);
    response
}
