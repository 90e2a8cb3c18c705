//! How a server that uses OpenSSL builds a leaf's path from a bundle. Ours looks at every path; OpenSSL
//! (`X509_STORE_CTX_get1_issuer`, `check_chain`) takes the first certificate of the bundle that has the issuer's name and
//! does not contradict the leaf's own words, and never comes back to that choice. So of two issuers with one name and two
//! keys, the one that stands second is not found, where leaves do not say whose key it was.
//!
//! ```text
//!  leaf ─▶ first of the name that can be its issuer, valid ones first ─▶ the same again ─▶ ... ─▶ a self-signed one
//!  and then: signatures · may issue · extended key usages of all of them · path length · validity
//! ```
//!
//! What a leaf's verification found already is not asked again here; where there was a choice, the path that came of it is.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::trust::formats::certificate::{Certificate, KeyKind};
use crate::trust::formats::distinguished_name;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::signed;

/// The most certificates on a path, leaf and root included: the lines that we ship have `ssl_verify_depth 3` and the like.
const LONGEST: usize = 5;

/// How many certificates are tried for one leaf's place: more than two issuers of one name are a rarity.
const MOST_STEPS: usize = 64;

/// Extensions that OpenSSL reads of every certificate, so that a malformed one makes it unusable, and that no rule of
/// ours reads: CRL distribution points and Netscape's certificate type.
const READ_BY_OPENSSL: [&str; 2] = ["2.5.29.31", "2.16.840.1.113730.1.1"];

/// Why a server would refuse a leaf that was accepted here, as the rest of a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unserved(String);

/// The path that a server would find for a leaf in a bundle of this order, root last; or why it would refuse the leaf. A
/// leaf's own end does not count.
pub fn path<'a>(
    leaf: &'a Certificate,
    bundle: &[&'a Certificate],
    now: Timestamp,
) -> Result<Vec<&'a Certificate>, Unserved> {
    let mut path = vec![leaf];
    let mut tip = leaf;
    let mut had_choice = false;
    while !is_self_signed(tip) {
        if path.len() >= LONGEST {
            let what = "its path in the bundle has more than three intermediates, at which ssl_verify_depth 3 ends";
            return Err(Unserved(what.to_owned()));
        }
        let can_issue = |issuer: &&Certificate| may_have_issued(issuer, tip);
        let candidates: Vec<&Certificate> = bundle.iter().copied().filter(can_issue).collect();
        had_choice |= candidates.len() > 1;
        let valid = candidates.iter().find(|issuer| is_valid(issuer, now));
        let issuer = valid.or_else(|| candidates.iter().max_by_key(|issuer| issuer.facts().not_after));
        let Some(issuer) = issuer else {
            return Err(Unserved(format!("the bundle has no issuer that fits {}", called(tip, leaf))));
        };
        path.push(issuer);
        tip = issuer;
    }
    if let Some(wrong) = wrong_with(&path) {
        return Err(wrong);
    }
    if let Some(invalid) = path.iter().skip(1).find(|issuer| !is_valid(issuer, now)) {
        let facts = invalid.facts();
        let (who, from, to) = (called(invalid, leaf), facts.not_before, facts.not_after);
        return Err(Unserved(format!("{who} is valid from {from} to {to}")));
    }
    if had_choice {
        let moment = now.min(leaf.facts().not_after);
        if let Some((anchor, below)) = path.split_last().filter(|(_, below)| !below.is_empty())
            && let Err(violation) = signed::check(below, anchor, moment)
        {
            let issuers: Vec<String> = path.iter().skip(1).map(|issuer| shown(issuer)).collect();
            return Err(Unserved(format!(
                "of several issuers of one name, they take the first that stands in the bundle, and by that path ({}) \
                 {}",
                issuers.join(", "),
                violation.what
            )));
        }
    }
    Ok(path)
}

/// The certificates of a bundle in the order in which servers find the issuers of the most important leaves. Only those
/// that share their name with others change their places. `leaves` come in the order of their importance.
#[must_use]
pub fn in_order<'a>(
    bundle: Vec<&'a Certificate>,
    leaves: impl Iterator<Item = &'a Certificate>,
) -> Vec<&'a Certificate> {
    let mut by_name: BTreeMap<Vec<u8>, Vec<&Certificate>> = BTreeMap::new();
    for one in &bundle {
        by_name.entry(compared(subject(one))).or_default().push(one);
    }
    if by_name.len() == bundle.len() {
        return bundle;
    }
    let mut first: Vec<&Certificate> = Vec::new();
    for leaf in leaves {
        for issuer in best_path(leaf, &bundle, &first) {
            if !first.contains(&issuer) {
                first.push(issuer);
            }
        }
    }
    let place = |one: &Certificate| first.iter().position(|other| *other == one).unwrap_or(usize::MAX);
    let mut ordered = Vec::new();
    for one in &bundle {
        // At the place of the first of them.
        let mut alike = by_name.remove(&compared(subject(one))).unwrap_or_default();
        alike.sort_by_key(|other| place(other));
        ordered.extend(alike);
    }
    ordered
}

/// The issuers of a leaf on a path with which servers would agree, if they looked for it; where there is none, on any. Those
/// come first that stand first already.
fn best_path<'a>(leaf: &'a Certificate, bundle: &[&'a Certificate], first: &[&'a Certificate]) -> Vec<&'a Certificate> {
    let mut best = Vec::new();
    let mut open = vec![vec![leaf]];
    for _ in 0..MOST_STEPS {
        let Some(path) = open.pop() else { break };
        let Some(tip) = path.last().copied() else { break };
        if is_self_signed(tip) {
            let issuers = path.iter().skip(1).copied().collect();
            if wrong_with(&path).is_none() {
                return issuers;
            }
            best = if best.is_empty() { issuers } else { best };
            continue;
        }
        let has_signed = |issuer: &&Certificate| may_have_issued(issuer, tip) && signed::by_issuer(tip, issuer).is_ok();
        let mut issuers: Vec<&Certificate> = bundle.iter().copied().filter(has_signed).collect();
        // The last is looked at first: what stands first already, then the shortest way, and of equals what lasts.
        let place = |issuer: &Certificate| first.iter().position(|other| *other == issuer).unwrap_or(usize::MAX);
        issuers.sort_by_key(|issuer| (Reverse(place(issuer)), is_self_signed(issuer), issuer.facts().not_after));
        let is_new = |issuer: &&Certificate| path.len() < LONGEST && !path.contains(issuer);
        open.extend(issuers.into_iter().filter(is_new).map(|issuer| [path.as_slice(), &[issuer]].concat()));
    }
    best
}

/// `check_chain` of OpenSSL for the purpose *sslclient*, as far as no rule of ours asks the same, and for issuers that our
/// own verification may not have had on a path.
fn wrong_with(path: &[&Certificate]) -> Option<Unserved> {
    let (leaf, issuers) = path.split_first()?;
    let because = |what: String| Some(Unserved(what));
    for one in path {
        let who = called(one, leaf);
        let malformed = &one.facts().malformed_extensions;
        if let Some(oid) = malformed.iter().find(|oid| READ_BY_OPENSSL.contains(&oid.as_str())) {
            return because(format!("{who} has malformed content in its extension {oid}"));
        }
        let usages = &one.facts().extended_key_usages;
        if !usages.is_empty() && !usages.iter().any(|usage| usage == "clientAuth") {
            return because(format!("the extended key usages of {who} ({}) lack clientAuth", usages.join(", ")));
        }
    }
    if leaf.facts().netscape_client == Some(false) {
        return because("its Netscape certificate type (nsCertType) lacks SSL client".to_owned());
    }
    let mut issuers_below = 0_u32;
    for (at, issuer) in issuers.iter().enumerate() {
        let (facts, who) = (issuer.facts(), called(issuer, leaf));
        let may_sign = facts.key_usages.as_ref().is_none_or(|usages| usages.contains(&"keyCertSign"));
        if !facts.is_ca || !may_sign {
            return because(format!("{who} may not sign certificates"));
        }
        if at > 0 && facts.path_len.is_some_and(|most| issuers_below > most) {
            return because(format!("{who} allows fewer intermediates below it than there are"));
        }
        issuers_below = issuers_below.saturating_add(u32::from(!facts.self_issued()));
    }
    None
}

/// OpenSSL's `ossl_x509_likely_issued`: by names, key identifiers and the kind of the key, not by the signature.
fn may_have_issued(issuer: &Certificate, certificate: &Certificate) -> bool {
    let (above, below) = (issuer.facts(), certificate.facts());
    let names_agree = same_name(subject(issuer), &below.issuer_der);
    let keys_agree = match (&below.authority_key_id, &above.subject_key_id) {
        (Some(named), Some(own)) => named == own,
        _ => true,
    };
    let serials_agree = below.authority_serial.as_ref().is_none_or(|named| *named == above.serial_octets);
    let issuers_agree = below.authority_issuer_der.as_ref().is_none_or(|named| same_name(named, &above.issuer_der));
    names_agree && keys_agree && serials_agree && issuers_agree && fits(&above.key, &below.signature)
}

/// Whether a signature of this algorithm can be by a key of this kind.
fn fits(key: &KeyKind, signature: &str) -> bool {
    match key {
        KeyKind::Rsa { .. } => signature.contains("RSA"),
        KeyKind::Ec(_) => signature.contains("ECDSA"),
        KeyKind::Ed25519 => signature == "Ed25519",
        KeyKind::Other(_) => true,
    }
}

/// By what it says of itself: OpenSSL looks at no signature here.
fn is_self_signed(certificate: &Certificate) -> bool {
    may_have_issued(certificate, certificate)
}

fn is_valid(certificate: &Certificate, now: Timestamp) -> bool {
    let facts = certificate.facts();
    facts.not_before <= now && now <= facts.not_after
}

fn subject(certificate: &Certificate) -> &[u8] {
    &certificate.facts().subject_der
}

/// A name as OpenSSL compares it: without case, and whatever the kind of its strings.
fn compared(name: &[u8]) -> Vec<u8> {
    distinguished_name::canonical(name).unwrap_or_else(|_| name.to_vec())
}

fn same_name(one: &[u8], other: &[u8]) -> bool {
    one == other || compared(one) == compared(other)
}

fn called(certificate: &Certificate, leaf: &Certificate) -> String {
    if certificate == leaf { "the leaf".to_owned() } else { format!("the issuer {}", shown(certificate)) }
}

fn shown(certificate: &Certificate) -> String {
    format!("{} (sha256 {})", quoted(&certificate.facts().subject), certificate.fingerprint().short())
}
