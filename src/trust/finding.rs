//! What a cycle found worth saying: the one type behind log lines, alarms, `status` and notifications.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad it is. The order is that of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a line in the log.
    Note,
    /// Someone should look within days.
    Warning,
    /// Calls fail, or will, unless someone acts.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// One thing found, about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name in snake_case: `upcoming_refused`.
    pub event: String,
    /// The slot, source, target or store that it is about.
    pub subject: String,
    /// What happened, why, what it means for trust, what to do.
    pub text: String,
}

impl Finding {
    /// A line in the log.
    pub fn note(event: &str, subject: impl fmt::Display, text: impl Into<String>) -> Self {
        Self::new(Severity::Note, event, subject, text)
    }

    /// An alarm that can wait for days.
    pub fn warning(event: &str, subject: impl fmt::Display, text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, event, subject, text)
    }

    /// An alarm that cannot.
    pub fn critical(event: &str, subject: impl fmt::Display, text: impl Into<String>) -> Self {
        Self::new(Severity::Critical, event, subject, text)
    }

    /// A finding of any severity.
    pub fn new(severity: Severity, event: &str, subject: impl fmt::Display, text: impl Into<String>) -> Self {
        Self { severity, event: event.to_owned(), subject: subject.to_string(), text: text.into() }
    }

    /// What identifies the alarm from cycle to cycle: `upcoming_refused:us.us-east-1.digicert`.
    #[must_use]
    pub fn alarm_id(&self) -> String {
        format!("{}:{}", self.event, self.subject)
    }
}
