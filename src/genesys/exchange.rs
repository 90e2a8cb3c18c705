//! One request and its whole answer, bounded in time and bytes.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::genesys::error::{FetchError, FetchFailure, Refused};
use crate::genesys::scrub::Scrub;
use crate::http_client::{self, Limits, Phase, Stopwatch, Transport, unasked_encoding};
use crate::trust::timestamp::Timestamp;

/// What every request of one fetch has in common.
pub(super) struct Exchange<'a> {
    pub http: &'a reqwest::Client,
    pub limits: Limits,
    /// How the configured proxy is shown.
    pub proxy: Option<&'a str>,
    pub scrub: &'a Scrub,
    pub now: Timestamp,
}

/// An answer whose body was read whole; of an error's body, what could be had of its first 64 KiB.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    headers: HeaderMap,
}

/// More of an error's body is not read.
const ERROR_BYTES: usize = 64 * 1024;

impl Exchange<'_> {
    /// Sends `request` and reads its answer, of which an OK one has at most `limit - used` bytes.
    pub async fn ask(
        &self,
        request: RequestBuilder,
        name: &str,
        url: &Url,
        (used, limit): (usize, usize),
        ends: Instant,
    ) -> Result<Answer, FetchError> {
        let clock = Stopwatch { started: Instant::now(), ends, whole: self.limits.whole };
        let host = self.scrub.clean(url.host_str().unwrap_or("?"));
        let clean = |text: &str| self.scrub.clean(text);
        let transport = |error: &reqwest::Error| Transport::of(error, &host, self.proxy, self.limits, &clean);
        let fail = |failure: FetchFailure| FetchError::new(name.to_owned(), failure);

        // The head's limit begins with the connection, which has its own.
        let head_limit = self.limits.connect.saturating_add(self.limits.read);
        let response = clock
            .within(Phase::Head, head_limit, request.send())
            .await
            .map_err(|late| fail(late.into()))?
            .map_err(|error| fail(transport(&error).into()))?;
        let status = response.status();
        let headers = response.headers().clone();
        let answered = |failure| {
            FetchError::new(name.to_owned(), failure)
                .with_correlation(correlation(&headers, self.scrub))
                .with_retry_after(None)
        };

        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let target = headers
                .get(LOCATION)
                .and_then(|location| location.to_str().ok())
                .and_then(|location| url.join(location).ok())
                .map_or_else(|| "nowhere (no Location)".to_owned(), |target| http_client::shown(&target));
            return Err(answered(FetchFailure::Redirect { status: status.as_u16(), target: clean(&target) }));
        }
        let body = if status == StatusCode::OK {
            if let Some(encoding) = unasked_encoding(&headers) {
                return Err(answered(FetchFailure::ContentEncoding(clean(&encoding))));
            }
            self.read(response, &clock, limit.saturating_sub(used)).await.map_err(|(stop, _)| {
                answered(match stop {
                    Stop::Late(late) => late.into(),
                    Stop::Full => FetchFailure::TooLarge { limit },
                    Stop::Broken { received, reason } => FetchFailure::Truncated { received, reason: clean(&reason) },
                })
            })?
        } else {
            // The status is the answer; a body that is late, cut or too long takes nothing from it.
            let readable = unasked_encoding(&headers).is_none();
            let body = self.read(response, &clock, ERROR_BYTES).await.unwrap_or_else(|(_, read)| read);
            if readable { body } else { Vec::new() }
        };
        Ok(Answer { status, body, headers })
    }

    /// Reads in the pieces in which it comes; stops at `limit` whatever the server has announced or still sends.
    async fn read(&self, mut response: Response, clock: &Stopwatch, limit: usize) -> Result<Vec<u8>, (Stop, Vec<u8>)> {
        let mut body = Vec::new();
        let announced = response.content_length().unwrap_or(0);
        if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err((Stop::Full, body));
        }
        loop {
            match clock.within(Phase::Body, self.limits.read, response.chunk()).await {
                Err(late) => return Err((Stop::Late(late), body)),
                Ok(Err(error)) => {
                    let reason = if http_client::broke_off(&error) {
                        "the connection ended before the body did"
                    } else {
                        "its framing is broken"
                    };
                    return Err((Stop::Broken { received: body.len(), reason: reason.into() }, body));
                }
                Ok(Ok(None)) => return Ok(body),
                Ok(Ok(Some(piece))) if body.len().saturating_add(piece.len()) > limit => {
                    return Err((Stop::Full, body));
                }
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
            }
        }
    }

    /// The error of an answer that is not OK; `failure` turns the vendor's words into what they mean here.
    pub fn refusal(
        &self,
        answer: &Answer,
        name: &str,
        failure: impl FnOnce(Refused) -> Option<FetchFailure>,
    ) -> FetchError {
        let said = answer.said(self.scrub);
        let status = said.status;
        let failure = failure(said.clone()).unwrap_or(match status {
            404 => FetchFailure::NotFound(said),
            407 => FetchFailure::ProxyAuthentication(said),
            429 => FetchFailure::TooManyRequests(said),
            501 => FetchFailure::Refused(said),
            400..=499 => FetchFailure::Refused(said),
            500..=599 => FetchFailure::ServerTrouble(said),
            _ => FetchFailure::UnexpectedStatus(status),
        });
        FetchError::new(name.to_owned(), failure)
            .with_correlation(answer.correlation(self.scrub))
            .with_retry_after(answer.retry_after(self.now))
    }
}

enum Stop {
    Late(Transport),
    Full,
    Broken { received: usize, reason: String },
}

impl Answer {
    /// The vendor's id of the request, for a support case.
    pub fn correlation(&self, scrub: &Scrub) -> Option<String> {
        correlation(&self.headers, scrub)
    }

    /// The server's clock.
    pub fn date(&self) -> Option<Timestamp> {
        httpdate::parse_http_date(self.headers.get(DATE)?.to_str().ok()?).ok().and_then(timestamp)
    }

    /// Whether this is a page for people rather than an answer.
    pub fn is_html(&self) -> bool {
        let says_so = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
        says_so
            || self
                .body
                .trim_ascii_start()
                .strip_prefix(b"\xef\xbb\xbf")
                .unwrap_or(&self.body)
                .trim_ascii_start()
                .starts_with(b"<")
    }

    /// `Retry-After` in either form, else `inin-ratelimit-reset`. A date is reckoned by the server's own clock where it
    /// tells it, so that ours being wrong does not matter.
    fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let text = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let seconds = |text: &str| text.parse().ok().map(Duration::from_secs);
        let date = |text: &str| {
            let until = httpdate::parse_http_date(text).ok().and_then(timestamp)?;
            Some(until.since(self.date().unwrap_or(now)))
        };
        text(RETRY_AFTER.as_str())
            .and_then(|text| seconds(text).or_else(|| date(text)))
            .or_else(|| text("inin-ratelimit-reset").and_then(seconds))
    }

    /// Of the body only the fields that the vendor's error formats name, cleaned; never the text itself.
    fn said(&self, scrub: &Scrub) -> Refused {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let field = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| body.get(name)?.as_str())
                .map(|text| scrub.clean(text))
                .filter(|text| !text.is_empty())
        };
        Refused {
            status: self.status.as_u16(),
            code: field(["code", "error"]),
            message: field(["message", "error_description"]),
            html: self.is_html(),
        }
    }
}

fn correlation(headers: &HeaderMap, scrub: &Scrub) -> Option<String> {
    ["inin-correlation-id", "genesys-correlation-id"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .map(|id| scrub.clean(id))
        .filter(|id| !id.is_empty())
}

fn timestamp(moment: std::time::SystemTime) -> Option<Timestamp> {
    let since = moment.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(Timestamp::from_unix)
}
