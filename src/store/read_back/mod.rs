//! Reads a generation back before any server is shown it: every file by an independent strict parser, and counted. Some
//! servers load one certificate of two and say nothing, one dies of a bad file that its own check passed (servers.md); so
//! what stands on the disk is judged, not what was meant.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

mod apache;
mod envoy;
mod fingerprints;
mod haproxy;
mod hashed;
mod java;
mod nginx;

use std::collections::BTreeSet;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::store::contents::{self, ContentsError};
use crate::store::{StoreError, generation};
use crate::trust::fingerprint::Fingerprint;
use crate::trust::manifest::Manifest;
use crate::trust::set::{Authority, Witnesses};

/// What was found, and what is meant instead.
type Odd = (String, String);

const LARGEST: u64 = 32 * 1024 * 1024;

/// What did not read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// The disk said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manifest cannot be used.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// There is no such generation any more.
    #[error("generation {0:06} has no manifest.")]
    NoManifest(u64),
    /// A file is not what the manifest says.
    #[error("{path} is not as it was written.")]
    Changed {
        /// The file.
        path: String,
    },
    /// A file is missing.
    #[error("{path} is missing.")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file does not hold what it should.
    #[error("{path} holds {found} where {expected} are meant.")]
    Count {
        /// The file.
        path: String,
        /// What was found.
        found: String,
        /// What should be.
        expected: String,
    },
}

/// Reads generation `number` of the store at `root` back.
pub fn read_back(root: &Path, number: u64) -> Result<(), ReadBackError> {
    read_back_in(&root.join(generation::DIRECTORY), number)
}

/// As [`read_back`], of a folder of generations.
pub fn read_back_in(generations: &Path, number: u64) -> Result<(), ReadBackError> {
    let manifest = contents::manifest_in(generations, number)?.ok_or(ReadBackError::NoManifest(number))?;
    for (path, digest) in &manifest.files {
        let missing = || ReadBackError::Missing { path: path.clone() };
        let bytes = generation::read_file_in(generations, number, path, LARGEST)?.ok_or_else(missing)?;
        if Fingerprint::of(&bytes) != *digest {
            return Err(ReadBackError::Changed { path: path.clone() });
        }
        judge(path, &bytes, &manifest)?;
    }
    Ok(())
}

fn judge(path: &str, bytes: &[u8], manifest: &Manifest) -> Result<(), ReadBackError> {
    let count = |found: String, expected: String| Err(ReadBackError::Count { path: path.to_owned(), found, expected });
    let authorities = manifest.chain.union(&manifest.extra).count();
    let pins = pinned(manifest);
    let expected = match path {
        "trust-bundle.pem" => authorities.saturating_add(1),
        "chain.pem" => authorities.max(1),
        "leaves.pem" => pins.max(1),
        _ if path.starts_with("hashed/") => {
            return hashed::file(path, bytes, manifest).or_else(|odd| count(odd.0, odd.1));
        }
        _ if path.ends_with(".pem") => {
            return certificates(bytes).map_or_else(|why| count(why, "certificates".into()), |_| Ok(()));
        }
        "fingerprints.txt" => return fingerprints::list(&text(bytes), manifest).or_else(|odd| count(odd.0, odd.1)),
        "nginx/admit.map" => return nginx::map(&text(bytes), admitted(manifest)).or_else(|odd| count(odd.0, odd.1)),
        "haproxy/denied.list" => {
            let denied = manifest.denied.keys().collect();
            return haproxy::fingerprints(&text(bytes), manifest, &denied).or_else(|odd| count(odd.0, odd.1));
        }
        "haproxy/pins.list" => {
            let pinned = pinned_leaves(manifest);
            return haproxy::fingerprints(&text(bytes), manifest, &pinned).or_else(|odd| count(odd.0, odd.1));
        }
        "haproxy/names.list" => {
            return haproxy::names(&text(bytes), manifest, named(manifest)).or_else(|odd| count(odd.0, odd.1));
        }
        "haproxy/generation.map" => {
            return haproxy::generation(&text(bytes), manifest).or_else(|odd| count(odd.0, odd.1));
        }
        "envoy/sds.json" => return envoy::secret(bytes, manifest, true).or_else(|odd| count(odd.0, odd.1)),
        "envoy/sds-without-marker.json" => {
            return envoy::secret(bytes, manifest, false).or_else(|odd| count(odd.0, odd.1));
        }
        "nginx/generation.map" => return nginx::map(&text(bytes), 1).or_else(|odd| count(odd.0, odd.1)),
        "apache/admit.conf" => {
            let denied = manifest.denied.values().filter(|denial| denial.pem_sha1.is_some()).count();
            let meant = apache::Meant { denied, pinned: pins, named: named(manifest) };
            return apache::admit(&text(bytes), meant).or_else(|odd| count(odd.0, odd.1));
        }
        "apache/generation.conf" => {
            return apache::generation(&text(bytes), manifest.generation).or_else(|odd| count(odd.0, odd.1));
        }
        "truststore.p12" => return java::truststore(bytes, authorities.max(1)).or_else(|odd| count(odd.0, odd.1)),
        "truststore-with-marker.p12" => {
            return java::truststore(bytes, authorities.saturating_add(1)).or_else(|odd| count(odd.0, odd.1));
        }
        _ => return Ok(()),
    };
    match certificates(bytes) {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => count(format!("{found} certificates"), expected.to_string()),
        Err(why) => count(why, format!("{expected} certificates")),
    }
}

fn pinned(manifest: &Manifest) -> usize {
    pinned_leaves(manifest).len()
}

fn pinned_leaves(manifest: &Manifest) -> BTreeSet<&Fingerprint> {
    let slots = manifest.slots.iter().filter(|(slot, _)| slot.authority() == Authority::DigiCert);
    slots.flat_map(|(_, held)| held.entries.keys()).collect()
}

/// The lines that decide in a map: denied, pins, and each name of each name rule (or its issuer alone).
fn admitted(manifest: &Manifest) -> usize {
    let denied = manifest.denied.values().filter(|denial| denial.sha1.is_some()).count();
    denied.saturating_add(pinned(manifest)).saturating_add(named(manifest))
}

/// Each name of each name rule, or its issuer alone.
fn named(manifest: &Manifest) -> usize {
    name_rules(manifest).into_iter().map(|rule| rule.names.len().max(1)).fold(0, usize::saturating_add)
}

/// A root that admits by name.
struct NameRule<'a> {
    root: &'a Fingerprint,
    /// None: its word alone decides.
    names: &'a BTreeSet<String>,
    witnesses: Witnesses,
}

/// Each once, however many slots trust by it.
fn name_rules(manifest: &Manifest) -> Vec<NameRule<'_>> {
    let mut rules: Vec<NameRule<'_>> = Vec::new();
    let slots = manifest.slots.iter().filter(|(slot, _)| slot.authority() == Authority::Genesys);
    for (root, entry) in slots.flat_map(|(_, held)| &held.entries) {
        match rules.iter_mut().find(|rule| rule.root == root && *rule.names == entry.names) {
            Some(rule) => rule.witnesses.join(&entry.witnesses),
            None => rules.push(NameRule { root, names: &entry.names, witnesses: entry.witnesses.clone() }),
        }
    }
    rules
}

/// Not our own scanner: a fault in that one must not judge itself.
fn certificates(bytes: &[u8]) -> Result<usize, String> {
    let mut found = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let der = certificate.map_err(|error| error.to_string())?;
        let (rest, _) = x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err("bytes after a certificate".to_owned());
        }
        found = found.saturating_add(1);
    }
    let markers = text(bytes).matches("-----BEGIN").count();
    if markers == found { Ok(found) } else { Err(format!("{found} readable certificates under {markers} markers")) }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
