//! The verification policy: the only place where a leaf becomes trusted, and the only file that names webpki.

use std::collections::BTreeSet;

use crate::trust::anchor::Anchors;
use crate::trust::certificate::Certificate;
use crate::trust::refusal::Refusal;
use crate::trust::timestamp::Timestamp;

/// `[verify]`: what a leaf and its path must satisfy.
#[derive(Debug, Clone)]
pub struct Policy {}

/// A leaf whose path to an anchor satisfies every rule but identity, which is judged by [`Candidate::admit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    leaf: Certificate,
    chain: Vec<Certificate>,
}

/// A leaf that policy accepted, with its path. Only this module makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    leaf: Certificate,
    chain: Vec<Certificate>,
}

/// Which names a slot's leaves must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// One of these, without case.
    Names(BTreeSet<String>),
    /// The check is switched off.
    Any,
}

/// What policy says of one certificate string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It verifies now.
    Accepted(Candidate),
    /// It would verify, but its leaf's validity is over.
    Expired(Candidate, Refusal),
    /// It does not verify.
    Refused(Refusal),
}

/// Judges one certificate string (a leaf and its chain, in any order) by every rule but identity.
#[must_use]
pub fn judge(_text: &str, _anchors: &Anchors, _policy: &Policy, _now: Timestamp) -> Verdict {
    Verdict::Refused(Refusal::NotBuilt)
}

impl Candidate {
    /// The leaf.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// Intermediates first, then the root, which is our anchor's own copy.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// Judges the identity rule.
    pub fn admit(self, _identity: &Identity) -> Result<Verified, Refusal> {
        Ok(Verified {
            leaf: self.leaf,
            chain: self.chain,
        })
    }
}

impl Verified {
    /// The leaf.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// Intermediates first, then the root, which is our anchor's own copy.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }
}
