//! How a turn can end: what was seen of the server, which evidence settles the turn, why it stays owed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trust::values::excerpt;

/// The longest reason that is kept, in bytes, whatever gave it: it is kept in files that must stay readable.
pub const LONGEST_REASON: usize = 4_000;

/// What was seen of a generation at a server: by one observation, by many, in several ways together. Ranked: where
/// several addresses must agree, the last of these counts. Each carries the reason why it is not more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Chain and allowlist are those of the wanted generation.
    Proven,
    /// The allowlist is; the chain does not show itself.
    AllowlistOnly(String),
    /// The chain is; the allowlist does not show itself.
    ChainOnly(String),
    /// The chain is; whether the allowlist is cannot be seen from here.
    AllowlistUnseen(String),
    /// Nothing can be seen there.
    Unverifiable(String),
    /// The server never showed a marker of this store.
    NotWired(String),
    /// Nobody answers.
    Unreachable(String),
    /// It still answers with both, or not steadily with the new.
    NotYet(String),
    /// It serves something else than the wanted generation.
    Refuted(String),
    /// It has loaded the wanted generation, but these places never ask the allowlist.
    NotEnforced(String),
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnOutcome {
    /// The server serves what is wanted, as this evidence shows.
    Settled(Evidence),
    /// It does not, or that is unknown: the reload stays owed.
    Owed(Owed),
}

/// What a generation was acknowledged by.
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
    /// The operator confirmed it; nothing shows it, for this reason.
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
    /// The check could not be run, so nothing is known.
    CheckNotRun(String),
    /// The server could not be asked to reload.
    #[serde(rename = "not_told")]
    NotReloaded(String),
    /// It was asked to reload, and was seen to serve something else, or nothing.
    Unproven(Proof),
    /// The privileged helper did not answer, so nothing was switched.
    Unanswered(String),
    /// The privileged helper refuses the generation, or a part of it.
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
        self.reasons_mut().into_iter().for_each(bound);
        self
    }

    /// Why, as it was said: two of a server that is broken without us, else one.
    pub(super) fn reasons_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::BrokenWithoutUs { new, old } => vec![new, old],
            Self::Unreadable(why)
            | Self::NotSwitched(why)
            | Self::Refused(why)
            | Self::RefusedButKept(why)
            | Self::BrokenBefore(why)
            | Self::CheckFailed(why)
            | Self::CheckNotRun(why)
            | Self::NotReloaded(why)
            | Self::Unanswered(why)
            | Self::Withheld(why) => vec![why],
            Self::Unproven(proof) => proof.reason_mut().into_iter().collect(),
        }
    }
}

fn bound(reason: &mut String) {
    *reason = excerpt::end(reason, LONGEST_REASON);
}

impl Proof {
    /// What it is, in a few words, and why it is not more, in the words of the observation.
    #[must_use]
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Proven => ("proven", ""),
            Self::AllowlistOnly(why) => ("allowlist only", why),
            Self::ChainOnly(why) | Self::AllowlistUnseen(why) => ("chain only", why),
            Self::Unverifiable(why) => ("unverifiable", why),
            Self::NotWired(why) => ("not wired", why),
            Self::Unreachable(why) => ("unreachable", why),
            Self::NotYet(why) => ("not yet", why),
            Self::Refuted(why) => ("refuted", why),
            Self::NotEnforced(why) => ("not enforced", why),
        }
    }

    /// With this reason in its place, if it has one.
    #[must_use]
    pub fn because(mut self, reason: String) -> Self {
        if let Some(why) = self.reason_mut() {
            *why = reason;
        }
        self
    }

    /// Without its reason: two proofs are ranked by what they are, not by their texts.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.reason_mut().into_iter().for_each(String::clear);
        self
    }

    fn reason_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Proven => None,
            Self::AllowlistOnly(why)
            | Self::ChainOnly(why)
            | Self::AllowlistUnseen(why)
            | Self::Unverifiable(why)
            | Self::NotWired(why)
            | Self::Unreachable(why)
            | Self::NotYet(why)
            | Self::Refuted(why)
            | Self::NotEnforced(why) => Some(why),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            (words, "") => f.write_str(words),
            (words, why) => write!(f, "{words}: {why}"),
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
