//! Reads a directory of certificates by the hash of their subject: as many files as there are authorities and a marker,
//! in each one certificate, of those that share a hash none passed over. A reader asks for `.0`, `.1` and so on, and
//! stops at the first that is missing.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::render::{FOLDER, subject_hash};
use crate::targets::read_back::meant::{certificates, counted};
use crate::trust::records::manifest::Manifest;
use crate::trust::render::Odd;

/// One file of the directory, and its place among the others.
pub(super) fn file(path: &str, bytes: &[u8], manifest: &Manifest) -> Result<(), Odd> {
    let odd = |found: &str, expected: &str| Err((found.to_owned(), expected.to_owned()));
    let is_hash = |hash: &str| hash.len() == 8 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let Some((folder_and_hash, place)) = path.rsplit_once('.') else {
        return odd("no place in its name", "<hash>.<n>");
    };
    if !folder_and_hash.strip_prefix(FOLDER).is_some_and(is_hash) {
        return odd("another name", "<hash>.<n>");
    }
    let Some(number) = place.parse::<u32>().ok().filter(|number| number.to_string() == place) else {
        return odd("no place in its name", "<hash>.<n>");
    };
    let before = number.checked_sub(1).map(|before| format!("{folder_and_hash}.{before}"));
    if before.is_some_and(|before| !manifest.files.contains_key(&before)) {
        return odd("a place without the one before it", "places in a row");
    }
    match certificates(bytes) {
        Ok(found) => counted(found, 1, "certificates")?,
        Err(why) => return odd(&why, "one certificate"),
    }
    // What openssl would call it: the renderer's own reckoning, which tests hold against openssl's.
    let subject = CertificateDer::from_pem_slice(bytes).ok().and_then(|der| {
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
        subject_hash(certificate.subject().as_raw())
    });
    let name = subject.map(|hash| format!("{FOLDER}{hash:08x}"));
    if name.as_deref() != Some(folder_and_hash) {
        return odd("the name of another subject", &name.unwrap_or_default());
    }
    let meant = manifest.chain.union(&manifest.extra).count().saturating_add(1);
    let found = manifest.files.keys().filter(|path| path.starts_with(FOLDER)).count();
    counted(found, meant, "files in its folder")
}
