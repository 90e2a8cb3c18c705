//! How every store stands, for whoever asks without touching the disk: the status line, probes, metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::trust::standing::Standing;
use crate::trust::timestamp::Timestamp;

/// The latest standing of every store. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Standing>>>);

impl Board {
    /// Puts up how a store stands now.
    pub fn put(&self, standing: Standing) {
        self.standings().insert(standing.store.clone(), standing);
    }

    /// Puts up that a store cannot be worked on, since when and why; what is known of it stays.
    pub fn fail(&self, store: &str, why: &str, since: Timestamp) {
        let mut standings = self.standings();
        let standing = standings.entry(store.to_owned()).or_insert_with(|| Standing::unknown(store));
        standing.failing = Some((since, why.to_owned()));
    }

    /// Takes down what stands there of stores that are configured no longer.
    pub fn retain(&self, configured: impl Fn(&str) -> bool) {
        self.standings().retain(|store, _| configured(store));
    }

    /// How every store stands, by name; one that was not looked at yet is missing.
    #[must_use]
    pub fn all(&self) -> Vec<Standing> {
        self.standings().values().cloned().collect()
    }

    fn standings(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
