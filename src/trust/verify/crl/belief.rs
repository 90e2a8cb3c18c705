//! Whether a list may be believed: by whom it was signed, whether it is of today, and whether all of it is understood.

use std::time::Duration;

use crate::trust::formats::certificate::{Certificate, SignatureKind};
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::crl::{CoveredKind, Crl, CrlFacts};
use crate::trust::verify::signed::{self, SignatureProblem};

/// A list that an issuer on an accepted path signed. In force, it says who is revoked and who is not; not in force, only
/// who is. [`believe`] and [`lapsed`] alone make one.
#[derive(Debug, Clone)]
pub struct VerifiedCrl {
    pub(super) crl: Crl,
    /// The key that signed it: of two CAs of one name, it speaks for one.
    pub(super) issuer_key: Fingerprint,
    in_force_until: Option<Timestamp>,
}

impl VerifiedCrl {
    /// What it says of itself.
    #[must_use]
    pub fn facts(&self) -> &CrlFacts {
        self.crl.facts()
    }

    /// Until when it is in force; `None` where it is not.
    #[must_use]
    pub fn in_force_until(&self) -> Option<Timestamp> {
        self.in_force_until
    }
}

/// Why a list is not believed. In the order in which it is asked: times mean nothing before the signature is right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// No certificate of the accepted paths has the name of its issuer.
    #[error("no certificate on the accepted paths has the name of its issuer")]
    OtherIssuer,
    /// A delta list (RFC 5280, 5.2.4).
    #[error("it is a delta list, which only says what changed since another; trustsync reads complete lists only")]
    Delta,
    /// An indirect list (RFC 5280, 5.2.5 and 5.3.3).
    #[error("it is an indirect list, which speaks for other issuers than its own; trustsync reads direct lists only")]
    Indirect,
    /// onlySomeReasons.
    #[error("it lists revocations for some reasons only, so a certificate that it does not list may still be revoked")]
    SomeReasons,
    /// onlyContainsAttributeCerts.
    #[error("it lists attribute certificates only")]
    AttributeCertificates,
    /// RFC 5280, 5.2: a list with one must not be used.
    #[error("it has critical extensions that trustsync does not know ({})", .0.join(", "))]
    UnknownCriticalExtension(Vec<String>),
    /// SHA-1 and worse.
    #[error("it is signed with {0}, which can be forged")]
    WeakSignature(String),
    /// An algorithm that cannot be checked here.
    #[error("it is signed with {0}, which cannot be checked here together with its issuer's key")]
    UnsupportedSignature(String),
    /// The authority key identifier names another key.
    #[error("its authority key identifier is not that of its issuer's key")]
    KeyIdentifier,
    /// RFC 5280, 4.2.1.3.
    #[error("its issuer's certificate has a key usage without cRLSign, so it may sign no list")]
    IssuerMayNotSign,
    /// Not made by the issuer's key, or changed since.
    #[error("its signature is wrong")]
    BadSignature,
    /// thisUpdate lies ahead.
    #[error("it is of {0}, which lies in the future")]
    NotYetValid(Timestamp),
    /// RFC 5280, 5.1.2.5 demands a nextUpdate.
    #[error("it has no nextUpdate, so whether it is still in force is unknown")]
    NoNextUpdate,
    /// nextUpdate has passed.
    #[error("it was in force until {0} only: it is stale")]
    Stale(Timestamp),
}

impl Problem {
    /// Whether the list is signed as it should be, and only its time is not now.
    #[must_use]
    pub fn is_of_time(&self) -> bool {
        matches!(self, Self::NotYetValid(_) | Self::NoNextUpdate | Self::Stale(_))
    }

    fn consequence(&self) -> &'static str {
        if self.is_of_time() {
            "It vouches for nothing, but whom it names is revoked all the same; what else is trusted stays."
        } else {
            "It revokes nothing and vouches for nothing; what is trusted stays, and what was found revoked before stays \
             out."
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::NotYetValid(_) => "Check this machine's clock; the list is read again in every cycle.",
            Self::Stale(_) => {
                "Check this machine's clock, and whether the distribution point can be reached and is kept up; it is \
                 asked again in every cycle."
            }
            Self::OtherIssuer | Self::KeyIdentifier | Self::BadSignature => {
                "Its distribution point, or something on the way, serves another list: fetch it by hand and compare."
            }
            _ => {
                "The CA publishes what trustsync cannot use: tell its maintainers, and watch this CA's revocations by \
                 other means."
            }
        }
    }
}

/// A list that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the CRL of {} (issued {this_update}) was refused: {problem}. {} {}",
    quoted(.issuer), .problem.consequence(), .problem.remedy()
)]
pub struct Refused {
    /// The issuer that it names, RFC 2253 text.
    pub issuer: String,
    /// When it says that it was issued.
    pub this_update: Timestamp,
    /// What keeps it from being believed.
    pub problem: Problem,
}

/// Believes a list, or says why not: one of the certificates of accepted paths must have signed it. `clock_skew` is
/// granted to thisUpdate alone, as to a certificate's notBefore.
pub fn believe(
    crl: &Crl,
    issuers: &[Certificate],
    clock_skew: Duration,
    now: Timestamp,
) -> Result<VerifiedCrl, Refused> {
    let facts = crl.facts();
    let refused = |problem| Refused { issuer: facts.issuer.clone(), this_update: facts.this_update, problem };
    let signed = signed(crl, issuers).map_err(refused)?;
    let end = in_force(facts, clock_skew, now).map_err(refused)?;
    Ok(VerifiedCrl { in_force_until: Some(end), ..signed })
}

/// A list that is not in force, but signed as it should be: a revocation is for good, so what it names is revoked.
#[must_use]
pub fn lapsed(crl: &Crl, issuers: &[Certificate]) -> Option<VerifiedCrl> {
    signed(crl, issuers).ok()
}

/// A list that one of these signed, whatever its time.
fn signed(crl: &Crl, issuers: &[Certificate]) -> Result<VerifiedCrl, Problem> {
    let facts = crl.facts();
    let mut named = issuers.iter().filter(|issuer| issuer.facts().subject_der == facts.issuer_der).peekable();
    if named.peek().is_none() {
        return Err(Problem::OtherIssuer);
    }
    of_its_kind(facts)?;
    // Of several CAs of that name, the problem of the one that comes nearest is reported.
    let mut nearest = Problem::OtherIssuer;
    for issuer in named {
        match signed_by(crl, issuer) {
            Ok(()) => {
                let issuer_key = issuer.facts().key_fingerprint;
                return Ok(VerifiedCrl { crl: crl.clone(), issuer_key, in_force_until: None });
            }
            Err(problem) => nearest = nearest.max(problem),
        }
    }
    Err(nearest)
}

fn of_its_kind(facts: &CrlFacts) -> Result<(), Problem> {
    let unusable = [
        (facts.delta, Problem::Delta),
        (facts.scope.indirect, Problem::Indirect),
        (facts.scope.only_some_reasons, Problem::SomeReasons),
        (facts.scope.kind == CoveredKind::Attributes, Problem::AttributeCertificates),
    ];
    if let Some((_, problem)) = unusable.into_iter().find(|(is_so, _)| *is_so) {
        return Err(problem);
    }
    if !facts.unknown_critical_extensions.is_empty() {
        return Err(Problem::UnknownCriticalExtension(facts.unknown_critical_extensions.clone()));
    }
    match facts.signature_kind {
        SignatureKind::Sound => Ok(()),
        SignatureKind::Weak => Err(Problem::WeakSignature(facts.signature.clone())),
        SignatureKind::Unknown => Err(Problem::UnsupportedSignature(facts.signature.clone())),
    }
}

fn signed_by(crl: &Crl, issuer: &Certificate) -> Result<(), Problem> {
    let (listed, issuer_facts) = (crl.facts(), issuer.facts());
    if let (Some(named), Some(own)) = (&listed.authority_key_id, &issuer_facts.subject_key_id)
        && named != own
    {
        return Err(Problem::KeyIdentifier);
    }
    // Without any key usage every use is allowed (RFC 5280, 6.3.3, step f).
    if issuer_facts.key_usages.as_ref().is_some_and(|usages| !usages.contains(&"cRLSign")) {
        return Err(Problem::IssuerMayNotSign);
    }
    signed::by_key_of(issuer, &crl.algorithm, &crl.signed, &crl.signature).map_err(|problem| match problem {
        SignatureProblem::Unsupported => Problem::UnsupportedSignature(listed.signature.clone()),
        SignatureProblem::Wrong => Problem::BadSignature,
    })
}

fn in_force(facts: &CrlFacts, clock_skew: Duration, now: Timestamp) -> Result<Timestamp, Problem> {
    if facts.this_update > now.plus(clock_skew) {
        return Err(Problem::NotYetValid(facts.this_update));
    }
    match facts.next_update {
        None => Err(Problem::NoNextUpdate),
        Some(next) if next < now => Err(Problem::Stale(next)),
        Some(next) => Ok(next),
    }
}
