//! Who is revoked, by verified lists alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::trust::formats::certificate::Certificate;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::crl::{RawEntry, Scope, VerifiedCrl};
use crate::trust::verify::signed;

/// Of each issuer and scope the freshest list that is in force, and the freshest that is not. Two distribution points of
/// one issuer are two scopes: a fresh list of the one says nothing about the other's certificates.
#[derive(Debug, Clone, Default)]
pub struct Freshest(BTreeMap<Key, VerifiedCrl>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    issuer_der: Vec<u8>,
    issuer_key: Fingerprint,
    scope: Scope,
    in_force: bool,
}

impl Freshest {
    /// Takes a list in, unless it has a fresher one of the same issuer and scope; returns whether it did.
    pub fn add(&mut self, crl: VerifiedCrl) -> bool {
        let facts = crl.facts();
        let key = Key {
            issuer_der: facts.issuer_der.clone(),
            issuer_key: crl.issuer_key,
            scope: facts.scope.clone(),
            in_force: crl.in_force_until().is_some(),
        };
        if self.0.get(&key).is_some_and(|known| age(known) > age(&crl)) {
            return false;
        }
        self.0.insert(key, crl);
        true
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, crls: impl IntoIterator<Item = VerifiedCrl>) -> Self {
        for crl in crls {
            self.add(crl);
        }
        self
    }

    /// The lists, by issuer and scope.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedCrl> {
        self.0.values()
    }

    /// Those of `leaf` and `chain` (not the anchor: only the operator answers for it) for which no list
    /// speaks that is in force.
    #[must_use]
    pub fn uncovered<'a>(&self, leaf: &'a Certificate, chain: &'a [Certificate]) -> Vec<&'a Certificate> {
        std::iter::once(leaf)
            .chain(chain)
            .filter(|certificate| !certificate.facts().self_issued())
            .filter(|certificate| {
                !self
                    .iter()
                    .filter(|crl| crl.in_force_until().is_some())
                    .any(|crl| speaks_for(crl, certificate, chain) && crl.facts().scope.includes(certificate))
            })
            .collect()
    }

    /// Of a leaf's paths the one for which the lists speak best: whom on it none covers. One path that the lists speak for
    /// is enough, since servers need no more.
    #[must_use]
    pub fn uncovered_at_best<'a>(&self, leaf: &'a Certificate, paths: &'a [Vec<Certificate>]) -> Vec<&'a Certificate> {
        let uncovered = paths.iter().map(|path| self.uncovered(leaf, path));
        uncovered.min_by_key(Vec::len).unwrap_or_default()
    }
}

/// By thisUpdate, then by number; of two that still agree, the one that revokes more is the safer.
fn age(crl: &VerifiedCrl) -> (Timestamp, usize, &[u8], usize) {
    let facts = crl.facts();
    let number = facts.number.as_deref().unwrap_or_default();
    (facts.this_update, number.len(), number, facts.count)
}

/// Why a certificate was revoked: the code of RFC 5280, 5.3.1, or 0 where the list gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub u8);

impl Reason {
    /// Its name in RFC 5280.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "unspecified",
            1 => "keyCompromise",
            2 => "cACompromise",
            3 => "affiliationChanged",
            4 => "superseded",
            5 => "cessationOfOperation",
            6 => "certificateHold",
            8 => "removeFromCRL",
            9 => "privilegeWithdrawn",
            10 => "aACompromise",
            _ => "a reason that RFC 5280 does not know",
        }
    }
}

/// One certificate that was revoked: the leaf that was asked about, or an issuer without which it has no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// SHA-256 of the revoked certificate.
    pub fingerprint: Fingerprint,
    /// Its subject, RFC 2253 text.
    pub subject: String,
    /// Who revoked it, RFC 2253 text.
    pub by: String,
    /// The list's thisUpdate.
    pub listed: Timestamp,
    /// revocationDate.
    pub since: Timestamp,
    /// The reason that the list gives.
    pub reason: Reason,
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (sha256 {}) was revoked by {} on {} (reason: {}; CRL issued {})",
            quoted(&self.subject),
            self.fingerprint,
            quoted(&self.by),
            self.since,
            self.reason.name(),
            self.listed
        )
    }
}

/// Why a leaf is revoked: empty where it is not. `chain` holds the issuers of all its accepted paths, in any order,
/// anchors included.
///
/// A leaf is revoked with its own certificate, or when each of its paths leads through a revoked one. What is listed is
/// revoked, whatever the reason (on hold too), and whatever the list's scope: an issuer gives a serial number once (RFC
/// 5280, 4.1.2.2), so a list that names it means it. Only the operator revokes an anchor.
#[must_use]
pub fn revocations(leaf: &Certificate, chain: &[Certificate], crls: &Freshest) -> Vec<Revocation> {
    past_revoked(leaf, chain, Vec::new, crls, &BTreeSet::new()).err().unwrap_or_default()
}

/// Whether a leaf has a path that leads through no revoked certificate, neither by the lists nor by what is `known` from
/// earlier ones; if not, those of its paths that the lists revoke, itself included. `chain` is all that was ever known
/// above it, `ways` what is on its paths that are valid now: where there are any, only these lead past somebody. They are
/// asked for only where somebody above the leaf is revoked.
pub fn past_revoked(
    leaf: &Certificate,
    chain: &[Certificate],
    ways: impl FnOnce() -> Vec<Certificate>,
    crls: &Freshest,
    known: &BTreeSet<Fingerprint>,
) -> Result<(), Vec<Revocation>> {
    if let Some(revoked) = revocation(leaf, chain, crls) {
        return Err(vec![revoked]);
    }
    let is_revoked =
        |issuer: &Certificate| known.contains(&issuer.fingerprint()) || revocation(issuer, chain, crls).is_some();
    if !chain.iter().any(is_revoked) {
        return Ok(());
    }
    let ways = Some(ways()).filter(|ways| !ways.is_empty());
    let chain = ways.as_deref().unwrap_or(chain);
    let mut found = Vec::new();
    let mut reached = vec![leaf];
    let mut waiting = vec![leaf];
    while let Some(certificate) = waiting.pop() {
        let mut above = chain.iter().filter(|issuer| issued(issuer, certificate)).peekable();
        if certificate.facts().self_issued() || above.peek().is_none() {
            // An end that can be reached past every revoked certificate: the leaf stands.
            return Ok(());
        }
        for issuer in above {
            if reached.contains(&issuer) {
                continue;
            }
            reached.push(issuer);
            match revocation(issuer, chain, crls) {
                Some(revoked) => found.push(revoked),
                None if known.contains(&issuer.fingerprint()) => {}
                None => waiting.push(issuer),
            }
        }
    }
    found.sort_by_key(|revoked| (revoked.since, revoked.fingerprint));
    Err(found)
}

/// Whether `issuer` has issued `certificate`: two issuers may have one name, so only the signature says.
fn issued(issuer: &Certificate, certificate: &Certificate) -> bool {
    let (above, below) = (issuer.facts(), certificate.facts());
    let keys_agree = match (&below.authority_key_id, &above.subject_key_id) {
        (Some(named), Some(own)) => named == own,
        _ => true,
    };
    above.subject_der == below.issuer_der
        && keys_agree
        && issuer != certificate
        && signed::by_issuer(certificate, issuer).is_ok()
}

/// Whether a list is by the issuer of a certificate: by its name, and by a key that the certificate's path has under
/// it.
fn speaks_for(crl: &VerifiedCrl, certificate: &Certificate, chain: &[Certificate]) -> bool {
    crl.facts().issuer_der == certificate.facts().issuer_der
        && chain.iter().any(|issuer| issuer.facts().key_fingerprint == crl.issuer_key && issued(issuer, certificate))
}

fn revocation(certificate: &Certificate, chain: &[Certificate], crls: &Freshest) -> Option<Revocation> {
    let facts = certificate.facts();
    crls.iter().filter(|crl| crl.facts().issuer_der == facts.issuer_der).find_map(|crl| {
        let RawEntry { since, reason } = crl.crl.entry(&facts.serial_octets)?;
        speaks_for(crl, certificate, chain).then(|| Revocation {
            fingerprint: certificate.fingerprint(),
            subject: facts.subject.clone(),
            by: crl.facts().issuer.clone(),
            listed: crl.facts().this_update,
            since,
            reason: Reason(reason.unwrap_or(0)),
        })
    })
}
