//! `manifest.json`: what a generation is, written with it and never changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::planner_state::{Entry, Hold, Issuer, PlannerState, SlotState, TrustedEntry};
use crate::trust::plan::set::{Denial, TrustSet};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;
use crate::trust::values::timestamp::Timestamp;

/// The schema that this version writes.
pub const SCHEMA: u32 = 1;

/// The cause of a generation that a seed brought.
pub const SEED_CAUSE: &str = "seed";

/// A generation's own account of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub schema: u32,
    /// The store's id, drawn at its birth.
    pub store: String,
    /// The generation's number, counted from 1.
    pub generation: u64,
    /// When it was committed.
    pub committed: Timestamp,
    /// Why it was made: `cycle`, `rollback to generation 41`.
    pub cause: String,
    /// Digest of the trust set and of the form in which it was rendered.
    pub digest: Fingerprint,
    /// Whether everyone is denied.
    pub deny_all: bool,
    /// Each slot, with the identity that binds its leaves and what it trusts.
    pub slots: BTreeMap<SlotId, ManifestSlot>,
    /// Leaves that no server may admit.
    pub denied: BTreeMap<Fingerprint, Denial>,
    /// The operator's freeze that stood when it was made: a rollback and its hold are one commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Issuers that the operator accepted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accepted_issuers: BTreeMap<Fingerprint, Timestamp>,
    /// The certificates on the accepted paths.
    pub chain: BTreeSet<Fingerprint>,
    /// The roots of other clients.
    pub extra: BTreeSet<Fingerprint>,
    /// Facts of every certificate in the generation, for people and monitors.
    pub certificates: BTreeMap<Fingerprint, CertificateFacts>,
    /// SHA-256 of every other file, by its path.
    pub files: BTreeMap<String, Fingerprint>,
}

/// A slot as it stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSlot {
    /// The names its leaves must carry, where learned.
    pub identity: Option<BTreeSet<String>>,
    /// Who has issued its leaves so far.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub issuers: BTreeMap<Fingerprint, Issuer>,
    /// What it trusts: leaves, or roots of name rules.
    pub entries: BTreeMap<Fingerprint, TrustedEntry>,
}

/// A certificate in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// RFC 2253 text.
    pub subject: String,
    /// RFC 2253 text.
    pub issuer: String,
    /// Upper-case hex.
    pub serial: String,
    /// First valid second.
    pub not_before: Timestamp,
    /// Last valid second.
    pub not_after: Timestamp,
    /// Lower-case hex.
    pub sha1: String,
    /// SHA-1 of the canonical PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem_sha1: Option<String>,
}

/// A manifest or a state could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not this format.
    #[error("is not {what}: {why}")]
    Corrupt {
        /// The record that was expected.
        what: &'static str,
        /// What the parser said.
        why: String,
    },
    /// Written by a newer trustsync.
    #[error("has schema {schema}, which a newer trustsync wrote; this one reads up to {known}: upgrade, or {instead}")]
    Newer {
        /// The schema of the file.
        schema: u32,
        /// The newest that this version reads.
        known: u32,
        /// What helps with this record besides an upgrade.
        instead: &'static str,
    },
}

/// A record that is kept in a file of its own.
pub(crate) struct Format {
    /// With its article.
    pub what: &'static str,
    /// The newest schema that this version reads.
    pub known: u32,
    /// What helps, besides an upgrade, with a file that a newer version wrote.
    pub instead: &'static str,
}

const MANIFEST: Format =
    Format { what: "a manifest", known: SCHEMA, instead: "restore the state that this version wrote" };

/// Reads a record of this schema or an older one. The number is read before anything else, so that a newer file is
/// refused as such and not as garbage.
pub(crate) fn read_record<T: DeserializeOwned>(bytes: &[u8], format: &Format) -> Result<T, RecordError> {
    let Format { what, known, instead } = *format;
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let corrupt = |error: serde_json::Error| RecordError::Corrupt { what, why: error.to_string() };
    let Versioned { schema } = serde_json::from_slice(bytes).map_err(corrupt)?;
    if schema > known {
        return Err(RecordError::Newer { schema, known, instead });
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}

impl Manifest {
    /// Reads a manifest of this schema or an older one.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        read_record(bytes, &MANIFEST)
    }

    /// The slots of the planner's state, less what changes without a generation.
    #[must_use]
    pub fn slots_of(planner: &PlannerState) -> BTreeMap<SlotId, ManifestSlot> {
        let slot = |held: &SlotState| ManifestSlot {
            identity: held.identity.clone(),
            issuers: held.issuers.clone(),
            entries: held.entries.iter().map(|(key, entry)| (*key, entry.trusted.clone())).collect(),
        };
        planner.slots.iter().map(|(id, held)| (id.clone(), slot(held))).collect()
    }

    /// The planner's state that this generation was made from, with clean answers and absences counted anew.
    #[must_use]
    pub fn planner(&self) -> PlannerState {
        let entry = |(key, held): (&Fingerprint, &TrustedEntry)| (*key, Entry::of(held.clone(), self.committed));
        let slot = |held: &ManifestSlot| SlotState {
            identity: held.identity.clone(),
            issuers: held.issuers.clone(),
            entries: held.entries.iter().map(entry).collect(),
            ..SlotState::default()
        };
        PlannerState {
            slots: self.slots.iter().map(|(id, held)| (id.clone(), slot(held))).collect(),
            denied: self.denied.clone(),
            hold: self.hold.clone(),
            accepted_issuers: self.accepted_issuers.clone(),
        }
    }

    /// The trust set that this generation holds, from the certificates beside it. What is missing there is
    /// missing in the set.
    #[must_use]
    pub fn set(&self, certificates: &BTreeMap<Fingerprint, Certificate>) -> TrustSet {
        let held = |key: &Fingerprint| certificates.get(key).map(|certificate| (*key, certificate.clone()));
        TrustSet { extra: self.extra.iter().filter_map(held).collect(), ..self.planner().set(certificates) }
    }
}

impl From<&Certificate> for CertificateFacts {
    fn from(certificate: &Certificate) -> Self {
        let facts = certificate.facts();
        Self {
            subject: facts.subject.clone(),
            issuer: facts.issuer.clone(),
            serial: facts.serial.clone(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            sha1: facts.sha1.clone(),
            pem_sha1: Some(certificate.pem_sha1()),
        }
    }
}
