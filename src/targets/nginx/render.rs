//! For nginx: the bodies of two maps. They stand *inside* the user's `map` blocks, so that they can carry no directive.

use std::fmt::Write;

use crate::trust::plan::set::{NameRule, TrustSet};
use crate::trust::render::{Files, Label};

/// The lines of the map that admits.
pub(super) const ADMIT: &str = "nginx/admit.map";

/// The line of the map that shows the generation's number.
pub(super) const GENERATION: &str = "nginx/generation.map";

/// Both files.
pub(super) fn files(set: &TrustSet, label: &Label<'_>) -> Files {
    let generation = format!("default \"{:06}\";\n", label.generation);
    Files::from([(ADMIT.to_owned(), admit(set, label).into_bytes()), (GENERATION.to_owned(), generation.into_bytes())])
}

/// The first match wins: denied, pins, names.
fn admit(set: &TrustSet, label: &Label<'_>) -> String {
    let mut text = format!("# trustsync generation {:06} store {}\n", label.generation, label.store);
    if set.is_empty() {
        text.push_str("# nobody is trusted: deny all\n");
    }
    for denial in set.denied.values() {
        if let Some(sha1) = &denial.sha1 {
            let _ = writeln!(text, "{} \"\";", quoted_regex(&format!(r"^SUCCESS\|{sha1}\|")));
        }
    }
    for pin in set.pins.values() {
        let pattern = format!(r"^SUCCESS\|{}\|", pin.leaf.facts().sha1);
        let _ = writeln!(text, "{} \"{}\";", quoted_regex(&pattern), pin.role());
    }
    for rule in &set.name_rules {
        for pattern in name_patterns(rule) {
            let _ = writeln!(text, "{} \"name\";", quoted_regex(&pattern));
        }
    }
    text
}

/// Issuer DN and subject DN, both RFC 2253 with the common name first; other attributes may change at a renewal, but
/// none of their values can hold an unescaped comma.
fn name_patterns(rule: &NameRule) -> Vec<String> {
    let issuer = escaped(&rule.root.facts().subject);
    if rule.names.is_empty() {
        return vec![format!(r"^SUCCESS\|[0-9a-f]{{40}}\|{issuer}\|")];
    }
    rule.names
        .iter()
        .map(|name| {
            let name = escaped(name);
            format!(r"^SUCCESS\|[0-9a-f]{{40}}\|{issuer}\|CN=(?i:{name})(?:,(?:OU|O|L|ST|C)=(?:[^,+\\]|\\.)*)*\z")
        })
        .collect()
}

/// Text that a regular expression matches literally.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, character| {
        if !character.is_ascii_alphanumeric() && character != ' ' && character != '=' {
            escaped.push('\\');
        }
        escaped.push(character);
        escaped
    })
}

/// A regular expression as a quoted nginx key: each backslash doubled, each quote escaped.
fn quoted_regex(pattern: &str) -> String {
    format!("\"~{}\"", pattern.replace('\\', r"\\").replace('"', "\\\""))
}
