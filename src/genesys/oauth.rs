//! The token that the client secret buys.
//!
//! `POST https://login.<domain>/oauth/token` with HTTP Basic and `grant_type=client_credentials` (RFC 6749, section
//! 4.4; the vendor's page "Grant - Client Credentials"). A token is reused until shortly before it ends.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::genesys::error::{BadAnswer, FetchError, Refusal};
use crate::genesys::exchange::{Answer, Exchange};
use crate::genesys::loose_json::{Loose, json_trouble};
use crate::settings::resolved::Secret;
use crate::trust::values::timestamp::Timestamp;

/// The value of the Basic header's credentials.
pub(super) fn basic(client_id: &str, secret: &Secret) -> Secret {
    Secret::new(STANDARD.encode(format!("{client_id}:{}", secret.expose())))
}

/// A token and its time.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token as it is sent.
    pub text: Secret,
    /// When it was asked for.
    pub since: Timestamp,
    /// For how long it is given.
    pub life: Duration,
}

/// The last token, as long as it may be reused.
#[derive(Debug, Clone, Default)]
pub struct TokenCache(Option<Token>);

impl TokenCache {
    /// The token, if it lasts from `now` for a while: its last minute, or last tenth if that is shorter, is not begun.
    /// A clock that went back makes its age unknown, so it is not reused.
    #[must_use]
    pub fn usable(&self, now: Timestamp) -> Option<&Token> {
        let token = self.0.as_ref()?;
        let margin = Duration::from_secs(60).min(token.life.checked_div(10).unwrap_or_default());
        let age = now.since(token.since);
        (now >= token.since && age < token.life.saturating_sub(margin)).then_some(token)
    }

    /// Keeps `token`.
    pub fn keep(&mut self, token: Token) {
        self.0 = Some(token);
    }

    /// Forgets it: the API refused it.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

/// The answer of the login service. Everything else in it is ignored, and none of it is ever shown.
#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    #[serde(default)]
    token_type: Loose,
    #[serde(default)]
    expires_in: Loose,
}

/// The vendor's longest token life.
const LONGEST_LIFE: Duration = Duration::from_secs(48 * 3_600);
const TOKEN_BYTES: usize = 64 * 1024;

/// Asks the login service for a token, once.
pub(super) async fn ask_token(
    exchange: &Exchange<'_>,
    url: &Url,
    client_id: &str,
    basic: &Secret,
    ends: Instant,
) -> Result<Token, FetchError> {
    let name = format!("POST {url}");
    let request = exchange
        .http
        .post(url.clone())
        .header(AUTHORIZATION, authorization("Basic", basic).map_err(|why| FetchError::new(name.clone(), why.into()))?)
        .header(ACCEPT, "application/json")
        .form(&[("grant_type", "client_credentials")]);
    let answer = exchange.ask(request, &name, url, (0, TOKEN_BYTES), ends).await?;
    if answer.status != reqwest::StatusCode::OK {
        return Err(exchange.refusal(&answer, &name, |said| {
            let invalid_client = said.code == Some("invalid_client");
            let client_id = exchange.scrub.clean(client_id);
            match said.status {
                400 if invalid_client => Some(Refusal::UnknownClient(client_id)),
                // A page for people comes from something in between, which knows of no secret.
                401 if !said.html => Some(Refusal::WrongSecret(client_id)),
                _ => None,
            }
        }));
    }
    grant(&answer, exchange.now).map_err(|failure| FetchError {
        correlation: answer.correlation(exchange.scrub),
        ..FetchError::new(name, failure.into())
    })
}

fn grant(answer: &Answer, now: Timestamp) -> Result<Token, BadAnswer> {
    if answer.is_html() {
        return Err(BadAnswer::Html);
    }
    let granted: Granted =
        serde_json::from_slice(&answer.body).map_err(|error| BadAnswer::NotJson(json_trouble(&error)))?;
    let text = granted.access_token.unwrap_or_default();
    if text.is_empty() {
        return Err(BadAnswer::NoToken("access_token is missing"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadAnswer::NoToken("access_token has characters that no token has"));
    }
    if matches!(&granted.token_type, Loose::Text(kind) if !kind.eq_ignore_ascii_case("bearer")) {
        return Err(BadAnswer::NoToken("its token_type is not bearer"));
    }
    // Without a life it serves this once.
    let life = granted.expires_in.number().map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_LIFE);
    Ok(Token { text: Secret::new(text), since: now, life })
}

/// An Authorization header that no library shows.
pub(super) fn authorization(scheme: &str, credentials: &Secret) -> Result<HeaderValue, BadAnswer> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {}", credentials.expose()))
        .map_err(|_| BadAnswer::NoToken("it cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_reused_until_shortly_before_its_end() {
        let since = Timestamp::from_unix(1_000_000);
        let mut cache = TokenCache::default();
        assert!(cache.usable(since).is_none());
        cache.keep(Token { text: Secret::new("t".into()), since, life: Duration::from_secs(300) });
        let after = |seconds| since.plus(Duration::from_secs(seconds));
        assert!(cache.usable(since).is_some());
        assert!(cache.usable(after(269)).is_some());
        assert!(cache.usable(after(270)).is_none());
        assert!(cache.usable(since.minus(Duration::from_secs(1))).is_none(), "the clock went back");
        cache.keep(Token { text: Secret::new("t".into()), since, life: Duration::from_secs(86_400) });
        assert!(cache.usable(after(86_339)).is_some());
        assert!(cache.usable(after(86_340)).is_none());
        cache.forget();
        assert!(cache.usable(since).is_none());
    }
}
