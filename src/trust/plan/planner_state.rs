//! What the planner remembers of each slot from poll to poll: roles, when it was listed, absences. Written into
//! `state.json`; the certificates themselves are in the generation.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::set::{Denial, Role, TrustSet, Witnesses};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::said::Said;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;

/// How many clean answers must agree before a role changes or a leaf may leave (design, rule 3).
pub const AGREEING_ANSWERS: u32 = 3;

/// What is remembered of all slots, and the operator's overrides that bind them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannerState {
    /// By slot, configured or not.
    pub slots: BTreeMap<SlotId, SlotState>,
    /// Leaves that are denied for good (distrusted) or until they expire (revoked).
    pub denied: BTreeMap<Fingerprint, Denial>,
    /// The operator's freeze, while it is in force.
    pub hold: Option<Hold>,
    /// Issuers (by the SHA-256 of their certificate) whose leaves the operator lets in, and since when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accepted_issuers: BTreeMap<Fingerprint, Timestamp>,
}

impl PlannerState {
    /// The union of what the slots trust, from these certificates. An entry whose certificate is missing cannot be
    /// published; recovery says so.
    #[must_use]
    pub fn set(&self, certificates: &BTreeMap<Fingerprint, Certificate>) -> TrustSet {
        let mut set = TrustSet { denied: self.denied.clone(), ..TrustSet::default() };
        for (slot, held) in &self.slots {
            for (key, entry) in &held.entries {
                let Some(certificate) = certificates.get(key) else { continue };
                for link in &entry.trusted.chain {
                    if let Some(certificate) = certificates.get(link) {
                        set.chain.insert(*link, certificate.clone());
                    }
                }
                let TrustedEntry { role, names, witnesses, .. } = &entry.trusted;
                match slot.authority() {
                    Authority::DigiCert => set.pin(slot, certificate, *role),
                    Authority::Genesys => {
                        set.chain.insert(*key, certificate.clone());
                        set.admit_by_name(slot, certificate, names, witnesses);
                    }
                }
            }
        }
        set
    }

    /// What the vendor's last clean answers list, has not expired, and is not trusted: calls with it fail. A slot that
    /// is no longer configured lists nothing that counts.
    pub fn listed_not_trusted(&self, now: Timestamp) -> impl Iterator<Item = (&SlotId, &Fingerprint, &Listed)> {
        let configured = self.slots.iter().filter(|(_, held)| held.unconfigured_since.is_none());
        configured.flat_map(move |(slot, held)| {
            let missing =
                held.listed.iter().filter(move |(key, listed)| listed.until >= now && !held.entries.contains_key(key));
            missing.map(move |(key, listed)| (slot, key, listed))
        })
    }
}

/// An operator's freeze: no addition or removal but revocation and distrust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it ends by itself.
    pub until: Timestamp,
    /// What set it, for people: `rollback to generation 41`.
    pub reason: String,
    /// Who set it, and why.
    #[serde(default, skip_serializing_if = "Said::is_empty")]
    pub said: Said,
}

/// What is remembered of one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotState {
    /// The names its leaves must carry, once learned.
    pub identity: Option<BTreeSet<String>>,
    /// What the slot trusts: by leaf where leaves are pinned, by root where a name rule admits.
    pub entries: BTreeMap<Fingerprint, Entry>,
    /// The certificates that have directly issued what the vendor listed and this slot let in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub issuers: BTreeMap<Fingerprint, Issuer>,
    /// The last clean answer.
    pub last_clean: Option<Timestamp>,
    /// The last answer of which at least one listing was whole.
    #[serde(rename = "last_heard")]
    pub last_answer: Option<Timestamp>,
    /// Since when the configuration no longer has this slot.
    pub unconfigured_since: Option<Timestamp>,
    /// How often the two listings of one poll contradicted each other.
    #[serde(default)]
    pub disagreements: u64,
    /// What the last clean answer listed, trusted or not, by the key that its entry has or would have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listed: BTreeMap<Fingerprint, Listed>,
}

/// What the vendor lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// As what it is listed.
    pub role: Role,
    /// Its name, for people.
    pub name: String,
    /// Its last valid second.
    pub until: Timestamp,
}

/// Leaves that the vendor lists and that are kept out, for people: the one that it presents now comes first; and what
/// that means for calls.
#[must_use]
pub fn kept_out(mut leaves: Vec<(Role, String)>) -> (String, &'static str) {
    leaves.sort();
    let means = match leaves.first() {
        Some((Role::Current, _)) => "Calls with the current one fail now.",
        _ => "Calls will fail once the vendor presents it.",
    };
    let mut words: Vec<String> =
        leaves.iter().take(MOST_IN_WORDS).map(|(role, name)| format!("{name} as {role}")).collect();
    if let Some(more) = leaves.len().checked_sub(MOST_IN_WORDS).filter(|more| *more > 0) {
        words.push(format!("{more} more"));
    }
    (words.join(" and "), means)
}

/// How many leaves a sentence names.
const MOST_IN_WORDS: usize = 10;

/// The direct issuer of leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    /// RFC 2253 text.
    pub subject: String,
    /// The fingerprint of its key: a certificate that was made anew for the same key is the same issuer.
    pub key: Fingerprint,
}

/// The operator's override for a leaf that the vendor does not list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustOverride {
    /// When it was given.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Whether the identity was waived.
    #[serde(default)]
    pub any_identity: bool,
    /// Whether an absent extended key usage was waived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_usage: bool,
    /// Who gave it, and why.
    #[serde(default, skip_serializing_if = "Said::is_empty")]
    pub said: Said,
}

/// What a slot trusts by one entry, a pinned leaf or the root of a name rule; each change of it makes a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedEntry {
    /// What the certificate is to its slot.
    pub role: Role,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// The certificates of the paths on which it was accepted, leaf excluded.
    pub chain: BTreeSet<Fingerprint>,
    /// For a name rule: the names of which a leaf must have one; empty means the issuer alone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// For a name rule: what the leaves show by which it entered.
    #[serde(default, skip_serializing_if = "Witnesses::is_empty")]
    pub witnesses: Witnesses,
    /// The operator's override, as long as it stands: neither absence nor a hold takes the entry away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<TrustOverride>,
}

/// An entry of a slot: what it trusts, and what the answers so far say of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What a generation publishes of it.
    #[serde(flatten)]
    pub trusted: TrustedEntry,
    /// When it was last listed.
    pub last_seen: Timestamp,
    /// The clean answers without it, since it was last listed.
    pub absence: Option<Absence>,
    /// Another role that the latest clean answers give it.
    pub proposal: Option<Proposal>,
}

/// A run of clean answers without an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// How many clean answers in a row lacked it.
    pub answers: u32,
    /// The first of them.
    pub first: Timestamp,
    /// The latest of them.
    pub last: Timestamp,
}

/// A role that clean answers agree on, but not often enough yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The role that they give.
    pub role: Role,
    /// How many clean answers in a row gave it.
    pub answers: u32,
}

impl TrustedEntry {
    /// One that was seen for the first time.
    #[must_use]
    pub fn seen(role: Role, first_seen: Timestamp) -> Self {
        let (chain, names, witnesses) = (BTreeSet::new(), BTreeSet::new(), Witnesses::default());
        Self { role, first_seen, chain, names, witnesses, word: None }
    }
}

impl Entry {
    /// What a slot trusts, as it was last listed at `last_seen`.
    #[must_use]
    pub fn of(trusted: TrustedEntry, last_seen: Timestamp) -> Self {
        Self { trusted, last_seen, absence: None, proposal: None }
    }

    /// A clean answer gave it `role` (retiring: it did not list it).
    pub fn take_answer(&mut self, role: Role, now: Timestamp) {
        self.absence = match (role, self.absence) {
            (Role::Retiring, Some(run)) => Some(Absence { answers: run.answers.saturating_add(1), last: now, ..run }),
            (Role::Retiring, None) => Some(Absence { answers: 1, first: now, last: now }),
            _ => None,
        };
        self.proposal = match self.proposal {
            _ if role == self.trusted.role => None,
            Some(proposal) if proposal.role == role => {
                Some(Proposal { role, answers: proposal.answers.saturating_add(1) })
            }
            _ => Some(Proposal { role, answers: 1 }),
        };
        if let Some(proposal) = self.proposal.filter(|proposal| proposal.answers >= AGREEING_ANSWERS) {
            self.trusted.role = proposal.role;
            self.proposal = None;
        }
    }

    /// The role by the latest clean answer, and how many of the [`AGREEING_ANSWERS`] that change a role have given it,
    /// where it is another than the published one.
    #[must_use]
    pub fn listed_role(&self) -> (Role, Option<u32>) {
        self.proposal.map_or((self.trusted.role, None), |proposal| (proposal.role, Some(proposal.answers)))
    }

    /// Whether absence has lasted long enough for it to leave.
    #[must_use]
    pub fn may_leave(&self, grace: std::time::Duration) -> bool {
        self.absence.is_some_and(|run| run.answers >= AGREEING_ANSWERS && run.last.since(run.first) >= grace)
    }
}
