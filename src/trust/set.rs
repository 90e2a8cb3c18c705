//! The trust set: whom the servers may admit, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trust::certificate::Certificate;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::timestamp::Timestamp;

/// Who signs the vendor's client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Authority {
    /// A public chain, which also signs strangers: leaves are pinned.
    DigiCert,
    /// The region's private root, which is itself the trust: admitted by issuer and name.
    Genesys,
}

impl Authority {
    /// The authority of that name, compared without case as the API demands.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::DigiCert, Self::Genesys]
            .into_iter()
            .find(|authority| authority.name().eq_ignore_ascii_case(name))
    }

    /// The API's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DigiCert => "DigiCert",
            Self::Genesys => "Genesys",
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One source, its region, one authority: `us.us-east-1.digicert`. A source whose region changes has other slots from
/// then on, so that the old region's leaves retire by themselves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotId(String);

impl SlotId {
    /// The slot of `authority` at `source` (its name in the configuration) in `region` (the AWS name).
    #[must_use]
    pub fn new(source: &str, region: &str, authority: Authority) -> Self {
        Self(format!(
            "{source}.{region}.{}",
            authority.name().to_ascii_lowercase()
        ))
    }

    /// Its text, which is also its folder's name in a generation.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a pinned leaf is to its slot. The order is the one in which a leaf of several slots is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Listed as the certificate that the vendor presents now.
    Current,
    /// Listed as the one that it will present.
    Upcoming,
    /// No longer listed, kept for the grace.
    Retiring,
}

impl Role {
    /// The word for it in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Upcoming => "upcoming",
            Self::Retiring => "retiring",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A leaf that is trusted explicitly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The leaf itself.
    pub leaf: Certificate,
    /// Its role in each slot that trusts it.
    pub roles: BTreeMap<SlotId, Role>,
}

impl Pin {
    /// The role that is shown for it: current before upcoming before retiring.
    #[must_use]
    pub fn role(&self) -> Role {
        self.roles.values().copied().min().unwrap_or(Role::Retiring)
    }
}

/// Admission by issuer and name, for the Genesys root, whose leaf changes unannounced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameRule {
    /// The root that must have signed directly.
    pub root: Certificate,
    /// The names of which the leaf must bear one; empty means that the issuer alone decides.
    pub names: BTreeSet<String>,
    /// The slots that trust by this rule.
    pub slots: BTreeSet<SlotId>,
}

/// Why a leaf is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenialReason {
    /// A CRL named it.
    Revoked,
    /// The operator said so.
    Distrusted,
}

/// A leaf that no server may admit, whatever else would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// Since when.
    pub since: Timestamp,
    /// The SHA-1 of the same DER, where known: nginx can ask for nothing better.
    pub sha1: Option<String>,
}

/// Whom the servers may admit. *Empty* (no pin and no name rule) means deny all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustSet {
    /// The pinned leaves.
    pub pins: BTreeMap<Fingerprint, Pin>,
    /// The name rules.
    pub name_rules: Vec<NameRule>,
    /// The denied leaves.
    pub denied: BTreeMap<Fingerprint, Denial>,
    /// The intermediates and roots on the accepted paths.
    pub chain: BTreeMap<Fingerprint, Certificate>,
}

impl TrustSet {
    /// Whether nobody at all is to be admitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty() && self.name_rules.is_empty()
    }
}
