//! A distinguished name as text, letter for letter as OpenSSL prints it with `-nameopt RFC2253`, because that text is
//! what nginx hands to its configuration as `$ssl_client_s_dn` and `$ssl_client_i_dn`.
//!
//! RFC 2253 leaves choices open; these are OpenSSL's (`crypto/asn1/a_strex.c`, flags `XN_FLAG_RFC2253`): the last RDN
//! first, and within a multi-valued RDN the last value first; `,+"\<>;` escaped by a backslash, as are a leading `#` or
//! space and a trailing space; control characters and every byte of a non-ASCII UTF-8 sequence as `\XX`; an unknown
//! attribute as dotted OID with the value's DER as `#hex`.

use std::fmt::Write;

use x509_parser::asn1_rs::Any;
use x509_parser::x509::X509Name;

const BMP_STRING: u32 = 30;
const IA5_STRING: u32 = 22;
const NUMERIC_STRING: u32 = 18;
const PRINTABLE_STRING: u32 = 19;
const TELETEX_STRING: u32 = 20;
const UNIVERSAL_STRING: u32 = 28;
const UTF8_STRING: u32 = 12;

/// The whole name.
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let rdns: Vec<_> = name.iter().collect();
    for (at, rdn) in rdns.into_iter().rev().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let values: Vec<_> = rdn.iter().collect();
        for (at, attribute) in values.into_iter().rev().enumerate() {
            if at > 0 {
                text.push('+');
            }
            let oid = attribute.attr_type().to_id_string();
            let known = short_name(&oid);
            text.push_str(known.unwrap_or(&oid));
            text.push('=');
            match known.and_then(|_| characters(attribute.attr_value())) {
                Some(characters) => escape(&characters, &mut text),
                None => dump(attribute.attr_value(), &mut text),
            }
        }
    }
    text
}

/// The value of a string attribute, decoded; nothing where it is no string or not one that can be decoded.
pub(super) fn text_of(value: &Any<'_>) -> Option<String> {
    characters(value)?.into_iter().map(Character::plain).collect()
}

/// OpenSSL copies the bytes of a UTF8String without looking at them, so bytes that are no UTF-8 must survive.
#[derive(Clone, Copy)]
enum Character {
    Decoded(char),
    Byte(u8),
}

impl Character {
    fn plain(self) -> Option<char> {
        match self {
            Self::Decoded(character) => Some(character),
            Self::Byte(_) => None,
        }
    }
}

fn characters(value: &Any<'_>) -> Option<Vec<Character>> {
    let bytes = value.data;
    let decoded = |code: u32| char::from_u32(code).map(Character::Decoded);
    match value.tag().0 {
        UTF8_STRING => Some(match std::str::from_utf8(bytes) {
            Ok(text) => text.chars().map(Character::Decoded).collect(),
            Err(_) => bytes.iter().copied().map(Character::Byte).collect(),
        }),
        // One byte a character: Latin-1, which OpenSSL takes a TeletexString to be too.
        PRINTABLE_STRING | IA5_STRING | NUMERIC_STRING | TELETEX_STRING => {
            Some(bytes.iter().map(|byte| Character::Decoded(char::from(*byte))).collect())
        }
        BMP_STRING if bytes.len().is_multiple_of(2) => bytes.chunks(2).map(|pair| decoded(big_endian(pair))).collect(),
        UNIVERSAL_STRING if bytes.len().is_multiple_of(4) => {
            bytes.chunks(4).map(|quad| decoded(big_endian(quad))).collect()
        }
        _ => None,
    }
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |code, byte| code << 8 | u32::from(*byte))
}

fn escape(characters: &[Character], text: &mut String) {
    let last = characters.len().saturating_sub(1);
    for (at, character) in characters.iter().enumerate() {
        match character {
            Character::Decoded(c @ (',' | '+' | '"' | '\\' | '<' | '>' | ';')) => {
                text.push('\\');
                text.push(*c);
            }
            // A lone `#` is its own last character, for which OpenSSL forgets that it is also the first.
            Character::Decoded('#') if at == 0 && last > 0 => text.push_str("\\#"),
            Character::Decoded(' ') if at == 0 || at == last => text.push_str("\\ "),
            Character::Decoded(c) if c.is_ascii() && !c.is_ascii_control() => text.push(*c),
            Character::Decoded(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(text, "\\{byte:02X}");
                }
            }
            Character::Byte(byte) if byte.is_ascii_graphic() => {
                if b",+\"\\<>;".contains(byte) || (at == 0 && last > 0 && *byte == b'#') {
                    text.push('\\');
                }
                text.push(char::from(*byte));
            }
            Character::Byte(b' ') => text.push_str(if at == 0 || at == last { "\\ " } else { " " }),
            Character::Byte(byte) => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

fn dump(value: &Any<'_>, text: &mut String) {
    let header = &value.header;
    let class = (header.class() as u8) << 6;
    let constructed = u8::from(header.constructed()) << 5;
    let tag = u8::try_from(header.tag().0).unwrap_or(0x1f) & 0x1f;
    let _ = write!(text, "#{:02X}", class | constructed | tag);
    let length = value.data.len();
    if length < 0x80 {
        let _ = write!(text, "{length:02X}");
    } else {
        let bytes = length.to_be_bytes();
        let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
        let _ = write!(text, "{:02X}", 0x80 | significant.len());
        for byte in significant {
            let _ = write!(text, "{byte:02X}");
        }
    }
    for byte in value.data {
        let _ = write!(text, "{byte:02X}");
    }
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
