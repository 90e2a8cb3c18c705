//! OpenSSL's directory of certificates: each in a file called by a hash of its subject, so that a program finds an
//! issuer without reading them all (`SSLCACertificatePath`, `openssl -CApath`).
//!
//! The hash is OpenSSL's `X509_NAME_hash`: the first four bytes, little-endian, of the SHA-1 of the name's canonical
//! form (`crypto/x509/x_name.c`): the RDNs one after the other, without the sequence around them, each string as UTF-8
//! in lower case, without spaces at its ends and with single ones within. Lower case and spaces are ASCII's alone.

use std::collections::BTreeMap;

use crate::targets::der::tlv;
use crate::trust::formats::der::{BMP_STRING, NotDer, OID, Reader, SEQUENCE, SET, Value};
use crate::trust::plan::set::TrustSet;
use crate::trust::render::{Files, Label};

const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const VISIBLE_STRING: u8 = 0x1a;
const UNIVERSAL_STRING: u8 = 0x1c;

/// Where the files stand.
pub(super) const FOLDER: &str = "hashed/";

/// What `trust-bundle.pem` holds, a file each: `hashed/<hash>.<n>`.
pub(super) fn files(set: &TrustSet, label: &Label<'_>) -> Files {
    let mut taken: BTreeMap<u32, u32> = BTreeMap::new();
    let authorities =
        set.chain.values().chain(set.extra.values().filter(|held| !set.chain.contains_key(&held.fingerprint())));
    // A name without a hash has no file, and reading back reports the missing one.
    authorities
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

fn canonical(name: &[u8]) -> Result<Vec<u8>, NotDer> {
    let mut whole = Vec::new();
    let mut rdns = Reader::only(name, SEQUENCE)?.parts();
    while !rdns.is_empty() {
        let mut attributes = rdns.expect(SET)?.parts();
        let mut written: Vec<Vec<u8>> = Vec::new();
        while !attributes.is_empty() {
            let mut attribute = attributes.expect(SEQUENCE)?.parts();
            let kind = attribute.expect(OID)?;
            let value = attribute.next()?;
            attribute.end()?;
            written.push(tlv(SEQUENCE, &[kind.whole, &canonical_value(&value)]));
        }
        // DER's order of a SET OF.
        written.sort();
        whole.extend(tlv(SET, &written));
    }
    Ok(whole)
}

fn canonical_value(value: &Value<'_>) -> Vec<u8> {
    let wide = |size: usize| -> Vec<u8> {
        let number = |character: &[u8]| character.iter().fold(0_u32, |code, byte| code << 8 | u32::from(*byte));
        let characters =
            value.content.chunks(size).map(|character| char::from_u32(number(character)).unwrap_or('\u{fffd}'));
        characters.collect::<String>().into_bytes()
    };
    let text = match value.tag {
        UTF8_STRING => value.content.to_vec(),
        PRINTABLE_STRING | TELETEX_STRING | IA5_STRING | VISIBLE_STRING => {
            value.content.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes()
        }
        BMP_STRING => wide(2),
        UNIVERSAL_STRING => wide(4),
        _ => return value.whole.to_vec(),
    };
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let words = text.split(is_space).filter(|word| !word.is_empty());
    tlv(UTF8_STRING, &[words.map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>().join(&b' ')])
}
