//! An answer of the simulated vendor: as it should be, and as failures disturb it.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::simulator::failure::Failure;
use crate::simulator::http::set_header;
use crate::simulator::script::{Script, Step, gzip_bomb};
use crate::simulator::world::{World, random_text};

const MAINTENANCE: &str = "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>\
                           <body><h1>We'll be back soon</h1></body></html>\n";

/// An answer before it is written: a status, JSON, and more headers.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Value,
    headers: HeaderMap,
}

impl Answer {
    /// An answer of this JSON.
    pub(super) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, headers: HeaderMap::new() }
    }

    /// An error body as the vendor's API has it.
    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let body = json!({
            "message": message,
            "code": code,
            "status": status.as_u16(),
            "messageParams": {},
            "contextId": correlation_id(),
            "details": [],
            "errors": [],
        });
        Self::new(status, body)
    }

    /// An error body as the vendor's login service has it (RFC 6749, 5.2).
    pub(super) fn oauth_error(status: StatusCode, error: &str, description: &str) -> Self {
        let body = json!({ "error": error, "description": description, "error_description": description });
        Self::new(status, body)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        set_header(&mut self.headers, name, value.to_string());
        self
    }

    /// The answer as it goes over the wire, disturbed by a failure of the transport.
    pub(super) fn written(mut self, world: &World, other_host: &str, failure: Option<Failure>) -> Response<Script> {
        let body = Bytes::from(self.body.to_string());
        let half = body.slice(..body.len() / 2);
        let mut content_type = "application/json";
        let script = match failure {
            Some(Failure::SlowBody) => {
                let drip = world.options().drip;
                Script::played(
                    body.into_iter().flat_map(move |byte| [Step::Data(Bytes::from(vec![byte])), Step::Pause(drip)]),
                )
            }
            // Here and below, hyper sends what it has while it waits for the next step.
            Some(Failure::TruncatedBody) => {
                Script::played([Step::Data(half), Step::Pause(Duration::from_millis(20)), Step::Abort])
            }
            Some(Failure::WrongContentLength) => {
                self = self.with("content-length", body.len().saturating_add(1_000));
                Script::played([Step::Data(body), Step::Pause(Duration::from_millis(20))])
            }
            Some(Failure::EndlessBody) => {
                let opening = Bytes::from_static(b"{\"entities\":[{\"certificate\":\"");
                let endless = std::iter::repeat(Bytes::from(vec![b'A'; 64 * 1_024]));
                Script::played(std::iter::once(opening).chain(endless).map(Step::Data))
            }
            Some(Failure::GzipBomb) => {
                self = self.with("content-encoding", "gzip");
                gzip_bomb()
            }
            Some(Failure::Html) => {
                content_type = "text/html; charset=utf-8";
                self.status = StatusCode::OK;
                Script::whole(MAINTENANCE)
            }
            Some(Failure::InvalidJson) => Script::whole(half),
            Some(Failure::Redirect) => {
                self = self.with("location", format!("https://{other_host}/elsewhere"));
                self.status = StatusCode::FOUND;
                Script::whole("")
            }
            _ => Script::whole(body),
        };
        let mut response = Response::new(script);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        *headers = self.headers;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Random, in the shape of a UUID.
pub(super) fn correlation_id() -> String {
    let mut text = random_text();
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}
