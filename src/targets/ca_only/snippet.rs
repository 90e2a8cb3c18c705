//! What a server that can only trust an authority is configured with, with the target's own link in it.

use std::path::Path;

/// `deploy/stunnel/ca-only.conf`, the form that is tested.
const STUNNEL: &str = include_str!("../../../deploy/stunnel/ca-only.conf");

/// The path that stands for the link in that file.
const DEFAULT_LINK: &str = "/var/lib/trustsync/target/stunnel";

/// The lines for stunnel, and where the authorities are for other servers. stunnel knows no quotes.
#[must_use]
pub fn lines(link: &Path) -> String {
    STUNNEL.replace(DEFAULT_LINK, &link.to_string_lossy())
}
