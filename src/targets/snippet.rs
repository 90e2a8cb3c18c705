//! The lines that a user adds to a server's configuration, with the target's own link in them.

use std::path::Path;

use super::kind::Kind;

/// What is to be added for a server of this kind, where it is known; with the files that have the generation marker, or
/// without.
#[must_use]
pub fn of(kind: Kind, marker: bool, link: &Path) -> Option<String> {
    let lines = kind.snippet(link)?;
    let without = || kind.without_marker(&lines.replace("/trust-bundle.pem", "/chain.pem"));
    Some(if marker { lines } else { without() })
}
