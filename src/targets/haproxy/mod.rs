//! HAProxy: chain bundle and lists; `haproxy -c`; SIGUSR2 to its master; and the two sockets by which it answers, and
//! takes files without a reload.
//!
//! ```text
//!  runtime socket:  loaded (what it has of our files) ─▶ update (our files as they stand now)
//!  master socket:   whether the worker of a reload came up
//! ```

mod compare;
pub mod loaded;
pub mod master;
pub mod on_disk;
mod read_back;
mod render;
pub mod snippet;
pub mod socket;
pub mod update;

use std::time::Duration;

use super::kind::ServerKind;
use super::read_back::meant::{named, pinned_leaves, text};
use super::ways::Signal;
use crate::trust::plan::set::TrustSet;
use crate::trust::records::manifest::Manifest;
use crate::trust::render::{Family, Files, Label, Odd, Output};

struct Haproxy;

/// `haproxy/`: lists of fingerprints and names.
pub const OUTPUT: Output = &Haproxy;

/// The kind of server.
pub static HAPROXY: ServerKind = ServerKind {
    output: Some(OUTPUT),
    reads: &["trust-bundle.pem", "chain.pem", "haproxy/"],
    snippet: Some(|link| format!("{}\n{}", snippet::bind(link), snippet::frontend(link))),
    // Not `-q`, which says no reason.
    check: Some(&["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"]),
    signal: Some((Signal::Usr2, "/run/haproxy.pid", "haproxy")),
    own_proof: Some(&compare::PROOF),
    own_reload: &[&update::RELOAD, &master::RELOAD],
    settle: Duration::ZERO,
    ..ServerKind::unknown("haproxy")
};

impl Family for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn files(&self, set: &TrustSet, label: &Label<'_>) -> Files {
        render::files(set, label)
    }

    fn read_back(&self, path: &str, bytes: &[u8], manifest: &Manifest) -> Option<Result<(), Odd>> {
        let text = text(bytes);
        Some(match path {
            render::DENIED => read_back::fingerprints(&text, manifest, &manifest.denied.keys().collect()),
            render::PINS => read_back::fingerprints(&text, manifest, &pinned_leaves(manifest)),
            render::NAMES => read_back::names(&text, manifest, named(manifest)),
            render::GENERATION => read_back::generation(&text, manifest),
            _ => return None,
        })
    }
}
