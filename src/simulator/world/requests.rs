//! What the vendor keeps of its clients: tokens, requests and their number, and the failures that strike them.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

use super::{World, remember};
use crate::simulator::failure::{Endpoint, Failure};
use crate::trust::values::fingerprint::hex;
use crate::trust::values::timestamp::Timestamp;

/// A request that the vendor saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// Which of the two endpoints, if either.
    pub endpoint: Option<Endpoint>,
    /// `GET`, `POST`...
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as sent, still escaped.
    pub query: String,
    /// The Host header, empty without one.
    pub host: String,
    /// Whether it carried an Authorization header.
    pub authorization: bool,
    /// Whether it asked every cache on the way to ask the vendor.
    pub no_cache: bool,
    /// The status of the answer; none where there was no proper answer.
    pub status: Option<u16>,
}

/// How many requests came since the world began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// To [`TOKEN_PATH`](super::TOKEN_PATH).
    pub token: u64,
    /// To [`LISTING_PATH`](super::LISTING_PATH).
    pub listing: u64,
    /// To the CRLs' listener, for any path.
    pub crl: u64,
    /// To any other path of the API.
    pub other: u64,
}

pub(super) struct Token {
    pub(super) text: String,
    pub(super) expires: Timestamp,
}

/// A failure that strikes a request, and whether it is the first, third... of its kind.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulator) struct Strike {
    pub(in crate::simulator) failure: Failure,
    pub(super) odd: bool,
}

pub(in crate::simulator) fn is_struck(strikes: &[Strike], failure: Failure) -> bool {
    strikes.iter().any(|strike| strike.failure == failure)
}

impl World {
    /// Forgets every token: the next listing gets 401.
    pub fn revoke_tokens(&self) {
        self.locked().tokens.clear();
    }

    /// The latest tokens that were issued, oldest first: tests search for them where they must not be.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.locked().tokens.iter().map(|token| token.text.clone()).collect()
    }

    /// The latest requests, oldest first; at most a thousand.
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.locked().seen.iter().cloned().collect()
    }

    /// How many requests came, by endpoint.
    #[must_use]
    pub fn request_counts(&self) -> RequestCounts {
        self.locked().counts
    }

    pub(in crate::simulator) fn note(&self, request: SeenRequest) {
        let mut state = self.locked();
        let counter = match request.endpoint {
            Some(Endpoint::Token) => &mut state.counts.token,
            Some(Endpoint::Listing) => &mut state.counts.listing,
            Some(Endpoint::Both) | None => &mut state.counts.other,
        };
        *counter = counter.saturating_add(1);
        remember(&mut state.seen, request);
    }

    pub(in crate::simulator) fn issue_token(&self) -> String {
        let text = random_text();
        let expires = self.now().plus(self.0.options.token_lifetime);
        remember(&mut self.locked().tokens, Token { text: text.clone(), expires });
        text
    }

    /// Whether a Bearer token is good now; else the code and the message of the refusal.
    pub(in crate::simulator) fn check_token(&self, text: Option<&str>) -> Result<(), (&'static str, &'static str)> {
        let Some(text) = text else {
            let message = "No authentication bearer token specified in authorization header.";
            return Err(("authentication.required", message));
        };
        match self.locked().tokens.iter().find(|token| token.text == text) {
            None => Err(("bad.credentials", "Invalid login credentials.")),
            Some(token) if token.expires <= self.now() => Err(("credentials.expired", "The token has expired.")),
            Some(_) => Ok(()),
        }
    }

    /// Counts one listing against the minute's allowance: how many there were, and how long the minute still lasts.
    pub(in crate::simulator) fn count_against_limit(&self) -> (u32, Duration) {
        const MINUTE: Duration = Duration::from_secs(60);
        let now = Instant::now();
        let mut state = self.locked();
        let (began, made) = match state.minute {
            Some((began, made)) if now.duration_since(began) < MINUTE => (began, made),
            _ => (now, 0),
        };
        let made = made.saturating_add(1);
        state.minute = Some((began, made));
        (made, MINUTE.saturating_sub(now.duration_since(began)))
    }

    pub(in crate::simulator) fn count_crl_request(&self) {
        let mut state = self.locked();
        state.counts.crl = state.counts.crl.saturating_add(1);
    }

    /// The failures that strike this request; each counts it.
    pub(in crate::simulator) fn strike(&self, endpoint: Endpoint, status: Option<&str>) -> Vec<Strike> {
        // Counted by filter, so that a client that always asks twice sees the listing flap.
        let asked = match status {
            None => "all",
            Some("Current") => "current",
            Some("Upcoming") => "upcoming",
            Some(_) => "other",
        };
        let mut state = self.locked();
        let mut strikes = Vec::new();
        for active in &mut state.failures {
            let struck =
                active.endpoint.covers(endpoint) && (endpoint == Endpoint::Listing || !active.failure.is_content());
            if !struck {
                continue;
            }
            let answers = active.answers.entry(asked).or_default();
            *answers = answers.saturating_add(1);
            strikes.push(Strike { failure: active.failure, odd: *answers % 2 == 1 });
            active.remaining = active.remaining.map(|left| left.saturating_sub(1));
        }
        state.failures.retain(|active| active.remaining != Some(0));
        strikes
    }
}

/// 32 random hex digits. Where the kernel has no randomness, TLS fails before any zeros are served.
pub(in crate::simulator) fn random_text() -> String {
    let mut bytes = [0; 16];
    let _ = SystemRandom::new().fill(&mut bytes);
    hex(&bytes)
}
