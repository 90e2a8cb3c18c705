//! Asks one source for its two listings, within a deadline.

use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::genesys::attempts::Attempts;
use crate::genesys::error::{FetchError, FetchFailure, Refusal};
use crate::genesys::exchange::Exchange;
use crate::genesys::listing::{self, Filter, Listing, Place};
use crate::genesys::oauth::{self, TokenCache};
use crate::genesys::scrub::Scrub;
use crate::genesys::secret::read_secret;
use crate::http_client::{self, Limits, OutboundError, shown};
use crate::settings::resolved::{Secret, SecretOrigin, Source};
use crate::trust::values::timestamp::Timestamp;

/// A longer deadline is none.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 86_400);

/// The client could not be built; a matter of configuration (exit 3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("source {source_name}: {reason}")]
pub struct ClientError {
    /// The source's name in the configuration.
    pub source_name: String,
    /// Why it could not be built.
    pub reason: OutboundError,
}

/// What the vendor said: each listing, or why there is none. If one fails, the other still counts.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The listing without a filter.
    pub unfiltered: Result<Listing, FetchError>,
    /// The listing with `status=Upcoming`.
    pub upcoming: Result<Listing, FetchError>,
    /// The vendor's clock, by the latest `Date` of its good answers: a cache on the way can only make one older.
    pub date: Option<Timestamp>,
}

impl Fetched {
    /// The listings that came.
    pub fn listings(&self) -> impl Iterator<Item = &Listing> {
        [&self.unfiltered, &self.upcoming].into_iter().filter_map(|listing| listing.as_ref().ok())
    }
}

/// A source and the means to ask it. It keeps its token and connections, so a daemon keeps it.
pub struct Client {
    http: reqwest::Client,
    limits: Limits,
    source: String,
    client_id: String,
    secret: SecretOrigin,
    token_url: Url,
    listing_url: Url,
    path: String,
    proxy: Option<String>,
    proxy_password: Option<Secret>,
    tokens: TokenCache,
    /// The secret that bought the token.
    bought_with: Option<Secret>,
    scrub: Scrub,
}

impl Client {
    /// A client of `source`. Nothing is asked yet, and the secret is not read yet.
    pub fn new(source: &Source, limits: Limits) -> Result<Self, ClientError> {
        let fail = |reason| ClientError { source_name: source.name.clone(), reason };
        let http =
            http_client::build(&[&source.api, &source.login], source.ca_file.as_deref(), source.proxy.as_ref(), limits)
                .map_err(fail)?;
        let path = format!("/{}", source.path.trim_start_matches('/'));
        Ok(Self {
            http,
            limits,
            source: source.name.clone(),
            client_id: source.client_id.clone(),
            secret: source.client_secret.clone(),
            token_url: below(&source.login, "/oauth/token").map_err(fail)?,
            listing_url: below(&source.api, &path).map_err(fail)?,
            path,
            proxy: source.proxy.as_ref().map(shown),
            proxy_password: source.proxy.as_ref().and_then(Url::password).map(|text| Secret::new(text.to_owned())),
            tokens: TokenCache::default(),
            bought_with: None,
            scrub: Scrub::default(),
        })
    }

    /// Asks for both listings, trying again as `retry` allows, all within `deadline`. An error is one of the token or
    /// of its acceptance, without which neither listing can be had.
    pub async fn fetch(&mut self, now: Timestamp, deadline: Duration) -> Result<Fetched, FetchError> {
        let outcome = self.both_listings(now, deadline).await;
        match &outcome {
            Ok(fetched) => [&fetched.unfiltered, &fetched.upcoming]
                .into_iter()
                .filter_map(|listing| listing.as_ref().err())
                .for_each(|error| self.log(error)),
            Err(error) => self.log(error),
        }
        outcome
    }

    fn log(&self, error: &FetchError) {
        // The cycle says it once, with what it means for trust; this is for those who look closer.
        log_line!(
            VendorRequestFailed,
            source = %self.source,
            correlation_id = error.correlation_id(),
            error = %error,
            "a request to the vendor failed"
        );
    }

    async fn both_listings(&mut self, now: Timestamp, deadline: Duration) -> Result<Fetched, FetchError> {
        let ends = Instant::now().checked_add(deadline.min(LONGEST)).unwrap_or_else(Instant::now);
        let mut renewed = false;
        let unfiltered = self.listing(Filter::Unfiltered, now, ends, &mut renewed).await?;
        let upcoming = self.listing(Filter::Upcoming, now, ends, &mut renewed).await?;
        let mut fetched = Fetched { unfiltered, upcoming, date: None };
        fetched.date = fetched.listings().flat_map(|listing| &listing.dates).copied().flatten().max();
        if let (Ok(unfiltered), Ok(upcoming)) = (&fetched.unfiltered, &fetched.upcoming) {
            log_line!(
                ListingsRead,
                source = %self.source,
                unfiltered = unfiltered.entities.len(),
                upcoming = upcoming.entities.len(),
                vendor_time = fetched.date.map(tracing::field::display),
                "both listings were read"
            );
        }
        Ok(fetched)
    }

    /// One listing. The outer error is the token's: a 401 buys a new one, once in a fetch.
    async fn listing(
        &mut self,
        filter: Filter,
        now: Timestamp,
        ends: Instant,
        renewed: &mut bool,
    ) -> Result<Result<Listing, FetchError>, FetchError> {
        loop {
            let token = self.token(now, ends).await?;
            let ends = match filter {
                // Half of what is left, so that its retries leave time for the other.
                Filter::Unfiltered => {
                    let start = Instant::now();
                    let half = ends.saturating_duration_since(start).checked_div(2);
                    half.and_then(|half| start.checked_add(half)).unwrap_or(ends)
                }
                Filter::Upcoming => ends,
            };
            let place = Place { url: &self.listing_url, path: &self.path };
            let listing = listing::read(&self.exchange(now), &place, filter, &token, &self.source, ends).await;
            match listing {
                Err(error) if matches!(error.failure(), FetchFailure::Refused(Refusal::TokenRefused, _)) => {
                    self.tokens.forget();
                    if *renewed {
                        return Err(error);
                    }
                    *renewed = true;
                    log_line!(
                        TokenRefused,
                        source = %self.source,
                        correlation_id = error.correlation_id(),
                        "the API refused the token; taking a new one, once"
                    );
                }
                listing => return Ok(listing),
            }
        }
    }

    /// The token at hand, or a new one.
    async fn token(&mut self, now: Timestamp, ends: Instant) -> Result<Secret, FetchError> {
        let secret = read_secret(&self.secret);
        // A changed secret is tried now, and not only when the token ends, so that a wrong one is found out. One that
        // cannot be read costs nothing while the token lasts.
        let is_another = |secret: &Secret| self.bought_with.as_ref().is_some_and(|before| before != secret);
        if secret.as_ref().is_ok_and(is_another) {
            self.tokens.forget();
        }
        if let Some(token) = self.tokens.usable(now) {
            return Ok(token.text.clone());
        }
        let secret = secret.map_err(|error| FetchError::new(format!("POST {}", self.token_url), error.into()))?;
        let basic = oauth::basic(&self.client_id, &secret);
        let proxy_password = self.proxy_password.as_ref().map(Secret::expose);
        self.scrub = Scrub::new([secret.expose(), basic.expose()].into_iter().chain(proxy_password));
        let mut attempts = Attempts::until(ends, &self.source);
        let token = loop {
            match oauth::ask_token(&self.exchange(now), &self.token_url, &self.client_id, &basic, ends).await {
                Ok(token) => break token,
                Err(error) => attempts.pause_after(error).await?,
            }
        };
        log_line!(TokenTaken, source = %self.source, life_s = token.life.as_secs(), "took a new token");
        let text = token.text.clone();
        self.scrub.forbid(text.expose());
        self.tokens.keep(token);
        self.bought_with = Some(secret);
        Ok(text)
    }

    fn exchange(&self, now: Timestamp) -> Exchange<'_> {
        Exchange { http: &self.http, limits: self.limits, proxy: self.proxy.as_deref(), scrub: &self.scrub, now }
    }
}

/// A path below a base URL, whatever path that has of its own.
fn below(base: &Url, path: &str) -> Result<Url, OutboundError> {
    let refused = |reason| OutboundError::Url { url: shown(base), reason };
    let url: Url = format!("{}{path}", base.as_str().trim_end_matches('/'))
        .parse()
        .map_err(|_| refused("with the path it is not a URL"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("the path has a query or a fragment"));
    }
    if url.host() != base.host() || url.port() != base.port() {
        return Err(refused("the path leads to another host"));
    }
    Ok(url)
}
