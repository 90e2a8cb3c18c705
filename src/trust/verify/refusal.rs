//! Why policy refused something, ranked so that the most specific reason survives.
//!
//! A bad certificate usually breaks several rules at once: an expired one from a forgotten test CA is also one of an
//! unknown issuer. All that were found are kept, and the one that helps most stands first.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trust::formats::certificate::Certificate;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;

const VENDOR: &str = "This is for the vendor to mend: open a support case with the fingerprint and this text.";
const ANCHORS: &str = "If the vendor has announced another root (never an intermediate), save it to a file and write \
    under its [source.NAME] digicert_anchors = [\"/etc/trustsync/ROOT.pem\"] and builtin_anchors = true (true keeps \
    the built-in roots), or add the file to the genesys_anchors that are there; if it has not, do not: ask the vendor \
    first.";
const POLICY: &str =
    "This is for the vendor to mend; if you accept the risk, [verify] in the configuration sets the limit.";
const CLOCK: &str = "It is verified again in every cycle; if this machine's clock is wrong, set it.";

/// A row is a rule: its stable name in logs, alarms and JSON, what it demands, what to do when it is broken.
macro_rules! rules {
    ($($rule:ident = ($name:literal, $demands:literal, $remedy:expr $(,)?)),+ $(,)?) => {
        /// The rules of the policy, the most specific first: where several are broken, the first one here is reported
        /// first.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Rule {
            $(#[doc = $demands] $rule),+
        }

        impl Rule {
            /// Every rule, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$rule),+];

            const fn row(self) -> (&'static str, &'static str, &'static str) {
                match self {
                    $(Self::$rule => ($name, $demands, $remedy)),+
                }
            }
        }
    };
}

rules!(
    // Of anybody.
    PrivateKey = (
        "private-key",
        "a certificate string contains no private key",
        "Treat that key as disclosed: tell its owner and the vendor at once. It was not read or stored.",
    ),
    ForeignBlock = ("foreign-block", "a certificate string contains certificates only", VENDOR),
    // RFC 7468.
    BrokenPem = ("broken-pem", "every PEM block can be read", VENDOR),
    TooLarge = ("too-large", "a certificate string has a reasonable length", VENDOR),
    NoCertificate = ("no-certificate", "a certificate string has at least one certificate", VENDOR),
    TooManyCertificates =
        ("too-many-certificates", "a certificate string has a bounded number of certificates", POLICY,),
    UnreadableCertificate = ("unreadable-certificate", "every certificate can be read whole", VENDOR),
    SeveralLeaves = ("several-leaves", "exactly one certificate of a string is not a CA", VENDOR),
    // RFC 5280, 4.2.1.9.
    LeafIsCa = ("leaf-is-ca", "a leaf is not a CA", VENDOR),
    ValidityReversed = ("validity-reversed", "a certificate's validity begins before it ends", VENDOR),
    // RFC 5280, 6.3.
    Revoked = (
        "revoked",
        "no CRL lists a leaf, or an issuer without which it has no path",
        "Let no server accept it; if the vendor still presents it, open a support case at once.",
    ),
    Expired = (
        "expired",
        "a leaf has not expired",
        "If the vendor still presents it, their rotation is overdue: open a support case.",
    ),
    // Give or take the clock-skew allowance.
    NotYetValid = ("not-yet-valid", "a leaf is valid already", CLOCK),
    Identity = (
        "identity",
        "a leaf carries the identity of its slot",
        "A stranger's certificate of the same CA looks just like this. Only if the vendor's page names the new name, set the \
         source's identity.",
    ),
    RevocationUnknown = (
        "revocation-unknown",
        "under crl.policy = \"hard\", a CRL in force covers what enters",
        "It is verified again in every cycle; make the distribution point reachable, or set crl.policy = \"soft\".",
    ),
    NoClientAuth =
        ("no-client-auth", "a leaf names clientAuth, and not just any usage, among its extended key usages", VENDOR,),
    // It has digitalSignature, and never keyCertSign, where it has key usages (RFC 5280, 4.2.1.3).
    LeafKeyUsage = ("leaf-key-usage", "a leaf may make signatures, and may not sign certificates", VENDOR),
    ValidityTooLong = ("validity-too-long", "a leaf's validity is within the policy's maximum", POLICY),
    WeakKey = ("weak-key", "keys are strong enough", POLICY),
    BadRsaKey = ("bad-rsa-key", "an RSA key has an odd modulus and an odd exponent from 3 to 2^33", VENDOR),
    // The anchor's own signature is never checked.
    WeakSignature =
        ("weak-signature", "no signature below the anchor uses MD5, SHA-1 or what the policy leaves out", VENDOR,),
    UnsupportedSignature = ("unsupported-signature", "signature algorithms are known", VENDOR),
    // RFC 5280, 4.2, as the next one.
    DuplicateExtension = ("duplicate-extension", "no extension stands twice", VENDOR),
    UnknownCriticalExtension = ("unknown-critical-extension", "every critical extension is understood", VENDOR),
    // Extensions, version, serial number and names (RFC 5280).
    Malformed = ("malformed", "what the rules read of a certificate is well-formed", VENDOR),
    IssuerExpired = ("issuer-expired", "issuers and anchor have not expired", ANCHORS),
    IssuerNotYetValid = ("issuer-not-yet-valid", "issuers and anchor are valid already", CLOCK),
    // RFC 5280, 6.1.4 k.
    IssuerNotCa = ("issuer-not-ca", "issuers and anchor are CAs", VENDOR),
    // Issuers with key usages have keyCertSign (RFC 5280, 6.1.4 n).
    IssuerKeyUsage = ("issuer-key-usage", "issuers and anchor may sign certificates", VENDOR),
    // Issuers with extended key usages have clientAuth among them.
    IssuerExtendedKeyUsage = ("issuer-extended-key-usage", "issuers and anchor may issue client certificates", VENDOR),
    // RFC 5280, 6.1.4 l, m.
    PathLength = ("path-length", "every issuer's path length constraint is kept", VENDOR),
    // As OpenSSL demands of every path.
    KeyIdentifier = ("key-identifier", "authority and subject key identifiers agree", VENDOR),
    UncheckableIssuerKey = (
        "uncheckable-issuer-key",
        "an issuer's key is of a kind whose signatures can be checked here",
        "trustsync cannot check this issuer; tell its maintainers, and pin the leaf by hand meanwhile.",
    ),
    // RFC 5280, 6.1.4 g.
    NameConstraints = ("name-constraints", "every name is within the issuers' name constraints", VENDOR),
    BadSignature = ("bad-signature", "every signature is right", VENDOR),
    ChainTooLong = ("chain-too-long", "a path is within the policy's maximum length", POLICY),
    NotJudged = (
        "not-judged",
        "all that an answer lists can be judged with a bounded amount of work",
        "It is judged again in every cycle. The vendor's own answers need a hundredth of that work: ask the vendor what \
         else the endpoint lists, and why.",
    ),
    TooManyPaths = ("too-many-paths", "a path is found in a bounded number of attempts", VENDOR),
    UnknownIssuer = ("unknown-issuer", "there is a path to a configured anchor", ANCHORS),
);

impl Rule {
    /// Its stable name in logs, alarms and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// What it demands, as a clause.
    #[must_use]
    pub const fn statement(self) -> &'static str {
        self.row().1
    }

    /// What to do when it is broken.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        self.row().2
    }
}

/// One broken rule, and what it was found on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that is broken.
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
        Self { rule, certificate: Some(named(certificate)), what: what.into() }
    }

    /// No list speaks for this certificate.
    pub(crate) fn of_unknown_revocation(certificate: &Certificate) -> Self {
        Self::by(certificate, Rule::RevocationUnknown, "no CRL in force says whether it was revoked")
    }
}

fn named(certificate: &Certificate) -> (String, Fingerprint) {
    (quoted(&certificate.facts().subject), certificate.fingerprint())
}

/// Why an entity, a leaf or a chain was refused: the most specific reason, and the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Subject and fingerprint of the leaf that is not admitted, where it is known.
    pub leaf: Option<(String, Fingerprint)>,
    /// What is reported first.
    pub first: Box<Violation>,
    /// What else was found, in the order of the rules.
    pub others: Vec<Violation>,
}

impl Refusal {
    /// The refusal of a leaf, where it is known, for these violations; `None` without any.
    #[must_use]
    pub fn of_violations(leaf: Option<&Certificate>, mut found: Vec<Violation>) -> Option<Self> {
        found.sort_by(|a, b| (a.rule, &a.what, &a.certificate).cmp(&(b.rule, &b.what, &b.certificate)));
        found.dedup();
        let mut found = found.into_iter();
        let first = found.next()?;
        Some(Self { others: found.collect(), ..Self::because(leaf, first) })
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
        Self::of_violations(None, found).map(|refusal| Self { leaf, ..refusal })
    }

    /// The refusal for one violation.
    pub(crate) fn because(leaf: Option<&Certificate>, first: Violation) -> Self {
        Self { leaf: leaf.map(named), first: Box::new(first), others: Vec::new() }
    }

    /// The refusal of a leaf because these, itself or its issuers, have no revocation list in force.
    #[must_use]
    pub fn of_unknown_revocation(leaf: &Certificate, uncovered: &[&Certificate]) -> Option<Self> {
        let of = |certificate: &&Certificate| Violation::of_unknown_revocation(certificate);
        Self::of_violations(Some(leaf), uncovered.iter().map(of).collect())
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
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.leaf {
            Some((subject, fingerprint)) => write!(f, "the leaf {subject} (sha256 {fingerprint}) was refused: ")?,
            None => f.write_str("the certificate string was refused: ")?,
        }
        let rule = self.first.rule;
        f.write_str(&self.first.what)?;
        if let Some((subject, fingerprint)) = &self.first.certificate
            && self.leaf.as_ref().is_none_or(|(_, leaf)| leaf != fingerprint)
        {
            write!(f, " [{subject}, sha256 {fingerprint}]")?;
        }
        write!(f, ". That breaks the rule {}: {}.", rule.name(), rule.statement())?;
        if !self.others.is_empty() {
            let others: Vec<&str> = self.others.iter().map(|other| other.what.as_str()).collect();
            write!(f, " Besides: {}.", others.join("; "))?;
        }
        write!(f, " It is not admitted; what is trusted already stays trusted. {}", rule.remedy())
    }
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
