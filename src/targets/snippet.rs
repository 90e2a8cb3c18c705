//! Paths in the lines that a user adds to a server's configuration.

use std::path::Path;

/// A path as it stands between double quotes, in nginx, Apache, HAProxy, YAML and Java alike.
#[must_use]
pub fn within_quotes(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"")
}
