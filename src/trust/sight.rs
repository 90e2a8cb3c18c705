//! Whether a server's check sees what is wrong with a generation. Some do not look at the files at all (`apache2 -t`, a
//! check that runs in another container), and what they pass is no better for it. So each is shown, once, a generation that
//! was broken on purpose: one that passes it is *blind*, and counts as no check from then on.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

use serde::{Deserialize, Serialize};

use crate::trust::fingerprint::Fingerprint;

/// What is known of the sight of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// Digest of what was judged: the kind of server and the check's command.
    pub check: Fingerprint,
    /// The generation that was broken for it.
    pub generation: u64,
    /// What came of it.
    pub verdict: SightVerdict,
}

/// What a check made of a broken generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SightVerdict {
    /// It refused it, and accepts a good one.
    Sees,
    /// It passed it.
    Blind,
    /// It could not be shown to it, for this reason.
    Unjudged(String),
}

impl Sight {
    /// The digest of a check.
    #[must_use]
    pub fn digest(kind: &str, argv: &[String]) -> Fingerprint {
        Fingerprint::of(format!("{kind} {argv:?}").as_bytes())
    }

    /// Whether the check is to be shown a broken generation. Who sees, goes on seeing; a blind one is asked again with each
    /// generation, since a server may have passed it only because it did not use our files yet.
    #[must_use]
    pub fn is_due(known: Option<&Self>, check: Fingerprint, generation: u64) -> bool {
        known.is_none_or(|known| {
            known.check != check || (known.verdict == SightVerdict::Blind && known.generation != generation)
        })
    }

    /// Whether this very check is known to be blind.
    #[must_use]
    pub fn is_blind(known: Option<&Self>, check: Fingerprint) -> bool {
        known.is_some_and(|known| known.check == check && known.verdict == SightVerdict::Blind)
    }
}
