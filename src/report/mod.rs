//! How everything stands, for whoever asks: [`status`] for people and programs; [`health`] and [`metrics`] for probes
//! and monitoring systems, by [`http`]; a [`heartbeat`] for those who ask beside the daemon. What the daemon answers is
//! made from what it has in memory: to ask touches no disk and waits for nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::cycle;
use crate::settings::resolved::{Settings, Store};
use crate::trust::records::health::{Health, Meant};
use crate::trust::records::minder::StoreSeen;
use crate::trust::records::summary::{DaemonSeen, StoreSummary};
use crate::trust::values::timestamp::Timestamp;

pub mod health;
pub mod heartbeat;
pub mod http;
pub mod metrics;
mod progress;
pub mod status;
mod summaries;

pub use progress::Progress;
use status::Document;
pub use summaries::Summaries;

/// What a store is meant to be, where the daemon that minds it asks.
fn of_its_daemon<'a>(settings: &'a Settings, store: &'a Store) -> Meant<'a> {
    Meant { by_its_daemon: true, ..cycle::meant(&settings.schedule, store) }
}

/// What answers are made from. Clones share it.
#[derive(Clone)]
pub struct Facts {
    clock: Arc<dyn Clock>,
    progress: Progress,
    summaries: Summaries,
    in_force: Arc<Mutex<InForce>>,
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// When it came into force.
    pub since: Timestamp,
    /// Whether a newer one was refused.
    pub newer_refused: bool,
}

impl Facts {
    /// Of a daemon that begins to work by these settings.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, progress: Progress, summaries: Summaries, settings: Arc<Settings>) -> Self {
        let in_force = InForce { settings, since: clock.now(), newer_refused: false };
        Self { clock, progress, summaries, in_force: Arc::new(Mutex::new(in_force)) }
    }

    /// Another configuration has taken over.
    pub fn replaced(&self, settings: Arc<Settings>) {
        *self.lock() = InForce { settings, since: self.clock.now(), newer_refused: false };
    }

    /// Whether the file holds another configuration than the one in force, which was refused.
    pub fn newer_refused(&self, refused: bool) {
        self.lock().newer_refused = refused;
    }

    /// How everything stands, as `trustsync status --output json` says it.
    #[must_use]
    pub fn status(&self) -> Document {
        let now = self.clock.now();
        let (in_force, summaries) = (self.in_force(), self.summaries.all());
        let judged = self.judged(&in_force.settings, &summaries, now);
        let lives = DaemonSeen { at: now, version: env!("CARGO_PKG_VERSION").to_owned(), store: StoreSeen::default() };
        let stores = judged.iter().map(|(summary, health)| (*summary, health));
        Document::of(&in_force.settings, stores, Some(lives), now)
    }

    /// The line of truth of each store, for the service manager.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let now = self.clock.now();
        let (in_force, summaries) = (self.in_force(), self.summaries.all());
        let judged = self.judged(&in_force.settings, &summaries, now);
        let line = |(summary, health): &(&StoreSummary, Health)| {
            let store = in_force.settings.stores.get(&summary.store);
            let targets = store.into_iter().flat_map(|store| &store.targets).map(|target| target.name.as_str());
            health.line(summary, targets, now)
        };
        judged.iter().map(line).collect()
    }

    fn judged<'a>(
        &self,
        settings: &Settings,
        summaries: &'a [StoreSummary],
        now: Timestamp,
    ) -> Vec<(&'a StoreSummary, Health)> {
        let health = |summary: &'a StoreSummary| {
            let store = settings.stores.get(&summary.store)?;
            Some((summary, Health::of(summary, &of_its_daemon(settings, store), now)))
        };
        summaries.iter().filter_map(health).collect()
    }

    fn in_force(&self) -> InForce {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
