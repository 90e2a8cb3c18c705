//! One source's life: wait until a poll is due, ask, hand the answer to every store that has the source. Each source
//! has a task of its own, so that one that fails, or answers slowly, delays no other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::store::Job;
use super::surroundings::Surroundings;
use super::wake::Wake;
use crate::cycle::{self, Clients, PollDue};
use crate::settings::resolved::{Settings, Store};
use crate::trust::values::timestamp::Timestamp;

/// How long asking the source may take in all.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where our own disk fails, the next due time cannot be kept there; the vendor must not pay for it.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// A source, and the stores that have it.
pub struct SourceTask {
    pub name: String,
    pub settings: Arc<Settings>,
    pub clients: Clients,
    pub around: Surroundings,
    pub stores: Vec<(Store, mpsc::Sender<Job>)>,
    pub dues: PollDue,
    pub wake: Arc<Wake>,
}

/// From the end of a poll to the next one, at least, whatever clocks and operators do. The vendor allows 300 requests a
/// minute, and a poll makes two or three.
pub const LEAST_GAP: Duration = Duration::from_secs(1);

/// Before when no poll is made.
#[derive(Clone, Copy)]
struct Earliest {
    /// Not even if somebody says so.
    when_asked: Instant,
    /// Nor by itself, where our own disk has failed.
    by_itself: Instant,
}

impl Earliest {
    fn after(gap: Duration, pause: Duration) -> Self {
        let now = Instant::now();
        let later = |wait| now.checked_add(wait).unwrap_or(now);
        Self { when_asked: later(gap), by_itself: later(gap.max(pause)) }
    }
}

impl SourceTask {
    /// Polls for ever.
    pub async fn live(mut self) {
        let mut earliest = Earliest::after(Duration::ZERO, Duration::ZERO);
        let mut failures = 0_u32;
        let mut first = true;
        loop {
            // A store that starts with nothing cannot wait for the next due time of a process before this one.
            let at_once = std::mem::take(&mut first) && self.stores.iter().any(|(store, _)| cycle::is_empty(store));
            if !at_once {
                self.wait(earliest).await;
            }
            let kept = self.poll().await;
            failures = if kept { 0 } else { failures.saturating_add(1) };
            let pause =
                if kept { Duration::ZERO } else { pause_after(failures, self.settings.schedule.window_interval) };
            earliest = Earliest::after(self.around.least_gap, pause);
        }
    }

    async fn wait(&mut self, earliest: Earliest) {
        loop {
            let now = self.around.clock.now();
            let due = self.due(now);
            if due <= now && earliest.by_itself <= Instant::now() {
                return;
            }
            let look_up = self.around.rhythm.look_up(now, due).max(earliest.by_itself.min(self.around.rhythm.next()));
            self.promise("waiting for its next poll", self.around.rhythm.beat());
            tokio::select! {
                () = sleep_until(look_up) => {}
                () = self.wake.due.notified() => {}
                () = self.wake.poll.notified() => {
                    sleep_until(earliest.when_asked).await;
                    return;
                }
            }
        }
    }

    /// When the earliest of its stores wants it asked. Read anew each time: `trustsync sync` may have asked meanwhile.
    fn due(&mut self, now: Timestamp) -> Timestamp {
        let Self { dues, settings, stores, name, .. } = self;
        stores.iter().map(|(store, _)| dues.of(settings, store, name, now)).min().unwrap_or(now)
    }

    /// Whether what came of it could be kept.
    async fn poll(&mut self) -> bool {
        self.promise("asking the vendor", DEADLINE);
        let observed = cycle::ask(&self.settings, &self.name, &mut self.clients, &*self.around.clock, DEADLINE).await;
        let mut pending = Vec::new();
        let mut fetching = Vec::new();
        let mut kept = true;
        for (store, jobs) in &self.stores {
            self.promise("asking for revocation lists", DEADLINE);
            let clients = &mut self.clients;
            let answers =
                cycle::gather(&self.settings, store, clients, observed.clone(), &*self.around.clock, DEADLINE).await;
            let (answers, under_way) = answers.unwrap_or_else(|error| {
                log_line!(ListsUnavailable, store = store.name, exit = error.exit() as u8, "{error}");
                (cycle::without_lists(store, observed.clone(), &error), None)
            });
            fetching.extend(under_way.map(|under_way| (jobs, under_way)));
            let (done, ended) = oneshot::channel();
            // There is room for one job of each source. A store task that is gone is being stopped, and so are we.
            let _ = jobs.send(Job { answers, done }).await;
            pending.push(ended);
        }
        // What is trusted does not wait for a server that is slow; what its lists say comes in a job of its own.
        if !fetching.is_empty() {
            self.promise("waiting for revocation lists", DEADLINE);
        }
        let ends = Instant::now().checked_add(DEADLINE).unwrap_or_else(Instant::now);
        for (jobs, under_way) in fetching {
            let answers = cycle::of_lists(under_way.finish(ends).await);
            let (done, ended) = oneshot::channel();
            let _ = jobs.send(Job { answers, done }).await;
            pending.push(ended);
        }
        // The stores have promised by now.
        self.around.progress.release(&self.subject());
        for ended in pending {
            kept &= ended.await.unwrap_or(false);
        }
        kept
    }

    fn promise(&self, doing: &'static str, within: Duration) {
        self.around.progress.promise(&self.subject(), doing, within.saturating_add(super::SLACK));
    }

    fn subject(&self) -> String {
        format!("source {}", self.name)
    }
}

fn pause_after(failures: u32, longest: Duration) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(longest)
}
