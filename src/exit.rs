//! Exit codes: part of the interface (README, "Exit codes").

use std::collections::BTreeSet;
use std::process::ExitCode;

use crate::trust::event::Failure;
use crate::trust::event::finding::Finding;

/// How a command ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, changed or not.
    Done = 0,
    /// A fault of ours, or one that has no code of its own.
    #[default]
    Unexpected = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong.
    Configuration = 3,
    /// The source is unreachable or refused us; trust is unchanged.
    Source = 4,
    /// An answer or an entity of the source was refused.
    Answer = 5,
    /// The store could not be written.
    Store = 6,
    /// A target's reload or proof is owed, or a hold keeps a verified addition back.
    Owed = 7,
    /// Another writer holds the lock.
    Locked = 8,
    /// A server's own check refused the generation.
    Check = 9,
    /// Changed (with `--detailed-exit-code`, instead of 0).
    Changed = 10,
    /// Refused or not possible at run time; nothing was changed.
    Refused = 11,
}

impl Exit {
    /// Every one, the most urgent cause first: what is wrong before a cycle, then its causes in the order 6, 5, 4, 9,
    /// 7.
    pub const ALL: [Self; 12] = [
        Self::Usage,
        Self::Configuration,
        Self::Unexpected,
        Self::Locked,
        Self::Store,
        Self::Answer,
        Self::Source,
        Self::Check,
        Self::Owed,
        Self::Refused,
        Self::Changed,
        Self::Done,
    ];

    /// The exit of a cycle with these causes.
    #[must_use]
    pub fn of(causes: &BTreeSet<Self>) -> Self {
        Self::ALL.into_iter().find(|cause| causes.contains(cause)).unwrap_or(Self::Done)
    }

    /// The exit that a finding leads to by itself, as the catalogue says.
    #[must_use]
    pub fn of_finding(finding: &Finding) -> Option<Self> {
        finding.event.facts().failure.map(Self::from)
    }
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Configuration => Self::Configuration,
            Failure::Source => Self::Source,
            Failure::Answer => Self::Answer,
            Failure::Store => Self::Store,
            Failure::Check => Self::Check,
            Failure::Owed => Self::Owed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_causes_end_in_the_first_of_store_answer_source_check_owed() {
        let ranked = [Exit::Store, Exit::Answer, Exit::Source, Exit::Check, Exit::Owed];
        for (at, first) in ranked.iter().enumerate() {
            assert_eq!(Exit::of(&ranked[at..].iter().copied().collect()), *first);
        }
        assert_eq!(Exit::of(&BTreeSet::new()), Exit::Done);
        assert_eq!(ranked.map(|exit| exit as u8), [6, 5, 4, 9, 7]);
    }
}
