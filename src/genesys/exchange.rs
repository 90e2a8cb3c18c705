//! One request and its whole answer, bounded in time and bytes.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::genesys::error::{BadAnswer, CODES, FetchError, FetchFailure, Refusal, Refused};
use crate::genesys::scrub::Scrub;
use crate::http_client::{self, Limits, Stop, Stopwatch, Transport, redirect, unasked_encoding};
use crate::trust::values::timestamp::Timestamp;

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

/// An id of a request is a UUID, or little longer.
const LONGEST_ID: usize = 64;

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
        let clock = Stopwatch::start(ends, self.limits);
        let host = self.scrub.clean(url.host_str().unwrap_or("?"));
        let clean = |text: &str| self.scrub.clean(text);
        let fail = |failure: FetchFailure| FetchError::new(name.to_owned(), failure);
        let response = clock
            .send(request)
            .await
            .map_err(|late| fail(late.into()))?
            .map_err(|error| fail(Transport::of(&error, &host, self.proxy, self.limits, &clean).into()))?;
        let status = response.status();
        let headers = response.headers().clone();
        let answered =
            |failure: FetchFailure| FetchError { correlation: correlation(&headers, self.scrub), ..fail(failure) };
        if let Some(target) = redirect(&response, url) {
            let target =
                target.map_or_else(|| "nowhere (no Location)".to_owned(), |target| http_client::shown(&target));
            return Err(answered(BadAnswer::Redirect(status.as_u16(), clean(&target)).into()));
        }
        let encoding = unasked_encoding(&headers);
        let body = if status == StatusCode::OK {
            if let Some(encoding) = encoding {
                return Err(answered(BadAnswer::ContentEncoding(clean(&encoding)).into()));
            }
            clock.read(response, limit.saturating_sub(used)).await.map_err(|(stop, _)| {
                answered(match stop {
                    Stop::Late(late) => late.into(),
                    Stop::Full => BadAnswer::TooLarge(limit).into(),
                    Stop::Broken { received, is_cut } => {
                        let cut = "the connection ended before the body did";
                        BadAnswer::Truncated(received, if is_cut { cut } else { "its framing is broken" }).into()
                    }
                })
            })?
        } else {
            // The status is the answer; a body that is late, cut or too long takes nothing from it.
            let body = clock.read(response, ERROR_BYTES).await.unwrap_or_else(|(_, read)| read);
            if encoding.is_none() { body } else { Vec::new() }
        };
        Ok(Answer { status, body, headers })
    }

    /// The error of an answer that is not OK; `meaning` says what the vendor's words mean here, if something special.
    pub fn refusal(
        &self,
        answer: &Answer,
        name: &str,
        meaning: impl FnOnce(&Refused) -> Option<Refusal>,
    ) -> FetchError {
        let said = answer.said();
        let failure = match (meaning(&said), said.status) {
            (Some(meaning), _) => FetchFailure::Refused(meaning, said),
            (None, 404) => FetchFailure::Refused(Refusal::NotFound, said),
            (None, 407) => FetchFailure::Refused(Refusal::ProxyAuthentication, said),
            (None, 429) => FetchFailure::Refused(Refusal::TooManyRequests, said),
            (None, 400..=499 | 501) => FetchFailure::Refused(Refusal::Other, said),
            (None, 500..=599) => FetchFailure::Refused(Refusal::ServerTrouble, said),
            (None, status) => BadAnswer::UnexpectedStatus(status).into(),
        };
        FetchError {
            correlation: answer.correlation(self.scrub),
            retry_after: answer.retry_after(self.now),
            ..FetchError::new(name.to_owned(), failure)
        }
    }
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

    /// Of the body only the code, where it is a known one; never the text itself.
    fn said(&self) -> Refused {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let mut codes = ["code", "error"].into_iter().filter_map(|name| body.get(name)?.as_str());
        Refused {
            status: self.status.as_u16(),
            code: codes.find_map(|said| CODES.into_iter().find(|code| *code == said)),
            html: self.is_html(),
        }
    }
}

/// An id that may be shown: of the form of one, and no secret.
fn correlation(headers: &HeaderMap, scrub: &Scrub) -> Option<String> {
    ["inin-correlation-id", "genesys-correlation-id"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .filter(|id| (1..=LONGEST_ID).contains(&id.len()))
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        .filter(|id| !scrub.is_in(id.as_bytes()))
        .map(str::to_owned)
}

fn timestamp(moment: std::time::SystemTime) -> Option<Timestamp> {
    let since = moment.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(Timestamp::from_unix)
}
