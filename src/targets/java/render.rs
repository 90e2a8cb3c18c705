//! For Java: PKCS#12 truststores. They hold no secret, so nothing is encrypted; the password is what tools expect, and
//! the integrity check is made with it. Java trusts only entries with an attribute of Oracle's.

use std::collections::BTreeMap;

use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::der::{self, tlv};
use crate::trust::inspection::pkcs12;
use crate::trust::plan::set::TrustSet;
use crate::trust::render::{Files, Label};
use crate::trust::values::fingerprint::Fingerprint;

/// Without the generation marker: for a server that does not pin, every entry is an anchor, whatever its dates.
pub(super) const WITHOUT_MARKER: &str = "truststore.p12";

/// With it, for servers that pin.
pub(super) const WITH_MARKER: &str = "truststore-with-marker.p12";

/// Java's own, for files without a secret.
pub(super) const PASSWORD: &str = "changeit";

/// `truststore.p12`, `truststore-with-marker.p12`. Java does not start with an empty one: then it holds the marker,
/// whose key nobody has.
pub(super) fn files(set: &TrustSet, label: &Label<'_>) -> Files {
    let authorities: BTreeMap<&Fingerprint, &Certificate> = set.chain.iter().chain(&set.extra).collect();
    let aliases = authorities.iter().map(|(key, held)| (format!("trustsync-{}", head(key)), *held));
    let marker = ("trustsync-marker".to_owned(), label.marker);
    let without: Vec<(String, &Certificate)> = aliases.collect();
    let with: Vec<(String, &Certificate)> = without.iter().cloned().chain([marker.clone()]).collect();
    let without = if without.is_empty() { vec![marker] } else { without };
    Files::from([(WITHOUT_MARKER.to_owned(), truststore(&without)), (WITH_MARKER.to_owned(), truststore(&with))])
}

/// Enough of a fingerprint for an alias that is unique in a store and stays the same.
fn head(fingerprint: &Fingerprint) -> String {
    fingerprint.to_string().chars().take(16).collect()
}

/// PFX of RFC 7292, with the authenticated safe in the clear.
fn truststore(entries: &[(String, &Certificate)]) -> Vec<u8> {
    let bags: Vec<Vec<u8>> = entries.iter().map(|(alias, held)| bag(alias, held)).collect();
    let safe = content(&tlv(der::SEQUENCE, &bags));
    let safes = tlv(der::SEQUENCE, &[safe]);
    // A salt keeps equal passwords apart, and everybody knows this one; taken from the content, it keeps the file the
    // same.
    let salt: Vec<u8> = ring::digest::digest(&ring::digest::SHA256, &safes).as_ref().iter().take(20).copied().collect();
    let mac = pkcs12::mac(&safes, PASSWORD, &salt, ITERATIONS);
    let algorithm = tlv(der::SEQUENCE, &[tlv(der::OID, &[SHA256]), NULL.to_vec()]);
    let digest = tlv(der::SEQUENCE, &[algorithm, tlv(der::OCTET_STRING, &[mac])]);
    let [.., high, low] = ITERATIONS.to_be_bytes();
    let iterations = tlv(der::INTEGER, &[[high, low]]);
    let mac = tlv(der::SEQUENCE, &[digest, tlv(der::OCTET_STRING, &[salt]), iterations]);
    tlv(der::SEQUENCE, &[tlv(der::INTEGER, &[[3]]), content(&safes), mac])
}

/// As Java's own files.
const ITERATIONS: u32 = 10_000;

const NULL: [u8; 2] = [0x05, 0x00];
/// Context-specific, constructed, 0.
const EXPLICIT: u8 = 0xa0;

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 3];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
/// 2.16.840.1.113894.746875.1.1, by which Java knows an entry that is trusted...
const TRUSTED_KEY_USAGE: &[u8] = &[0x60, 0x86, 0x48, 1, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 1, 1];
/// ...for any purpose.
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0];

/// ContentInfo of octets in the clear.
fn content(octets: &[u8]) -> Vec<u8> {
    let octets = tlv(der::OCTET_STRING, &[octets]);
    tlv(der::SEQUENCE, &[tlv(der::OID, &[DATA]), tlv(EXPLICIT, &[octets])])
}

fn bag(alias: &str, certificate: &Certificate) -> Vec<u8> {
    let octets = tlv(der::OCTET_STRING, &[certificate.der()]);
    let held = tlv(der::SEQUENCE, &[tlv(der::OID, &[X509_CERTIFICATE]), tlv(EXPLICIT, &[octets])]);
    let name: Vec<u8> = alias.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut attributes = [
        attribute(FRIENDLY_NAME, tlv(der::BMP_STRING, &[name])),
        attribute(TRUSTED_KEY_USAGE, tlv(der::OID, &[ANY_USAGE])),
    ];
    // DER puts a SET OF in the order of its bytes.
    attributes.sort();
    tlv(der::SEQUENCE, &[tlv(der::OID, &[CERTIFICATE_BAG]), tlv(EXPLICIT, &[held]), tlv(der::SET, &attributes)])
}

fn attribute(kind: &[u8], value: Vec<u8>) -> Vec<u8> {
    tlv(der::SEQUENCE, &[tlv(der::OID, &[kind]), tlv(der::SET, &[value])])
}
