//! One beat for all: tasks that wait for something far away look up together, so that an idle daemon wakes the machine
//! about once a minute. Between two beats the clock may be set or the machine suspended: at each, everybody looks at it
//! anew.

use std::time::Duration;

use tokio::time::Instant;

use crate::trust::values::timestamp::Timestamp;

/// A multiple of the grain in which tokio's timer keeps what is far away: a wait of another length wakes us on the way
/// too.
const GRAIN: Duration = Duration::from_millis(4_096);

/// The longest time between two beats: two minutes.
const BEAT: Duration = Duration::from_millis(4_096 * 29);

/// The beat. Copies share it.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    start: Instant,
    beat: Duration,
}

impl Rhythm {
    /// A beat that also feeds a watchdog which wants to be fed this often, with some to spare.
    #[must_use]
    pub fn for_watchdog(watchdog: Option<Duration>) -> Self {
        let beat = watchdog
            .map_or(BEAT, |limit| BEAT.min(limit.checked_div(3).unwrap_or(limit)))
            .max(Duration::from_millis(100));
        let grains = beat.as_millis().checked_div(GRAIN.as_millis()).and_then(|grains| u32::try_from(grains).ok());
        let beat = grains.filter(|grains| *grains > 0).map_or(beat, |grains| GRAIN.saturating_mul(grains));
        Self { start: Instant::now(), beat }
    }

    /// How long a beat is.
    #[must_use]
    pub fn beat(&self) -> Duration {
        self.beat
    }

    /// When the next beat is.
    #[must_use]
    pub fn next(&self) -> Instant {
        let since = self.start.elapsed().as_nanos();
        let beats = since.checked_div(self.beat.as_nanos()).unwrap_or(0);
        let beats = u32::try_from(beats).unwrap_or(u32::MAX).saturating_add(1);
        self.start.checked_add(self.beat.saturating_mul(beats)).unwrap_or_else(Instant::now)
    }

    /// When to look up, for who waits until `due`: then, or at the next beat.
    #[must_use]
    pub fn look_up(&self, now: Timestamp, due: Timestamp) -> Instant {
        let next = self.next();
        if due <= now {
            return Instant::now();
        }
        Instant::now().checked_add(due.since(now)).map_or(next, |due| due.min(next))
    }
}
