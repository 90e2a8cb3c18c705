//! What the log has said: what begins, becomes more or less urgent, or has another cause is said at once; what stands
//! for the same cause, once a day.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;

/// What stands unchanged is said again this often.
const SAID_AGAIN: Duration = Duration::from_secs(24 * 3_600);

/// Causes of one alarm that are said in that time: a vendor's text may be another one at each poll.
const MOST_CAUSES: usize = 8;

/// By the id of its alarm.
#[derive(Default)]
pub struct Said(BTreeMap<String, Alarm>);

struct Alarm {
    severity: Severity,
    causes: BTreeMap<String, Instant>,
}

impl Said {
    /// Whether this stands as it was said.
    pub fn stands(&self, finding: &Finding, now: Instant) -> bool {
        let Some(alarm) = self.0.get(&finding.alarm_id()) else { return false };
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < SAID_AGAIN;
        let is_said = match alarm.causes.get(&cause(&finding.text)) {
            Some(at) => is_recent(at),
            None => alarm.causes.values().filter(|at| is_recent(at)).count() >= MOST_CAUSES,
        };
        alarm.severity == finding.severity && is_said
    }

    /// It is said now.
    pub fn note(&mut self, finding: &Finding, now: Instant) {
        let fresh = || Alarm { severity: finding.severity, causes: BTreeMap::new() };
        let alarm = self.0.entry(finding.alarm_id()).or_insert_with(fresh);
        if alarm.severity != finding.severity {
            *alarm = fresh();
        }
        alarm.causes.retain(|_, at| now.saturating_duration_since(*at) < SAID_AGAIN);
        alarm.causes.insert(cause(&finding.text), now);
    }

    /// Forgets what is over, so that it is said again when it comes back.
    pub fn forget(&mut self, is_over: impl Fn(&str) -> bool) {
        self.0.retain(|id, _| !is_over(id));
    }
}

/// The text without what differs each time it is said: whatever has a digit in it (times, counts, ids of requests).
fn cause(text: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in text.split(|character: char| !character.is_alphanumeric() && !"-._:/".contains(character)) {
        let word = if word.contains(|character: char| character.is_ascii_digit()) { "#" } else { word };
        let is_repeated = word == "#" && words.last() == Some(&"#");
        if !word.is_empty() && !is_repeated {
            words.push(word);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::event::Event;
    use crate::trust::event::subject::Subject;

    #[test]
    fn another_cause_is_said_and_other_figures_are_not() {
        let found = |text: &str| Finding::new(Event::SourceUnreachable, Subject::source("us"), text);
        let (mut said, now) = (Said::default(), Instant::now());
        let first = found("no answer within 1m 5s (request 7f3a-11, attempt 4) of api.example");
        assert!(!said.stands(&first, now));
        said.note(&first, now);
        assert!(said.stands(&found("no answer within 59s (request 00bc-9, attempt 2) of api.example"), now));
        let other = found("the name api.example is not known");
        assert!(!said.stands(&other, now));
        said.note(&other, now);
        // Back and forth, both are known by now.
        assert!(said.stands(&first, now) && said.stands(&other, now));
        assert!(!said.stands(&first, now + SAID_AGAIN));
        for at in 0..100_u8 {
            let text = found(&"x".repeat(usize::from(at) + 1));
            if !said.stands(&text, now) {
                said.note(&text, now);
            }
        }
        assert_eq!(said.0.values().map(|alarm| alarm.causes.len()).sum::<usize>(), MOST_CAUSES);
        said.forget(|_| true);
        assert!(!said.stands(&first, now));
    }
}
