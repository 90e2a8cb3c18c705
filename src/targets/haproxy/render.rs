//! For HAProxy: three lists that its rules ask, and a map that names the generation. The first entry of each list is
//! the generation's own, in a form that no certificate can match: so no list is ever empty, and `show acl` on the
//! runtime socket names the generation of every list by itself.

use std::fmt::Write;

use crate::trust::plan::set::{NameRule, TrustSet};
use crate::trust::render::{Files, Label};

/// What the generation's own entry begins with, but for the `^` of a regular expression.
pub(super) const GENERATION_ENTRY: &str = "trustsync generation ";

/// SHA-256 of the denied certificates.
pub(super) const DENIED: &str = "haproxy/denied.list";

/// SHA-256 of the pinned certificates.
pub(super) const PINS: &str = "haproxy/pins.list";

/// The issuers and subjects of those who are admitted by a name.
pub(super) const NAMES: &str = "haproxy/names.list";

/// One line, which names the generation.
pub(super) const GENERATION: &str = "haproxy/generation.map";

/// All four files.
pub(super) fn files(set: &TrustSet, label: &Label<'_>) -> Files {
    let own = format!("{GENERATION_ENTRY}{:06} of store {}", label.generation, label.store);
    let denied = set.denied.keys().map(ToString::to_string).map(|key| key.to_ascii_uppercase());
    let pins = set.pins.keys().map(ToString::to_string).map(|key| key.to_ascii_uppercase());
    // A text of issuer and subject has a `|` in it, which this one has not.
    let names = std::iter::once(format!("^{own}$")).chain(set.name_rules.iter().flat_map(name_patterns));
    Files::from([
        (DENIED.to_owned(), list("SHA-256 of each denied certificate", own_first(&own, denied))),
        (PINS.to_owned(), list("SHA-256 of each pinned certificate", own_first(&own, pins))),
        (NAMES.to_owned(), list("issuer|subject of all who are admitted by name", names)),
        (GENERATION.to_owned(), format!("generation {:06}\n", label.generation).into_bytes()),
    ])
}

fn own_first(own: &str, entries: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    std::iter::once(own.to_owned()).chain(entries)
}

fn list(what: &str, entries: impl Iterator<Item = String>) -> Vec<u8> {
    let mut text = format!("# {what}; the first entry is the generation's own and matches nobody\n");
    for entry in entries {
        let _ = writeln!(text, "{entry}");
    }
    text.into_bytes()
}

/// Issuer DN and subject DN, both RFC 2253 with the common name first; other attributes may change at a renewal, but
/// none of their values can hold an unescaped comma. Written for both of the engines that HAProxy is built with, PCRE
/// and POSIX's extended expressions: so only what is special in both is escaped, and case is spelled out.
fn name_patterns(rule: &NameRule) -> Vec<String> {
    let issuer = literal(&rule.root.facts().subject);
    if rule.names.is_empty() {
        return vec![format!(r"^{issuer}\|")];
    }
    let pattern = |name: &String| {
        let name = without_case(name);
        format!(r"^{issuer}\|CN={name}(,(OU|O|L|ST|C)=([^,+\\]|\\.)*)*$")
    };
    rule.names.iter().map(pattern).collect()
}

/// Text that an expression matches literally.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut literal, character| {
        if r"\^$.|?*+()[]{}".contains(character) {
            literal.push('\\');
        }
        literal.push(character);
        literal
    })
}

/// A name as it stands in a subject's RFC 2253 form, in upper case and in lower.
fn without_case(name: &str) -> String {
    name.chars().fold(String::new(), |mut pattern, character| {
        if character.is_ascii_alphabetic() {
            let _ = write!(pattern, "[{}{}]", character.to_ascii_uppercase(), character.to_ascii_lowercase());
        } else if character.is_ascii_graphic() || character == ' ' {
            let escape = if ",+\"\\<>;".contains(character) { "\\" } else { "" };
            pattern.push_str(&literal(&format!("{escape}{character}")));
        } else {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                pattern.push_str(&literal(&format!("\\{byte:02X}")));
            }
        }
        pattern
    })
}
