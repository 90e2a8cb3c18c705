//! A server that nothing is known of: the files that every generation has; no check, no reload, and nothing is proven
//! unless configured.

use super::kind::ServerKind;

/// See the head of this file.
pub static GENERIC: ServerKind = ServerKind { reads: &[""], ..ServerKind::unknown("generic") };
