//! The verification policy: the only place where a leaf becomes trusted.
//!
//! What a source sends is treated as an adversary's: it may have broken the vendor's API, the network or a CA.
//!
//! ```text
//!  text ─▶ blocks ─▶ certificates ─▶ the one leaf ─▶ leaf's rules ─┐
//!          (pem)     (certificate)                                 ├─▶ Verdict ─▶ Candidate::admit ─▶ Verified
//!                          └──▶ paths to an anchor ─▶ issuers' rules ─▶ signatures
//!                               (path)                (rules)           (signed: webpki)
//! ```
//!
//! rustls-webpki alone is not enough: it accepts a leaf without any extended key usage, ignores keyCertSign, and treats
//! an anchor as a name and a key, so that its expiry, path length and usages do not count. So the path is built here,
//! each certificate on it is checked by our own rules, which can say what is wrong and with which certificate, and
//! webpki then verifies the same path again, by its own reading of the same bytes. A path counts only if both accept
//! it.

pub mod anchor;
pub mod crl;
mod path;
pub mod refusal;
mod rules;
pub mod served;
mod signed;
pub mod work;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::trust::formats::certificate::{Certificate, Curve, sound_signatures};
use crate::trust::formats::pem::{self, BlockError};
use crate::trust::values::excerpt::{SHOWN, quoted, quoted_list};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::anchor::Anchors;
use crate::trust::verify::refusal::{Refusal, Rule, Violation};
use crate::trust::verify::work::{Spent, Work};

use path::{Path, PathSearch};

/// The longest certificate string that is read. The vendor's has some six kilobytes.
const LONGEST_TEXT: usize = 1024 * 1024;
/// How many complete paths are looked at for one leaf. Twelve certificates with the same names make more than that; the
/// vendor's string has one path.
const MOST_PATHS: usize = 64;

/// `[verify]`: what a leaf and its path must satisfy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The shortest RSA modulus of any key on the path, anchor included. 2048: NIST SP 800-131A, and ring checks no
    /// less.
    pub min_rsa_bits: usize,
    /// The curves that a key may be on, besides Ed25519, which is always fine. All three by default; a P-521 key can
    /// only be a leaf's, since ring cannot check its signatures.
    pub curves: BTreeSet<Curve>,
    /// The signature algorithms that may stand below the anchor, of [`sound_signatures`]. All of them by default: none
    /// has a known weakness, and the vendor may change among them.
    pub signatures: BTreeSet<&'static str>,
    /// Whether a leaf may name extended key usages besides clientAuth. It may by default: public CAs sell one
    /// certificate for signing mail and for authentication.
    pub other_usages: bool,
    /// Leaves of which the operator has waived an extended key usage that is absent. Servers admit them; one that has
    /// usages without clientAuth, which servers refuse, is never waived.
    pub usage_waived: BTreeSet<Fingerprint>,
    /// The longest validity of a leaf, notBefore to notAfter. 825 days: the longest that the CA/Browser Forum's S/MIME
    /// requirements (which govern public client certificates) still allow. No lower bound: lifetimes shrink.
    pub max_validity: Duration,
    /// The most certificates on a path, leaf and anchor included, self-issued intermediates not counted. 4: the
    /// vendor's has 3, and one more may be a cross-sign. More than 8 in all are never accepted.
    pub max_chain: usize,
    /// The most certificates in one string. 10: thrice the vendor's.
    pub max_certificates: usize,
    /// How far ahead a notBefore may lie, for clocks that are late. 5 minutes, as Kerberos allows. Nothing is allowed
    /// for notAfter, at which servers make no allowance either.
    pub clock_skew: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_rsa_bits: 2048,
            curves: BTreeSet::from([Curve::P256, Curve::P384, Curve::P521]),
            signatures: sound_signatures().collect(),
            other_usages: true,
            usage_waived: BTreeSet::new(),
            max_validity: Duration::from_secs(825 * 86_400),
            max_chain: 4,
            max_certificates: 10,
            clock_skew: Duration::from_secs(300),
        }
    }
}

/// A leaf that has a path to an anchor which satisfies every rule but identity, which [`Candidate::admit`] checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    verified: Verified,
    notes: Vec<String>,
}

/// A leaf that policy accepted, with all its paths. Only this module makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    leaf: Certificate,
    /// What is above the leaf, by path.
    paths: Vec<Vec<Certificate>>,
}

/// Which names a slot's leaves must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// One of these, without ASCII case.
    Names(BTreeSet<String>),
    /// The check is switched off.
    Any,
}

/// What policy says of one certificate string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It verifies now, by every rule but identity.
    Accepted(Candidate),
    /// Its leaf's validity is over, but in the last second of it, it would have been accepted.
    Expired(Candidate, Refusal),
    /// It does not verify.
    Refused(Refusal),
}

/// Verifies one certificate string (a leaf and its chain, in any order) by every rule but identity.
#[must_use]
pub fn verify_string(text: &str, anchors: &Anchors, policy: &Policy, now: Timestamp) -> Verdict {
    verify_listed(text, anchors, policy, now, &mut Work::default())
}

/// As [`verify_string`], one string of an answer whose other strings take part in the same work.
#[must_use]
pub fn verify_listed(text: &str, anchors: &Anchors, policy: &Policy, now: Timestamp, work: &mut Work<'_>) -> Verdict {
    if work.is_spent() {
        return Verdict::Refused(Refusal::because(None, not_judged()));
    }
    match read(text, policy) {
        Ok((certificates, notes)) => verify_read(certificates, notes, anchors, policy, now, work),
        Err(violation) => Verdict::Refused(Refusal::because(None, violation)),
    }
}

/// Verifies certificates that were read before, such as a recorded leaf and the chain that it had in all the years, by the
/// same rules; how many there may be is for the caller to say.
#[must_use]
pub fn verify_certificates(
    given: Vec<Certificate>,
    anchors: &Anchors,
    policy: &Policy,
    now: Timestamp,
    work: &mut Work<'_>,
) -> Verdict {
    verify_read(given, Vec::new(), anchors, policy, now, work)
}

/// The paths of a leaf that was judged before, among what was ever known above it, that are valid now (or were when the
/// leaf expired), by the same rules; what the leaf itself must satisfy plays no part.
#[must_use]
pub fn valid_paths(
    leaf: &Certificate,
    known: &[Certificate],
    anchors: &Anchors,
    policy: &Policy,
    now: Timestamp,
    work: &mut Work<'_>,
) -> Vec<Vec<Certificate>> {
    find_paths(leaf, known, anchors, policy, now.min(leaf.facts().not_after), work).unwrap_or_default()
}

fn not_judged() -> Violation {
    Violation::of(Rule::NotJudged, "what may be spent on one answer was spent before it was judged")
}

/// Every block of the text as a certificate, or the reason why one cannot be read as such; and what was odd but not
/// wrong.
fn read(text: &str, policy: &Policy) -> Result<(Vec<Certificate>, Vec<String>), Violation> {
    let refused = |rule, what: String| Err(Violation::of(rule, what));
    if text.len() > LONGEST_TEXT {
        return refused(Rule::TooLarge, format!("it has {} bytes, more than {LONGEST_TEXT}", text.len()));
    }
    let blocks = pem::scan(text);
    let (count, most) = (blocks.len(), policy.max_certificates);
    let is_key = |block: &pem::Block| pem::is_private(&block.label) || block.bytes == Err(BlockError::PrivateKey);
    if let Some(at) = blocks.iter().position(is_key) {
        let ordinal = at.saturating_add(1);
        return refused(Rule::PrivateKey, format!("block {ordinal} of {count} is a private key"));
    }
    if count > most {
        return refused(Rule::TooManyCertificates, format!("it has {count} PEM blocks, more than {most}"));
    }
    let mut certificates = Vec::new();
    let mut notes = Vec::new();
    for (at, block) in blocks.into_iter().enumerate() {
        let which = format!("block {} of {count}", at.saturating_add(1));
        if !block.label.is_empty() && block.label != "CERTIFICATE" {
            let label = quoted(&block.label);
            return refused(Rule::ForeignBlock, format!("{which} is not a certificate but \"{label}\""));
        }
        let broken = |error| Violation::of(Rule::BrokenPem, format!("{which} cannot be read: {error}"));
        let unreadable = |error| Violation::of(Rule::UnreadableCertificate, format!("{which} is {error}"));
        certificates.push(Certificate::parse(&block.bytes.map_err(broken)?).map_err(unreadable)?);
        notes.extend(block.oddities.into_iter().map(|oddity| format!("{which} has {}", oddity.text())));
    }
    if certificates.is_empty() {
        return refused(Rule::NoCertificate, "it has no BEGIN CERTIFICATE marker".to_owned());
    }
    let (read, markers) = (certificates.len(), pem::count(text));
    if read != markers {
        return refused(Rule::BrokenPem, format!("of {markers} BEGIN markers only {read} could be read"));
    }
    Ok((certificates, notes))
}

fn verify_read(
    certificates: Vec<Certificate>,
    mut notes: Vec<String>,
    anchors: &Anchors,
    policy: &Policy,
    now: Timestamp,
    work: &mut Work<'_>,
) -> Verdict {
    let given = certificates.len();
    let distinct: BTreeSet<Certificate> = certificates.into_iter().collect();
    let repeated = given.saturating_sub(distinct.len());
    if repeated > 0 {
        notes.push(format!("{repeated} certificates are in it more than once"));
    }
    let leaf = match the_leaf(&distinct) {
        Ok(leaf) => leaf.clone(),
        Err(refusal) => return Verdict::Refused(refusal),
    };
    let others: Vec<Certificate> = distinct.into_iter().filter(|other| *other != leaf).collect();

    let mut violations = rules::of_leaf(&leaf, policy, now);
    // The paths are verified for the last moment at which the leaf was valid, so that "only expired" means it.
    let moment = now.min(leaf.facts().not_after);
    let paths = find_paths(&leaf, &others, anchors, policy, moment, work).unwrap_or_else(|of_path| {
        violations.extend(of_path);
        Vec::new()
    });
    let verified = Verified { leaf, paths };
    let on_no_path = |other: &&Certificate| !verified.issuers().any(|issuer| issuer == *other);
    let surplus = others.iter().filter(on_no_path).filter(|other| !anchors.0.contains(other)).count();
    if surplus > 0 {
        notes.push(format!("{surplus} certificates in it are on no accepted path, and were left out"));
    }
    let only_expired = violations.iter().all(|violation| violation.rule == Rule::Expired);
    match Refusal::of_violations(Some(&verified.leaf), violations) {
        None => Verdict::Accepted(Candidate { verified, notes }),
        Some(refusal) if only_expired => Verdict::Expired(Candidate { verified, notes }, refusal),
        Some(refusal) => Verdict::Refused(refusal),
    }
}

/// The one certificate that is not a CA.
fn the_leaf(certificates: &BTreeSet<Certificate>) -> Result<&Certificate, Refusal> {
    let leaves: Vec<&Certificate> = certificates.iter().filter(|certificate| !certificate.facts().is_ca).collect();
    match leaves.as_slice() {
        [leaf] => Ok(leaf),
        [] => {
            let issued_nothing = |candidate: &&Certificate| {
                !certificates
                    .iter()
                    .any(|other| other != *candidate && other.facts().issuer_der == candidate.facts().subject_der)
            };
            let mut ends = certificates.iter().filter(issued_nothing);
            let what = "it has no leaf: every certificate in it is a CA (basicConstraints CA:TRUE)";
            Err(match (ends.next(), ends.next()) {
                (Some(end), None) => Refusal::because(Some(end), Violation::by(end, Rule::LeafIsCa, what)),
                _ => Refusal::because(None, Violation::of(Rule::LeafIsCa, what)),
            })
        }
        several => {
            // An intermediate whose CA flag is missing looks like a second leaf; say so where the names show it.
            let issuer = several.iter().find(|issuer| {
                several.iter().any(|other| other != *issuer && other.facts().issuer_der == issuer.facts().subject_der)
            });
            if let Some(issuer) = issuer {
                let what = "a certificate has the name of another's issuer but is not a CA (basicConstraints CA:TRUE)";
                return Err(Refusal::because(None, Violation::by(issuer, Rule::IssuerNotCa, what)));
            }
            let names: Vec<String> = several
                .iter()
                .map(|leaf| format!("{} ({})", quoted(&leaf.facts().subject), leaf.fingerprint().short()))
                .take(3)
                .collect();
            let what = format!("it has {} leaves where one is expected: {}", several.len(), names.join(", "));
            Err(Refusal::because(None, Violation::of(Rule::SeveralLeaves, what)))
        }
    }
}

/// The accepted paths above the leaf, each with its root last: all of them, as far as the work goes; or what is wrong
/// with the path that is least wrong.
fn find_paths(
    leaf: &Certificate,
    others: &[Certificate],
    anchors: &Anchors,
    policy: &Policy,
    moment: Timestamp,
    work: &mut Work<'_>,
) -> Result<Vec<Vec<Certificate>>, Vec<Violation>> {
    let (mut looked_at, mut spent) = (0_usize, false);
    let mut least_wrong: Option<Vec<Violation>> = None;
    let mut accepted: Vec<Vec<Certificate>> = Vec::new();
    let mut outcome = path::walk(leaf, others, &anchors.0, policy.max_chain, work, &mut |candidate, work| {
        looked_at = looked_at.saturating_add(1);
        if looked_at > MOST_PATHS {
            return ControlFlow::Break(());
        }
        let Ok(violations) = wrong_with(candidate, policy, moment, work) else {
            spent = true;
            return ControlFlow::Break(());
        };
        if violations.is_empty() {
            accepted.push(candidate.above().cloned().collect());
        } else if least_wrong.as_ref().is_none_or(|least| weight(&violations) < weight(least)) {
            least_wrong = Some(violations);
        }
        ControlFlow::Continue(())
    });
    outcome.spent |= spent;
    outcome.gave_up |= looked_at > MOST_PATHS;
    if accepted.is_empty() {
        return Err(without_path(leaf, least_wrong.unwrap_or_default(), &outcome, anchors, policy));
    }
    Ok(accepted)
}

/// What is wrong with a path. Rules come first, since they cost nothing; then each signature by itself, so that webpki,
/// which looks for a path of its own among the certificates of this one, gets none that cannot be right.
fn wrong_with(
    candidate: &Path<'_>,
    policy: &Policy,
    moment: Timestamp,
    work: &mut Work<'_>,
) -> Result<Vec<Violation>, Spent> {
    let violations = rules::of_path(candidate, policy, moment);
    if !violations.is_empty() {
        return Ok(violations);
    }
    for (child, issuer) in candidate.below.iter().zip(candidate.above()) {
        if let Err(problem) = work.signed(child, issuer)? {
            return Ok(vec![problem.violation(candidate.anchor)]);
        }
    }
    work.signatures(candidate.below.len())?;
    Ok(signed::check(candidate.below, candidate.anchor, moment).err().into_iter().collect())
}

/// Why there is no accepted path.
fn without_path(
    leaf: &Certificate,
    mut violations: Vec<Violation>,
    outcome: &PathSearch<'_>,
    anchors: &Anchors,
    policy: &Policy,
) -> Vec<Violation> {
    if outcome.spent {
        violations.push(not_judged());
    } else if outcome.gave_up {
        let what =
            "too many of its certificates have the same names: no path was found in a bounded number of attempts";
        violations.push(Violation::of(Rule::TooManyPaths, what));
    } else if violations.is_empty() && outcome.too_long {
        let what = format!("its only paths have more than {} certificates, leaf and anchor included", policy.max_chain);
        violations.push(Violation::of(Rule::ChainTooLong, what));
    } else if violations.is_empty() {
        let missing = quoted(&outcome.missing.unwrap_or(leaf).facts().issuer);
        let anchors = anchors.0.len();
        let what = format!(
            "no certificate of the string and none of the {anchors} anchors has the name of its issuer, {missing}"
        );
        violations.push(Violation::of(Rule::UnknownIssuer, what));
    }
    violations
}

/// How far a path is from acceptance. One with a wrong signature only looked like a path, so it comes last; else fewer
/// violations are nearer, and of equals the most specific reason survives. The order of the string plays no part.
fn weight(violations: &[Violation]) -> (bool, usize, Option<Rule>) {
    let first = violations.iter().map(|violation| violation.rule).min();
    (first >= Some(Rule::BadSignature), violations.len(), first)
}

impl Candidate {
    /// What stands above the leaf on any path, roots included; some on more than one.
    pub fn issuers(&self) -> impl Iterator<Item = &Certificate> {
        self.verified.issuers()
    }

    /// Each of its paths.
    #[must_use]
    pub fn paths(&self) -> &[Vec<Certificate>] {
        self.verified.paths()
    }

    /// The leaf.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        self.verified.leaf()
    }

    /// The path that is shown: intermediates first, then the root, which is our anchor's own copy.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        self.verified.chain()
    }

    /// What was odd but not wrong: PEM that other readers stumble on, duplicates, surplus certificates.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Applies the identity rule: one identity name equals, without ASCII case, one of the leaf's dNSName SANs, or its
    /// CN where it has no dNSName. Nothing else is equal: no wildcard, no final dot, no Unicode folding, and a name
    /// with an embedded NUL equals none. A leaf with several CNs and no dNSName must match with each of them, since
    /// servers differ in which one they look at.
    pub fn admit(self, identity: &Identity) -> Result<Verified, Refusal> {
        let Identity::Names(expected) = identity else {
            return Ok(self.verified);
        };
        let matches = |found: &String| expected.iter().any(|name| is_plain(name) && name.eq_ignore_ascii_case(found));
        let leaf = self.leaf();
        let found = leaf.identity_names();
        let by_dns_name = !leaf.facts().dns_names.is_empty();
        if found.iter().any(matches) && (by_dns_name || found.iter().all(matches)) {
            return Ok(self.verified);
        }
        let kind = if by_dns_name { "dNSName" } else { "CN" };
        let what = format!(
            "its identity is not the expected one: expected {}, found {} ({kind})",
            quoted_list(expected, SHOWN),
            quoted_list(found, SHOWN),
        );
        Err(self.refused_by_identity(what))
    }

    /// The refusal of a leaf whose slot has no identity yet: nothing could be learned from this answer.
    #[must_use]
    pub fn without_identity(&self) -> Refusal {
        let what = "the slot has no identity yet, and this answer is not complete and agreed enough to learn one from";
        self.refused_by_identity(what.to_owned())
    }

    fn refused_by_identity(&self, what: String) -> Refusal {
        Refusal::because(Some(self.leaf()), Violation::by(self.leaf(), Rule::Identity, what))
    }
}

/// Whether a name can be an identity, and stand in a configuration: visible ASCII without quotes and backslashes.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.chars().all(|character| character.is_ascii_graphic() || character == ' ')
        && !name.contains(['"', '\\'])
}

impl Verified {
    /// The leaf.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// The first of its paths: intermediates first, then the root, which is our anchor's own copy.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        self.paths.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// Each of its paths, the shorter ways first at each step.
    #[must_use]
    pub fn paths(&self) -> &[Vec<Certificate>] {
        &self.paths
    }

    /// What stands above the leaf on any path, roots included; some on more than one.
    pub fn issuers(&self) -> impl Iterator<Item = &Certificate> {
        self.paths.iter().flatten()
    }

    /// Gives each of two that were accepted of the same leaf the paths of both.
    pub(crate) fn join(&mut self, other: &mut Self) {
        let new: Vec<_> = other.paths.iter().filter(|path| !self.paths.contains(path)).cloned().collect();
        self.paths.extend(new);
        other.paths.clone_from(&self.paths);
    }
}
