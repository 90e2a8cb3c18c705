//! Observes a server again and again in one way, until what it serves is steady.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::targets::proof::observe::{Observe, PAUSE};
use crate::targets::proof::seen::{Caveat, Patience, Seen, Wanted};
use crate::trust::turn::Proof;

/// Between two observations of a server that shows nothing new for long.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The fewest observations that make a streak, however slow they are.
const STREAK: u32 = 3;

/// For how long a server that was asked to reload just now must show less than hoped (no header, no marker of this
/// store, no request for a certificate) to be judged by that: a busy one may need most of a second before its first new
/// answer.
const LESS_THAN_HOPED: Duration = Duration::from_millis(1_200);

/// How long a server that nobody asked to reload lately is observed, at most, unless it is slow to answer at all.
const LONG_RUNNING: Duration = Duration::from_secs(3);

/// One way of observing, until the server has shown what it serves.
pub(super) struct Watch {
    pub(super) observer: Arc<dyn Observe>,
    pub(super) settle: Duration,
    pub(super) timeout: Duration,
    pub(super) wanted: Wanted,
    pub(super) patience: Patience,
    /// Whether it need not answer here, where others of the same name do.
    pub(super) may_be_left_out: bool,
    pub(super) observations: u32,
}

/// Observations in a row that say the same.
struct Streak {
    seen: Seen,
    since: Instant,
    observations: u32,
}

impl Watch {
    pub(super) async fn until_settled(&mut self) -> Seen {
        let patient = match self.patience {
            Patience::JustReloaded => self.timeout,
            Patience::LongRunning => self.timeout.min(LONG_RUNNING),
        };
        let pause = self.observer.pause(self.settle);
        let asked = Instant::now();
        let (deadline, end) = (asked + patient, asked + self.timeout);
        let mut streak: Option<Streak> = None;
        let mut was_new = false;
        loop {
            let began = Instant::now();
            let limit = self.observer.limit().min(end.saturating_duration_since(began)).max(PAUSE);
            let seen = self.observer.observe(&self.wanted, limit).await;
            self.observations = self.observations.saturating_add(1);
            was_new |= seen.is_wanted() || seen.caveat == Caveat::AllowlistMissing;
            // One that our own deadline cut short says nothing of a server that answered before.
            let cut_short = matches!(seen.proof, Proof::Unreachable(_))
                && limit < self.observer.limit()
                && began.elapsed() >= limit;
            let current = match streak.take() {
                Some(same) if same.seen.continues(&seen) => {
                    Streak { seen, observations: same.observations.saturating_add(1), ..same }
                }
                Some(answered) if cut_short => answered,
                _ => Streak { seen, since: Instant::now(), observations: 1 },
            };
            // From the end of the first observation to the beginning of the last: what lies between was surely served.
            let lasted = began.saturating_duration_since(current.since);
            if !cut_short && current.observations >= STREAK && self.decides(&current.seen, lasted) {
                return self.explained(current.seen).await;
            }
            // One that answers, but slowly, is not judged by fewer observations for that.
            let is_slow = self.observations < STREAK && !matches!(current.seen.proof, Proof::Unreachable(_));
            let left = if is_slow { end } else { deadline }.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return match &current.seen.proof {
                    // A single failure says nothing of a server that answered before.
                    Proof::Unreachable(_) if current.observations >= STREAK || !was_new => {
                        self.explained(current.seen).await
                    }
                    Proof::Refuted(_) if current.seen.caveat == Caveat::None && lasted >= self.settle => current.seen,
                    _ if was_new => not_yet(&current.seen),
                    _ => current.seen,
                };
            }
            // A server that does not come to it is asked less and less often.
            let waits =
                if current.seen.is_wanted() { pause } else { (asked.elapsed() / 10).clamp(pause, LONGEST_PAUSE) };
            streak = Some(current);
            sleep(waits.min(left)).await;
        }
    }

    /// Whether a streak of this kind that lasted so long needs no further observation.
    fn decides(&self, seen: &Seen, lasted: Duration) -> bool {
        match &seen.proof {
            _ if self.patience == Patience::LongRunning => true,
            _ if seen.caveat == Caveat::Kept || seen.is_wanted() => lasted >= self.settle,
            Proof::NotEnforced(_) => lasted >= self.settle,
            Proof::Unreachable(_) if self.may_be_left_out && seen.caveat == Caveat::Refused => {
                lasted >= LESS_THAN_HOPED.max(self.settle)
            }
            Proof::ChainOnly(_) | Proof::NotWired(_) | Proof::Unverifiable(_) => {
                lasted >= LESS_THAN_HOPED.max(self.settle)
            }
            _ => false,
        }
    }

    async fn explained(&self, seen: Seen) -> Seen {
        match seen.proof {
            Proof::Unreachable(reason) if seen.caveat != Caveat::Refused => self.observer.explain(reason).await.into(),
            _ => seen,
        }
    }
}

fn not_yet(last: &Seen) -> Seen {
    Proof::NotYet(format!("the wanted generation was seen, but not steadily (last seen: {})", last.proof)).into()
}
