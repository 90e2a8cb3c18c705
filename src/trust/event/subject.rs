//! What an event is about. A source, a target and a store may have the same name, so each subject has a type.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "subject_type", content = "subject", rename_all = "snake_case")]
pub enum Subject {
    /// A source, by its name in the configuration.
    Source(String),
    /// A slot, by its id.
    Slot(SlotId),
    /// A target, by its name in the configuration.
    Target(String),
    /// A store, by its name in the configuration.
    Store(String),
    /// A revocation list, by its URL.
    RevocationList(String),
    /// A certificate, by its fingerprint.
    Certificate(Fingerprint),
}

/// The type of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectType {
    /// A source.
    Source,
    /// A slot.
    Slot,
    /// A target.
    Target,
    /// A store.
    Store,
    /// A revocation list.
    RevocationList,
    /// A certificate.
    Certificate,
}

impl Subject {
    /// The source of this name.
    pub fn source(name: impl Into<String>) -> Self {
        Self::Source(name.into())
    }

    /// The target of this name.
    pub fn target(name: impl Into<String>) -> Self {
        Self::Target(name.into())
    }

    /// The store of this name.
    pub fn store(name: impl Into<String>) -> Self {
        Self::Store(name.into())
    }

    /// The type, which every output names beside the subject.
    #[must_use]
    pub const fn subject_type(&self) -> SubjectType {
        match self {
            Self::Source(_) => SubjectType::Source,
            Self::Slot(_) => SubjectType::Slot,
            Self::Target(_) => SubjectType::Target,
            Self::Store(_) => SubjectType::Store,
            Self::RevocationList(_) => SubjectType::RevocationList,
            Self::Certificate(_) => SubjectType::Certificate,
        }
    }
}

impl From<&SlotId> for Subject {
    fn from(slot: &SlotId) -> Self {
        Self::Slot(slot.clone())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(name) | Self::Target(name) | Self::Store(name) | Self::RevocationList(name) => {
                f.write_str(name)
            }
            Self::Slot(slot) => slot.fmt(f),
            Self::Certificate(fingerprint) => fingerprint.fmt(f),
        }
    }
}

impl SubjectType {
    /// Its name in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Slot => "slot",
            Self::Target => "target",
            Self::Store => "store",
            Self::RevocationList => "revocation_list",
            Self::Certificate => "certificate",
        }
    }
}
