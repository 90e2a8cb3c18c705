//! Why policy refused something, ranked so that the most specific reason survives.
//!
//! A bad certificate usually breaks several rules at once: an expired one from a forgotten test CA is also one of an
//! unknown issuer. All that were found are kept, and the one that helps most stands first.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trust::certificate::Certificate;
use crate::trust::fingerprint::Fingerprint;

/// The longest piece of text from a certificate that a message repeats.
const LONGEST_QUOTE: usize = 160;

/// The rules of the policy, the most specific first: where several are broken, the first one here is reported first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A certificate string contains no private key (of anybody).
    PrivateKey,
    /// A certificate string contains certificates only.
    ForeignBlock,
    /// Every PEM block of the string can be read (RFC 7468).
    BrokenPem,
    /// The string has a reasonable length.
    TooLarge,
    /// The string has at least one PEM block.
    NoCertificate,
    /// The string has at most as many certificates as the policy allows.
    TooManyCertificates,
    /// Every certificate of the string can be read, with nothing after its end.
    UnreadableCertificate,
    /// Exactly one certificate of the string is not a CA.
    SeveralLeaves,
    /// The leaf is not a CA (RFC 5280, 4.2.1.9).
    LeafIsCa,
    /// notBefore does not lie after notAfter.
    ValidityReversed,
    /// Neither the leaf nor an issuer without which it has no path is revoked (RFC 5280, 6.3).
    Revoked,
    /// The leaf has not expired.
    Expired,
    /// The leaf is valid already, give or take the clock-skew allowance.
    NotYetValid,
    /// The leaf's identity is the one of its slot.
    Identity,
    /// Under `crl.policy = "hard"`, a CRL in force speaks for whatever enters, and for its issuers below the anchor.
    RevocationUnknown,
    /// A CRL that was handed in for an issuer on the path can be read, and is believed.
    UnusableCrl,
    /// The leaf names clientAuth among its extended key usages, and not anyExtendedKeyUsage, alone or besides.
    NoClientAuth,
    /// A leaf with key usages has digitalSignature, and never keyCertSign (RFC 5280, 4.2.1.3).
    LeafKeyUsage,
    /// The leaf's validity is not longer than the policy allows.
    ValidityTooLong,
    /// Keys are RSA of a sufficient length, or on a curve that the policy allows.
    WeakKey,
    /// An RSA key is one: odd modulus, odd exponent of at least 3.
    BadRsaKey,
    /// No signature on the path uses MD5 or SHA-1, but the anchor's own, which nobody checks.
    WeakSignature,
    /// Signature algorithms on the path are known.
    UnsupportedSignature,
    /// No extension stands twice in a certificate (RFC 5280, 4.2).
    DuplicateExtension,
    /// Every critical extension is understood (RFC 5280, 4.2).
    UnknownCriticalExtension,
    /// What the rules read of a certificate is well-formed (RFC 5280): extensions, version, serial, names.
    Malformed,
    /// Issuers have not expired, nor has the anchor.
    IssuerExpired,
    /// Issuers and the anchor are valid already.
    IssuerNotYetValid,
    /// Issuers and the anchor are CAs (RFC 5280, 6.1.4 k).
    IssuerNotCa,
    /// Issuers and the anchor with key usages have keyCertSign (RFC 5280, 6.1.4 n).
    IssuerKeyUsage,
    /// Issuers and the anchor with extended key usages have clientAuth among them.
    IssuerExtendedKeyUsage,
    /// No issuer is farther from the leaf than its own path length constraint allows (RFC 5280, 6.1.4 l, m).
    PathLength,
    /// Authority and subject key identifiers agree, as OpenSSL demands of every path.
    KeyIdentifier,
    /// An issuer's key is of a kind that ring can check signatures of.
    UncheckableIssuerKey,
    /// Every name is within the name constraints of every issuer and of the anchor (RFC 5280, 6.1.4 g).
    NameConstraints,
    /// Every signature on the path is right.
    BadSignature,
    /// The path is not longer than the policy allows.
    ChainTooLong,
    /// A path is found among a bounded number of attempts.
    TooManyPaths,
    /// There is a path to a configured anchor.
    UnknownIssuer,
}

impl Rule {
    /// Every rule, in their order.
    pub const ALL: [Self; 39] = [
        Self::PrivateKey,
        Self::ForeignBlock,
        Self::BrokenPem,
        Self::TooLarge,
        Self::NoCertificate,
        Self::TooManyCertificates,
        Self::UnreadableCertificate,
        Self::SeveralLeaves,
        Self::LeafIsCa,
        Self::ValidityReversed,
        Self::Revoked,
        Self::Expired,
        Self::NotYetValid,
        Self::Identity,
        Self::RevocationUnknown,
        Self::UnusableCrl,
        Self::NoClientAuth,
        Self::LeafKeyUsage,
        Self::ValidityTooLong,
        Self::WeakKey,
        Self::BadRsaKey,
        Self::WeakSignature,
        Self::UnsupportedSignature,
        Self::DuplicateExtension,
        Self::UnknownCriticalExtension,
        Self::Malformed,
        Self::IssuerExpired,
        Self::IssuerNotYetValid,
        Self::IssuerNotCa,
        Self::IssuerKeyUsage,
        Self::IssuerExtendedKeyUsage,
        Self::PathLength,
        Self::KeyIdentifier,
        Self::UncheckableIssuerKey,
        Self::NameConstraints,
        Self::BadSignature,
        Self::ChainTooLong,
        Self::TooManyPaths,
        Self::UnknownIssuer,
    ];

    /// Its stable name in logs, alarms and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What it demands.
    #[must_use]
    pub fn statement(self) -> &'static str {
        self.words().1
    }

    /// What to do when it is broken.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        self.words().2
    }

    fn words(self) -> (&'static str, &'static str, &'static str) {
        const VENDOR: &str = "This is for the vendor to mend: open a support case with the fingerprint and this text.";
        const ANCHORS: &str = "If the vendor has announced another root or intermediate, add it to the source's \
            digicert_anchors or genesys_anchors; if not, do not: ask the vendor first.";
        const POLICY: &str =
            "This is for the vendor to mend; if you accept the risk, [verify] in the configuration sets the limit.";
        match self {
            Self::PrivateKey => (
                "private-key",
                "a certificate string contains no private key",
                "Treat that key as disclosed: tell whoever owns it, and the vendor, at once. It was not read or stored.",
            ),
            Self::ForeignBlock => ("foreign-block", "a certificate string contains certificates only", VENDOR),
            Self::BrokenPem => ("broken-pem", "every PEM block can be read", VENDOR),
            Self::TooLarge => ("too-large", "a certificate string has a reasonable length", VENDOR),
            Self::NoCertificate => ("no-certificate", "a certificate string has at least one certificate", VENDOR),
            Self::TooManyCertificates => {
                ("too-many-certificates", "a certificate string has a bounded number of certificates", POLICY)
            }
            Self::UnreadableCertificate => ("unreadable-certificate", "every certificate can be read whole", VENDOR),
            Self::SeveralLeaves => ("several-leaves", "exactly one certificate of a string is not a CA", VENDOR),
            Self::LeafIsCa => ("leaf-is-ca", "a leaf is not a CA", VENDOR),
            Self::ValidityReversed => ("validity-reversed", "a certificate's validity begins before it ends", VENDOR),
            Self::Revoked => (
                "revoked",
                "no CRL lists a leaf, or an issuer without which it has no path",
                "Let no server accept it; if the vendor still presents it, open a support case at once.",
            ),
            Self::UnusableCrl => (
                "unusable-crl",
                "a CRL that is handed in can answer for the path",
                "Fetch the issuer's current CRL from the address in its certificates and judge again, or leave it out.",
            ),
            Self::Expired => (
                "expired",
                "a leaf has not expired",
                "If the vendor still presents it, their rotation is overdue: open a support case.",
            ),
            Self::NotYetValid => (
                "not-yet-valid",
                "a leaf is valid already",
                "It is judged again in every cycle; if this machine's clock is wrong, set it.",
            ),
            Self::RevocationUnknown => (
                "revocation-unknown",
                "under crl.policy = \"hard\", a CRL in force speaks for whatever enters",
                "It is judged again in every cycle; make the CRL's distribution point reachable, or set crl.policy = \"soft\".",
            ),
            Self::Identity => (
                "identity",
                "a leaf carries the identity of its slot",
                "Compare both names with the vendor's page; only if the new one is the vendor's, set the line above.",
            ),
            Self::NoClientAuth => (
                "no-client-auth",
                "a leaf names clientAuth, and not just any usage, among its extended key usages",
                VENDOR,
            ),
            Self::LeafKeyUsage => {
                ("leaf-key-usage", "a leaf may make signatures, and may not sign certificates", VENDOR)
            }
            Self::ValidityTooLong => ("validity-too-long", "a leaf's validity is within the policy's maximum", POLICY),
            Self::WeakKey => ("weak-key", "keys are strong enough", POLICY),
            Self::BadRsaKey => {
                ("bad-rsa-key", "an RSA key has an odd modulus and an odd exponent from 3 to 2^33", VENDOR)
            }
            Self::WeakSignature => (
                "weak-signature",
                "no signature below the anchor uses MD5, SHA-1 or what the policy leaves out",
                VENDOR,
            ),
            Self::UnsupportedSignature => ("unsupported-signature", "signature algorithms are known", VENDOR),
            Self::DuplicateExtension => ("duplicate-extension", "no extension stands twice", VENDOR),
            Self::UnknownCriticalExtension => {
                ("unknown-critical-extension", "every critical extension is understood", VENDOR)
            }
            Self::Malformed => ("malformed", "what the rules read of a certificate is well-formed", VENDOR),
            Self::IssuerExpired => ("issuer-expired", "issuers and anchor have not expired", ANCHORS),
            Self::IssuerNotYetValid => (
                "issuer-not-yet-valid",
                "issuers and anchor are valid already",
                "It is judged again in every cycle; if this machine's clock is wrong, set it.",
            ),
            Self::IssuerNotCa => ("issuer-not-ca", "issuers and anchor are CAs", VENDOR),
            Self::IssuerKeyUsage => ("issuer-key-usage", "issuers and anchor may sign certificates", VENDOR),
            Self::IssuerExtendedKeyUsage => {
                ("issuer-extended-key-usage", "issuers and anchor may issue client certificates", VENDOR)
            }
            Self::PathLength => ("path-length", "every issuer's path length constraint is kept", VENDOR),
            Self::KeyIdentifier => ("key-identifier", "authority and subject key identifiers agree", VENDOR),
            Self::UncheckableIssuerKey => (
                "uncheckable-issuer-key",
                "an issuer's key is of a kind whose signatures can be checked here",
                "trustsync cannot vouch for this issuer; tell its maintainers, and pin the leaf by hand meanwhile.",
            ),
            Self::NameConstraints => ("name-constraints", "every name is within the issuers' name constraints", VENDOR),
            Self::BadSignature => ("bad-signature", "every signature is right", VENDOR),
            Self::ChainTooLong => ("chain-too-long", "a path is within the policy's maximum length", POLICY),
            Self::TooManyPaths => ("too-many-paths", "a path is found in a bounded number of attempts", VENDOR),
            Self::UnknownIssuer => ("unknown-issuer", "there is a path to a configured anchor", ANCHORS),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One broken rule, and what it was found on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Subject and fingerprint of the certificate it was found on, where there is one.
    pub certificate: Option<(String, Fingerprint)>,
    /// What was found, as a sentence without its final point.
    pub what: String,
}

impl Violation {
    /// A violation that concerns no single certificate.
    pub(crate) fn of(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, certificate: None, what: what.into() }
    }

    /// A violation by one certificate.
    pub(crate) fn by(certificate: &Certificate, rule: Rule, what: impl Into<String>) -> Self {
        let subject = quoted(&certificate.facts().subject);
        Self { rule, certificate: Some((subject, certificate.fingerprint())), what: what.into() }
    }
}

/// Why an entity, a leaf or a chain was refused: the most specific reason, and the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Subject and fingerprint of the leaf that is not admitted, where it could be told.
    pub leaf: Option<(String, Fingerprint)>,
    /// What is reported first.
    pub first: Box<Violation>,
    /// What else was found, in the order of the rules.
    pub others: Vec<Violation>,
}

impl Refusal {
    /// The refusal for these violations; none where there are none.
    pub(crate) fn from_violations(leaf: Option<&Certificate>, mut found: Vec<Violation>) -> Option<Self> {
        found.sort_by(|a, b| (a.rule, &a.what, &a.certificate).cmp(&(b.rule, &b.what, &b.certificate)));
        found.dedup();
        let mut found = found.into_iter();
        let first = Box::new(found.next()?);
        let leaf = leaf.map(|leaf| (quoted(&leaf.facts().subject), leaf.fingerprint()));
        Some(Self { leaf, first, others: found.collect() })
    }

    /// The refusal of a leaf for these violations; none where there are none.
    #[must_use]
    pub fn of_violations(leaf: &Certificate, found: Vec<Violation>) -> Option<Self> {
        Self::from_violations(Some(leaf), found)
    }

    /// Several refusals of one leaf as one, ranked anew; none where there are none.
    #[must_use]
    pub fn all(refusals: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut leaf = None;
        let mut found = Vec::new();
        for refusal in refusals {
            leaf = leaf.or(refusal.leaf);
            found.push(*refusal.first);
            found.extend(refusal.others);
        }
        Self::from_violations(None, found).map(|refusal| Self { leaf, ..refusal })
    }

    /// The refusal for one violation.
    pub(crate) fn because(leaf: Option<&Certificate>, first: Violation) -> Self {
        let leaf = leaf.map(|leaf| (quoted(&leaf.facts().subject), leaf.fingerprint()));
        Self { leaf, first: Box::new(first), others: Vec::new() }
    }

    /// The refusal of a leaf that has, for itself or for an issuer, no revocation list in force.
    #[must_use]
    pub fn of_unknown_revocation(leaf: &Certificate, uncovered: &[&Certificate]) -> Self {
        let of = |certificate: &&Certificate| {
            let what = "no CRL in force tells whether it was revoked";
            Violation::by(certificate, Rule::RevocationUnknown, what)
        };
        let violations = uncovered.iter().map(of).collect();
        let unnamed =
            || Self::because(Some(leaf), Violation::by(leaf, Rule::RevocationUnknown, "no CRL was looked for"));
        Self::from_violations(Some(leaf), violations).unwrap_or_else(unnamed)
    }

    /// The most specific rule that was broken.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.first.rule
    }

    /// Whether a rule is among the broken ones.
    #[must_use]
    pub fn breaks(&self, rule: Rule) -> bool {
        self.first.rule == rule || self.others.iter().any(|other| other.rule == rule)
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.first.rule.remedy()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.leaf {
            Some((subject, fingerprint)) => write!(f, "the leaf {subject} (sha256 {fingerprint}) was refused: ")?,
            None => f.write_str("the certificate string was refused: ")?,
        }
        f.write_str(&self.first.what)?;
        if let Some((subject, fingerprint)) = &self.first.certificate
            && self.leaf.as_ref().is_none_or(|(_, leaf)| leaf != fingerprint)
        {
            write!(f, " [{subject}, sha256 {fingerprint}]")?;
        }
        write!(f, ". That breaks the rule {}: {}.", self.first.rule.name(), self.first.rule.statement())?;
        if !self.others.is_empty() {
            let others: Vec<&str> = self.others.iter().map(|other| other.what.as_str()).collect();
            write!(f, " Besides: {}.", others.join("; "))?;
        }
        write!(f, " It is not admitted; what is trusted already stays trusted. {}", self.remedy())
    }
}

/// Text from a certificate, made harmless for a terminal and a log, and bounded.
pub(crate) fn quoted(text: &str) -> String {
    let harmless = text.chars().flat_map(|character| {
        let plain = character.is_ascii_graphic() || character == ' ';
        let escaped = (!plain).then(|| character.escape_unicode());
        plain.then_some(character).into_iter().chain(escaped.into_iter().flatten())
    });
    let mut harmless = harmless.take(LONGEST_QUOTE.saturating_add(1)).collect::<String>();
    if harmless.len() > LONGEST_QUOTE {
        harmless.truncate(LONGEST_QUOTE);
        harmless.push_str("...");
    }
    if harmless.is_empty() { "(empty name)".into() } else { harmless }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_stands_in_its_order() {
        assert!(Rule::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Rule::ALL.iter().map(|rule| rule.name()).collect::<BTreeSet<_>>().len(), Rule::ALL.len());
        assert_eq!(Rule::ALL.len(), Rule::UnknownIssuer as usize + 1);
        for rule in Rule::ALL {
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{}\"", rule.name()));
        }
    }

    #[test]
    fn what_a_certificate_says_cannot_move_the_cursor() {
        assert_eq!(quoted("a\u{1b}[2J\u{202e}b"), "a\\u{1b}[2J\\u{202e}b");
        assert!(quoted(&"é".repeat(1_000_000)).len() < 200);
    }
}
