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
    /// How far one may build on that.
    pub caveat: Caveat,
}

/// What is known of a proof besides, in the order of its weight where several places show the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caveat {
    /// Nothing.
    None,
    /// Nothing can be seen in this way by a client such as ours, so that other ways are enough.
    OurLimit,
    /// Nobody listens there: of several addresses of one name, others may do so.
    Refused,
    /// This very place should show the allowlist too, so no other way makes up for it.
    AllowlistMissing,
    /// The handshake asks for no certificate: what another place shows counts before what that means.
    NotAsked,
    /// The allowlist is the wanted one and the names are others: what another place shows counts before what that
    /// means.
    OtherNames,
    /// It names no generation, so it may be passing.
    NoGeneration,
    /// The server has refused the generation and keeps what it has, however long one waits.
    Kept,
}

impl From<Proof> for Seen {
    fn from(proof: Proof) -> Self {
        Self { proof, caveat: Caveat::None }
    }
}

impl Seen {
    /// A proof with what is known of it besides.
    #[must_use]
    pub fn with(proof: Proof, caveat: Caveat) -> Self {
        Self { proof, caveat }
    }

    /// Something else than the wanted generation, which names none.
    #[must_use]
    pub fn other_content(why: String) -> Self {
        Self::with(Proof::Refuted(why), Caveat::NoGeneration)
    }

    /// Something else than the wanted generation, however long one waits.
    #[must_use]
    pub fn kept(why: String) -> Self {
        Self::with(Proof::Refuted(why), Caveat::Kept)
    }

    /// Where several places must agree, the one of the highest rank counts: as [`Proof`] is ranked, then by its caveat.
    #[must_use]
    pub fn rank(&self) -> (Proof, Caveat) {
        let proof = match self.caveat {
            Caveat::NotAsked | Caveat::OtherNames => Proof::ChainOnly(String::new()),
            _ => self.proof.clone().bare(),
        };
        (proof, self.caveat)
    }

    /// Something that this very place should show is missing there.
    #[must_use]
    pub fn lacks_something(&self) -> bool {
        let lacks = matches!(self.caveat, Caveat::AllowlistMissing | Caveat::NotAsked | Caveat::OtherNames);
        lacks && !self.is_unseen()
    }

    /// What is looked for cannot be seen from here, or not all of it.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        matches!(self.proof, Proof::Unverifiable(_) | Proof::AllowlistUnseen(_))
    }

    /// The wanted generation, in all that can be seen there.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.caveat == Caveat::None
            && matches!(
                self.proof,
                Proof::Proven | Proof::ChainOnly(_) | Proof::AllowlistOnly(_) | Proof::AllowlistUnseen(_)
            )
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
