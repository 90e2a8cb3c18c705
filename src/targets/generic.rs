//! A server that nothing is known of: the files that every generation has; no check, no reload, and nothing is proven
//! unless configured.

use std::path::Path;

use super::kind::ServerKind;
use super::snippet::within_quotes;

/// See the head of this file.
pub static GENERIC: ServerKind = ServerKind { reads: &[""], snippet: Some(lines), ..ServerKind::unknown("generic") };

/// How its own code, or its configuration, names the files. A link is read whole or not at all: resolve it once, then
/// open the files below what it names.
fn lines(link: &Path) -> String {
    let link = within_quotes(link);
    format!(
        r#"# What this server reads, by a link that moves to each new generation (whole services: deploy/go, deploy/python,
# deploy/node). Roots and intermediates; then whom to admit besides, by fingerprint, or by root and name:
"{link}/trust-bundle.pem"
"{link}/fingerprints.txt"
"#
    )
}
