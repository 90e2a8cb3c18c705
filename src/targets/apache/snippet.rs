//! The configuration that a user includes in Apache httpd, with the target's own link in it.

use std::path::Path;

use crate::targets::snippet::within_quotes;

/// `deploy/apache/trustsync.conf`, for each `VirtualHost` that asks for client certificates.
const VIRTUAL_HOST: &str = include_str!("../../../deploy/apache/trustsync.conf");

/// The path that stands for the link in that file.
const DEFAULT_LINK: &str = "/var/lib/trustsync/target/apache";

/// The lines for each virtual host.
#[must_use]
pub fn virtual_host(link: &Path) -> String {
    // Every path of the snippet stands in double quotes.
    VIRTUAL_HOST.replace(DEFAULT_LINK, &within_quotes(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_snippet_is_quoted_and_becomes_the_targets() {
        let snippet = virtual_host(Path::new("/srv/a \"b\"/target/edge"));
        assert!(snippet.contains("\"/srv/a \\\"b\\\"/target/edge/"), "{snippet}");
        assert!(!snippet.contains("/var/lib"), "{snippet}");
        for line in VIRTUAL_HOST.lines() {
            assert_eq!(line.contains(DEFAULT_LINK), line.contains(&format!("\"{DEFAULT_LINK}/")), "{line}");
        }
    }
}
