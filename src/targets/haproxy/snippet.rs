//! The lines that a user adds to HAProxy's configuration, with the target's own link in them.

use std::path::Path;

use crate::targets::snippet::within_quotes;

/// `deploy/haproxy/trustsync-bind.cfg`, for each `bind` that asks for client certificates.
const BIND: &str = include_str!("../../../deploy/haproxy/trustsync-bind.cfg");

/// `deploy/haproxy/trustsync-frontend.cfg`, for its frontend.
const FRONTEND: &str = include_str!("../../../deploy/haproxy/trustsync-frontend.cfg");

/// The path that stands for the link in those files.
const DEFAULT_LINK: &str = "/var/lib/trustsync/target/haproxy";

/// The options of the `bind` line.
#[must_use]
pub fn bind(link: &Path) -> String {
    BIND.replace(DEFAULT_LINK, &quoted(link))
}

/// The rules of the `frontend`.
#[must_use]
pub fn frontend(link: &Path) -> String {
    FRONTEND.replace(DEFAULT_LINK, &quoted(link))
}

/// Between double quotes HAProxy expands variables besides.
fn quoted(link: &Path) -> String {
    within_quotes(link).replace('$', "\\$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_snippets_is_quoted_and_becomes_the_targets() {
        let link = Path::new("/srv/a \"$b\"/target/edge");
        for snippet in [bind(link), frontend(link)] {
            assert!(snippet.contains("\"/srv/a \\\"\\$b\\\"/target/edge/"), "{snippet}");
            assert!(!snippet.contains("/var/lib"), "{snippet}");
        }
        for line in BIND.lines().chain(FRONTEND.lines()).filter(|line| !line.trim_start().starts_with('#')) {
            assert_eq!(line.contains(DEFAULT_LINK), line.contains(&format!("\"{DEFAULT_LINK}/")), "{line}");
        }
    }
}
