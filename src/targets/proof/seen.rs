//! What one observation of a server shows of a generation: a proof, and how far one may build on it.

use std::path::PathBuf;

use crate::targets::process::Environment;
use crate::trust::turn::Proof;

/// Of a server that advertises no marker of the store.
pub const NOT_OURS: &str =
    "what it shows (its request for client certificates, or its own report) is not of this store";

/// The generation to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of this store.
    pub store_id: String,
    /// This generation.
    pub generation: u64,
    /// Whose trust content has this head of a digest.
    pub digest_head: String,
    /// What a command that is asked is given.
    pub environment: Environment,
    /// The folder that holds its files: the target's link.
    pub directory: PathBuf,
}

/// How long to be patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The server was asked to reload just now: `settle` and `timeout` as configured.
    JustReloaded,
    /// Nobody asked it lately: three observations in a row that agree decide, whichever way.
    LongRunning,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it proves.
    pub proof: Proof,
    /// Whether it will be so however long one waits: the server has refused the generation, and keeps what it has.
    pub is_final: bool,
    /// Whether a part is missing that this very place should show, so that no other way makes up for it.
    pub lacks_a_part: bool,
}

impl From<Proof> for Seen {
    fn from(proof: Proof) -> Self {
        Self { proof, is_final: false, lacks_a_part: false }
    }
}

impl Seen {
    /// Another generation than the wanted one, or other content, which waiting does not change.
    #[must_use]
    pub fn refuted_for_good(why: String) -> Self {
        Self { is_final: true, ..Proof::Refuted(why).into() }
    }

    /// The chain of the wanted generation, without the allowlist that this place should show with it.
    #[must_use]
    pub fn without_allowlist(why: String) -> Self {
        Self { lacks_a_part: true, ..Proof::ChainOnly(why).into() }
    }

    /// Where several places must agree, the one of the highest rank counts: as [`Proof`] is ranked, what is final last.
    #[must_use]
    pub fn rank(&self) -> (Proof, bool) {
        (self.proof.clone().bare(), self.is_final || self.lacks_a_part)
    }

    /// The wanted generation, in all that can be seen there.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.lacks_a_part && matches!(self.proof, Proof::Proven | Proof::ChainOnly(_) | Proof::AllowlistOnly(_))
    }

    /// Whether `later` says the same; two failures are alike whatever their texts.
    #[must_use]
    pub fn continues(&self, later: &Self) -> bool {
        self == later || matches!((&self.proof, &later.proof), (Proof::Unreachable(_), Proof::Unreachable(_)))
    }
}

/// That `part` of what the server serves is of another generation.
#[must_use]
pub fn of_generation(part: &str, generation: u64) -> Proof {
    Proof::Refuted(format!("{part} is of generation {generation:06}"))
}

/// That the server shows nothing of this store.
#[must_use]
pub fn not_ours() -> Proof {
    Proof::NotWired(NOT_OURS.to_owned())
}
