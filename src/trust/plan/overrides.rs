//! The operator's overrides, as changes of the planner's state: for a day when the API is down or a CRL is unavailable.
//! The planner makes the trust set of them, as of everything else; a hold does not keep them back.

use crate::trust::formats::certificate::Certificate;
use crate::trust::plan;
use crate::trust::plan::planner_state::{Entry, PlannerState, TrustOverride, TrustedEntry};
use crate::trust::plan::set::{Denial, DenialReason, Role, TrustSet};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::said::Said;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::{Identity, Verified};

/// `trust`: admits a leaf that the vendor does not list, until the override ends. `set` learns its certificates. What
/// is denied stays so: then `None`; else the role that the leaf has from now on.
pub fn trust(
    planner: &mut PlannerState,
    set: &mut TrustSet,
    slot: &SlotId,
    verified: &Verified,
    identity: &Identity,
    word: TrustOverride,
) -> Option<Role> {
    let (leaf, authority) = (verified.leaf(), slot.authority());
    let key = plan::entry_key(authority, verified);
    if planner.denied.contains_key(&key) || planner.denied.contains_key(&leaf.fingerprint()) {
        return None;
    }
    let entries = &mut planner.slots.entry(slot.clone()).or_default().entries;
    let entry = entries.entry(key).or_insert_with(|| {
        let mut trusted = TrustedEntry::seen(Role::Trusted, word.since);
        if authority == Authority::Genesys {
            trusted.names = plan::rule_names(std::iter::once(leaf), Some(identity));
            trusted.witnesses = plan::witnesses(std::iter::once(leaf), Some(identity));
        }
        Entry::of(trusted, word.since)
    });
    (entry.absence, entry.proposal) = (None, None);
    let trusted = &mut entry.trusted;
    if trusted.role == Role::Retiring {
        trusted.role = Role::Trusted;
    }
    trusted.word = Some(word);
    trusted.chain.extend(verified.issuers().map(Certificate::fingerprint).filter(|link| *link != key));
    set.chain.extend(verified.issuers().map(|link| (link.fingerprint(), link.clone())));
    if authority == Authority::DigiCert {
        set.pin(slot, leaf, trusted.role);
    }
    Some(trusted.role)
}

/// The digests, where known, by which servers that cannot ask for the SHA-256 deny a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digests {
    /// The SHA-1 of the DER.
    pub sha1: Option<String>,
    /// The SHA-1 of the PEM.
    pub pem_sha1: Option<String>,
}

/// `distrust`: denies a certificate until [`undistrust`]. Returns whether that is new.
pub fn distrust(
    planner: &mut PlannerState,
    fingerprint: Fingerprint,
    known: Digests,
    said: Said,
    now: Timestamp,
) -> bool {
    let before = planner.denied.remove(&fingerprint);
    let is_new = before.as_ref().is_none_or(|denial| denial.reason != DenialReason::Distrusted);
    let mut denial = match before {
        Some(denial) if !is_new => denial,
        revoked => {
            let (sha1, pem_sha1) =
                revoked.as_ref().map_or((None, None), |denial| (denial.sha1.clone(), denial.pem_sha1.clone()));
            let revocation = revoked.map(Box::new);
            Denial { sha1, pem_sha1, said, revocation, ..Denial::new(DenialReason::Distrusted, now) }
        }
    };
    denial.sha1 = denial.sha1.or(known.sha1);
    denial.pem_sha1 = denial.pem_sha1.or(known.pem_sha1);
    planner.denied.insert(fingerprint, denial);
    is_new
}

/// What `undistrust` has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undistrusted {
    /// The operator's denial is lifted.
    Lifted,
    /// It is lifted, and a CA's revocation, which no operator lifts, denies the certificate still.
    StillRevoked,
    /// Nothing was there to lift: a CA alone denies it.
    Revoked,
    /// Nothing was there to lift: it is not denied.
    NotDenied,
}

/// `undistrust`: takes an operator's denial back. The certificate enters again as any other does.
pub fn undistrust(planner: &mut PlannerState, fingerprint: &Fingerprint) -> Undistrusted {
    match planner.denied.get(fingerprint).map(|denial| denial.reason) {
        None => return Undistrusted::NotDenied,
        Some(DenialReason::Distrusted) => {}
        Some(_) => return Undistrusted::Revoked,
    }
    match planner.denied.remove(fingerprint).and_then(|denial| Some((denial.revocation?, denial.sha1, denial.pem_sha1)))
    {
        None => Undistrusted::Lifted,
        Some((revocation, sha1, pem_sha1)) => {
            let revocation = *revocation;
            let (sha1, pem_sha1) = (revocation.sha1.clone().or(sha1), revocation.pem_sha1.clone().or(pem_sha1));
            planner.denied.insert(*fingerprint, Denial { sha1, pem_sha1, ..revocation });
            Undistrusted::StillRevoked
        }
    }
}

/// `accept-issuer`: lets in what this issuer has signed, in every slot. Returns whether that is new.
pub fn accept_issuer(planner: &mut PlannerState, fingerprint: Fingerprint, now: Timestamp) -> bool {
    let new = !planner.accepted_issuers.contains_key(&fingerprint);
    planner.accepted_issuers.entry(fingerprint).or_insert(now);
    new
}
