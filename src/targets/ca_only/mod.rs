//! A server that can be configured to trust authorities, and not single certificates. It reads the bundles, a
//! truststore, or OpenSSL's directory of certificates, the family *hashed*.

mod read_back;
mod render;
mod snippet;

pub use render::subject_hash;

use super::kind::ServerKind;
use crate::trust::plan::set::TrustSet;
use crate::trust::records::manifest::Manifest;
use crate::trust::render::{Family, Files, Label, Odd, Output};

/// OpenSSL's directory of certificates by the hash of their subject.
pub const OUTPUT: Output = &Hashed;

struct Hashed;

/// The kind of server.
pub static CA_ONLY: ServerKind = ServerKind {
    output: Some(OUTPUT),
    reads: &["trust-bundle.pem", "chain.pem", render::FOLDER, "truststore"],
    snippet: Some(snippet::lines),
    admits_by_authority_alone: true,
    ..ServerKind::unknown("ca-only")
};

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
