//! What the tasks of the daemon share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::rhythm::Rhythm;
use super::watch::Watch;
use crate::clock::Clock;
use crate::report::{Progress, Summaries};

/// What all tasks share, whatever the configuration.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub progress: Progress,
    pub rhythm: Rhythm,
    /// From the end of a poll to the next one, at least.
    pub least_gap: Duration,
    pub watch: Watch,
    /// Notified when a store's summary may be another.
    pub news: Arc<Notify>,
    /// The summary of every store.
    pub summaries: Summaries,
    /// The file of our sign of life, where we have a runtime directory.
    pub heartbeat: Option<PathBuf>,
}
