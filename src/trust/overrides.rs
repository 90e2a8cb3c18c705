//! The operator's words, as changes of what is remembered: for the day when the API is down, or a CRL is not to be had.
//! The planner makes the trust set of them, as of everything else; a hold does not keep them back.

use std::collections::BTreeSet;

use crate::trust::certificate::Certificate;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::plan;
use crate::trust::planner_state::{Entry, PlannerState, TrustOverride};
use crate::trust::set::{Authority, Denial, DenialReason, Role, SlotId, TrustSet, Witnesses};
use crate::trust::timestamp::Timestamp;
use crate::trust::verify::{Identity, Verified};

/// `trust`: admits a leaf that the vendor does not list, as long as the word stands. `set` learns its certificates. What
/// is denied stays so: then `None`; else the role that it has from now on.
pub fn trust(
    planner: &mut PlannerState,
    set: &mut TrustSet,
    slot: &SlotId,
    verified: &Verified,
    identity: &Identity,
    word: TrustOverride,
) -> Option<Role> {
    let key = plan::entry_key(slot.authority(), verified);
    if planner.denied.contains_key(&key) || planner.denied.contains_key(&verified.leaf().fingerprint()) {
        return None;
    }
    let entries = &mut planner.slots.entry(slot.clone()).or_default().entries;
    let entry = entries.entry(key).or_insert_with(|| Entry {
        names: match slot.authority() {
            Authority::DigiCert => BTreeSet::new(),
            Authority::Genesys => plan::rule_names(std::iter::once(verified.leaf()), Some(identity)),
        },
        witnesses: match slot.authority() {
            Authority::DigiCert => Witnesses::default(),
            Authority::Genesys => plan::witnesses(std::iter::once(verified.leaf()), Some(identity)),
        },
        ..Entry::seen(Role::Trusted, word.since)
    });
    if entry.role == Role::Retiring {
        entry.role = Role::Trusted;
    }
    (entry.absence, entry.proposal) = (None, None);
    entry.word = Some(word);
    entry.chain.extend(verified.chain().iter().map(Certificate::fingerprint).filter(|link| *link != key));
    set.chain.extend(verified.chain().iter().map(|link| (link.fingerprint(), link.clone())));
    if slot.authority() == Authority::DigiCert {
        set.pin(slot, verified.leaf(), entry.role);
    }
    Some(entry.role)
}

/// By what servers know a certificate that cannot ask for its SHA-256, as far as they are known here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digests {
    /// The SHA-1 of the DER.
    pub sha1: Option<String>,
    /// The SHA-1 of the PEM.
    pub pem_sha1: Option<String>,
}

/// `distrust`: denies a certificate for good. Whether that is new.
pub fn distrust(planner: &mut PlannerState, fingerprint: Fingerprint, known: Digests, now: Timestamp) -> bool {
    let denial = planner.denied.get(&fingerprint);
    let sha1 = denial.and_then(|denial| denial.sha1.clone()).or(known.sha1);
    let pem_sha1 = denial.and_then(|denial| denial.pem_sha1.clone()).or(known.pem_sha1);
    let before = denial.filter(|denial| denial.reason == DenialReason::Distrusted);
    let since = before.map_or(now, |denial| denial.since);
    let denial = Denial { reason: DenialReason::Distrusted, since, sha1, pem_sha1, until: None };
    planner.denied.insert(fingerprint, denial.clone()) != Some(denial)
}

/// `accept-issuer`: lets in what this issuer has signed, in every slot. Whether that is new.
pub fn accept_issuer(planner: &mut PlannerState, fingerprint: Fingerprint, now: Timestamp) -> bool {
    let new = !planner.accepted_issuers.contains_key(&fingerprint);
    planner.accepted_issuers.entry(fingerprint).or_insert(now);
    new
}
