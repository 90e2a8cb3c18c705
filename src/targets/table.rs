//! The kinds of server that are known. A new one says in a [`ServerKind`](super::kind::ServerKind) what it is, and
//! implements [`Family`](crate::trust::render::Family) if it reads files of its own, in a folder beside this file; it
//! has a line here. A test does just that with a made-up one (`tests/servers/new_kind.rs`).

use super::apache::APACHE;
use super::ca_only::CA_ONLY;
use super::envoy::ENVOY;
use super::generic::GENERIC;
use super::haproxy::HAPROXY;
use super::java::JAVA;
use super::kind::Kinds;
use super::nginx::NGINX;

/// Every kind that the configuration can name.
pub const KINDS: Kinds = Kinds(&[&NGINX, &HAPROXY, &APACHE, &ENVOY, &JAVA, &CA_ONLY, &GENERIC]);

impl Default for Kinds {
    fn default() -> Self {
        KINDS
    }
}
