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
    /// Of which leaves root itself has waived an absent extended key usage, and until when.
    #[serde(default)]
    usage_waived: BTreeMap<Fingerprint, Timestamp>,
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

    /// The leaves whose extended key usage may be absent: by root's own waiver, which ends for what is not in place yet.
    /// What is in place leaves when the daemon lets it go: nobody vouches for root's clock.
    pub fn usage_waived(&self, in_place: Option<&Manifest>, now: Timestamp) -> BTreeSet<Fingerprint> {
        let is_in_place =
            |key| in_place.is_some_and(|held| held.slots.values().any(|slot| slot.entries.contains_key(key)));
        let waived = self.usage_waived.iter().filter(|(key, until)| **until > now || is_in_place(key));
        waived.map(|(key, _)| *key).collect()
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

/// What root has typed.
#[derive(Debug, Clone)]
pub enum Word {
    /// Deny it.
    Distrust(Fingerprint, Denial),
    /// No longer deny it.
    Undistrust(Fingerprint),
    /// Admit each of these without an extended key usage until then, or no longer.
    Usage(BTreeMap<Fingerprint, Option<Timestamp>>),
}

/// Keeps what root has typed. If that changed something: the word that takes it back.
pub fn note_word(
    files: &Privileged,
    word: Word,
    now: Timestamp,
    lock_timeout: Duration,
) -> Result<Option<Word>, StateError> {
    files.fits()?;
    let _lock = Lock::acquire_at(files.lock(), "trustsync, for root", now, lock_timeout)?;
    let mut state = State::read(&files.state())?;
    let before = state.clone();
    let back = state.note(word);
    if state == before {
        return Ok(None);
    }
    state.write(&files.state())?;
    Ok(Some(back))
}

impl State {
    /// Takes the word in; the one that takes it back.
    fn note(&mut self, word: Word) -> Word {
        match word {
            Word::Distrust(key, denial) => {
                self.distrusted.entry(key).or_insert(denial);
                Word::Undistrust(key)
            }
            Word::Undistrust(key) => match self.distrusted.remove(&key) {
                Some(denial) => Word::Distrust(key, denial),
                None => Word::Undistrust(key),
            },
            Word::Usage(given) => {
                let before = given.keys().map(|key| (*key, self.usage_waived.get(key).copied())).collect();
                for (key, until) in given {
                    match until {
                        Some(until) => drop(self.usage_waived.insert(key, until)),
                        None => drop(self.usage_waived.remove(&key)),
                    }
                }
                Word::Usage(before)
            }
        }
    }
}
