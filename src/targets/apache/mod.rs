//! Apache httpd: chain bundle and an allowlist to include; a real start in private as its check; SIGUSR1 (graceful).

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

mod read_back;
mod render;
pub mod snippet;
mod start;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kind::ServerKind;
use super::read_back::meant::{is_chain, named, pinned, text};
use super::ways::{Addressee, CheckWay, GenerationEvidence, Reload, Signal};
use crate::trust::manifest::Manifest;
use crate::trust::render::{Family, Files, Label, Odd, Output};
use crate::trust::set::{Denial, TrustSet};

pub use start::START;

/// See the head of this file.
#[derive(Debug)]
pub struct Apache;

/// `apache/`: an allowlist to include.
pub const OUTPUT: Output = Output::of(&Apache);

impl ServerKind for Apache {
    fn name(&self) -> &'static str {
        "apache"
    }

    fn output(&self) -> Option<Output> {
        Some(OUTPUT)
    }

    fn reads(&self, path: &str) -> bool {
        is_chain(path) || path.starts_with("apache/") || path.starts_with("hashed/")
    }

    fn snippet(&self, link: &Path) -> Option<String> {
        Some(snippet::virtual_host(link))
    }

    /// A start, not a test: `apache2ctl -t` reads no certificate, and a bad one ends the server.
    fn check(&self) -> Option<&'static [&'static str]> {
        Some(&["apache2ctl"])
    }

    /// `apache2 -t` is a test, and it says so by its exit code alone.
    fn check_way(&self, argv: &[String]) -> CheckWay {
        let tests = argv.iter().any(|word| matches!(word.as_str(), "-t" | "-S" | "configtest"));
        if tests { CheckWay::Test } else { CheckWay::Start(&START) }
    }

    /// Its own test reads an allowlist and no certificate, and it is a bad certificate that ends the server.
    fn is_checked(&self, way: CheckWay, path: &Path) -> bool {
        let is_list = path.extension().is_some_and(|extension| extension == "conf");
        way != CheckWay::Test || !is_list
    }

    fn check_that_looks(&self) -> Option<&'static str> {
        Some("A real start of the server looks: check = [\"apache2ctl\"].")
    }

    fn reload(&self) -> Reload {
        let pidfile = PathBuf::from("/run/apache2/apache2.pid");
        Reload::Signal { signal: Signal::Usr1, to: Addressee::Pidfile { pidfile, process: "apache2".to_owned() } }
    }

    fn evidence(&self) -> GenerationEvidence {
        GenerationEvidence::Header
    }

    fn settle(&self) -> Duration {
        Duration::ZERO
    }

    fn reads_at_requests(&self) -> bool {
        true
    }

    /// By SSLCADNRequestFile.
    fn advertises_other_names(&self) -> bool {
        true
    }

    /// The snippet shows the header even to a client without a certificate.
    fn asks_every_client(&self) -> bool {
        true
    }
}

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
