//! A distinguished name as text, letter for letter as OpenSSL prints it with `-nameopt RFC2253`, because that text is
//! what nginx hands to its configuration as `$ssl_client_s_dn` and `$ssl_client_i_dn`.
//!
//! RFC 2253 leaves choices open; these are OpenSSL's (`crypto/asn1/a_strex.c`, flags `XN_FLAG_RFC2253`): the last RDN
//! first, and within a multi-valued RDN the last value first; `,+"\<>;` escaped by a backslash, as are a leading `#` or
//! space and a trailing space; control characters and every byte of a non-ASCII UTF-8 sequence as `\XX`; an unknown
//! attribute as dotted OID with the value's DER as `#hex`.

use std::fmt::Write;

use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::trust::formats::der::{BMP_STRING, NotDer, OID, Reader, SEQUENCE, SET, Value, tlv};
use crate::trust::values::fingerprint::hex;

const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const VISIBLE_STRING: u8 = 0x1a;
const UNIVERSAL_STRING: u8 = 0x1c;

/// The whole name.
pub(in crate::trust) fn rfc2253(name: &X509Name<'_>) -> String {
    let joined = |mut parts: Vec<String>, separator| {
        parts.reverse();
        parts.join(separator)
    };
    joined(name.iter().map(|rdn| joined(rdn.iter().map(attribute).collect(), "+")).collect(), ",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let Some(name) = short_name(&oid) else { return format!("{oid}={}", dump(attribute.attr_value())) };
    match utf8(attribute.attr_value()) {
        Some(bytes) => format!("{name}={}", escape(&bytes)),
        None => format!("{name}={}", dump(attribute.attr_value())),
    }
}

fn dump(value: &Any<'_>) -> String {
    format!("#{}", hex(&value.to_der_vec().unwrap_or_default()).to_ascii_uppercase())
}

/// The value of a string attribute, decoded; nothing where it is not a string or not one that can be decoded.
pub(super) fn text_of(value: &Any<'_>) -> Option<String> {
    String::from_utf8(utf8(value)?).ok()
}

/// A string in UTF-8. OpenSSL copies the bytes of a UTF8String unread, so those stand here as they are, UTF-8 or not.
fn utf8(value: &Any<'_>) -> Option<Vec<u8>> {
    let bytes = value.data;
    let wide = |width: usize| -> Option<String> {
        let code = |unit: &[u8]| unit.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
        bytes
            .len()
            .is_multiple_of(width)
            .then(|| bytes.chunks(width).map(|unit| char::from_u32(code(unit))).collect())?
    };
    match value.tag() {
        Tag::Utf8String => Some(bytes.to_vec()),
        // One byte a character: Latin-1, which OpenSSL takes a TeletexString to be too.
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::TeletexString => {
            Some(bytes.iter().copied().map(char::from).collect::<String>().into_bytes())
        }
        Tag::BmpString => wide(2).map(String::into_bytes),
        Tag::UniversalString => wide(4).map(String::into_bytes),
        _ => None,
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    let last = bytes.len().saturating_sub(1);
    for (at, byte) in bytes.iter().copied().enumerate() {
        let escaped = match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => true,
            // A lone `#` is its own last character, for which OpenSSL forgets that it is also the first.
            b'#' => at == 0 && last > 0,
            b' ' => at == 0 || at == last,
            _ => false,
        };
        if escaped {
            text.push('\\');
        }
        if byte.is_ascii_graphic() || byte == b' ' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:02X}");
        }
    }
    text
}

/// OpenSSL's short names (`crypto/objects/objects.txt`) of the attributes that a subject can be expected to have.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.15" => "businessCategory",
        "2.5.4.16" => "postalAddress",
        "2.5.4.17" => "postalCode",
        "2.5.4.18" => "postOfficeBox",
        "2.5.4.19" => "physicalDeliveryOfficeName",
        "2.5.4.20" => "telephoneNumber",
        "2.5.4.41" => "name",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.45" => "x500UniqueIdentifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.51" => "houseIdentifier",
        "2.5.4.54" => "dmdName",
        "2.5.4.65" => "pseudonym",
        "2.5.4.72" => "role",
        "2.5.4.97" => "organizationIdentifier",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "1.2.840.113549.1.9.2" => "unstructuredName",
        "1.2.840.113549.1.9.8" => "unstructuredAddress",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.3" => "mail",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.3.6.1.4.1.311.60.2.1.1" => "jurisdictionL",
        "1.3.6.1.4.1.311.60.2.1.2" => "jurisdictionST",
        "1.3.6.1.4.1.311.60.2.1.3" => "jurisdictionC",
        _ => return None,
    })
}

/// The form in which OpenSSL compares and hashes names (`crypto/x509/x_name.c`): the RDNs one after the other, without the
/// sequence around them, each string as UTF-8 in lower case, without spaces at its ends and with single ones within. Lower
/// case and spaces are ASCII's alone.
pub(crate) fn canonical(name: &[u8]) -> Result<Vec<u8>, NotDer> {
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
