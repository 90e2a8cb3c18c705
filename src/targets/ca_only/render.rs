//! OpenSSL's directory of certificates: each in a file called by a hash of its subject, so that a program finds an
//! issuer without reading them all (`SSLCACertificatePath`, `openssl -CApath`).
//!
//! The hash is OpenSSL's `X509_NAME_hash`: the first four bytes, little-endian, of the SHA-1 of the name's canonical form.

use std::collections::BTreeMap;

use crate::trust::formats::distinguished_name::canonical;
use crate::trust::plan::set::TrustSet;
use crate::trust::render::{Files, Label};

/// Where the files stand.
pub(super) const FOLDER: &str = "hashed/";

/// What `trust-bundle.pem` holds, a file each: `hashed/<hash>.<n>`.
pub(super) fn files(set: &TrustSet, label: &Label<'_>) -> Files {
    let mut taken: BTreeMap<u32, u32> = BTreeMap::new();
    // A name without a hash has no file, and reading back reports the missing one.
    set.bundle()
        .into_iter()
        .chain([label.marker])
        .filter_map(|held| Some((subject_hash(&held.facts().subject_der)?, held)))
        .map(|(hash, held)| {
            let place = taken.entry(hash).or_default();
            let path = format!("{FOLDER}{hash:08x}.{place}");
            *place = place.saturating_add(1);
            (path, held.pem().into_bytes())
        })
        .collect()
}

/// OpenSSL's hash of a name, from its DER; none where that is not a name.
#[must_use]
pub fn subject_hash(name: &[u8]) -> Option<u32> {
    let canonical = canonical(name).ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &canonical);
    let head: [u8; 4] = digest.as_ref().get(..4)?.try_into().ok()?;
    Some(u32::from_le_bytes(head))
}
