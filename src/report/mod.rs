//! What the daemon says of itself to probes and to monitoring systems, over HTTP: [`health`] and [`metrics`] are pure,
//! [`http`] serves them. All of it is made from what the daemon has in memory: to ask touches no disk and waits for
//! nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::settings::resolved::Settings;
use crate::trust::values::timestamp::Timestamp;

pub mod health;
pub mod http;
pub mod metrics;
mod progress;
mod summaries;

pub use progress::Progress;
pub use summaries::Summaries;

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

    fn in_force(&self) -> InForce {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
