//! A parsed certificate and its facts. Parsed is not verified: see [`crate::trust::verify`].

use std::sync::Arc;

use crate::trust::fingerprint::Fingerprint;
use crate::trust::timestamp::Timestamp;

/// A certificate that could be read, with the facts that policy, rendering and people need. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Arc<[u8]>,
    facts: Arc<Facts>,
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// SHA-1 of the DER in lower-case hex (nginx's `$ssl_client_fingerprint`).
    pub sha1: String,
    /// Serial number in upper-case hex, as its DER bytes stand.
    pub serial: String,
    /// Subject, RFC 2253 text (last RDN first).
    pub subject: String,
    /// Subject, DER of the Name.
    pub subject_der: Vec<u8>,
    /// Issuer, RFC 2253 text.
    pub issuer: String,
    /// Issuer, DER of the Name.
    pub issuer_der: Vec<u8>,
    /// First valid second.
    pub not_before: Timestamp,
    /// Last valid second.
    pub not_after: Timestamp,
    /// Every commonName of the subject, in DER order.
    pub common_names: Vec<String>,
    /// Every dNSName of the SAN.
    pub dns_names: Vec<String>,
    /// basicConstraints cA.
    pub is_ca: bool,
    /// The key, for people: `RSA 2048`, `EC P-256`, `Ed25519`.
    pub key: String,
    /// The signature algorithm, for people: `SHA-256 with RSA`.
    pub signature: String,
    /// Extended key usages, for people: `clientAuth`, `serverAuth`, or the OID.
    pub extended_key_usages: Vec<String>,
    /// CRL distribution points with a URL.
    pub crl_urls: Vec<String>,
}

/// The DER was no certificate that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a readable certificate: {0}")]
pub struct Unreadable(pub String);

impl Certificate {
    /// Reads exactly one certificate; bytes after it are an error.
    pub fn parse(_der: &[u8]) -> Result<Self, Unreadable> {
        Err(Unreadable("not built yet".into()))
    }

    /// The DER, as it came.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What it says of itself.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The SHA-256 of the DER.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }

    /// The names by which a leaf is identified: its dNSName SANs, or its common names where it has none.
    #[must_use]
    pub fn identity_names(&self) -> &[String] {
        if self.facts.dns_names.is_empty() {
            &self.facts.common_names
        } else {
            &self.facts.dns_names
        }
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.facts.fingerprint == other.facts.fingerprint
    }
}

impl Eq for Certificate {}

impl PartialOrd for Certificate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Certificate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.facts.fingerprint.cmp(&other.facts.fingerprint)
    }
}
