//! Apache httpd: chain bundle and an allowlist to include; a real start in private as its check; SIGUSR1 (graceful).

mod read_back;
mod render;
pub mod snippet;
mod start;

use std::time::Duration;

use super::kind::ServerKind;
use super::read_back::meant::{named, pinned, text};
use super::ways::{GenerationEvidence, Signal};
use crate::trust::plan::set::{Denial, TrustSet};
use crate::trust::records::manifest::Manifest;
use crate::trust::render::{Family, Files, Label, Odd, Output};

pub use start::START;

struct Apache;

/// `apache/`: an allowlist to include.
pub const OUTPUT: Output = &Apache;

/// The kind of server.
pub static APACHE: ServerKind = ServerKind {
    output: Some(OUTPUT),
    reads: &["trust-bundle.pem", "chain.pem", "apache/", "hashed/"],
    snippet: Some(snippet::virtual_host),
    // A start, not a test: `apache2ctl -t` reads no certificate, and a bad one ends the server.
    check: Some(&["apache2ctl"]),
    start: Some(&START),
    spared_by_canary: Some("conf"),
    better_check: Some("A real start of the server reads them: check = [\"apache2ctl\"]."),
    signal: Some((Signal::Usr1, "/run/apache2/apache2.pid", "apache2")),
    evidence: GenerationEvidence::Header,
    settle: Duration::ZERO,
    reads_at_requests: true,
    // By SSLCADNRequestFile.
    advertises_other_names: true,
    // The snippet shows the header even to a client without a certificate.
    asks_every_client: true,
    ..ServerKind::unknown("apache")
};

impl Family for Apache {
    fn name(&self) -> &'static str {
        "apache"
    }

    fn files(&self, set: &TrustSet, label: &Label<'_>) -> Files {
        render::files(set, label)
    }

    fn read_back(&self, path: &str, bytes: &[u8], manifest: &Manifest) -> Option<Result<(), Odd>> {
        match path {
            render::ADMIT => {
                let denied = manifest.denied.values().filter(|denial| self.can_name(denial)).count();
                let meant = read_back::Meant { denied, pinned: pinned(manifest), named: named(manifest) };
                Some(read_back::admit(&text(bytes), meant))
            }
            render::GENERATION => Some(read_back::generation(&text(bytes), manifest.generation)),
            _ => None,
        }
    }

    /// It can ask for the SHA-1 of the certificate's PEM text alone.
    fn can_name(&self, denial: &Denial) -> bool {
        denial.pem_sha1.is_some()
    }
}
