//! Signatures (of a certificate, of a whole path, and of a CRL) and name constraints, by rustls-webpki over ring. The
//! only file that names webpki.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::der::{self, NotDer, Reader};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::refusal::{Rule, Violation};

/// Our own rules say which extended key usages are needed; here they only have to be readable.
struct Readable;

impl ExtendedKeyUsageValidator for Readable {
    fn validate(&self, mut usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        usages.try_for_each(|usage| usage.map(drop))
    }
}

/// Whether webpki accepts exactly this path (the leaf and what is above it, without the anchor), at a moment that our own
/// rules have found to be within everything's validity.
pub(super) fn check(below: &[&Certificate], anchor: &Certificate, moment: Timestamp) -> Result<(), Violation> {
    let Some((leaf, intermediates)) = below.split_first() else {
        return Err(Violation::of(Rule::UnknownIssuer, "the path is empty"));
    };
    let refused = |error: Error| {
        let (rule, what) = rule_of(&error);
        // webpki does not say which certificate it was, so only the anchor or the leaf could be named wrongly.
        Violation::of(rule, format!("{what} (on the path to {})", anchor.fingerprint().short()))
    };
    let leaf_der = CertificateDer::from(leaf.der());
    let anchor_der = CertificateDer::from(anchor.der());
    let intermediate_ders: Vec<_> = intermediates.iter().map(|issuer| CertificateDer::from(issuer.der())).collect();
    let leaf = EndEntityCert::try_from(&leaf_der).map_err(refused)?;
    let trusted = webpki::anchor_from_trusted_cert(&anchor_der).map_err(refused)?;
    // The clock-skew allowance was granted already; webpki knows none.
    let latest_beginning = below.iter().map(|certificate| certificate.facts().not_before).max();
    let moment = latest_beginning.map_or(moment, |beginning| beginning.max(moment));
    let seconds = u64::try_from(moment.unix()).unwrap_or(0);
    let same_path = |found: &VerifiedPath<'_>| {
        let same = found.intermediate_certificates().map(|issuer| issuer.der()).eq(intermediate_ders.iter().cloned());
        if same { Ok(()) } else { Err(Error::UnknownIssuer) }
    };
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[trusted],
        &intermediate_ders,
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        Readable,
        None,
        Some(&same_path),
    )
    .map_err(refused)?;
    Ok(())
}

/// Whether the issuer's key has signed the child.
pub(in crate::trust) fn by_issuer(child: &Certificate, issuer: &Certificate) -> Result<(), SignatureProblem> {
    let unreadable = |NotDer| SignatureProblem::Unsupported;
    let mut parts = Reader::only(child.der(), der::SEQUENCE).map_err(unreadable)?.parts();
    let signed = parts.expect(der::SEQUENCE).map_err(unreadable)?.whole;
    let algorithm = parts.expect(der::SEQUENCE).map_err(unreadable)?.content;
    let signature = parts.expect(der::BIT_STRING).and_then(|value| value.octets()).map_err(unreadable)?;
    by_key_of(issuer, algorithm, signed, signature)
}

const UNSUPPORTED: &str = "a signature algorithm is unknown, alone or with the issuer's kind of key";

/// webpki's error as a rule of ours and a clause.
fn rule_of(error: &Error) -> (Rule, String) {
    let (rule, what) = match error {
        Error::InvalidSignatureForPublicKey => (Rule::BadSignature, "a signature is wrong"),
        Error::SignatureAlgorithmMismatch => {
            (Rule::BadSignature, "a certificate names two different signature algorithms")
        }
        Error::NameConstraintViolation => (
            Rule::NameConstraints,
            "a name is outside an issuer's name constraints, or these are of a kind (directory name, email) that is \
             always refused here",
        ),
        Error::MalformedNameConstraint | Error::InvalidNetworkMaskConstraint => {
            (Rule::NameConstraints, "an issuer's name constraints are malformed")
        }
        Error::MaximumNameConstraintComparisonsExceeded => {
            (Rule::NameConstraints, "an issuer's name constraints take too much work to check")
        }
        Error::PathLenConstraintViolated => (Rule::PathLength, "an issuer's path length constraint is broken"),
        Error::CertExpired { .. } => (Rule::IssuerExpired, "a certificate of the path has expired"),
        Error::CertNotValidYet { .. } => (Rule::IssuerNotYetValid, "a certificate of the path is not valid yet"),
        Error::InvalidCertValidity => (Rule::ValidityReversed, "a certificate's validity begins after it ends"),
        Error::CaUsedAsEndEntity => (Rule::LeafIsCa, "the leaf is a CA"),
        Error::EndEntityUsedAsCa => (Rule::IssuerNotCa, "an issuer is not a CA"),
        Error::UnsupportedCriticalExtension => {
            (Rule::UnknownCriticalExtension, "a certificate has an unknown critical extension")
        }
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            (Rule::UnsupportedSignature, UNSUPPORTED)
        }
        Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded => (Rule::TooManyPaths, "checking its path takes too much work"),
        Error::UnknownIssuer => (Rule::UnknownIssuer, "no issuer on the path fits"),
        other => return (Rule::Malformed, format!("webpki finds a certificate of the path malformed: {other:?}")),
    };
    (rule, what.to_owned())
}

/// Why something is not signed by a certificate's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum SignatureProblem {
    /// The algorithm is unknown here, alone or for this kind of key.
    Unsupported,
    /// Another key made it, or what was signed has changed.
    Wrong,
}

impl SignatureProblem {
    /// As a violation of the path to this anchor that has it.
    pub(super) fn violation(self, anchor: &Certificate) -> Violation {
        let (rule, what) = match self {
            Self::Wrong => (Rule::BadSignature, "a signature is wrong"),
            Self::Unsupported => (Rule::UnsupportedSignature, UNSUPPORTED),
        };
        Violation::of(rule, format!("{what} (on the path to {})", anchor.fingerprint().short()))
    }
}

/// Whether the key of `signer` made `signature` of `message` (a CRL's), by the same algorithms as a path's
/// certificates. `algorithm` is an AlgorithmIdentifier without its outer tag and length. webpki's own reading of CRLs
/// is not used: it copies every entry, and its errors do not say which rule was broken.
pub(in crate::trust) fn by_key_of(
    signer: &Certificate,
    algorithm: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureProblem> {
    let (_, signer) = X509Certificate::from_der(signer.der()).map_err(|_| SignatureProblem::Unsupported)?;
    let (key_algorithm, key) = key_parts(signer.public_key().raw).map_err(|NotDer| SignatureProblem::Unsupported)?;
    let mut problem = SignatureProblem::Unsupported;
    for known in webpki::ALL_VERIFICATION_ALGS {
        if known.signature_alg_id().as_ref() != algorithm || known.public_key_alg_id().as_ref() != key_algorithm {
            continue;
        }
        match known.verify_signature(key, message, signature) {
            Ok(()) => return Ok(()),
            Err(_) => problem = SignatureProblem::Wrong,
        }
    }
    Err(problem)
}

/// A SubjectPublicKeyInfo's AlgorithmIdentifier, without its outer tag and length, and its key.
fn key_parts(info: &[u8]) -> Result<(&[u8], &[u8]), NotDer> {
    let mut parts = Reader::only(info, der::SEQUENCE)?.parts();
    let algorithm = parts.expect(der::SEQUENCE)?.content;
    let key = parts.expect(der::BIT_STRING)?.octets()?;
    Ok((algorithm, key))
}
