//! Looks again and again in one way, until what the server serves is steady.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::targets::proof::look::{Looker, PAUSE};
use crate::targets::proof::seen::{Patience, Seen, Wanted};

/// Between two looks at a server that shows nothing new for long.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The fewest sightings that make a streak, however slow they are.
const STREAK: u32 = 3;

/// For how long a server that was told just now must show less than hoped (no header, no marker of this store, no request
/// for a certificate) to be judged by that: a busy one may need most of a second before its first new answer.
const LESS_THAN_HOPED: Duration = Duration::from_millis(1_200);

/// How long a server that nobody told lately is looked at, at most, unless it is slow to answer at all.
const LONG_RUNNING: Duration = Duration::from_secs(3);

/// One way of looking, until the server has shown what it serves.
pub(super) struct Watch {
    pub(super) looker: Looker,
    pub(super) settle: Duration,
    pub(super) timeout: Duration,
    pub(super) wanted: Wanted,
    pub(super) patience: Patience,
    pub(super) looks: u32,
}

/// Sightings in a row that say the same.
struct Streak {
    seen: Seen,
    since: Instant,
    looks: u32,
}

impl Watch {
    pub(super) async fn look_until_settled(&mut self) -> Seen {
        let patient = match self.patience {
            Patience::JustReloaded => self.timeout,
            Patience::LongRunning => self.timeout.min(LONG_RUNNING),
        };
        let pause = self.looker.pause(self.settle);
        let asked = Instant::now();
        let (deadline, end) = (asked + patient, asked + self.timeout);
        let mut streak: Option<Streak> = None;
        let mut was_new = false;
        loop {
            let began = Instant::now();
            let limit = self.looker.limit().min(end.saturating_duration_since(began)).max(PAUSE);
            let seen = self.looker.look(&self.wanted, limit).await;
            self.looks = self.looks.saturating_add(1);
            was_new |= seen.is_wanted() || matches!(seen, Seen::Lacking(_));
            let current = match streak.take() {
                Some(same) if same.seen.continues(&seen) => {
                    Streak { seen, looks: same.looks.saturating_add(1), ..same }
                }
                _ => Streak { seen, since: Instant::now(), looks: 1 },
            };
            // From the end of the first look to the beginning of the last: what lies between was surely served.
            let lasted = began.saturating_duration_since(current.since);
            if current.looks >= STREAK && self.decides(&current.seen, lasted) {
                return self.verdict(current.seen).await;
            }
            // One that answers, but slowly, is not judged by fewer looks for that.
            let is_slow = self.looks < STREAK && !matches!(current.seen, Seen::Unreachable(_));
            let left = if is_slow { end } else { deadline }.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return match current.seen {
                    // One look that our own deadline cut short says nothing of a server that answered before.
                    seen @ Seen::Unreachable(_) if current.looks >= STREAK || !was_new => self.verdict(seen).await,
                    seen @ Seen::Refuted { .. } if lasted >= self.settle => self.verdict(seen).await,
                    seen if was_new => Seen::NotYet(format!("last seen: {seen}")),
                    seen => self.verdict(seen).await,
                };
            }
            // A server that does not come to it is asked less and less often.
            let waits =
                if current.seen.is_wanted() { pause } else { (asked.elapsed() / 10).clamp(pause, LONGEST_PAUSE) };
            streak = Some(current);
            sleep(waits.min(left)).await;
        }
    }

    /// Whether a streak of this kind that lasted so long needs no further look.
    fn decides(&self, seen: &Seen, lasted: Duration) -> bool {
        match seen {
            _ if self.patience == Patience::LongRunning => true,
            Seen::Proven | Seen::ChainOnly(_) | Seen::AllowlistOnly(_) | Seen::Kept(_) | Seen::NotEnforced(_) => {
                lasted >= self.settle
            }
            Seen::Lacking(_) | Seen::NotWired | Seen::NotAsked | Seen::OtherNames | Seen::Unverifiable(_) => {
                lasted >= LESS_THAN_HOPED.max(self.settle)
            }
            Seen::Refuted { .. } | Seen::Otherwise(_) | Seen::Unreachable(_) | Seen::NotYet(_) => false,
        }
    }

    async fn verdict(&self, seen: Seen) -> Seen {
        match seen {
            Seen::Unreachable(reason) => self.looker.explain(reason).await,
            seen => seen,
        }
    }
}
