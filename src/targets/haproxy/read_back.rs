//! Reads HAProxy's lists, as HAProxy does: a line is an entry, unless it is empty or begins with `#`.

use std::collections::BTreeSet;

use crate::targets::read_back::meant::{counted, exactly};
use crate::trust::records::manifest::Manifest;
use crate::trust::render::Odd;
use crate::trust::values::fingerprint::Fingerprint;

/// The generation's own entry, and besides these fingerprints, each once, in the case in which HAProxy prints them.
pub(super) fn fingerprints(text: &str, manifest: &Manifest, meant: &BTreeSet<&Fingerprint>) -> Result<(), Odd> {
    let (own, entries) = split(text)?;
    exactly(own, own_entry(manifest))?;
    let meant: BTreeSet<String> = meant.iter().map(|key| key.to_string().to_ascii_uppercase()).collect();
    let found: BTreeSet<&str> = entries.iter().copied().collect();
    if let Some(odd) = entries.iter().find(|entry| !meant.contains(**entry)) {
        return Err((format!("{odd:?}"), "fingerprints of its manifest".to_owned()));
    }
    counted(found.len(), meant.len(), "different entries")?;
    counted(entries.len(), meant.len(), "entries")
}

/// The generation's own entry, and so many expressions that are anchored and ask for an issuer.
pub(super) fn names(text: &str, manifest: &Manifest, meant: usize) -> Result<(), Odd> {
    let (own, entries) = split(text)?;
    exactly(own, format!("^{}$", own_entry(manifest)))?;
    if let Some(odd) = entries.iter().find(|entry| !is_rule(entry)) {
        return Err((format!("{odd:?}"), "anchored rules of issuer and subject".to_owned()));
    }
    counted(entries.len(), meant, "entries")
}

/// One line, which names the generation.
pub(super) fn generation(text: &str, manifest: &Manifest) -> Result<(), Odd> {
    exactly(text, format!("generation {:06}\n", manifest.generation))
}

fn own_entry(manifest: &Manifest) -> String {
    format!("trustsync generation {:06} of store {}", manifest.generation, manifest.store)
}

/// The first entry, and the others. Spaces at either end are not ours: HAProxy would take them away.
fn split(text: &str) -> Result<(&str, Vec<&str>), Odd> {
    let entries = || text.lines().filter(|line| !line.starts_with('#'));
    let is_odd = |line: &&str| line.is_empty() || line.trim() != *line || !line.chars().all(is_printable);
    if let Some(odd) = entries().find(is_odd) {
        return Err((format!("{odd:?}"), "entries of a list".to_owned()));
    }
    if !text.ends_with('\n') {
        return Err(("a line without end".to_owned(), "whole lines".to_owned()));
    }
    let own = entries().next().ok_or_else(|| ("no entry".to_owned(), "the generation's own".to_owned()))?;
    Ok((own, entries().skip(1).collect()))
}

fn is_printable(character: char) -> bool {
    character.is_ascii_graphic() || character == ' '
}

fn is_rule(entry: &str) -> bool {
    let Some((issuer, subject)) = entry.strip_prefix('^').and_then(|entry| entry.split_once(r"\|")) else {
        return false;
    };
    !issuer.is_empty() && (subject.is_empty() || subject.starts_with("CN=") && subject.ends_with('$'))
}
