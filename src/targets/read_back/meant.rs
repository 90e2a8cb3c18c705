//! What is meant to stand in a generation's files, by its manifest, and the parser that counts certificates.

use std::collections::BTreeSet;
use std::fmt::Debug;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::trust::plan::set::Witnesses;
use crate::trust::records::manifest::Manifest;
use crate::trust::render::Odd;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::Authority;

/// As many as are meant; else how many of what.
pub fn counted(found: usize, meant: usize, what: &str) -> Result<(), Odd> {
    if found == meant { Ok(()) } else { Err((format!("{found} {what}"), format!("{meant} {what}"))) }
}

/// Just those that are meant, of which there may be hundreds; else how many of what.
pub fn same<T: Ord>(found: &BTreeSet<T>, meant: &BTreeSet<T>, what: &str) -> Result<(), Odd> {
    if found == meant {
        return Ok(());
    }
    Err((format!("{} {what}", found.len()), format!("{} {what} of the manifest", meant.len())))
}

/// Just what is meant; else both, quoted.
pub fn exactly<Found: Debug + PartialEq<Meant>, Meant: Debug>(found: Found, meant: Meant) -> Result<(), Odd> {
    if found == meant { Ok(()) } else { Err((format!("{found:?}"), format!("{meant:?}"))) }
}

/// How many certificates the bundle of authorities holds.
pub fn authorities(manifest: &Manifest) -> usize {
    manifest.chain.union(&manifest.extra).count()
}

/// How many leaves are pinned.
pub fn pinned(manifest: &Manifest) -> usize {
    pinned_leaves(manifest).len()
}

/// The pinned leaves.
pub fn pinned_leaves(manifest: &Manifest) -> BTreeSet<&Fingerprint> {
    let slots = manifest.slots.iter().filter(|(slot, _)| slot.authority() == Authority::DigiCert);
    slots.flat_map(|(_, held)| held.entries.keys()).collect()
}

/// Each name of each name rule, or its issuer alone.
pub fn named(manifest: &Manifest) -> usize {
    name_rules(manifest).into_iter().map(|rule| rule.names.len().max(1)).fold(0, usize::saturating_add)
}

/// A root that admits by name.
pub struct NameRule<'a> {
    pub root: &'a Fingerprint,
    /// Empty: the root alone decides.
    pub names: &'a BTreeSet<String>,
    pub witnesses: Witnesses,
}

/// Each once, however many slots trust by it.
pub fn name_rules(manifest: &Manifest) -> Vec<NameRule<'_>> {
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

/// Counts certificates, but not by our own scanner: a fault in that one must not confirm itself.
pub fn certificates(bytes: &[u8]) -> Result<usize, String> {
    let mut found = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let der = certificate.map_err(|error| error.to_string())?;
        let (rest, _) = x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err("bytes after a certificate".to_owned());
        }
        found = found.saturating_add(1);
    }
    // One under another label, or that begins within a line, is passed over in silence.
    let markers = text(bytes).matches("-----BEGIN").count();
    if markers == found { Ok(found) } else { Err(format!("{found} readable certificates under {markers} markers")) }
}

/// The file as a text; no line that is meant has what is not UTF-8.
pub fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
