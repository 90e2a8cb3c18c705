//! For Apache httpd: an allowlist to include where `Require` stands, and the header that names its generation.
//!
//! The allowlist is whole in itself: a client must have passed the verification of the chain, be denied by no line, and
//! be admitted by one. Its lines carry nothing of a certificate but hashes, and names of which every byte that could
//! mean something to Apache (quotes, `${...}`, `%{...}`, backslashes, non-ASCII) is written as `\xHH`.

use std::fmt::Write;

use crate::trust::plan::set::{NameRule, TrustSet};
use crate::trust::render::{Files, Label};

/// The allowlist, to include where `Require` stands.
pub(super) const ADMIT: &str = "apache/admit.conf";

/// The header that shows the generation's number.
pub(super) const GENERATION: &str = "apache/generation.conf";

/// Both files.
pub(super) fn files(set: &TrustSet, label: &Label<'_>) -> Files {
    Files::from([
        (ADMIT.to_owned(), admit(set, label).into_bytes()),
        (GENERATION.to_owned(), generation(label).into_bytes()),
    ])
}

/// Apache knows a certificate by its PEM text alone, so it is the SHA-1 of that which pins and denies.
fn admit(set: &TrustSet, label: &Label<'_>) -> String {
    let mut text = format!("# trustsync generation {:06} store {}\n", label.generation, label.store);
    if set.is_empty() {
        text.push_str("# nobody is trusted: deny all\n");
    }
    text.push_str("<RequireAll>\n    Require expr \"%{SSL_CLIENT_VERIFY} == 'SUCCESS'\"\n");
    for pem_sha1 in set.denied.values().filter_map(|denial| denial.pem_sha1.as_ref()) {
        let _ = writeln!(text, "    Require expr \"sha1(%{{SSL_CLIENT_CERT}}) != '{pem_sha1}'\"");
    }
    text.push_str("    <RequireAny>\n        Require all denied\n");
    for pin in set.pins.values() {
        let pem_sha1 = pin.leaf.pem_sha1();
        let _ = writeln!(
            text,
            "        # {}\n        Require expr \"sha1(%{{SSL_CLIENT_CERT}}) == '{pem_sha1}'\"",
            pin.role()
        );
    }
    for rule in &set.name_rules {
        for condition in name_conditions(rule) {
            let _ = writeln!(text, "        # name\n        Require expr \"{condition}\"");
        }
    }
    text.push_str("    </RequireAny>\n</RequireAll>\n");
    text
}

/// To this machine alone: by the peer of the connection, whatever mod_remoteip makes of X-Forwarded-For.
fn generation(label: &Label<'_>) -> String {
    format!(
        "# trustsync generation {generation:06} store {store}\n\
         Header always set X-Trustsync-Generation \"{generation:06}\" \"expr=%{{CONN_REMOTE_ADDR}} in {{ '127.0.0.1', \
         '::1' }}\"\n",
        generation = label.generation,
        store = label.store,
    )
}

/// Issuer DN and subject DN, both RFC 2253 with the common name first; other attributes may change at a renewal, but
/// none of their values can hold an unescaped comma.
fn name_conditions(rule: &NameRule) -> Vec<String> {
    let issuer = format!("%{{SSL_CLIENT_I_DN}} =~ m#^{}\\z#", literal(&shown(&rule.root.facts().subject)));
    if rule.names.is_empty() {
        return vec![issuer];
    }
    rule.names
        .iter()
        .map(|name| {
            let name = literal(name.as_bytes());
            let others = r"(?:\x2c(?:OU|O|L|ST|C)=(?:[^\x2c\x2b\x5c]|\x5c.)*)*";
            format!("{issuer} && %{{SSL_CLIENT_S_DN}} =~ m#^CN=(?i:{name}){others}\\z#")
        })
        .collect()
}

/// A name as Apache prints it: as OpenSSL does by RFC 2253, but with the bytes of non-ASCII characters as they are.
fn shown(rfc2253: &str) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut rest = rfc2253.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (first, byte, after.split_first()) {
            (b'\\', Some(byte @ 0x80..), _) => {
                shown.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            // What is escaped is taken along, or a second backslash would be taken for the beginning of a byte.
            (b'\\', _, Some((escaped, after))) => {
                shown.extend([b'\\', *escaped]);
                rest = after;
            }
            _ => {
                shown.push(*first);
                rest = after;
            }
        }
    }
    shown
}

/// Bytes that a regular expression matches literally, and that mean nothing to Apache's configuration.
fn literal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || *byte == b'=' {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_printed_as_apache_does() {
        for (rfc2253, expected) in [
            ("CN=a", "CN=a".as_bytes()),
            (r"O=\C3\9Cber", "O=Über".as_bytes()),
            (r"O=A\, B \\C3\0A", br"O=A\, B \\C3\0A"),
            (r"O=\\\C3\9C", "O=\\\\Ü".as_bytes()),
            ("O=x\\", b"O=x\\"),
        ] {
            assert_eq!(shown(rfc2253), expected, "{rfc2253}");
        }
        assert_eq!(literal("a.Ü\"${}".as_bytes()), r"a\x2e\xc3\x9c\x22\x24\x7b\x7d");
    }
}
