//! `manifest.json`: what a generation is, written with it and never changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::trust::certificate::Certificate;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::planner_state::{Entry, Hold, Issuer, PlannerState, SlotState, TrustOverride};
use crate::trust::set::{Denial, Role, SlotId, TrustSet, Witnesses};
use crate::trust::timestamp::Timestamp;

/// The schema that this version writes.
pub const SCHEMA: u32 = 1;

/// A generation's own account of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub schema: u32,
    /// The store's id, drawn at its birth.
    pub store: String,
    /// The generation's number.
    pub generation: u64,
    /// When it was committed.
    pub committed: Timestamp,
    /// Why: `cycle`, `rollback to generation 41`.
    pub cause: String,
    /// Digest of the trust set and of the form in which it was rendered.
    pub digest: Fingerprint,
    /// Whether nobody at all is admitted.
    pub deny_all: bool,
    /// Each slot, with the identity that binds its leaves and what it trusts.
    pub slots: BTreeMap<SlotId, ManifestSlot>,
    /// Denied leaves.
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
    pub entries: BTreeMap<Fingerprint, ManifestEntry>,
}

/// An entry as it stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Its role.
    pub role: Role,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// Its path, leaf excluded.
    pub chain: BTreeSet<Fingerprint>,
    /// Names of a name rule.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// What the leaves show by which a name rule entered.
    #[serde(default, skip_serializing_if = "Witnesses::is_empty")]
    pub witnesses: Witnesses,
    /// The operator's word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<TrustOverride>,
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

/// The manifest could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not this format.
    #[error("is no manifest: {0}")]
    Corrupt(String),
    /// Written by a newer trustsync.
    #[error(
        "has schema {0}, which a newer trustsync wrote; this one reads up to {SCHEMA}: upgrade, or restore the state that this version wrote"
    )]
    Newer(u32),
}

/// Reads a schema number before anything else, so that a newer file is refused in words and not as garbage.
pub(crate) fn schema_of(bytes: &[u8]) -> Result<u32, String> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    serde_json::from_slice::<Versioned>(bytes).map(|versioned| versioned.schema).map_err(|error| error.to_string())
}

impl Manifest {
    /// Reads a manifest of this schema or an older one.
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        let schema = schema_of(bytes).map_err(ManifestError::Corrupt)?;
        if schema > SCHEMA {
            return Err(ManifestError::Newer(schema));
        }
        serde_json::from_slice(bytes).map_err(|error| ManifestError::Corrupt(error.to_string()))
    }

    /// The slots of a memory, less what changes without a generation.
    #[must_use]
    pub fn slots_of(planner: &PlannerState) -> BTreeMap<SlotId, ManifestSlot> {
        let entry = |entry: &Entry| ManifestEntry {
            role: entry.role,
            first_seen: entry.first_seen,
            chain: entry.chain.clone(),
            names: entry.names.clone(),
            witnesses: entry.witnesses.clone(),
            word: entry.word,
        };
        planner
            .slots
            .iter()
            .map(|(slot, held)| {
                let entries = held.entries.iter().map(|(key, held)| (*key, entry(held))).collect();
                (slot.clone(), ManifestSlot { identity: held.identity.clone(), issuers: held.issuers.clone(), entries })
            })
            .collect()
    }

    /// The memory that this generation was made from, clean answers and absences counted anew.
    #[must_use]
    pub fn planner(&self) -> PlannerState {
        let entry = |held: &ManifestEntry| Entry {
            chain: held.chain.clone(),
            names: held.names.clone(),
            witnesses: held.witnesses.clone(),
            word: held.word,
            last_seen: self.committed,
            ..Entry::seen(held.role, held.first_seen)
        };
        let slots = self
            .slots
            .iter()
            .map(|(slot, held)| {
                let entries = held.entries.iter().map(|(key, held)| (*key, entry(held))).collect();
                let (identity, issuers) = (held.identity.clone(), held.issuers.clone());
                (slot.clone(), SlotState { identity, issuers, entries, ..SlotState::default() })
            })
            .collect();
        PlannerState {
            slots,
            denied: self.denied.clone(),
            hold: self.hold.clone(),
            accepted_issuers: self.accepted_issuers.clone(),
        }
    }

    /// The trust set that this generation holds, from the certificates that stand beside it. What is missing there is
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
