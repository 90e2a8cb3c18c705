//! The part of Envoy's configuration that a user adds, with the target's own link in it.

use std::path::Path;

use crate::targets::snippet::within_quotes;

/// `deploy/envoy/envoy.yaml`: a whole Envoy, ours between two lines of dashes.
const WHOLE: &str = include_str!("../../../deploy/envoy/envoy.yaml");

/// The path that stands for the link there.
const DEFAULT_LINK: &str = "/var/lib/trustsync/target/envoy";

/// The folder that is watched there.
const DEFAULT_FOLDER: &str = "/var/lib/trustsync/target";

/// The lines between which ours stand.
const DASHES: &str = "# ----";

/// The whole file, for an Envoy that has no other configuration.
#[must_use]
pub fn whole(link: &Path) -> String {
    let folder = link.parent().unwrap_or(link);
    WHOLE
        .replace(&format!("\"{DEFAULT_LINK}/"), &format!("\"{}/", within_quotes(link)))
        .replace(&format!("\"{DEFAULT_FOLDER}\""), &format!("\"{}\"", within_quotes(folder)))
}

/// What goes into the `DownstreamTlsContext` of each listener that asks for client certificates.
#[must_use]
pub fn lines(link: &Path) -> String {
    let whole = whole(link);
    let ours = whole.lines().skip_while(|line| !line.trim_start().starts_with(DASHES)).skip(1);
    let ours: Vec<&str> = ours.take_while(|line| !line.trim_start().starts_with(DASHES)).collect();
    let indent = ours.first().map_or(0, |line| line.len().saturating_sub(line.trim_start().len()));
    let mut text =
        String::from("# Into the DownstreamTlsContext of each listener that asks for client certificates:\n");
    for line in ours {
        text.push_str(line.get(indent..).unwrap_or(line));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_name_the_targets_link_and_the_folder_that_it_is_renamed_in() {
        let lines = lines(Path::new("/srv/a \"b\"/target/edge"));
        assert!(lines.contains("path: \"/srv/a \\\"b\\\"/target/edge/envoy/sds.json\""), "{lines}");
        assert!(lines.contains("watched_directory: { path: \"/srv/a \\\"b\\\"/target\" }"), "{lines}");
        assert!(lines.contains("\nrequire_client_certificate: true\ncommon_tls_context:\n  validation"), "{lines}");
        assert!(!lines.contains("/var/lib") && !lines.contains("----"), "{lines}");
    }
}
