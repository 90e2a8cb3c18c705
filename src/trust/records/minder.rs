//! Who minds a store, and the sign of life that a daemon gives: a small file in its runtime directory, which whoever
//! asks how the store stands reads beside the store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::trust::records::manifest::{Format, RecordError, read_record};
use crate::trust::values::timestamp::Timestamp;

/// The schema of a heartbeat that this version writes.
pub const SCHEMA: u32 = 1;

/// So many cycles of a one-shot without one of the daemon's between them say that a timer has taken its place: one or
/// two may be an operator who looks why the daemon is gone.
const ONE_SHOTS_THAT_REPLACE_A_DAEMON: u32 = 3;

const HEARTBEAT: Format =
    Format { what: "a daemon's sign of life", known: SCHEMA, instead: "see which daemon wrote it" };

/// Who minds a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Minder {
    /// Whoever runs `trustsync sync`: a timer, a person.
    #[default]
    OneShot,
    /// A daemon.
    Daemon {
        /// The file of its sign of life; none where it has no runtime directory.
        #[serde(default)]
        heartbeat: Option<String>,
        /// The cycles of one-shots since its own last one.
        #[serde(default)]
        one_shots: u32,
    },
}

impl Minder {
    /// A one-shot has had its cycle.
    pub fn note_one_shot(&mut self) {
        if let Self::Daemon { one_shots, .. } = self {
            *one_shots = one_shots.saturating_add(1);
            if *one_shots >= ONE_SHOTS_THAT_REPLACE_A_DAEMON {
                *self = Self::OneShot;
            }
        }
    }
}

/// A daemon's sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Version of this format.
    pub schema: u32,
    /// The daemon's version.
    pub version: String,
    /// When it was alive.
    pub at: Timestamp,
    /// What it knows of its stores, by their paths.
    pub stores: BTreeMap<String, StoreSeen>,
}

/// What a daemon knows of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSeen {
    /// When it asks a source next.
    pub next_poll: Option<Timestamp>,
    /// Since when the store cannot be worked on, and why.
    #[serde(default)]
    pub failing: Option<(Timestamp, String)>,
}

impl Heartbeat {
    /// Reads one of this schema or an older one.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        read_record(bytes, &HEARTBEAT)
    }

    /// As written to disk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_takes_the_place_of_a_daemon_and_a_look_by_hand_does_not() {
        let daemon = Minder::Daemon { heartbeat: Some("/run/trustsync/heartbeat.json".into()), one_shots: 0 };
        let mut minder = daemon.clone();
        minder.note_one_shot();
        minder.note_one_shot();
        assert!(matches!(minder, Minder::Daemon { .. }));
        minder.note_one_shot();
        assert_eq!(minder, Minder::OneShot);
    }
}
