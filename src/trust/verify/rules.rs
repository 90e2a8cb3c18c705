//! Our own rules for the certificates of a path: what webpki does not ask, and what it cannot name in its errors.

use crate::trust::certificate::{Certificate, Curve, KeyKind, SignatureKind};
use crate::trust::refusal::{Rule, Violation};
use crate::trust::timestamp::Timestamp;
use crate::trust::verify::Policy;
use crate::trust::verify::path::Path;

/// What is wrong with the leaf itself.
pub(super) fn of_leaf(leaf: &Certificate, policy: &Policy, now: Timestamp) -> Vec<Violation> {
    let facts = leaf.facts();
    let mut found = Vec::new();
    let mut violates = |rule, what: String| found.push(Violation::by(leaf, rule, what));
    if facts.not_before > facts.not_after {
        violates(
            Rule::ValidityReversed,
            format!("its validity begins ({}) after it ends ({})", facts.not_before, facts.not_after),
        );
    } else {
        if now > facts.not_after {
            violates(Rule::Expired, format!("it expired {}, on {}", ago(facts.not_after, now), facts.not_after));
        }
        if facts.not_before > now.plus(policy.clock_skew) {
            violates(
                Rule::NotYetValid,
                format!("it is not valid before {}, and it is {now} by this machine's clock", facts.not_before),
            );
        }
        let validity = facts.not_after.since(facts.not_before);
        if validity > policy.max_validity {
            let days = |duration: std::time::Duration| duration.as_secs() / 86_400;
            let (has, may) = (days(validity), days(policy.max_validity));
            violates(Rule::ValidityTooLong, format!("it is valid for {has} days, more than {may}"));
        }
    }
    if !facts.extended_key_usages.iter().any(|usage| usage == "clientAuth") {
        let present = if facts.extended_key_usages.is_empty() {
            "it has no extended key usage, and needs clientAuth".to_owned()
        } else {
            format!("its extended key usages are {}, without clientAuth", facts.extended_key_usages.join(", "))
        };
        violates(Rule::NoClientAuth, present);
    } else if facts.extended_key_usages.iter().any(|usage| usage == "anyExtendedKeyUsage") {
        // CA/Browser Forum S/MIME requirements, 7.1.2.3 f: it shall not be present.
        violates(Rule::NoClientAuth, "its extended key usages have anyExtendedKeyUsage besides clientAuth".to_owned());
    }
    let others: Vec<&str> =
        facts.extended_key_usages.iter().map(String::as_str).filter(|usage| *usage != "clientAuth").collect();
    if !policy.other_usages && !others.is_empty() {
        let what = format!(
            "its extended key usages have {} besides clientAuth, which [verify] other_usages refuses",
            others.join(", ")
        );
        violates(Rule::NoClientAuth, what);
    }
    if let Some(usages) = &facts.key_usages {
        if !usages.contains(&"digitalSignature") {
            violates(Rule::LeafKeyUsage, format!("its key usages ({}) lack digitalSignature", usages.join(", ")));
        }
        if usages.contains(&"keyCertSign") {
            violates(Rule::LeafKeyUsage, "it is no CA, and yet its key usages have keyCertSign".to_owned());
        }
    }
    if facts.name_constraints.is_some() {
        violates(Rule::Malformed, "it has name constraints, which only a CA may have (RFC 5280, 4.2.1.10)".to_owned());
    }
    found.extend(of_any(leaf, policy));
    found.extend(of_signature(leaf, policy));
    found
}

/// What is wrong with the issuers and the anchor of a path, in their places.
pub(super) fn of_path(path: &Path<'_>, policy: &Policy, moment: Timestamp) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut child = path.below.first().copied();
    let mut issuers_below = 0_usize;
    for issuer in path.above() {
        let is_anchor = std::ptr::eq(issuer, path.anchor);
        found.extend(of_issuer(issuer, is_anchor, issuers_below, policy, moment));
        if let Some(child) = child {
            found.extend(of_link(child, issuer));
        }
        found.extend(path.below.first().and_then(|leaf| of_common_names(leaf, issuer)));
        if !issuer.facts().self_issued() {
            issuers_below = issuers_below.saturating_add(1);
        }
        child = Some(issuer);
    }
    found
}

/// One issuer, `issuers_below` others (self-issued ones not counted) between it and the leaf.
fn of_issuer(
    issuer: &Certificate,
    is_anchor: bool,
    issuers_below: usize,
    policy: &Policy,
    moment: Timestamp,
) -> Vec<Violation> {
    let facts = issuer.facts();
    let who = if is_anchor { "the anchor" } else { "an intermediate" };
    let mut found = Vec::new();
    let mut violates = |rule, what: String| found.push(Violation::by(issuer, rule, what));
    if facts.not_before > facts.not_after {
        violates(Rule::ValidityReversed, format!("the validity of {who} begins after it ends"));
    } else if moment > facts.not_after {
        violates(
            Rule::IssuerExpired,
            format!("{who} expired {}, on {}", ago(facts.not_after, moment), facts.not_after),
        );
    } else if facts.not_before > moment.plus(policy.clock_skew) {
        violates(Rule::IssuerNotYetValid, format!("{who} is not valid before {}", facts.not_before));
    }
    if !facts.is_ca {
        violates(Rule::IssuerNotCa, format!("{who} is no CA (basicConstraints CA:TRUE)"));
    }
    if let Some(usages) = &facts.key_usages
        && !usages.contains(&"keyCertSign")
    {
        violates(Rule::IssuerKeyUsage, format!("the key usages of {who} ({}) lack keyCertSign", usages.join(", ")));
    }
    // Unlike a leaf's, an issuer's anyExtendedKeyUsage is the absence of a constraint, as is a missing extension.
    let usages = &facts.extended_key_usages;
    if !usages.is_empty() && !usages.iter().any(|usage| usage == "clientAuth" || usage == "anyExtendedKeyUsage") {
        violates(
            Rule::IssuerExtendedKeyUsage,
            format!("the extended key usages of {who} ({}) exclude clientAuth", usages.join(", ")),
        );
    }
    if let Some(most) = facts.path_len
        && usize::try_from(most).is_ok_and(|most| issuers_below > most)
    {
        violates(
            Rule::PathLength,
            format!("{who} allows {most} intermediates below it, and the path has {issuers_below}"),
        );
    }
    found.extend(of_any(issuer, policy));
    if !is_anchor {
        found.extend(of_signature(issuer, policy));
    } else if facts.self_issued() {
        found.extend(of_link(issuer, issuer).filter(|violation| violation.rule == Rule::KeyIdentifier));
    }
    found
}

/// A leaf without dNSName is identified by its CN, which name constraints do not reach by themselves: without this rule,
/// a CA that may only issue for its own domain could issue the vendor's name. OpenSSL has the same rule.
fn of_common_names(leaf: &Certificate, issuer: &Certificate) -> Option<Violation> {
    let constraints = issuer.facts().name_constraints.as_ref()?;
    if !leaf.facts().dns_names.is_empty() || leaf.identity_names().iter().all(|name| constraints.allow(name)) {
        return None;
    }
    let what = "its common name, which is its identity, is outside an issuer's name constraints";
    Some(Violation::by(leaf, Rule::NameConstraints, what))
}

/// What a certificate and its issuer must agree on.
fn of_link(child: &Certificate, issuer: &Certificate) -> Option<Violation> {
    if let (Some(named), Some(has)) = (&child.facts().authority_key_id, &issuer.facts().subject_key_id)
        && named != has
    {
        let what = "a certificate names another key of its issuer than the issuer has: OpenSSL rejects such a path";
        return Some(Violation::by(child, Rule::KeyIdentifier, what));
    }
    let unchecked = match issuer.facts().key_kind {
        KeyKind::Ec(Curve::P521) => "an issuer has a P-521 key: ring, which checks signatures here, cannot check those",
        KeyKind::Ec(_) if child.facts().signature == "SHA-512 with ECDSA" => {
            "an issuer signs with ECDSA and SHA-512 on a smaller curve: ring, which checks signatures here, cannot check it"
        }
        KeyKind::Rsa { bits, .. } if bits > 8192 => {
            "an issuer has an RSA key of more than 8192 bits: ring, which checks signatures here, cannot check those"
        }
        _ => return None,
    };
    Some(Violation::by(issuer, Rule::UncheckableIssuerKey, unchecked))
}

/// What holds for every certificate on a path, leaf and anchor included.
fn of_any(certificate: &Certificate, policy: &Policy) -> Vec<Violation> {
    let facts = certificate.facts();
    let mut found = Vec::new();
    let mut violates = |rule, what: String| found.push(Violation::by(certificate, rule, what));
    match &facts.key_kind {
        KeyKind::Rsa { bits, .. } if *bits < policy.min_rsa_bits => {
            violates(Rule::WeakKey, format!("a key is RSA of {bits} bits, less than {}", policy.min_rsa_bits));
        }
        KeyKind::Rsa { sound: false, .. } => {
            violates(Rule::BadRsaKey, "an RSA key has a modulus or exponent that no RSA key can have".to_owned());
        }
        KeyKind::Ec(curve) if !policy.curves.contains(curve) => {
            violates(Rule::WeakKey, format!("a key is {}, which the policy excludes", facts.key));
        }
        KeyKind::Other(_) => violates(Rule::WeakKey, format!("a key is {}, which the policy excludes", facts.key)),
        KeyKind::Rsa { .. } | KeyKind::Ec(_) | KeyKind::Ed25519 => {}
    }
    if !facts.duplicate_extensions.is_empty() {
        let which = facts.duplicate_extensions.join(", ");
        violates(Rule::DuplicateExtension, format!("a certificate has more than one extension {which}"));
    }
    if !facts.unknown_critical_extensions.is_empty() {
        let which = facts.unknown_critical_extensions.join(", ");
        violates(Rule::UnknownCriticalExtension, format!("a certificate has the unknown critical extension {which}"));
    }
    let malformed: Vec<&str> =
        facts.malformed_extensions.iter().map(String::as_str).filter(|oid| RELEVANT.contains(oid)).collect();
    if !malformed.is_empty() {
        let which = malformed.join(", ");
        violates(Rule::Malformed, format!("the content of a certificate's extension {which} is malformed"));
    }
    if facts.version != 3 {
        violates(Rule::Malformed, format!("a certificate is of X.509 version {}, not 3", facts.version));
    }
    if facts.issuer_der.len() <= 2 || (facts.is_ca && facts.subject_der.len() <= 2) {
        violates(Rule::Malformed, "a certificate's issuer, or an issuer's own name, is empty".to_owned());
    }
    // Positive, and at most 20 octets as its DER stands (RFC 5280, 4.1.2.2).
    let serial = facts.serial.strip_prefix("00").unwrap_or(&facts.serial);
    let negative = facts.serial.chars().next().and_then(|digit| digit.to_digit(16)).is_none_or(|digit| digit >= 8);
    if negative || serial.chars().all(|digit| digit == '0') || facts.serial.len() > 40 {
        violates(
            Rule::Malformed,
            "a certificate's serial number is negative, zero or longer than 20 octets".to_owned(),
        );
    }
    found
}

/// The extensions that the rules read: basic constraints, key usages, SAN, name constraints, key identifiers. A
/// malformed one of another kind (a policy's text, say) decides nothing, and refusing it would only cost an outage.
const RELEVANT: [&str; 7] = ["2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17", "2.5.29.30", "2.5.29.14", "2.5.29.35"];

/// The signature that somebody else made on it; an anchor's own is not asked for.
fn of_signature(certificate: &Certificate, policy: &Policy) -> Option<Violation> {
    let facts = certificate.facts();
    match facts.signature_kind {
        SignatureKind::Sound if policy.signatures.contains(facts.signature.as_str()) => None,
        SignatureKind::Sound => {
            let what = format!("a certificate is signed by {}, which [verify] signatures leaves out", facts.signature);
            Some(Violation::by(certificate, Rule::WeakSignature, what))
        }
        SignatureKind::Weak => {
            let what = format!("a certificate is signed by {}, which can be forged", facts.signature);
            Some(Violation::by(certificate, Rule::WeakSignature, what))
        }
        SignatureKind::Unknown => {
            let what = format!("a certificate is signed by {}, which is not known here", facts.signature);
            Some(Violation::by(certificate, Rule::UnsupportedSignature, what))
        }
    }
}

/// `3 days ago`.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}
