//! Whether a server's check notices a broken generation. Some checks do not read our files at all (`apache2 -t`, a
//! check that runs in another container), so that their passing means nothing. Each is tried once with a generation
//! that was broken on purpose: one that passes it is *blind*. From then on it says nothing when it passes; when it
//! fails, it still does.

use serde::{Deserialize, Serialize};

use crate::trust::values::fingerprint::Fingerprint;

/// What is known of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCanary {
    /// Digest of what was tried: the kind of server and the check's command.
    pub check: Fingerprint,
    /// The generation that was broken for it.
    pub generation: u64,
    /// What the check made of it.
    pub verdict: CanaryVerdict,
}

/// What a check made of a broken generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryVerdict {
    /// It notices: it refused that one, and accepts a good one.
    Sees,
    /// It passed the broken one.
    Blind,
    /// It could not be tried, for this reason.
    #[serde(rename = "unjudged")]
    NotTried(String),
}

impl CheckCanary {
    /// The digest of a check.
    #[must_use]
    pub fn digest(kind: &str, argv: &[String]) -> Fingerprint {
        Fingerprint::of(format!("{kind} {argv:?}").as_bytes())
    }

    /// Whether the check is to be tried with a broken generation. One that noticed stays trusted; any other is tried
    /// again with each generation: the server may not have used our files yet, or the machine may now allow what it did
    /// not.
    #[must_use]
    pub fn is_due(known: Option<&Self>, check: Fingerprint, generation: u64) -> bool {
        known.is_none_or(|known| {
            known.check != check || (known.verdict != CanaryVerdict::Sees && known.generation != generation)
        })
    }

    /// Whether this very check is known to be blind.
    #[must_use]
    pub fn is_blind(known: Option<&Self>, check: Fingerprint) -> bool {
        known.is_some_and(|known| known.check == check && known.verdict == CanaryVerdict::Blind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_judged_once_unless_it_is_another_or_was_not_seen_to_see() {
        let [check, other] =
            ["-t", "-x"].map(|word| CheckCanary::digest("nginx", &["nginx".to_owned(), word.to_owned()]));
        assert_ne!(check, other);
        assert_ne!(check, CheckCanary::digest("apache", &["nginx".to_owned(), "-t".to_owned()]));
        assert!(CheckCanary::is_due(None, check, 1) && !CheckCanary::is_blind(None, check));
        for (verdict, again, blind) in [
            (CanaryVerdict::Sees, false, false),
            (CanaryVerdict::Blind, true, true),
            (CanaryVerdict::NotTried("no root".into()), true, false),
        ] {
            let known = CheckCanary { check, generation: 1, verdict };
            assert!(!CheckCanary::is_due(Some(&known), check, 1), "{known:?}");
            assert_eq!(CheckCanary::is_due(Some(&known), check, 2), again, "{known:?}");
            assert!(CheckCanary::is_due(Some(&known), other, 1), "{known:?}");
            assert_eq!(CheckCanary::is_blind(Some(&known), check), blind, "{known:?}");
            assert!(!CheckCanary::is_blind(Some(&known), other), "what is known of one says nothing of another");
        }
    }
}
