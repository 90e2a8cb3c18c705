//! A summary of every store, for those that ask without touching the disk: the status line, probes, metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::trust::records::summary::StoreSummary;
use crate::trust::values::timestamp::Timestamp;

/// The latest summary of every store. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Summaries(Arc<Mutex<BTreeMap<String, StoreSummary>>>);

impl Summaries {
    /// Puts up how a store stands now.
    pub fn put(&self, summary: StoreSummary) {
        self.summaries().insert(summary.store.clone(), summary);
    }

    /// Puts up that a store cannot be worked on, since when and why; what is known of it stays.
    pub fn fail(&self, store: &str, why: &str, since: Timestamp) {
        let mut summaries = self.summaries();
        let summary = summaries.entry(store.to_owned()).or_insert_with(|| StoreSummary::unknown(store));
        summary.failing = Some((since, why.to_owned()));
    }

    /// Takes down what stands there of stores that are configured no longer.
    pub fn retain(&self, configured: impl Fn(&str) -> bool) {
        self.summaries().retain(|store, _| configured(store));
    }

    /// How every store stands, by name; one that was not looked at yet is missing.
    #[must_use]
    pub fn all(&self) -> Vec<StoreSummary> {
        self.summaries().values().cloned().collect()
    }

    fn summaries(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, StoreSummary>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
