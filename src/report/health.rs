//! Is the daemon alive, and may its server be used? Two questions that must not be mixed: a vendor's outage makes
//! neither answer *no*, since a server with yesterday's trust serves well.

use serde::{Deserialize, Serialize};

use crate::settings::resolved::Settings;
use crate::trust::records::summary::StoreSummary;
use crate::trust::values::timestamp::Timestamp;

/// Whether everything that runs makes progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Liveness {
    /// Whether every promise is kept.
    pub healthy: bool,
    /// Who has not kept a promise, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
}

impl Liveness {
    /// By who is stuck.
    #[must_use]
    pub fn of(stuck: Option<String>) -> Self {
        Self { healthy: stuck.is_none(), stuck }
    }
}

/// Whether every configured store has a generation in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether nothing is missing.
    pub ready: bool,
    /// What is missing for it, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Of what is in place, what was not confirmed for long. It makes nothing less ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<Stale>,
    /// Stores that cannot be read or written now, since when and why. What is in place there stays, and is ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
}

/// A source that has not answered for long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// The store that has it.
    pub store: String,
    /// The source's name.
    pub source: String,
    /// The last successful poll; `None` where there never was one: what is in place came from a seed.
    pub since: Option<Timestamp>,
}

impl Readiness {
    /// Of the stores in these settings, as they stand.
    #[must_use]
    pub fn of(settings: &Settings, summaries: &[StoreSummary], now: Timestamp) -> Self {
        let mut missing = Vec::new();
        let mut stale = Vec::new();
        let mut failing = Vec::new();
        for (name, store) in &settings.stores {
            let Some(summary) = summaries.iter().find(|summary| summary.store == *name) else {
                missing.push(format!("store {name}: not looked at yet, or it cannot be used (the log says why)"));
                continue;
            };
            if let Some((since, why)) = &summary.failing {
                failing.push(format!("store {name}: since {since}: {why}"));
            } else if let Some(why) = summary.unwritable() {
                failing.push(format!("store {name}: {why}"));
            }
            if summary.generation() == 0 {
                missing.push(format!("store {name}: nothing published yet"));
                continue;
            }
            for source in &store.sources {
                let since = summary.state.sources.get(source).and_then(|known| known.last_success);
                if is_stale(settings, since, now) {
                    stale.push(Stale { store: name.clone(), source: source.clone(), since });
                }
            }
        }
        Self { ready: missing.is_empty(), missing, stale, failing }
    }
}

/// Whether what a source last said, then, is too old to be relied on.
#[must_use]
pub fn is_stale(settings: &Settings, last_success: Option<Timestamp>, now: Timestamp) -> bool {
    last_success.is_none_or(|last| now.since(last) > settings.schedule.stale_after())
}
