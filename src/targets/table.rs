//! The kinds of server that are known. A new one implements [`ServerKind`](super::kind::ServerKind) and, if it reads files
//! of its own, [`Family`](crate::trust::render::Family), in a folder beside this file, and has a line here. A test does just
//! that with a made-up one (`tests/servers/new_kind.rs`).

use super::apache::Apache;
use super::ca_only::CaOnly;
use super::envoy::Envoy;
use super::generic::Generic;
use super::haproxy::Haproxy;
use super::java::Java;
use super::kind::{Kind, Kinds};
use super::nginx::Nginx;

/// Every kind.
pub const KINDS: Kinds = Kinds::of(&[
    Kind::of(&Nginx),
    Kind::of(&Haproxy),
    Kind::of(&Apache),
    Kind::of(&Envoy),
    Kind::of(&Java),
    Kind::of(&CaOnly),
    Kind::of(&Generic),
]);

impl Default for Kinds {
    fn default() -> Self {
        KINDS
    }
}
