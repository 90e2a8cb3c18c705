//! When to ask the vendor again, when to try a target again, and when known facts are stale. Pure: jitter and time are
//! parameters.
//!
//! ```text
//!  last poll ─▶ succeeded: interval (window_interval in the window), ± jitter; the first one: the rest of such a wait
//!            └▶ failed:    30 s, doubled up to the interval, half of it at random; never before a Retry-After
//! ```
//! Moments are kept on disk as wall-clock times, so that restarts neither ask too often nor too late. A wall clock may
//! be set at any time, so no such moment is believed that lies further ahead than we would ever have put it.

use std::time::Duration;

use crate::trust::values::timestamp::Timestamp;

/// The first wait after a failed poll; doubled with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(30);

/// The first wait after a target's turn that left its reload owed; doubled with each further one.
const FIRST_TRY: Duration = Duration::from_secs(10);

/// So many reloads are made one after the other of a server that serves another generation still; what those do not
/// mend, the next ones hardly will.
const RELOADS_IN_A_ROW: u32 = 3;

/// Then the next one waits so long, and twice as long each time.
const FIRST_WAIT_FOR_RELOAD: Duration = Duration::from_secs(15 * 60);

/// And no longer than this.
const LONGEST_WAIT_FOR_RELOAD: Duration = Duration::from_secs(24 * 3_600);

/// How many intervals without a successful poll make what is known stale.
const STALE_INTERVALS: u32 = 3;

/// The longest `Retry-After` that is obeyed: anyone who could make us wait for ever could make us miss a rotation.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(6 * 3_600);

/// `[schedule]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// From poll to poll.
    pub interval: Duration,
    /// The same, in the window before Current's end.
    pub window_interval: Duration,
    /// From proof to proof of a target that owes nothing; also the longest wait between two tries of one that does.
    pub proof_interval: Duration,
    /// The part of an interval by which each wait is longer or shorter, at random, so that a fleet does not poll in
    /// step.
    pub jitter: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3_600),
            window_interval: Duration::from_secs(15 * 60),
            proof_interval: Duration::from_secs(15 * 60),
            jitter: 0.2,
        }
    }
}

/// How the latest poll of a source went, as far as the next one depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// Both listings came.
    Successfully {
        /// Whether it is the first success that this store remembers.
        first: bool,
        /// Whether Current is in its window.
        in_window: bool,
    },
    /// Something did not come.
    Failed {
        /// How many in a row, this one included.
        failures: u32,
        /// What the vendor asked us to wait.
        retry_after: Option<Duration>,
    },
}

impl Schedule {
    /// How long to wait after a poll. `jitter` lies in 0..1.
    #[must_use]
    pub fn wait_after(&self, polled: Polled, jitter: f64) -> Duration {
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
        match polled {
            Polled::Successfully { first, in_window } => {
                let interval = if in_window { self.window_interval.min(self.interval) } else { self.interval };
                if first {
                    interval.mul_f64(self.rest_of_an_interval(0.02 + 0.98 * jitter))
                } else {
                    interval.mul_f64(1.0 + self.jitter * (2.0 * jitter - 1.0))
                }
            }
            Polled::Failed { failures, retry_after } => {
                let backoff = doubled(FIRST_BACKOFF, failures).min(self.interval).mul_f64(0.5 + jitter);
                // Never earlier than asked for; later at random.
                let asked_for = retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER).saturating_add(backoff));
                asked_for.unwrap_or(backoff)
            }
        }
    }

    /// After this long without a successful poll, what is known of a source is stale.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        self.interval.saturating_mul(STALE_INTERVALS)
    }

    /// What is left of an interval for a poll at any time: a fleet that was rolled out at once then polls from the
    /// second time on as if it had always been there. (The residual of a wait that is even in 1 ± jitter, by its
    /// inverse.)
    fn rest_of_an_interval(&self, jitter: f64) -> f64 {
        let (shortest, longest) = (1.0 - self.jitter, 1.0 + self.jitter);
        if jitter <= shortest {
            jitter
        } else {
            longest - ((1.0 - jitter).max(0.0) * 2.0 * (longest - shortest)).sqrt()
        }
    }

    /// When the source is due, from what is remembered of it. Never polled, or a clock that was set back since: now.
    #[must_use]
    pub fn due(&self, last_attempt: Option<Timestamp>, next_due: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let (Some(last), Some(next)) = (last_attempt, next_due) else { return now };
        let longest = LONGEST_RETRY_AFTER.max(self.interval).saturating_add(self.interval.saturating_mul(2));
        if last > now || next.since(now) > longest { now } else { next }
    }

    /// How long to wait before an owed reload is tried again; `tries` counts those made.
    #[must_use]
    pub fn wait_for_try(&self, tries: u32) -> Duration {
        doubled(FIRST_TRY, tries).min(self.proof_interval)
    }

    /// When a target's turn is due again, from what is remembered of it: an owed reload by the tries so far, one that
    /// owes nothing by its next proof. Never taken, or a clock that was set back since: now.
    #[must_use]
    pub fn turn_due(&self, last_turn: Option<Timestamp>, owed_tries: Option<u32>, now: Timestamp) -> Timestamp {
        let wait = owed_tries.map_or(self.proof_interval, |tries| self.wait_for_try(tries));
        last_turn.filter(|last| *last <= now).map_or(now, |last| last.plus(wait))
    }
}

/// Whether it is time to reload a server once more that was reloaded so often, the last time then.
#[must_use]
pub fn reload_is_due(reloads: u32, last: Option<Timestamp>, now: Timestamp) -> bool {
    let Some(more) = reloads.checked_sub(RELOADS_IN_A_ROW).filter(|more| *more > 0) else { return true };
    let wait = doubled(FIRST_WAIT_FOR_RELOAD, more).min(LONGEST_WAIT_FOR_RELOAD);
    last.filter(|last| *last <= now).is_none_or(|last| last.plus(wait) <= now)
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1).min(20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn a_success_waits_for_the_interval_and_in_the_window_for_the_shorter_one() {
        let schedule = Schedule::default();
        let success = |in_window| Polled::Successfully { first: false, in_window };
        assert_eq!(schedule.wait_after(success(false), 0.5), HOUR);
        assert_eq!(schedule.wait_after(success(false), 0.0), HOUR.mul_f64(0.8));
        assert_eq!(schedule.wait_after(success(false), 1.0), HOUR.mul_f64(1.2));
        assert_eq!(schedule.wait_after(success(true), 0.5), HOUR / 4);
        assert_eq!(schedule.wait_after(success(true), f64::NAN), HOUR / 4);
    }

    #[test]
    fn failures_back_off_up_to_the_interval_and_never_before_a_retry_after() {
        let schedule = Schedule::default();
        let failed = |failures, retry_after| schedule.wait_after(Polled::Failed { failures, retry_after }, 0.5);
        let waits: Vec<u64> = (1..=9).map(|failures| failed(failures, None).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!(failed(u32::MAX, None), HOUR);
        assert!(failed(1, Some(HOUR)) >= HOUR);
        assert!(failed(1, Some(Duration::MAX)) < LONGEST_RETRY_AFTER + HOUR);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_a_poll_due_and_stalls_nothing() {
        let schedule = Schedule::default();
        let year = 31_536_000;
        assert_eq!(schedule.due(None, None, at(5)), at(5));
        assert_eq!(schedule.due(Some(at(0)), Some(at(3_600)), at(10)), at(3_600));
        assert_eq!(schedule.due(Some(at(0)), Some(at(3_600)), at(year)), at(3_600), "overdue");
        assert_eq!(schedule.due(Some(at(year)), Some(at(year + 3_600)), at(10)), at(10));
        assert_eq!(schedule.due(Some(at(0)), Some(at(year)), at(10)), at(10), "no such wait was ever decided");
        assert_eq!(schedule.turn_due(Some(at(year)), None, at(10)), at(10));
        assert_eq!(schedule.turn_due(Some(at(100)), None, at(110)), at(1_000));
        assert_eq!(schedule.turn_due(Some(at(100)), Some(2), at(110)), at(120));
        assert_eq!(schedule.turn_due(None, None, at(10)), at(10));
    }

    #[test]
    fn a_server_that_no_reload_helps_is_reloaded_ten_times_on_the_first_day_and_then_once_a_day() {
        let (mut reloads, mut last) = (0, None);
        let mut of_day = [0; 4];
        for minute in 0..4 * 24 * 60 {
            let now = at(minute * 60);
            if reload_is_due(reloads, last, now) {
                (reloads, last) = (reloads + 1, Some(now));
                of_day[usize::try_from(minute).unwrap() / (24 * 60)] += 1;
            }
        }
        assert_eq!(of_day, [10, 1, 1, 1]);
        assert!(reload_is_due(u32::MAX, Some(at(100)), at(0)), "a clock that was set back stalls nothing");
        assert!(!reload_is_due(u32::MAX, Some(at(0)), at(100)));
    }

    #[test]
    fn a_target_is_tried_again_soon_and_then_less_and_less_often() {
        let waits: Vec<u64> = (1..=9).map(|tries| Schedule::default().wait_for_try(tries).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 900, 900]);
    }
}
