//! When to ask again, as a pure function.

use std::time::Duration;

use crate::genesys::error::FetchError;

/// How often one request is sent at most.
pub const ATTEMPTS: u32 = 4;
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);

/// How long to wait before the next attempt, or `None`: give up. `attempt` counts those made (1 after the first),
/// `remaining` is what is left of the deadline, `random` lies in 0..1.
///
/// Half a second, doubled each time up to 8 s, of which a random half is taken off so that a fleet does not knock in step.
/// A `Retry-After` is obeyed where the deadline allows, and else ends the attempts: to knock earlier is what it forbids.
#[must_use]
pub fn next_delay(attempt: u32, error: &FetchError, remaining: Duration, random: f64) -> Option<Duration> {
    if attempt >= ATTEMPTS || !error.is_transient() {
        return None;
    }
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST);
    let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
    let delay = match error.retry_after() {
        // Never earlier than told; a little later, at random.
        Some(told) => told.saturating_add(FIRST.mul_f64(random)),
        None => doubled.mul_f64(0.5 + random / 2.0),
    };
    (delay < remaining).then_some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genesys::error::{FetchFailure, Refused};

    fn busy(retry_after: Option<u64>) -> FetchError {
        let refused = Refused { status: 429, ..Refused::default() };
        FetchError::new("GET https://api.example/".into(), FetchFailure::TooManyRequests(refused))
            .with_retry_after(retry_after.map(Duration::from_secs))
    }

    #[test]
    fn waits_double_up_to_a_cap_and_end_after_four_attempts() {
        let hour = Duration::from_secs(3_600);
        let delays: Vec<_> = (1..=5).map(|attempt| next_delay(attempt, &busy(None), hour, 1.0)).collect();
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        assert_eq!(delays, [seconds(0.5), seconds(1.0), seconds(2.0), None, None]);
        assert_eq!(next_delay(1, &busy(None), hour, 0.0), seconds(0.25));
        assert_eq!(next_delay(1, &busy(None), hour, f64::NAN), seconds(0.375));
    }

    #[test]
    fn retry_after_is_obeyed_or_ends_the_attempts() {
        let minute = Duration::from_secs(60);
        assert_eq!(next_delay(1, &busy(Some(7)), minute, 0.0), Some(Duration::from_secs(7)));
        assert_eq!(next_delay(1, &busy(Some(60)), minute, 0.0), None);
        assert_eq!(next_delay(1, &busy(Some(u64::MAX)), minute, 1.0), None);
        assert_eq!(next_delay(1, &busy(None), Duration::from_millis(100), 0.0), None);
    }

    #[test]
    fn what_cannot_pass_by_itself_is_not_asked_again() {
        let refused = Refused { status: 403, ..Refused::default() };
        let error = FetchError::new("GET https://api.example/".into(), FetchFailure::Forbidden(refused));
        assert_eq!(next_delay(1, &error, Duration::from_secs(60), 0.5), None);
    }
}
