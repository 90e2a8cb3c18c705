//! A Java server: PKCS#12 truststores, and a check of its own that pins (`deploy/java/`).

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

mod read_back;
mod render;
mod snippet;

use std::path::Path;
use std::time::Duration;

use super::kind::ServerKind;
use super::read_back::meant::{authorities, is_chain};
use super::ways::GenerationEvidence;
use crate::trust::manifest::Manifest;
use crate::trust::render::{Family, Files, Label, Odd, Output};
use crate::trust::set::TrustSet;

/// See the head of this file.
#[derive(Debug)]
pub struct Java;

/// `truststore.p12`, with and without the generation marker.
pub const OUTPUT: Output = Output::of(&Java);

impl ServerKind for Java {
    fn name(&self) -> &'static str {
        "java"
    }

    fn output(&self) -> Option<Output> {
        Some(OUTPUT)
    }

    fn reads(&self, path: &str) -> bool {
        is_chain(path) || path == "fingerprints.txt" || path.ends_with(".p12")
    }

    fn snippet(&self, link: &Path) -> Option<String> {
        Some(snippet::lines(link))
    }

    fn without_marker(&self, lines: &str) -> String {
        lines.replace(render::WITH_MARKER, render::WITHOUT_MARKER)
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
}

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
