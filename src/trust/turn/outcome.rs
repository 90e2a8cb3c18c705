//! What a turn can come to: what was seen of the server, by what it is settled, why it stays owed.

use serde::{Deserialize, Serialize};

use crate::trust::excerpt;

/// No reason of an outcome is longer, whoever gave it: it is kept in files that must stay readable.
pub const LONGEST_REASON: usize = 4_000;

/// What a proof can come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Chain and allowlist are those of the wanted generation.
    Proven,
    /// The chain is; the allowlist does not show itself, for this reason.
    ChainOnly(String),
    /// The allowlist is; the chain does not show itself, for this reason.
    AllowlistOnly(String),
    /// Loaded, but these servers never ask our variable.
    NotEnforced(String),
    /// The server never showed a marker of this store.
    NotWired(String),
    /// It still answers with both, or not steadily with the new.
    NotYet(String),
    /// It serves another generation.
    Refuted(String),
    /// Nothing can be seen there, for this reason.
    Unverifiable(String),
    /// Nobody answers.
    Unreachable(String),
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnOutcome {
    /// The server serves what is wanted, by this evidence.
    Settled(Evidence),
    /// It does not, or nobody knows: the reload stays owed.
    Owed(Owed),
}

/// By what a generation was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Chain and allowlist were seen on the wire.
    Proven,
    /// The chain was; nothing more can be seen there.
    ChainOnly(String),
    /// The allowlist was; nothing more can be seen there.
    AllowlistOnly(String),
    /// The reload succeeded; nothing can be seen there.
    ReloadedNotProven(String),
    /// Proven earlier; now nobody answers.
    ProvenEarlier(String),
    /// The operator said so, where nothing shows it, for this reason.
    Confirmed(String),
}

/// Why a reload stays owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owed {
    /// A file of the generation did not read back.
    Unreadable(String),
    /// The link could not be switched.
    NotSwitched(String),
    /// The server's check refused the generation and accepts the old one: the link stays there.
    Refused(String),
    /// The check refuses, and the generation must not be taken back.
    RefusedButKept(String),
    /// The check fails with the old generation too: the server is broken without us.
    BrokenWithoutUs {
        /// What the check said of the new generation.
        new: String,
        /// What it said of the old one.
        old: String,
    },
    /// The check fails as things stand, before anything was moved: the server is broken without us, and the link stays.
    BrokenBefore(String),
    /// The check fails, and there is nothing that it may be compared with.
    CheckFailed(String),
    /// The check could not be run: nobody knows.
    CheckNotRun(String),
    /// The server could not be told.
    #[serde(rename = "not_told")]
    NotReloaded(String),
    /// It was told, and the proof says otherwise.
    Unproven(Proof),
    /// The privileged half did not answer, so that nothing was switched.
    Unanswered(String),
    /// The privileged half does not let the generation in, or not all of it.
    Withheld(String),
}

impl TurnOutcome {
    /// With every reason cut to [`LONGEST_REASON`], as it may be kept.
    #[must_use]
    pub fn bounded(self) -> Self {
        match self {
            Self::Settled(evidence) => Self::Settled(evidence.bounded()),
            Self::Owed(owed) => Self::Owed(owed.bounded()),
        }
    }
}

impl Owed {
    /// With every reason cut to [`LONGEST_REASON`].
    #[must_use]
    pub fn bounded(mut self) -> Self {
        match &mut self {
            Self::BrokenWithoutUs { new, old } => {
                bound(new);
                bound(old);
            }
            Self::Unreadable(why)
            | Self::NotSwitched(why)
            | Self::Refused(why)
            | Self::RefusedButKept(why)
            | Self::BrokenBefore(why)
            | Self::CheckFailed(why)
            | Self::CheckNotRun(why)
            | Self::NotReloaded(why)
            | Self::Unanswered(why)
            | Self::Withheld(why) => bound(why),
            Self::Unproven(proof) => match proof {
                Proof::Proven => {}
                Proof::ChainOnly(why)
                | Proof::AllowlistOnly(why)
                | Proof::NotEnforced(why)
                | Proof::NotWired(why)
                | Proof::NotYet(why)
                | Proof::Refuted(why)
                | Proof::Unverifiable(why)
                | Proof::Unreachable(why) => bound(why),
            },
        }
        self
    }
}

fn bound(reason: &mut String) {
    *reason = excerpt::end(reason, LONGEST_REASON);
}

impl Proof {
    /// What was seen instead, in the words of who looked.
    #[must_use]
    pub fn said(&self) -> String {
        match self {
            Self::Proven => String::new(),
            Self::ChainOnly(why)
            | Self::AllowlistOnly(why)
            | Self::NotEnforced(why)
            | Self::NotWired(why)
            | Self::NotYet(why)
            | Self::Refuted(why)
            | Self::Unverifiable(why)
            | Self::Unreachable(why) => why.clone(),
        }
    }
}

impl Evidence {
    fn bounded(mut self) -> Self {
        match &mut self {
            Self::Proven => {}
            Self::ChainOnly(why)
            | Self::AllowlistOnly(why)
            | Self::ReloadedNotProven(why)
            | Self::ProvenEarlier(why)
            | Self::Confirmed(why) => bound(why),
        }
        self
    }

    /// In a few words.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::ChainOnly(_) => "chain only",
            Self::AllowlistOnly(_) => "allowlist only",
            Self::ReloadedNotProven(_) => "reloaded, not proven",
            Self::ProvenEarlier(_) => "proven earlier, does not answer now",
            Self::Confirmed(_) => "confirmed by the operator",
        }
    }

    /// Why it is not more.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Proven => None,
            Self::ChainOnly(why)
            | Self::AllowlistOnly(why)
            | Self::ReloadedNotProven(why)
            | Self::ProvenEarlier(why)
            | Self::Confirmed(why) => Some(why),
        }
    }
}
