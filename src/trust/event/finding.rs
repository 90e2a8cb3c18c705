//! What a cycle found worth saying: the one type behind log lines, alarms, `status` and notifications.

use serde::{Deserialize, Deserializer, Serialize};

use crate::trust::event::Event;
use crate::trust::event::severity::Severity;
use crate::trust::event::subject::Subject;

/// What was found about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its row in the catalogue.
    pub event: Event,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// What happened, why, what it means for trust, what to do.
    pub text: String,
}

impl Finding {
    /// A finding as bad as the catalogue says; where it can be more or less so, the worst.
    pub fn new(event: Event, subject: impl Into<Subject>, text: impl Into<String>) -> Self {
        Self::graded(event.facts().worst(), event, subject, text)
    }

    /// A finding of an event that can be more or less bad.
    pub fn graded(severity: Severity, event: Event, subject: impl Into<Subject>, text: impl Into<String>) -> Self {
        let subject = subject.into();
        debug_assert!(event.facts().severities.contains(&severity), "{event} is never a {severity}");
        debug_assert!(event.facts().subjects.contains(&subject.subject_type()), "{event} is never about {subject:?}");
        Self { severity, event, subject, text: text.into() }
    }

    /// What identifies the alarm from cycle to cycle: `upcoming_refused:us.us-east-1.digicert`. Where an event can be
    /// about subjects of several types, which may have the same name, those of all but the first type name their type:
    /// `store_drift:target:web`.
    #[must_use]
    pub fn alarm_id(&self) -> String {
        let Self { event, subject, .. } = self;
        let subject_type = subject.subject_type();
        if event.facts().subjects.first() == Some(&subject_type) {
            format!("{event}:{subject}")
        } else {
            format!("{event}:{}:{subject}", subject_type.name())
        }
    }
}

/// Reads those findings that this version knows. Another version's may be among them: the two halves of a privileged
/// target are not upgraded in the same moment.
pub fn read_known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Finding>, D::Error> {
    let all = Vec::<serde_json::Value>::deserialize(deserializer)?;
    Ok(all.into_iter().filter_map(|finding| serde_json::from_value(finding).ok()).collect())
}
