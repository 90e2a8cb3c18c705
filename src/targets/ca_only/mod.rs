//! A server that can only be told which authorities to trust, and never which certificate. It reads the bundles, a
//! truststore, or OpenSSL's directory of certificates, the family *hashed*.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

mod read_back;
mod render;

pub use render::subject_hash;

use super::kind::ServerKind;
use super::read_back::meant::is_chain;
use crate::trust::manifest::Manifest;
use crate::trust::render::{Family, Files, Label, Odd, Output};
use crate::trust::set::TrustSet;

/// See the head of this file.
#[derive(Debug)]
pub struct CaOnly;

/// OpenSSL's directory of certificates by the hash of their subject.
pub const OUTPUT: Output = Output::of(&Hashed);

struct Hashed;

impl ServerKind for CaOnly {
    fn name(&self) -> &'static str {
        "ca-only"
    }

    fn output(&self) -> Option<Output> {
        Some(OUTPUT)
    }

    fn reads(&self, path: &str) -> bool {
        is_chain(path) || path.starts_with(render::FOLDER) || path.ends_with(".p12")
    }

    fn admits_by_authority_alone(&self) -> bool {
        true
    }
}

impl Family for Hashed {
    fn name(&self) -> &'static str {
        "hashed"
    }

    fn files(&self, set: &TrustSet, label: &Label<'_>) -> Files {
        render::files(set, label)
    }

    fn read_back(&self, path: &str, bytes: &[u8], manifest: &Manifest) -> Option<Result<(), Odd>> {
        path.starts_with(render::FOLDER).then(|| read_back::file(path, bytes, manifest))
    }
}
