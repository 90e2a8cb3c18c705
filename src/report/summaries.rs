//! A summary of every store, for those that ask without touching the disk: the status line, probes, metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::trust::records::summary::StoreSummary;
use crate::trust::values::timestamp::Timestamp;

/// The latest summary of every store. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Summaries(Arc<Mutex<BTreeMap<String, StoreSummary>>>);

impl Summaries {
    /// Puts up how a store stands now. Since when it cannot be worked on, and why, is the caller's to say.
    pub fn put(&self, summary: StoreSummary) {
        self.summaries().insert(summary.store.clone(), summary);
    }

    /// Puts up since when and why a store cannot be worked on; what is known of it stays.
    pub fn fail(&self, store: &str, failing: Option<(Timestamp, String)>) {
        let mut summaries = self.summaries();
        let summary = summaries.entry(store.to_owned()).or_insert_with(|| StoreSummary::unknown(store));
        summary.failing = failing;
    }

    /// Changes what is known of a store.
    pub fn change(&self, store: &str, change: impl FnOnce(&mut StoreSummary)) {
        if let Some(summary) = self.summaries().get_mut(store) {
            change(summary);
        }
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
