//! The trust set: whom the servers may admit, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::trust::formats::certificate::Certificate;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::said::Said;
use crate::trust::values::slot::SlotId;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::served;

/// What a pinned leaf is to its slot. The order is the one in which a leaf of several slots is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Listed as the certificate that the vendor presents now.
    Current,
    /// Listed as the one that it will present.
    Upcoming,
    /// Not listed, trusted by the operator's override until that ends.
    Trusted,
    /// No longer listed, kept for the grace.
    Retiring,
}

impl Role {
    /// Its name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Upcoming => "upcoming",
            Self::Trusted => "trusted",
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
    /// The leaf that is pinned.
    pub leaf: Certificate,
    /// What it is to each slot that trusts it.
    pub roles: BTreeMap<SlotId, Role>,
}

impl Pin {
    /// The role that is shown for it: current before upcoming before trusted before retiring.
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
    /// The names of which the leaf must have one; empty means that the issuer alone decides.
    pub names: BTreeSet<String>,
    /// What the leaves show by which it entered.
    pub witnesses: Witnesses,
    /// The slots that trust by this rule.
    pub slots: BTreeSet<SlotId>,
}

/// What the leaves show by which a name rule entered, for servers that see no common name, or can deny no single leaf.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Witnesses {
    /// The names that bind, where each of the leaves has one of them as dNSName; else none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dns_names: BTreeSet<String>,
    /// The leaves themselves, as they were listed last.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub leaves: BTreeSet<Fingerprint>,
}

impl Witnesses {
    /// Whether nothing is known of them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those of one rule that two slots trust: a name must be in the dNSNames only if it is in both.
    pub(crate) fn join(&mut self, others: &Self) {
        if self.dns_names.is_empty() || others.dns_names.is_empty() {
            self.dns_names.clear();
        } else {
            self.dns_names.extend(others.dns_names.iter().cloned());
        }
        self.leaves.extend(&others.leaves);
    }
}

/// Why a leaf is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenialReason {
    /// A CRL lists it.
    Revoked,
    /// The operator distrusts it.
    Distrusted,
}

/// A leaf that no server may admit, whatever else would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// Whether a CA or the operator denied it.
    pub reason: DenialReason,
    /// When it was denied.
    pub since: Timestamp,
    /// The SHA-1 of the same DER, where known: nginx can ask for nothing better.
    pub sha1: Option<String>,
    /// The SHA-1 of the same certificate's PEM text, where known: Apache can ask for nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem_sha1: Option<String>,
    /// When the leaf expires, where known: a revocation holds until then, a distrust for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Who distrusted it, and why.
    #[serde(default, skip_serializing_if = "Said::is_empty")]
    pub said: Said,
    /// What a CA says of a leaf that the operator distrusts too: it holds on when they take their word back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Box<Denial>>,
    /// The revoked issuers that each of its known paths leads through, where the leaf itself is not revoked: the denial
    /// is lifted by an answer that shows a path past all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub issuers: BTreeSet<Fingerprint>,
    /// The URLs of the lists of its paths, where a CA has revoked it: what was kept of them is kept as long as this.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lists: BTreeSet<String>,
}

impl Denial {
    /// One of which no more is known.
    #[must_use]
    pub fn new(reason: DenialReason, since: Timestamp) -> Self {
        let (said, issuers, lists) = (Said::default(), BTreeSet::new(), BTreeSet::new());
        Self { reason, since, sha1: None, pem_sha1: None, until: None, said, revocation: None, issuers, lists }
    }

    /// A CA has revoked the leaf or its issuers, whatever the operator says of it: what is denied by that.
    pub fn revoke(&mut self, revocation: impl FnOnce() -> Self) -> &mut Self {
        if self.reason == DenialReason::Distrusted {
            return self.revocation.get_or_insert_with(|| Box::new(revocation()));
        }
        self
    }

    /// What follows from a CA's lists.
    #[must_use]
    pub fn by_a_ca(&self) -> Option<&Self> {
        if self.reason == DenialReason::Revoked { Some(self) } else { self.revocation.as_deref() }
    }
}

/// Whom the servers may admit. *Empty* (no pin and no name rule) means deny all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustSet {
    /// The pinned leaves, by fingerprint.
    pub pins: BTreeMap<Fingerprint, Pin>,
    /// The name rules, sorted.
    pub name_rules: Vec<NameRule>,
    /// The denied leaves, by fingerprint.
    pub denied: BTreeMap<Fingerprint, Denial>,
    /// The intermediates and roots on the accepted paths.
    pub chain: BTreeMap<Fingerprint, Certificate>,
    /// Roots of other clients of the same virtual host: in the bundle, never in our allowlist.
    pub extra: BTreeMap<Fingerprint, Certificate>,
}

impl TrustSet {
    /// What servers read as authorities, ours and the operator's: in the order in which those servers that take the first
    /// issuer of a name find the right one for current leaves, then for upcoming ones.
    #[must_use]
    pub fn bundle(&self) -> Vec<&Certificate> {
        let extra = self.extra.iter().filter(|(key, _)| !self.chain.contains_key(*key));
        let all = self.chain.iter().chain(extra).map(|(_, held)| held).collect();
        let mut pins: Vec<&Pin> = self.pins.values().collect();
        // Of two alike the elder is served already.
        pins.sort_by_key(|pin| (pin.role(), pin.leaf.facts().not_before, pin.leaf.fingerprint()));
        served::in_order(all, pins.into_iter().map(|pin| &pin.leaf))
    }

    /// Whether everyone is to be denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty() && self.name_rules.is_empty()
    }

    /// Pins a leaf for a slot.
    pub fn pin(&mut self, slot: &SlotId, leaf: &Certificate, role: Role) {
        self.pins
            .entry(leaf.fingerprint())
            .or_insert_with(|| Pin { leaf: leaf.clone(), roles: BTreeMap::new() })
            .roles
            .insert(slot.clone(), role);
    }

    /// Admits by issuer and name for a slot.
    pub fn admit_by_name(
        &mut self,
        slot: &SlotId,
        root: &Certificate,
        names: &BTreeSet<String>,
        witnesses: &Witnesses,
    ) {
        if let Some(rule) = self.name_rules.iter_mut().find(|rule| rule.root == *root && rule.names == *names) {
            rule.slots.insert(slot.clone());
            rule.witnesses.join(witnesses);
            return;
        }
        let (root, names, witnesses) = (root.clone(), names.clone(), witnesses.clone());
        self.name_rules.push(NameRule { root, names, witnesses, slots: BTreeSet::from([slot.clone()]) });
        self.name_rules.sort();
    }

    /// What the set says, in one digest: two sets with the same digest need no new generation. Order, bytes of the
    /// answer and times do not count.
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        let mut text = String::new();
        for (fingerprint, pin) in &self.pins {
            let _ = writeln!(text, "pin {fingerprint}");
            for (slot, role) in &pin.roles {
                let _ = writeln!(text, " {slot} {role}");
            }
        }
        for rule in &self.name_rules {
            let dns_names = &rule.witnesses.dns_names;
            let _ = writeln!(text, "rule {} {:?} {dns_names:?} {:?}", rule.root.fingerprint(), rule.names, rule.slots);
        }
        for (fingerprint, denial) in &self.denied {
            // With the SHA-1, a server can ask for it that could not before.
            let sha1 = denial.sha1.as_deref().unwrap_or("unknown");
            let pem_sha1 = denial.pem_sha1.as_deref().unwrap_or("unknown");
            let _ = writeln!(text, "denied {fingerprint} {:?} {sha1} {pem_sha1}", denial.reason);
        }
        for (what, held) in [("chain", &self.chain), ("extra", &self.extra)] {
            for fingerprint in held.keys() {
                let _ = writeln!(text, "{what} {fingerprint}");
            }
        }
        Fingerprint::of(text.as_bytes())
    }
}
