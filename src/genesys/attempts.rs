//! The attempts at one request: waits between them as [`crate::http_client::retry`] says, and says so in the log.

use tokio::time::Instant;

use crate::genesys::error::FetchError;
use crate::http_client::retry::next_delay;
use crate::jitter;

/// How often one request is sent at most.
const ATTEMPTS: u32 = 4;

/// The attempts at one request.
pub(super) struct Attempts<'a> {
    made: u32,
    ends: Instant,
    source: &'a str,
    last: Option<FetchError>,
}

impl<'a> Attempts<'a> {
    pub fn until(ends: Instant, source: &'a str) -> Self {
        Self { made: 0, ends, source, last: None }
    }

    /// Waits for the next attempt and says so, or gives the error back if there is none.
    pub async fn pause_after(&mut self, error: FetchError) -> Result<(), FetchError> {
        self.made = self.made.saturating_add(1);
        let error = match self.last.take() {
            // That time ran out in the middle of a further attempt says less than what went wrong before.
            Some(last) if error.is_deadline() => return Err(last),
            _ => FetchError { attempts: self.made, ..error },
        };
        let remaining = self.ends.saturating_duration_since(Instant::now());
        let delay = next_delay(self.made, ATTEMPTS, error.retry_after(), remaining, jitter::draw());
        let Some(delay) = delay.filter(|_| error.is_transient()) else { return Err(error) };
        log_line!(
            VendorRequestRetried,
            source = %self.source,
            attempt = self.made,
            retry_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            correlation_id = error.correlation_id(),
            error = %error,
            "a request to the vendor failed and is tried again"
        );
        self.last = Some(error);
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genesys::error::{FetchFailure, Refusal, Refused};

    #[test]
    fn what_cannot_pass_by_itself_is_not_asked_again() {
        for (refusal, status, is_transient) in [(Refusal::Forbidden, 403, false), (Refusal::TooManyRequests, 429, true)]
        {
            let refused = Refused { status, ..Refused::default() };
            let error = FetchError::new("GET https://api.example/".into(), FetchFailure::Refused(refusal, refused));
            assert_eq!(error.is_transient(), is_transient);
        }
    }
}
