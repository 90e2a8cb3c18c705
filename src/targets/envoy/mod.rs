//! Envoy: a file of its secret discovery service, which it watches, so that it needs no reload; and its admin endpoint,
//! which shows what it has loaded.

mod admin;
mod limits;
mod read_back;
mod render;
pub mod snippet;

use std::time::Duration;

use super::kind::ServerKind;
use crate::trust::event::finding::Finding;
use crate::trust::plan::set::TrustSet;
use crate::trust::records::manifest::Manifest;
use crate::trust::render::{Family, Files, Label, Odd, Output, Place};

struct Envoy;

/// `envoy/`: a file of its secret discovery service.
pub const OUTPUT: Output = &Envoy;

/// The kind of server.
pub static ENVOY: ServerKind = ServerKind {
    output: Some(OUTPUT),
    reads: &["envoy/"],
    snippet: Some(snippet::lines),
    marker_file: (render::WITH_MARKER, render::WITHOUT_MARKER),
    own_proof: Some(&admin::PROOF),
    settle: Duration::ZERO,
    reads_at_requests: true,
    ..ServerKind::unknown("envoy")
};

impl Family for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn files(&self, set: &TrustSet, label: &Label<'_>) -> Files {
        render::files(set, label)
    }

    fn read_back(&self, path: &str, bytes: &[u8], manifest: &Manifest) -> Option<Result<(), Odd>> {
        let with_marker = match path {
            render::WITH_MARKER => true,
            render::WITHOUT_MARKER => false,
            _ => return None,
        };
        Some(read_back::secret(bytes, manifest, with_marker))
    }

    /// Of a name rule's leaves one is as good as another, but to a server that admits them one by one.
    fn besides(&self, set: &TrustSet) -> Option<String> {
        render::one_by_one(set).map(|leaves| format!("leaves {leaves:?}"))
    }

    fn limits(&self, target: &str, manifest: &Manifest, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<Finding> {
        limits::of_names(target, manifest, read).into_iter().collect()
    }

    fn problems(&self, place: &Place<'_>) -> Vec<String> {
        limits::one_authority(place).into_iter().chain(limits::named_by_root(place)).collect()
    }
}
