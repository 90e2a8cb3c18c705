//! What the privileged helper remembers of a target between turns: what root knows by itself, and which of the daemon's
//! stores it follows. Nothing of it ends by a clock: nobody vouches for root's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::folder::Privileged;
use crate::store::{Lock, LockError, StoreError, file};
use crate::trust::plan::set::Denial;
use crate::trust::records::manifest::Manifest;
use crate::trust::turn::canary::CheckCanary;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;
use crate::trust::values::timestamp::Timestamp;

/// The schema that this version writes.
const SCHEMA: u32 = 1;

/// No state of the privileged helper is larger.
const LARGEST: u64 = 8 * 1024 * 1024;

/// As many revocations are kept; then those go whose leaves have expired longest ago. Each of them verified by root's
/// anchors and identity: a CA issues a few a year.
const MOST_REVOKED: usize = 1_000;

/// What root remembers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not a state.
    #[error(
        "{} cannot be used: {why}. Whose identity was kept there and what root has denied is unknown: look at the disk; \
         without the file, what the daemon says next is believed, and each `sudo trustsync distrust` is to be repeated",
        path.display()
    )]
    Unusable {
        /// The state's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another one is at it.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What the privileged helper remembers of a target between turns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    schema: u32,
    /// The store that it adopts.
    pub store: Option<String>,
    /// The newest number adopted.
    pub generation: u64,
    /// For what the server was reloaded last.
    #[serde(rename = "told")]
    pub reloaded: Option<(u64, Fingerprint)>,
    /// Whether its check sees what is wrong with a generation.
    #[serde(rename = "sight", default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CheckCanary>,
    /// The identity of each slot as first seen, where the configuration does not fix it.
    pub identities: BTreeMap<SlotId, BTreeSet<String>>,
    /// What root itself has distrusted.
    #[serde(default)]
    distrusted: BTreeMap<Fingerprint, Denial>,
    /// Which leaves a list names, as root has verified by itself.
    #[serde(default)]
    revoked: BTreeMap<Fingerprint, Denial>,
}

impl State {
    /// As it stands on disk; an empty one where nothing does.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        let unusable = |why: String| StateError::Unusable { path: path.to_owned(), why };
        let Some(bytes) = file::read(path, LARGEST)? else {
            return Ok(Self { schema: SCHEMA, ..Self::default() });
        };
        let state: Self = serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        if state.schema > SCHEMA {
            return Err(unusable(format!("it has schema {}, which a newer trustsync wrote", state.schema)));
        }
        Ok(state)
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        file::replace(path, &serde_json::to_vec_pretty(self).unwrap_or_default()).map(drop)
    }

    /// Lets go of what the daemon has said: which store it is, and how far it has come.
    pub fn let_go(&mut self) {
        (self.store, self.generation) = (None, 0);
    }

    /// Takes over what root's own last generation says of identities.
    pub fn remember(&mut self, earlier: Option<&Manifest>) {
        for (slot, held) in earlier.into_iter().flat_map(|earlier| &earlier.slots) {
            if let Some(identity) = &held.identity {
                self.identities.entry(slot.clone()).or_insert_with(|| identity.clone());
            }
        }
    }

    /// What root denies by itself, whatever the daemon says.
    pub fn denied(&self) -> BTreeMap<Fingerprint, Denial> {
        let mut denied = self.revoked.clone();
        denied.extend(self.distrusted.iter().map(|(key, denial)| (*key, denial.clone())));
        denied
    }

    /// Keeps revocations that root has verified.
    pub fn keep_revoked(&mut self, revoked: &BTreeMap<Fingerprint, Denial>, now: Timestamp) {
        for (key, denial) in revoked {
            self.revoked.entry(*key).or_insert_with(|| denial.clone());
        }
        let end = |denial: &Denial| denial.until.unwrap_or(denial.since);
        while self.revoked.len() > MOST_REVOKED
            && let Some((first, _)) = self.revoked.iter().min_by_key(|(_, denial)| end(denial))
        {
            let first = *first;
            if self.revoked.get(&first).is_none_or(|denial| end(denial) >= now) {
                break;
            }
            self.revoked.remove(&first);
        }
    }
}

/// Keeps a denial that root has typed, or with `None` lets go of one; whether that changed something.
pub fn note_word(
    files: &Privileged,
    (fingerprint, word): (Fingerprint, Option<Denial>),
    now: Timestamp,
    lock_timeout: Duration,
) -> Result<bool, StateError> {
    files.fits()?;
    let _lock = Lock::acquire_at(files.lock(), "trustsync distrust", now, lock_timeout)?;
    let mut state = State::read(&files.state())?;
    let before = state.distrusted.get(&fingerprint).cloned();
    match word {
        Some(_) if before.is_some() => return Ok(false),
        Some(denial) => drop(state.distrusted.insert(fingerprint, denial)),
        None if before.is_none() => return Ok(false),
        None => drop(state.distrusted.remove(&fingerprint)),
    }
    state.write(&files.state())?;
    Ok(true)
}
