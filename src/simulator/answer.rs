//! An answer of the simulated vendor: as it should be, and as failures disturb it.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::simulator::failure::Failure;
use crate::simulator::script::{Script, Step, gzip_bomb};
use crate::simulator::world::{World, random_text};

/// An answer before it is written: a status, JSON, and more headers.
pub(super) struct Answer {
    status: u16,
    body: Value,
    headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// 200 with this body.
    pub(super) fn of(body: Value) -> Self {
        Self { status: 200, body, headers: Vec::new() }
    }

    /// An error body as the vendor's API has it.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self {
            status,
            body: json!({
                "message": message,
                "code": code,
                "status": status,
                "messageParams": {},
                "contextId": correlation_id(),
                "details": [],
                "errors": [],
            }),
            headers: Vec::new(),
        }
    }

    /// An error body as the vendor's login service has it (RFC 6749, 5.2).
    pub(super) fn oauth_error(status: u16, error: &str, description: &str) -> Self {
        Self {
            status,
            body: json!({
                "error": error,
                "description": description,
                "error_description": description,
            }),
            headers: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn written(self, body: Script) -> Response<Script> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }

    pub(super) fn honest(self) -> Response<Script> {
        let body = self.body.to_string();
        self.written(Script::whole(body))
    }

    pub(super) fn disturbed(self, world: &World, other_host: &str, failure: Failure) -> Response<Script> {
        let text = self.body.to_string();
        let bytes = Bytes::from(text.clone());
        let middle = bytes.len() / 2;
        match failure {
            Failure::SlowBody => {
                let drip = world.options().drip;
                let steps =
                    bytes.chunks(1).flat_map(|byte| [Step::Data(Bytes::copy_from_slice(byte)), Step::Pause(drip)]);
                self.written(Script::played(steps.collect::<Vec<_>>()))
            }
            Failure::TruncatedBody => self.written(Script::played([
                Step::Data(bytes.slice(..middle)),
                Step::Pause(Duration::from_millis(20)),
                Step::Abort,
            ])),
            Failure::WrongContentLength => {
                let promised = bytes.len().saturating_add(1_000).to_string();
                self.with("content-length", promised).written(Script::played([Step::Data(bytes)]))
            }
            Failure::EndlessBody => self.written(Script::played([
                Step::Data(Bytes::from_static(b"{\"entities\":[{\"certificate\":\"")),
                Step::Times(Bytes::from(vec![b'A'; 64 * 1_024]), u64::MAX),
            ])),
            Failure::GzipBomb => self.with("content-encoding", "gzip".into()).written(gzip_bomb()),
            Failure::Html => {
                let page = "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head><body><h1>We'll be back soon</h1></body></html>\n";
                let mut response = self.written(Script::whole(page));
                *response.status_mut() = StatusCode::OK;
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, html);
                response
            }
            Failure::InvalidJson => self.written(Script::whole(bytes.slice(..middle))),
            Failure::Redirect => {
                let there = format!("https://{}{}", other_host, "/elsewhere");
                let mut response = self.with("location", there).written(Script::whole(""));
                *response.status_mut() = StatusCode::FOUND;
                response
            }
            _ => self.honest(),
        }
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
