//! Our own rules for the certificates of a path: what webpki does not ask, and what it cannot name in its errors.

use crate::trust::formats::certificate::{Certificate, Curve, KeyKind, SignatureKind};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::Policy;
use crate::trust::verify::path::Path;
use crate::trust::verify::refusal::{Rule, Violation};

/// What is wrong with the leaf itself.
pub(super) fn of_leaf(leaf: &Certificate, policy: &Policy, now: Timestamp) -> Vec<Violation> {
    let facts = leaf.facts();
    let rules = [Rule::Expired, Rule::NotYetValid];
    let mut found = Vec::from_iter(of_validity("it", leaf, rules, policy, now));
    let mut violates = |rule, what: String| found.push(Violation::by(leaf, rule, what));
    let validity = facts.not_after.since(facts.not_before);
    if validity > policy.max_validity {
        let [has, may] = [validity, policy.max_validity].map(|duration| duration.as_secs() / 86_400);
        violates(Rule::ValidityTooLong, format!("it is valid for {has} days, more than {may}"));
    }
    let usages = &facts.extended_key_usages;
    let others: Vec<&str> = usages.iter().map(String::as_str).filter(|usage| *usage != "clientAuth").collect();
    if usages.is_empty() && policy.usage_waived.contains(&facts.fingerprint) {
        // Netscape's type is the same in other words, and OpenSSL asks it.
        if facts.netscape_client == Some(false) {
            violates(Rule::NoClientAuth, "its Netscape certificate type has no SSL client".to_owned());
        }
    } else if usages.is_empty() {
        violates(Rule::NoClientAuth, "it has no extended key usage, and needs clientAuth".to_owned());
    } else if others.len() == usages.len() {
        let usages = usages.join(", ");
        violates(Rule::NoClientAuth, format!("its extended key usages are {usages}, without clientAuth"));
    } else if others.contains(&"anyExtendedKeyUsage") {
        // CA/Browser Forum S/MIME requirements, 7.1.2.3 f: it shall not be present.
        violates(Rule::NoClientAuth, "its extended key usages have anyExtendedKeyUsage besides clientAuth".to_owned());
    }
    if !policy.other_usages && !others.is_empty() {
        let others = others.join(", ");
        let what = format!("its extended key usages also have {others}, which [verify] other_usages refuses");
        violates(Rule::NoClientAuth, what);
    }
    if let Some(usages) = &facts.key_usages {
        if !usages.contains(&"digitalSignature") {
            violates(Rule::LeafKeyUsage, format!("its key usages ({}) lack digitalSignature", usages.join(", ")));
        }
        if usages.contains(&"keyCertSign") {
            violates(Rule::LeafKeyUsage, "it is not a CA, and yet its key usages have keyCertSign".to_owned());
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
    let mut issuers_below = 0_usize;
    for (child, issuer) in path.below.iter().zip(path.above()) {
        let is_anchor = std::ptr::eq(issuer, path.anchor);
        found.extend(of_issuer(issuer, is_anchor, issuers_below, policy, moment));
        found.extend(of_link(child, issuer));
        found.extend(path.below.first().and_then(|leaf| of_common_names(leaf, issuer)));
        issuers_below = issuers_below.saturating_add(usize::from(!issuer.facts().self_issued()));
    }
    found
}

/// Whether `who` is within its validity; the rules are those of one that has expired, and of one that is not valid yet.
fn of_validity(
    who: &str,
    certificate: &Certificate,
    [expired, not_yet_valid]: [Rule; 2],
    policy: &Policy,
    now: Timestamp,
) -> Option<Violation> {
    let (begin, end) = (certificate.facts().not_before, certificate.facts().not_after);
    let (rule, what) = if begin > end {
        (Rule::ValidityReversed, format!("has a validity that begins ({begin}) after it ends ({end})"))
    } else if now > end {
        (expired, format!("expired {}, on {end}", ago(end, now)))
    } else if begin > now.plus(policy.clock_skew) {
        (not_yet_valid, format!("is not valid before {begin}, and was verified for {now}"))
    } else {
        return None;
    };
    Some(Violation::by(certificate, rule, format!("{who} {what}")))
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
    let rules = [Rule::IssuerExpired, Rule::IssuerNotYetValid];
    let mut found = Vec::from_iter(of_validity(who, issuer, rules, policy, moment));
    let mut violates = |rule, what: String| found.push(Violation::by(issuer, rule, what));
    if !facts.is_ca {
        violates(Rule::IssuerNotCa, format!("{who} is not a CA (basicConstraints CA:TRUE)"));
    }
    if let Some(usages) = &facts.key_usages
        && !usages.contains(&"keyCertSign")
    {
        violates(Rule::IssuerKeyUsage, format!("the key usages of {who} ({}) lack keyCertSign", usages.join(", ")));
    }
    // Unlike a leaf's, an issuer's anyExtendedKeyUsage is the absence of a constraint, as is a missing extension.
    let usages = &facts.extended_key_usages;
    if !usages.is_empty() && !usages.iter().any(|usage| usage == "clientAuth" || usage == "anyExtendedKeyUsage") {
        let usages = usages.join(", ");
        violates(Rule::IssuerExtendedKeyUsage, format!("the extended key usages of {who} ({usages}) lack clientAuth"));
    }
    if let Some(most) = facts.path_len
        && usize::try_from(most).is_ok_and(|most| issuers_below > most)
    {
        let what = format!("{who} allows {most} intermediates below it, and the path has {issuers_below}");
        violates(Rule::PathLength, what);
    }
    found.extend(of_any(issuer, policy));
    if !is_anchor {
        found.extend(of_signature(issuer, policy));
    } else if facts.self_issued() {
        found.extend(of_link(issuer, issuer).filter(|violation| violation.rule == Rule::KeyIdentifier));
    }
    found
}

/// A leaf without dNSName is identified by its CN, which name constraints do not reach by themselves: without this
/// rule, a CA that may only issue for its own domain could issue the vendor's name. OpenSSL has the same rule.
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
    let unchecked = match issuer.facts().key {
        KeyKind::Ec(Curve::P521) => "has a P-521 key",
        KeyKind::Ec(_) if child.facts().signature == "SHA-512 with ECDSA" => {
            "signs with ECDSA and SHA-512 on a smaller curve"
        }
        KeyKind::Rsa { bits, .. } if bits > 8192 => "has an RSA key of more than 8192 bits",
        _ => return None,
    };
    let what = format!("an issuer {unchecked}: ring, which checks signatures here, cannot check those");
    Some(Violation::by(issuer, Rule::UncheckableIssuerKey, what))
}

/// What holds for every certificate on a path, leaf and anchor included.
fn of_any(certificate: &Certificate, policy: &Policy) -> Vec<Violation> {
    let facts = certificate.facts();
    let mut found = Vec::new();
    let mut violates = |rule, what: String| found.push(Violation::by(certificate, rule, what));
    match &facts.key {
        KeyKind::Rsa { bits, .. } if *bits < policy.min_rsa_bits => {
            violates(Rule::WeakKey, format!("a key is RSA of {bits} bits, less than {}", policy.min_rsa_bits));
        }
        KeyKind::Rsa { sound: false, .. } => {
            violates(Rule::BadRsaKey, "an RSA key has a modulus or exponent that no RSA key can have".to_owned());
        }
        KeyKind::Ec(curve) if policy.curves.contains(curve) => {}
        KeyKind::Rsa { .. } | KeyKind::Ed25519 => {}
        KeyKind::Ec(_) | KeyKind::Other(_) => {
            violates(Rule::WeakKey, format!("a key is {}, which the policy excludes", facts.key));
        }
    }
    let malformed = facts.malformed_extensions.iter().filter(|oid| RELEVANT.contains(&oid.as_str())).cloned().collect();
    for (rule, oids, what) in [
        (Rule::DuplicateExtension, &facts.duplicate_extensions, "a certificate has more than one extension"),
        (
            Rule::UnknownCriticalExtension,
            &facts.unknown_critical_extensions,
            "a certificate has the unknown critical extension",
        ),
        (Rule::Malformed, &malformed, "a certificate has malformed content in its extension"),
    ] {
        if !oids.is_empty() {
            violates(rule, format!("{what} {}", oids.join(", ")));
        }
    }
    if facts.version != 3 {
        violates(Rule::Malformed, format!("a certificate is of X.509 version {}, not 3", facts.version));
    }
    if facts.issuer_der.len() <= 2 || (facts.is_ca && facts.subject_der.len() <= 2) {
        violates(Rule::Malformed, "a certificate's issuer, or an issuer's own name, is empty".to_owned());
    }
    // Positive, and at most 20 octets as its DER stands (RFC 5280, 4.1.2.2).
    let serial = &facts.serial_octets;
    let negative = serial.first().is_none_or(|first| *first >= 0x80);
    if negative || serial.iter().all(|octet| *octet == 0) || serial.len() > 20 {
        violates(Rule::Malformed, "a certificate's serial number is not positive, or longer than 20 octets".to_owned());
    }
    found
}

/// The extensions that the rules read: basic constraints, key usages, SAN, name constraints, key identifiers. A
/// malformed one of another kind (a policy's text, say) decides nothing, and refusing it would only cost an outage.
const RELEVANT: [&str; 7] = ["2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17", "2.5.29.30", "2.5.29.14", "2.5.29.35"];

/// The issuer's signature on a certificate; an anchor's own does not matter.
fn of_signature(certificate: &Certificate, policy: &Policy) -> Option<Violation> {
    let facts = certificate.facts();
    let (rule, why) = match facts.signature_kind {
        SignatureKind::Sound if policy.signatures.contains(facts.signature.as_str()) => return None,
        SignatureKind::Sound => (Rule::WeakSignature, "[verify] signatures leaves out"),
        SignatureKind::Weak => (Rule::WeakSignature, "can be forged"),
        SignatureKind::Unknown => (Rule::UnsupportedSignature, "is not known here"),
    };
    Some(Violation::by(certificate, rule, format!("a certificate is signed by {}, which {why}", facts.signature)))
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
