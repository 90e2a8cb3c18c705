//! What a way of observing a server is, and how a kind of server says that it has one of its own.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::targets::BoxFuture;
use crate::targets::proof::seen::{Seen, Wanted};
use crate::trust::turn::Proof;

/// How long one observation may take.
pub const OBSERVATION_LIMIT: Duration = Duration::from_secs(5);

/// Between two observations.
pub(super) const PAUSE: Duration = Duration::from_millis(30);

/// Between two observations of a server that never answers with the old generation after the new one.
const SHORT_PAUSE: Duration = Duration::from_millis(10);

/// A way of observing a server once.
pub trait Observe: Send + Sync {
    /// What it shows of the wanted generation, within `limit`.
    fn observe<'a>(&'a self, wanted: &'a Wanted, limit: Duration) -> BoxFuture<'a, Seen>;

    /// How long one observation may take.
    fn limit(&self) -> Duration {
        OBSERVATION_LIMIT
    }

    /// How long to wait between two observations.
    fn pause(&self, settle: Duration) -> Duration {
        if settle.is_zero() { SHORT_PAUSE } else { PAUSE }
    }

    /// Once nothing could be seen for long: why that is, if it can be found out.
    fn explain(&self, reason: String) -> BoxFuture<'_, Proof> {
        Box::pin(async { Proof::Unreachable(reason) })
    }
}

/// A way of proof that one kind of server has alone, as one target uses it. It shows the loaded allowlist.
#[derive(Clone)]
pub struct OwnProof {
    /// Where it observes, as it may be shown: without what may be a secret.
    pub place: String,
    /// Whether the loaded chain is sure to show its generation there.
    pub shows_chain: bool,
    /// What a handshake with the server means, given what the other ways saw.
    pub reconsider: fn(handshake: Seen, others: &[Seen]) -> Seen,
    /// Makes what observes there, or says why that cannot be.
    pub observer: Arc<dyn Fn() -> Result<Arc<dyn Observe>, String> + Send + Sync>,
}

impl fmt::Debug for OwnProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// The key of such a way in the configuration of a target's proof, and what its value means.
pub struct OwnProofKey {
    /// As it is written below `proof`.
    pub key: &'static str,
    /// What is wrong with a target without the kind's own family of files, if those are compared.
    pub needs_files: Option<&'static str>,
    /// Reads the value, or says what is wrong with it: paths begin at this folder, and the target's files have the
    /// generation marker or not.
    pub read: fn(value: &str, folder: &Path, marker: bool) -> Result<OwnProof, String>,
}
