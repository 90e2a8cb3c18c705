//! A Java server: PKCS#12 truststores, and a check of its own that pins (`deploy/java/`).

mod read_back;
mod render;
mod snippet;

use std::time::Duration;

use super::kind::ServerKind;
use super::read_back::meant::authorities;
use super::ways::GenerationEvidence;
use crate::trust::plan::set::TrustSet;
use crate::trust::records::manifest::Manifest;
use crate::trust::render::{Family, Files, Label, Odd, Output};

struct Java;

/// `truststore.p12`, with and without the generation marker.
pub const OUTPUT: Output = &Java;

/// The kind of server.
pub static JAVA: ServerKind = ServerKind {
    output: Some(OUTPUT),
    reads: &["trust-bundle.pem", "chain.pem", "fingerprints.txt", "truststore"],
    snippet: Some(snippet::lines),
    marker_file: (render::WITH_MARKER, render::WITHOUT_MARKER),
    evidence: GenerationEvidence::Header,
    settle: Duration::ZERO,
    reads_at_requests: true,
    ..ServerKind::unknown("java")
};

impl Family for Java {
    fn name(&self) -> &'static str {
        "java"
    }

    fn files(&self, set: &TrustSet, label: &Label<'_>) -> Files {
        render::files(set, label)
    }

    fn read_back(&self, path: &str, bytes: &[u8], manifest: &Manifest) -> Option<Result<(), Odd>> {
        let meant = match path {
            render::WITHOUT_MARKER => authorities(manifest).max(1),
            render::WITH_MARKER => authorities(manifest).saturating_add(1),
            _ => return None,
        };
        Some(read_back::truststore(bytes, meant))
    }
}
