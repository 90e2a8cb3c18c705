//! What was seen of a generation at a server: by one look, and by all of them.

use std::fmt;
use std::path::PathBuf;

use crate::targets::process::Environment;

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

/// What a server proves. Ranked: the outcome over several addresses is the highest of theirs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Chain and allowlist are of the wanted generation.
    Proven,
    /// The allowlist is; the chain does not show its generation.
    AllowlistOnly {
        /// Why.
        reason: String,
    },
    /// The chain is; the allowlist does not show its generation.
    ChainOnly {
        /// Why.
        reason: String,
    },
    /// The chain is; the allowlist should show its generation there, and does not. No other way of looking makes up for it.
    Lacking {
        /// Why.
        reason: String,
    },
    /// The server cannot show what it serves.
    Unverifiable {
        /// Why.
        reason: String,
    },
    /// It asks for client certificates, and shows no marker of this store: its configuration does not name our files.
    NotWired,
    /// It could not be asked.
    Unreachable {
        /// Why.
        reason: String,
    },
    /// It showed the wanted generation, but not for long enough without an older one in between.
    NotYet {
        /// What was seen.
        reason: String,
    },
    /// It serves another generation.
    Refuted {
        /// The one it serves.
        generation: u64,
        /// Which part shows it.
        part: Part,
    },
    /// It serves something else, which names no generation.
    Otherwise {
        /// What.
        reason: String,
    },
    /// It serves another generation, and will not come to this one by itself.
    Kept {
        /// Why.
        reason: String,
    },
    /// It serves the wanted generation, and lets others in beside it.
    NotEnforced {
        /// Where, and why.
        places: String,
    },
}

/// What a generation was seen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The marker in the CertificateRequest.
    Chain,
    /// The header beside the allowlist.
    Allowlist,
    /// What it says of itself.
    Word,
    /// The secret that an Envoy has taken.
    Secret,
}

/// What one sighting says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The wanted generation, in all that can be seen there.
    New(Shown),
    /// The wanted chain, and nothing of the allowlist although it should show itself, for this reason.
    Less(String),
    /// Another generation.
    Old(u64, Part),
    /// Something else than the wanted generation, which names none.
    Otherwise(String),
    /// Not the wanted generation, nor will it be by waiting, for this reason.
    Kept(String),
    /// The wanted generation, but the server lets others in beside it, for this reason.
    Open(String),
    /// No marker of this store.
    NoMarker,
    /// No CertificateRequest.
    NotAsked,
    /// Nothing can be seen there, for this reason.
    Blind(String),
    /// No answer.
    Nothing(String),
}

/// The parts in which a way of looking shows the wanted generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Both.
    Both,
    /// The chain; the allowlist cannot be seen there, for this reason.
    Chain(String),
    /// The allowlist; the chain cannot be seen there, for this reason.
    Allowlist(String),
}

impl Seen {
    /// Whether `later` says the same; two failures are alike whatever their texts.
    pub fn continues(&self, later: &Self) -> bool {
        self == later || matches!((self, later), (Self::Nothing(_), Self::Nothing(_)))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New(_) => f.write_str("the wanted generation"),
            Self::Less(reason) => write!(f, "the wanted chain alone ({reason})"),
            Self::Old(generation, part) => write!(f, "generation {generation:06} in {part}"),
            Self::Kept(reason) | Self::Open(reason) => f.write_str(reason),
            Self::NoMarker => f.write_str("no marker of this store"),
            Self::NotAsked => f.write_str("no request for a client certificate"),
            Self::Blind(reason) | Self::Nothing(reason) | Self::Otherwise(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "the chain",
            Self::Allowlist => "the allowlist",
            Self::Word => "what it says of itself",
            Self::Secret => "its secret",
        })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven => f.write_str("proven"),
            Self::ChainOnly { reason } | Self::Lacking { reason } => write!(f, "chain only: {reason}"),
            Self::AllowlistOnly { reason } => write!(f, "allowlist only: {reason}"),
            Self::Unverifiable { reason } => write!(f, "unverifiable: {reason}"),
            Self::NotWired => f.write_str("not wired: the server shows no marker of this store"),
            Self::Unreachable { reason } => write!(f, "unreachable: {reason}"),
            Self::NotYet { reason } => {
                write!(f, "not yet: the wanted generation was seen, but not steadily ({reason})")
            }
            Self::Refuted { generation, part } => {
                write!(f, "refuted: generation {generation:06} is served in {part}")
            }
            Self::Otherwise { reason } => write!(f, "refuted: {reason}"),
            Self::Kept { reason } => write!(f, "refuted: {reason}"),
            Self::NotEnforced { places } => write!(f, "not enforced: {places}"),
        }
    }
}
