//! Fetches the lists that certificates name, and keeps them across outages.
//!
//! ```text
//!  distribution point ─▶ kept list, not due ───────────────────────────────▶ verify ─▶ in force, or why not
//!                     └▶ due: fetch (conditional, bounded, global address) ─▶ verify ─▶ keep if in force and not older
//! ```
//! What comes from the network takes the place of what is kept only once it was verified: a captive portal, an error
//! page or an older list that someone replays changes nothing.

mod address;
mod cache;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use crate::http_client::retry::next_delay;
use crate::http_client::{self, Limits, OutboundError, Stop, Stopwatch, Transport, redirect, unasked_encoding};
use crate::jitter;
use crate::store::StoreError;
use crate::trust::formats::certificate::Certificate;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::crl::{self, Crl, Freshest, VerifiedCrl};

pub use address::{NotGlobal, is_global};
pub use cache::{Cache, FOLDER, Kept, Record};

/// The most bytes of one answer.
pub const LARGEST: u64 = 16 * 1024 * 1024;
/// How often one fetch asks at most.
pub const ATTEMPTS: u32 = 3;
/// How many redirects are followed.
pub const REDIRECTS: u32 = 3;
const LONGEST_URL: usize = 2048;
const LONGEST_VALIDATOR: usize = 1024;

/// By what way lists are fetched.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Whether addresses that are not globally routable may be connected to, such as those of a private CA.
    pub allow_private: bool,
    /// The proxy that all goes through; without one, the environment's is not used either, since it could not be told
    /// what it connects to. Through a proxy only the URL's literal host is judged: names are resolved by the proxy, and
    /// what it refuses to connect to is its configuration.
    pub proxy: Option<Url>,
    /// Roots for HTTPS besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a server may take.
    pub limits: Limits,
}

/// The client by which a store's lists are fetched.
#[derive(Debug, Clone)]
pub struct Fetcher {
    http: reqwest::Client,
    access: Access,
}

/// What a server gave to ask again by (RFC 9110, 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The list that the validators belong to is still its list.
    Unchanged,
    /// Bytes that may be a list.
    New(Bytes, Validators),
}

/// Why no list came from a distribution point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// It cannot be parsed.
    #[error("it is not a URL ({0})")]
    NotAUrl(String),
    /// `ldap:` and others.
    #[error("its scheme is {0:?}; lists are fetched by http and https only")]
    Scheme(String),
    /// `user:password@`.
    #[error("it has credentials in it, which trustsync never sends")]
    Credentials,
    /// An address of this machine or its neighbours.
    #[error(
        "{0}; a certificate must not choose whom this machine talks to. If this CA is your own, set crl.allow_private \
         = true"
    )]
    NotGlobal(NotGlobal),
    /// No whole answer.
    #[error("{0}")]
    Transport(Transport),
    /// The answer ended early.
    #[error("the answer broke off after {0} bytes")]
    Truncated(usize),
    /// More than [`LARGEST`].
    #[error("the answer has more than {LARGEST} bytes")]
    TooLarge,
    /// Compressed, although no compression was asked for.
    #[error("the answer is encoded as {0:?}, which was not asked for")]
    ContentEncoding(String),
    /// Neither 200 nor a redirect.
    #[error("the server answered {0}")]
    Status(u16),
    /// 304 without a question.
    #[error("the server answered 304 Not Modified, but was not asked so")]
    UnaskedNotModified,
    /// More than [`REDIRECTS`].
    #[error("it redirects more than {REDIRECTS} times")]
    Redirects,
    /// A redirect to nowhere.
    #[error("it redirects to no usable Location")]
    RedirectTarget,
}

impl FetchFailure {
    fn is_transient(&self) -> bool {
        match self {
            Self::Transport(transport) => transport.is_transient(),
            Self::Truncated(_) => true,
            Self::Status(status) => matches!(status, 408 | 429 | 500 | 502..=504),
            _ => false,
        }
    }
}

/// A failure, and what the server said about asking again.
struct Failed {
    failure: FetchFailure,
    retry_after: Option<Duration>,
}

impl From<FetchFailure> for Failed {
    fn from(failure: FetchFailure) -> Self {
        Self { failure, retry_after: None }
    }
}

/// Whether a kept list is asked for again: after half of what then remained of its life, between a minute and an hour,
/// so that a revocation is seen within the hour and the next list is here before this one ends. Nearly all of these
/// questions are answered by 304.
#[must_use]
pub fn due(fetched: Option<Timestamp>, next_update: Option<Timestamp>, now: Timestamp) -> bool {
    let Some(fetched) = fetched else { return true };
    if fetched > now {
        // Our clock was set back: the age of the list is unknown.
        return true;
    }
    let life = next_update.map_or(Duration::ZERO, |next| next.since(fetched));
    let rest = life.checked_div(2).unwrap_or(life).clamp(Duration::from_secs(60), Duration::from_secs(3_600));
    now.since(fetched) >= rest
}

/// Judges a URL before it is asked.
fn check_url(text: &str, allow_private: bool) -> Result<Url, FetchFailure> {
    if text.len() > LONGEST_URL {
        return Err(FetchFailure::NotAUrl(format!("it has more than {LONGEST_URL} bytes")));
    }
    let url = Url::parse(text).map_err(|error| FetchFailure::NotAUrl(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(FetchFailure::Scheme(url.scheme().chars().take(20).collect()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchFailure::Credentials);
    }
    if !allow_private {
        address::check_literal(&url).map_err(FetchFailure::NotGlobal)?;
    }
    Ok(url)
}

impl Fetcher {
    /// A client for lists; nothing is asked yet.
    pub fn new(access: Access) -> Result<Self, OutboundError> {
        let mut builder =
            http_client::builder(access.ca_file.as_deref(), access.limits)?.no_proxy().pool_max_idle_per_host(0);
        match &access.proxy {
            Some(proxy) => builder = builder.proxy(http_client::proxy_for(proxy, reqwest::Proxy::all)?),
            None if !access.allow_private => builder = builder.dns_resolver(address::GlobalOnly),
            None => {}
        }
        Ok(Self { http: http_client::finish(builder)?, access })
    }

    /// Asks a distribution point, for at most `deadline` with all attempts and redirects.
    pub async fn fetch(&self, url: &str, known: &Validators, deadline: Duration) -> Result<Answer, FetchFailure> {
        let first = check_url(url, self.access.allow_private)?;
        let now = Instant::now();
        let ends = now.checked_add(deadline).unwrap_or(now);
        let mut made = 0_u32;
        loop {
            let failed = match self.follow(&first, known, ends).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            made = made.saturating_add(1);
            let remaining = ends.saturating_duration_since(Instant::now());
            let delay = next_delay(made, ATTEMPTS, failed.retry_after, remaining, jitter::draw());
            let Some(delay) = delay.filter(|_| failed.failure.is_transient()) else { return Err(failed.failure) };
            log_line!(
                CrlRequestRetried,
                url = %quoted(url),
                attempt = made,
                error = %failed.failure,
                "a CRL could not be fetched, and is asked for again"
            );
            tokio::time::sleep(delay).await;
        }
    }

    /// One attempt: redirects are followed by hand, so that each target is judged as the first one was.
    async fn follow(&self, first: &Url, known: &Validators, ends: Instant) -> Result<Answer, Failed> {
        let mut url = first.clone();
        for _ in 0..=REDIRECTS {
            let clock = Stopwatch::start(ends, self.access.limits);
            let response = self.ask(&url, known, &clock).await?;
            if let Some(target) = redirect(&response, &url) {
                let target = target.ok_or(FetchFailure::RedirectTarget)?;
                url = check_url(target.as_str(), self.access.allow_private)?;
                continue;
            }
            let status = response.status();
            let headers = response.headers();
            return match status {
                StatusCode::NOT_MODIFIED if *known == Validators::default() => {
                    Err(FetchFailure::UnaskedNotModified.into())
                }
                StatusCode::NOT_MODIFIED => Ok(Answer::Unchanged),
                StatusCode::OK => {
                    if let Some(encoding) = unasked_encoding(headers) {
                        return Err(FetchFailure::ContentEncoding(quoted(&encoding)).into());
                    }
                    let validators = validators(headers);
                    let body = clock.read(response, LARGEST as usize).await.map_err(|(stop, _)| match stop {
                        Stop::Late(late) => FetchFailure::Transport(late),
                        Stop::Full => FetchFailure::TooLarge,
                        Stop::Broken { received, .. } => FetchFailure::Truncated(received),
                    })?;
                    Ok(Answer::New(Bytes::from(body), validators))
                }
                _ => {
                    let retry_after =
                        headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
                    let failure = FetchFailure::Status(status.as_u16());
                    Err(Failed { failure, retry_after: retry_after.map(Duration::from_secs) })
                }
            };
        }
        Err(FetchFailure::Redirects.into())
    }

    async fn ask(&self, url: &Url, known: &Validators, clock: &Stopwatch) -> Result<Response, FetchFailure> {
        let mut request = self.http.get(url.clone());
        for (name, value) in [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.last_modified)] {
            if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                request = request.header(name, value);
            }
        }
        clock.send(request).await.map_err(FetchFailure::Transport)?.map_err(|error| {
            let refused = http_client::causes(&error).find_map(|cause| cause.downcast_ref::<NotGlobal>());
            match refused {
                Some(refused) => FetchFailure::NotGlobal(refused.clone()),
                None => {
                    let host = url.host_str().unwrap_or("?");
                    let proxy = self.access.proxy.as_ref().map(http_client::shown);
                    FetchFailure::Transport(Transport::of(&error, host, proxy.as_deref(), self.access.limits, &quoted))
                }
            }
        })
    }
}

/// Those that can be sent back as they are.
fn validators(headers: &HeaderMap) -> Validators {
    let text = |value: Option<&HeaderValue>| {
        value.and_then(|value| value.to_str().ok()).filter(|text| text.len() <= LONGEST_VALIDATOR).map(str::to_owned)
    };
    Validators { etag: text(headers.get(ETAG)), last_modified: text(headers.get(LAST_MODIFIED)) }
}

/// What a distribution point came to in a cycle.
#[derive(Debug)]
pub struct Obtained {
    /// The list in force, fetched or kept.
    pub crl: Option<VerifiedCrl>,
    /// Lists that are not in force: they vouch for nobody, and revoke whom they name.
    pub lapsed: Vec<VerifiedCrl>,
    /// Why nothing newer than what was kept, or nothing at all, is in force.
    pub trouble: Option<Trouble>,
    /// Why what is in force is not kept on disk as it should be: then it is fetched again.
    pub unkept: Option<Arc<StoreError>>,
}

impl Obtained {
    /// The lists that revoke.
    pub fn lists(&self) -> impl Iterator<Item = VerifiedCrl> {
        self.crl.iter().chain(&self.lapsed).cloned()
    }

    /// Whether the server did not answer in time.
    #[must_use]
    pub fn was_silent(&self) -> bool {
        let failure = match &self.trouble {
            Some(Trouble::Fetch { failure, .. }) => failure,
            Some(Trouble::Silent { .. }) => return true,
            _ => return false,
        };
        matches!(failure, FetchFailure::Transport(Transport::TimedOut { .. }))
    }
}

/// Why a distribution point gave no list that is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No answer came, or none that can be a list.
    #[error("the CRL at {url} could not be fetched: {failure}")]
    Fetch {
        /// Where, made harmless.
        url: String,
        /// The last attempt's failure.
        failure: FetchFailure,
    },
    /// Its host is left alone, or it has not answered until now.
    #[error("the CRL at {url} did not come: its host did not answer on {since}; it is asked again after {again}")]
    Silent {
        /// Where, made harmless.
        url: String,
        /// When it was asked.
        since: Timestamp,
        /// When it is asked again.
        again: Timestamp,
    },
    /// What came is none.
    #[error("what lies at {url} is {error}")]
    Unreadable {
        /// Where, made harmless.
        url: String,
        /// What is wrong with it.
        error: crl::UnreadableCrl,
    },
    /// What came is not believed.
    #[error("at {url}: {refused}")]
    Refused {
        /// Where, made harmless.
        url: String,
        /// Why it is not used.
        refused: crl::Refused,
    },
    /// What came is older than what is kept.
    #[error(
        "the CRL at {url} is of {offered}, older than the one of {kept} that is kept: someone may be replaying it, and \
         it is not used"
    )]
    Older {
        /// Where, made harmless.
        url: String,
        /// The thisUpdate of what came.
        offered: Timestamp,
        /// The kept one's.
        kept: Timestamp,
    },
}

/// How long a host that did not answer is left alone.
pub const LEFT_ALONE: Duration = Duration::from_secs(3_600);

/// The host of a URL, by which it is remembered whether it answers.
#[must_use]
pub fn host_of(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.map_or_else(String::new, |url| http_client::shown(&url))
}

/// What is kept of one distribution point's list.
#[derive(Clone)]
pub struct LookedUp {
    /// Whether the server is to be asked.
    pub is_due: bool,
    url: String,
    issuers: Arc<[Certificate]>,
    clock_skew: Duration,
    now: Timestamp,
    known: Option<VerifiedCrl>,
    lapsed: Vec<VerifiedCrl>,
    stale: Option<Trouble>,
    record: Option<cache::Record>,
    unkept: Option<Arc<StoreError>>,
}

impl LookedUp {
    /// Where it is from.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The kept list, which is in force until it is due.
    #[must_use]
    pub fn as_it_is(self) -> Obtained {
        Obtained { crl: self.known, lapsed: self.lapsed, trouble: None, unkept: self.unkept }
    }

    /// The kept list, of a host that did not answer at that time.
    #[must_use]
    pub fn of_silent_host(self, since: Timestamp) -> Obtained {
        let silent = Trouble::Silent { url: quoted(&self.url), since, again: since.plus(LEFT_ALONE) };
        Obtained { trouble: Some(silent), ..self.as_it_is() }
    }

    /// A list that came or was kept, in force; else why not, and the list itself where it revokes all the same.
    fn verify(&self, bytes: Bytes) -> Result<VerifiedCrl, Box<(Trouble, Option<VerifiedCrl>)>> {
        let url = quoted(&self.url);
        let crl = match Crl::read(bytes) {
            Ok(crl) => crl,
            Err(error) => return Err(Box::new((Trouble::Unreadable { url, error }, None))),
        };
        crl::believe(&crl, &self.issuers, self.clock_skew, self.now).map_err(|refused| {
            let lapsed = refused.problem.is_of_time().then(|| crl::lapsed(&crl, &self.issuers)).flatten();
            Box::new((Trouble::Refused { url, refused }, lapsed))
        })
    }
}

/// Looks up what is kept, and whether the server is to be asked. `issuers` are the certificates of accepted paths.
#[must_use]
pub fn look_up(
    cache: &Cache,
    url: &str,
    issuers: &Arc<[Certificate]>,
    clock_skew: Duration,
    now: Timestamp,
) -> LookedUp {
    let (kept, unkept) = match cache.read(url) {
        Ok(kept) => (kept, None),
        Err(error) => (None, Some(Arc::new(error))),
    };
    let mut found = LookedUp {
        is_due: true,
        url: url.to_owned(),
        issuers: Arc::clone(issuers),
        clock_skew,
        now,
        known: None,
        lapsed: Vec::new(),
        stale: None,
        record: kept.as_ref().and_then(|kept| kept.record.clone()),
        unkept,
    };
    match kept.map(|kept| found.verify(kept.bytes)) {
        Some(Ok(crl)) => {
            let fetched = found.record.as_ref().map(|record| record.fetched);
            found.is_due = due(fetched, crl.in_force_until(), now);
            found.known = Some(crl);
        }
        Some(Err(unusable)) => {
            let (trouble, lapsed) = *unusable;
            found.stale = Some(trouble);
            found.lapsed.extend(lapsed);
        }
        None => {}
    }
    found
}

/// The list of one distribution point that is due: the server's, where a better one comes than what is kept. A list
/// that cannot be kept is used all the same.
pub async fn obtain(fetcher: &Fetcher, cache: &Cache, kept: LookedUp, deadline: Duration) -> Obtained {
    let (url, now) = (kept.url.as_str(), kept.now);
    let shown = quoted(url);
    let mut lapsed = kept.lapsed.clone();
    let mut unkept = None;
    // What is kept but not believed is asked for whole; only for a stale list is it worth asking whether there is a
    // newer one.
    let is_stale = |trouble: &Trouble| match trouble {
        Trouble::Refused { refused, .. } => matches!(refused.problem, crl::Problem::Stale(_)),
        _ => false,
    };
    let worth_confirming = kept.known.is_some() || kept.stale.as_ref().is_some_and(is_stale);
    let record = kept.record.clone().filter(|_| worth_confirming);
    let validators = record.as_ref().map(|record| record.validators.clone()).unwrap_or_default();
    let trouble = match fetcher.fetch(url, &validators, deadline).await {
        Err(failure) => Some(Trouble::Fetch { url: shown, failure }),
        Ok(Answer::Unchanged) => {
            if let Some(record) = record {
                unkept = cache.confirm(record, now).err().map(Arc::new);
            }
            kept.stale.clone()
        }
        Ok(Answer::New(bytes, validators)) => match kept.verify(bytes.clone()) {
            Err(unusable) => {
                let (trouble, offered) = *unusable;
                lapsed.extend(offered);
                Some(trouble)
            }
            Ok(offered) => {
                let older = kept.known.as_ref().and_then(|known| is_older(&offered, known));
                if let Some(kept) = older {
                    let offered = offered.facts().this_update;
                    Some(Trouble::Older { url: shown, offered, kept })
                } else {
                    unkept = cache.keep(url, &bytes, validators, now).err().map(Arc::new);
                    return Obtained { crl: Some(offered), lapsed, trouble: None, unkept };
                }
            }
        },
    };
    Obtained { crl: kept.known, lapsed, trouble, unkept: unkept.or(kept.unkept) }
}

/// The kept list's thisUpdate, where the offered one is of the same issuer and scope, and older.
fn is_older(offered: &VerifiedCrl, kept: &VerifiedCrl) -> Option<Timestamp> {
    let mut freshest = Freshest::default();
    freshest.add(kept.clone());
    (!freshest.add(offered.clone())).then(|| kept.facts().this_update)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_list_is_due_within_the_hour_and_before_its_end() {
        let fetched = Some(at("2026-06-01T00:00:00Z"));
        let week = Some(at("2026-06-08T00:00:00Z"));
        assert!(due(None, week, at("2026-06-01T00:00:00Z")));
        assert!(!due(fetched, week, at("2026-06-01T00:59:59Z")));
        assert!(due(fetched, week, at("2026-06-01T01:00:00Z")));
        let soon = Some(at("2026-06-01T00:20:00Z"));
        assert!(!due(fetched, soon, at("2026-06-01T00:09:59Z")));
        assert!(due(fetched, soon, at("2026-06-01T00:10:00Z")));
        let over = Some(at("2026-05-31T00:00:00Z"));
        assert!(!due(fetched, over, at("2026-06-01T00:00:59Z")));
        assert!(due(fetched, over, at("2026-06-01T00:01:00Z")));
        assert!(due(fetched, week, at("2026-05-31T23:59:59Z")));
    }

    #[test]
    fn only_http_and_https_without_credentials_are_asked() {
        for (url, reason) in [
            ("ldap://directory.example.com/cn=crl", "http and https only"),
            ("file:///etc/passwd", "http and https only"),
            ("ftp://crl.example.com/x.crl", "http and https only"),
            ("http://user:hunter2@crl.example.com/", "credentials"),
            ("http://user@crl.example.com/", "credentials"),
            ("crl.crl", "not a URL"),
            ("http://", "not a URL"),
            ("http://10.0.0.1/x.crl", "not globally routable"),
            ("http://localhost/x.crl", "not a host of the internet"),
        ] {
            let refused = check_url(url, false).unwrap_err().to_string();
            assert!(refused.contains(reason) && !refused.contains("hunter2"), "{url}: {refused}");
        }
        check_url("http://10.0.0.1/x.crl", true).unwrap();
        assert!(check_url(&format!("http://crl.example.com/{}", "x".repeat(3000)), false).is_err());
    }
}
