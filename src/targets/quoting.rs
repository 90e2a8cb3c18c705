//! Paths in the snippets that users include.

use std::path::Path;

/// As it stands between double quotes, in nginx, Apache, HAProxy, YAML and Java alike.
#[must_use]
pub fn within_quotes(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"")
}
