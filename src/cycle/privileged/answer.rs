//! What the privileged helper answers the daemon about a turn.

use serde::{Deserialize, Serialize};

use super::folder::{Privileged, Request};
use crate::targets::enforcement::Enforcement;
use crate::trust::event::finding::{self, Finding};
use crate::trust::records::state::StandingCheck;
use crate::trust::turn::canary::CheckCanary;
use crate::trust::turn::{LONGEST_REASON, Owed};
use crate::trust::values::excerpt;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;

/// The schema that this version writes.
const SCHEMA: u32 = 1;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyOutcome {
    /// Version of this format.
    pub schema: u32,
    /// The request's id; none where somebody ran `apply` by hand.
    pub request: Option<String>,
    /// When the turn was taken.
    pub time: Timestamp,
    /// What the link names now, where it names anything.
    #[serde(rename = "standing")]
    pub rendered: Option<Rendered>,
    /// How the turn ended, up to the reload.
    pub verdict: Verdict,
    /// What of the daemon's generation was not let in, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// What the server's configuration says of the allowlist, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// Whether the server's check sees what is wrong with a generation, as far as that is known.
    #[serde(rename = "sight", default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CheckCanary>,
    /// What the check says as things stand, where the turn needed none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing_check: Option<StandingCheck>,
    /// What else was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "finding::read_known")]
    pub findings: Vec<Finding>,
}

/// What was rendered last, by which it can be proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// The id of the store that it was adopted from.
    pub store: String,
    /// The number of the generation.
    pub generation: u64,
    /// Digest of what was let in.
    pub digest: Fingerprint,
}

/// How a turn of the privileged helper ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The server was reloaded, in this way; whether it serves the generation is for the daemon to prove.
    #[serde(rename = "told")]
    Reloaded(String),
    /// The turn ended before that.
    Owed(Owed),
    /// Nothing was rendered, for this reason.
    Withheld(String),
}

impl ApplyOutcome {
    /// Of a turn at this moment.
    #[must_use]
    pub fn new(request: Option<&Request>, time: Timestamp, verdict: Verdict) -> Self {
        Self {
            schema: SCHEMA,
            request: request.map(|request| request.id.clone()),
            time,
            rendered: None,
            verdict,
            refused: Vec::new(),
            enforcement: None,
            canary: None,
            standing_check: None,
            findings: Vec::new(),
        }
    }

    /// With every reason cut, so that the daemon can read it, whatever a server or the daemon's own store has answered.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let cut = |words: String| excerpt::end(&words, LONGEST_REASON);
        self.verdict = match self.verdict {
            Verdict::Reloaded(words) => Verdict::Reloaded(cut(words)),
            Verdict::Owed(owed) => Verdict::Owed(owed.bounded()),
            Verdict::Withheld(why) => Verdict::Withheld(cut(why)),
        };
        self.refused = self.refused.into_iter().map(cut).collect();
        for finding in &mut self.findings {
            finding.text = cut(std::mem::take(&mut finding.text));
        }
        self
    }

    /// The last one that root wrote.
    #[must_use]
    pub fn last(files: &Privileged) -> Option<Self> {
        serde_json::from_slice(&files.concluded()?).ok().filter(|outcome: &Self| outcome.schema <= SCHEMA)
    }

    /// As JSON, ended by a newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}
