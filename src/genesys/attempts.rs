//! The attempts at one request: waits between them as [`crate::genesys::retry`] says, and says so in the log.

use tokio::time::Instant;

use crate::genesys::error::FetchError;
use crate::genesys::retry;
use crate::jitter;

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
            _ => error.after_attempts(self.made),
        };
        let remaining = self.ends.saturating_duration_since(Instant::now());
        let Some(delay) = retry::next_delay(self.made, &error, remaining, jitter::draw()) else {
            return Err(error);
        };
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
