//! What is seen of a generation at a server: by one look, by many, in several ways together. One word for each, from the
//! first look to what the turn makes of it.

use std::fmt;
use std::path::PathBuf;

use crate::targets::kind::Kind;
use crate::targets::process::Environment;
use crate::targets::ways;
use crate::trust::turn::Proof;

/// Of a server that advertises no marker of the store.
const NOT_OURS: &str = "what it shows (its request for client certificates, or its own word) is not of this store";

/// Why nothing is seen of a server without a CertificateRequest and without our header.
const NOT_ASKED: &str =
    "the server does not ask for a client certificate in its handshake, at this address and by this name";

/// Why the chain is not seen of one that asks by other names, and shows our header.
const OTHER_NAMES: &str = "its allowlist is of the wanted generation, but the names that it advertises are not those of this store's \
     bundle (another CA file at this address, or a list of names of its own, as Apache's SSLCADNRequestFile), so which authorities \
     it accepts cannot be seen";

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
    /// The server was told just now: `settle` and `timeout` as configured.
    JustReloaded,
    /// Nobody told it lately: three looks in a row that agree decide, whichever way.
    LongRunning,
}

/// What was seen. Ranked: of several addresses the highest counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Chain and allowlist are of the wanted generation.
    Proven,
    /// The allowlist is; the chain cannot be seen there, for this reason.
    AllowlistOnly(String),
    /// The chain is; the allowlist cannot be seen there, for this reason.
    ChainOnly(String),
    /// The chain is; the allowlist should show its generation there, and does not, for this reason. No other way of looking
    /// makes up for it.
    Lacking(String),
    /// No CertificateRequest and no header of ours.
    NotAsked,
    /// The allowlist is; the names that the server advertises are others than the chain's.
    OtherNames,
    /// Nothing can be seen there, for this reason.
    Unverifiable(String),
    /// It asks for client certificates, and shows no marker of this store: its configuration does not name our files.
    NotWired,
    /// No answer, for this reason.
    Unreachable(String),
    /// The wanted generation, but not for long enough without an older one in between; what was seen last.
    NotYet(String),
    /// Another generation.
    Refuted {
        /// Which.
        generation: u64,
        /// What shows it.
        part: Part,
    },
    /// Something else than the wanted generation, which names none.
    Otherwise(String),
    /// Not the wanted generation, nor will it be by waiting, for this reason.
    Kept(String),
    /// The wanted generation, but the server lets others in beside it: where, and why.
    NotEnforced(String),
}

/// What a generation was seen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The marker in the CertificateRequest.
    Chain,
    /// The header beside the allowlist.
    Allowlist,
    /// What it says of itself.
    SelfReport,
    /// The secret that an Envoy has taken.
    Secret,
}

impl Seen {
    /// The wanted generation, in all that can be seen there.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        matches!(self, Self::Proven | Self::ChainOnly(_) | Self::AllowlistOnly(_))
    }

    /// Whether `later` says the same; two failures are alike whatever their texts.
    #[must_use]
    pub fn continues(&self, later: &Self) -> bool {
        self == later || matches!((self, later), (Self::Unreachable(_), Self::Unreachable(_)))
    }

    /// What it proves of a server of this kind, looked at in these ways.
    #[must_use]
    pub fn proves(self, kind: Kind, ways: &ways::ProofMethods) -> Proof {
        match self {
            Self::Proven => Proof::Proven,
            Self::ChainOnly(why) | Self::Lacking(why) => Proof::ChainOnly(why),
            Self::AllowlistOnly(why) => Proof::AllowlistOnly(why),
            Self::NotAsked if kind.asks_every_client() && ways.shows_allowlist() => {
                Proof::NotWired(format!("{NOT_ASKED}, and shows no generation of the allowlist"))
            }
            Self::OtherNames if !kind.advertises_other_names() => Proof::NotWired(NOT_OURS.to_owned()),
            Self::NotAsked => Proof::Unverifiable(NOT_ASKED.to_owned()),
            Self::OtherNames => Proof::Unverifiable(OTHER_NAMES.to_owned()),
            Self::Unverifiable(why) => Proof::Unverifiable(why),
            Self::NotWired => Proof::NotWired(NOT_OURS.to_owned()),
            Self::Unreachable(why) => Proof::Unreachable(why),
            Self::NotYet(why) => Proof::NotYet(why),
            Self::Otherwise(why) | Self::Kept(why) => Proof::Refuted(why),
            Self::Refuted { generation, part } => Proof::Refuted(format!("{part} is of generation {generation:06}")),
            Self::NotEnforced(places) => Proof::NotEnforced(places),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven => f.write_str("proven"),
            Self::ChainOnly(reason) | Self::Lacking(reason) => write!(f, "chain only: {reason}"),
            Self::AllowlistOnly(reason) => write!(f, "allowlist only: {reason}"),
            Self::NotAsked => write!(f, "unverifiable: {NOT_ASKED}"),
            Self::OtherNames => write!(f, "unverifiable: {OTHER_NAMES}"),
            Self::Unverifiable(reason) => write!(f, "unverifiable: {reason}"),
            Self::NotWired => f.write_str("not wired: the server shows no marker of this store"),
            Self::Unreachable(reason) => write!(f, "unreachable: {reason}"),
            Self::NotYet(reason) => {
                write!(f, "not yet: the wanted generation was seen, but not steadily ({reason})")
            }
            Self::Refuted { generation, part } => {
                write!(f, "refuted: generation {generation:06} is served in {part}")
            }
            Self::Otherwise(reason) | Self::Kept(reason) => write!(f, "refuted: {reason}"),
            Self::NotEnforced(places) => write!(f, "not enforced: {places}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "the chain",
            Self::Allowlist => "the allowlist",
            Self::SelfReport => "what it says of itself",
            Self::Secret => "its secret",
        })
    }
}
