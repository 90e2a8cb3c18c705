//! Reads `fingerprints.txt` as strictly as the services do that pin by it.

use std::collections::BTreeSet;

use super::meant::{counted, name_rules, pinned, same};
use crate::trust::records::manifest::Manifest;
use crate::trust::render::{Odd, is_one_word};
use crate::trust::values::fingerprint::Fingerprint;

/// A line for each pin and each name; each denial beside names; and besides only comments.
pub(super) fn list(text: &str, manifest: &Manifest) -> Result<(), Odd> {
    let (mut pins, mut names, mut denied) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let fresh = match *words.as_slice() {
            ["name", root, name] => hash(root, "root=").is_some_and(|root| names.insert((root, name.to_owned()))),
            ["denied", leaf, "revoked" | "distrusted"] => hash(leaf, "sha256=").is_some_and(|leaf| denied.insert(leaf)),
            ["current" | "upcoming" | "trusted" | "retiring", leaf, _, _, _] => {
                hash(leaf, "sha256:").is_some_and(|leaf| pins.insert(leaf))
            }
            _ => false,
        };
        if !fresh {
            return Err((format!("{line:?}"), "lines of pins, names and denials, each once".to_owned()));
        }
    }
    let rules = name_rules(manifest);
    let mut meant = BTreeSet::new();
    for rule in &rules {
        let of_rule = if rule.names.is_empty() { &rule.witnesses.dns_names } else { rule.names };
        if of_rule.is_empty() {
            meant.insert((*rule.root, "*".to_owned()));
        }
        meant.extend(of_rule.iter().filter(|name| is_one_word(name)).map(|name| (*rule.root, name.clone())));
    }
    let meant_denied = if rules.is_empty() { BTreeSet::new() } else { manifest.denied.keys().copied().collect() };
    same(&names, &meant, "names")?;
    same(&denied, &meant_denied, "denials")?;
    counted(pins.len(), pinned(manifest), "pins")
}

fn hash(word: &str, prefix: &str) -> Option<Fingerprint> {
    word.strip_prefix(prefix)?.parse().ok()
}
