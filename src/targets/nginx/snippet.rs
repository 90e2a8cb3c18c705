//! The configuration that a user includes, with the target's own link in it.

use std::path::Path;

use crate::targets::snippet::within_quotes;

/// `deploy/nginx/trustsync-http.conf`, for the `http` level.
const HTTP: &str = include_str!("../../../deploy/nginx/trustsync-http.conf");

/// `deploy/nginx/trustsync-server.conf`, for each `server` that asks for client certificates.
const SERVER: &str = include_str!("../../../deploy/nginx/trustsync-server.conf");

/// The path that stands for the link in those files.
const DEFAULT_LINK: &str = "/var/lib/trustsync/target/nginx";

/// The maps of the `http` level.
#[must_use]
pub fn http(link: &Path) -> String {
    HTTP.replace(DEFAULT_LINK, &within_quotes(link))
}

/// What goes into each `server` block that asks for client certificates.
#[must_use]
pub fn server(link: &Path) -> String {
    SERVER.replace(DEFAULT_LINK, &within_quotes(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_snippets_is_quoted_and_becomes_the_targets() {
        let link = Path::new("/srv/a \"b\"/target/edge");
        for snippet in [http(link), server(link)] {
            assert!(snippet.contains("\"/srv/a \\\"b\\\"/target/edge/"), "{snippet}");
            assert!(!snippet.contains("/var/lib"), "{snippet}");
        }
        for line in HTTP.lines().chain(SERVER.lines()).filter(|line| !line.trim_start().starts_with('#')) {
            assert_eq!(line.contains(DEFAULT_LINK), line.contains(&format!("\"{DEFAULT_LINK}/")), "{line}");
        }
    }
}
