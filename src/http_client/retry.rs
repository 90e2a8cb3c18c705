//! When to ask again, as a pure function.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);

/// How long to wait before the next attempt, or `None`: give up. `made` counts the attempts until now, `most` those
/// that may be made, `remaining` is what is left of the deadline, `random` lies in 0..1.
///
/// Half a second, doubled each time, of which a random half is taken off so that a fleet does not ask in step. A
/// `Retry-After` is obeyed where the deadline allows, and else ends the attempts: it forbids to ask earlier.
#[must_use]
pub fn next_delay(
    made: u32,
    most: u32,
    retry_after: Option<Duration>,
    remaining: Duration,
    random: f64,
) -> Option<Duration> {
    if made >= most {
        return None;
    }
    let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
    let delay = match retry_after {
        // Never earlier than asked for; a little later, at random.
        Some(asked) => asked.saturating_add(FIRST.mul_f64(random)),
        None => {
            let doubled = FIRST.saturating_mul(2_u32.saturating_pow(made.saturating_sub(1)));
            doubled.mul_f64(0.5 + random / 2.0)
        }
    };
    (delay < remaining).then_some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn waits_double_and_end_after_the_last_attempt() {
        let delays = |most| -> Vec<_> { (1..=5).map(|made| next_delay(made, most, None, HOUR, 1.0)).collect() };
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        assert_eq!(delays(4), [seconds(0.5), seconds(1.0), seconds(2.0), None, None]);
        assert_eq!(delays(3), [seconds(0.5), seconds(1.0), None, None, None]);
        assert_eq!(next_delay(1, 4, None, HOUR, 0.0), seconds(0.25));
        assert_eq!(next_delay(1, 4, None, HOUR, f64::NAN), seconds(0.375));
    }

    #[test]
    fn retry_after_is_obeyed_or_ends_the_attempts() {
        let minute = Duration::from_secs(60);
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(next_delay(1, 4, asked(7), minute, 0.0), asked(7));
        assert_eq!(next_delay(1, 4, asked(60), minute, 0.0), None);
        assert_eq!(next_delay(1, 4, asked(u64::MAX), minute, 1.0), None);
        assert_eq!(next_delay(1, 4, None, Duration::from_millis(100), 0.0), None);
    }
}
