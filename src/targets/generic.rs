//! A server that nothing is known of: the files that every generation has; no check, nobody is told, and nothing is
//! proven unless configured.

use super::kind::ServerKind;

/// See the head of this file.
#[derive(Debug)]
pub struct Generic;

impl ServerKind for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn reads(&self, _path: &str) -> bool {
        true
    }
}
