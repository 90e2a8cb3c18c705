//! Lists that are given along with a leaf, to verify it by them as well: `trustsync verify --crl`.
//!
//! The cycle fetches lists by itself, and one that it cannot get or believe is a warning there. Here the user asks
//! *this* list about *this* leaf, so a list that cannot answer for a certificate on its path refuses the leaf.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::trust::formats::certificate::Certificate;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::crl::{Crl, Freshest, Problem, UnreadableCrl, believe, lapsed, revocations};
use crate::trust::verify::refusal::{Rule, Violation};

/// What the lists say of a leaf and its path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// [`Rule::Revoked`], and where the policy demands a list for each certificate [`Rule::RevocationUnknown`].
    pub violations: Vec<Violation>,
    /// Lists that cannot be used, that concern no certificate here or are not needed, and certificates below the anchor
    /// that no list covers.
    pub notes: Vec<String>,
    /// Whether a list in force speaks for every certificate of one path below the anchor.
    pub covered: bool,
    /// Whether a list that cannot be used leaves one of them without an answer.
    pub unanswered: bool,
}

/// Asks these lists, each with a name for messages, about a leaf and its accepted paths (each with its anchor), as the
/// cycle does. `hard`: a certificate for which no list speaks is refused.
#[must_use]
pub fn ask(
    leaf: &Certificate,
    paths: &[Vec<Certificate>],
    lists: &[(String, Result<Crl, UnreadableCrl>)],
    hard: bool,
    clock_skew: Duration,
    now: Timestamp,
) -> Answer {
    let issuers: BTreeSet<Certificate> = paths.iter().flatten().cloned().collect();
    let chain: Vec<Certificate> = issuers.into_iter().collect();
    let mut freshest = Freshest::default();
    let mut unusable = Vec::new();
    let mut answer = Answer::default();
    for (name, list) in lists {
        let (issuer, problem) = match list {
            Err(unreadable) => (None, unreadable.to_string()),
            Ok(crl) => match believe(crl, &chain, clock_skew, now) {
                Ok(verified) => {
                    freshest.add(verified);
                    continue;
                }
                Err(refused) if refused.problem == Problem::OtherIssuer => {
                    let issuer = quoted(&refused.issuer);
                    let note = format!("the CRL {name} concerns nobody here: {issuer} issued nothing on the path");
                    answer.notes.push(note);
                    continue;
                }
                Err(refused) => {
                    if refused.problem.is_of_time() {
                        freshest = freshest.and(lapsed(crl, &chain));
                    }
                    (Some(&crl.facts().issuer_der), refused.problem.to_string())
                }
            },
        };
        unusable.push((issuer, format!("the CRL {name} cannot be used: {problem}")));
    }
    let uncovered = freshest.uncovered_at_best(leaf, paths);
    for (issuer, what) in unusable {
        let is_missed = uncovered.iter().any(|silent| issuer.is_none_or(|issuer| silent.facts().issuer_der == *issuer));
        answer.unanswered |= is_missed;
        answer.notes.push(if is_missed { what } else { format!("{what}; another one answers in its place") });
    }
    for revoked in revocations(leaf, &chain, &freshest) {
        let on_path = std::iter::once(leaf).chain(&chain).find(|one| one.fingerprint() == revoked.fingerprint);
        answer.violations.push(Violation::by(on_path.unwrap_or(leaf), Rule::Revoked, revoked.to_string()));
    }
    if hard {
        answer.violations.extend(uncovered.iter().map(|certificate| Violation::of_unknown_revocation(certificate)));
    }
    let notes = uncovered.iter().map(|one| format!("no CRL that was given tells of {}", quoted(&one.facts().subject)));
    answer.notes.extend(notes);
    answer.covered = uncovered.is_empty();
    answer
}
