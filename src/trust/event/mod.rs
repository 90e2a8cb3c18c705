//! The catalogue of events: everything that this program reports has one row here, and every output reads the row: the
//! log, `status`, the metrics, `trustsync alarms`, exit codes, the operator's runbook (`deploy/RUNBOOK.md`).
//!
//! ```text
//!  catalogue (one row an event) ─▶ Event::facts() ─▶ Finding (event, subject, text) ─▶ log · alarm · exit · runbook
//! ```
//! An event that is a *condition* ends by itself: when the observation that would raise it again does not. Any other is
//! something that *happened*: its alarm stays until someone has acknowledged it. An event cannot be added without its
//! facts, and nothing outside asks for one by its text.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::trust::event::severity::Severity;
use crate::trust::event::subject::SubjectType;

mod catalogue;
pub mod finding;
mod log_line;
pub mod severity;
pub mod subject;

pub use catalogue::Event;
pub use log_line::LogLine;

/// What is known of an event, whatever its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its stable name in snake_case, in every output.
    pub name: &'static str,
    /// How bad it can be; the most urgent first.
    pub severities: &'static [Severity],
    /// What it can be about. An alarm about any but the first names the type in its id.
    pub subjects: &'static [SubjectType],
    /// How its alarm ends.
    pub ends: End,
    /// What it means for trust.
    pub means: &'static str,
    /// What to do.
    pub action: &'static str,
    /// Whether the text of each finding already says what it means and what to do, so that outputs need not add it.
    pub text_explains: bool,
    /// Why it makes a command fail, if it does.
    pub failure: Option<Failure>,
}

/// How the alarm of an event ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is a note, which raises no alarm. It is logged where something changed, else only with `-v`.
    Note,
    /// As [`End::Note`], about the poll itself: it is logged each time.
    PassingNote,
    /// The source was asked with success.
    Poll,
    /// Both clocks agree again.
    ClocksAgree,
    /// The operator releases the hold.
    Release,
    /// The operator accepts the issuer.
    IssuerAccepted,
    /// The vendor lists the leaf, or the operator's override changes.
    Override,
    /// The first generation is published.
    FirstGeneration,
    /// The subject was observed again, and it is no longer so.
    Observed,
    /// As [`End::Observed`], by any cycle, whether its source was asked or not.
    AnyCycle,
    /// The revocation list came.
    List,
    /// The target's turn settled it.
    Settled,
    /// The target's server was seen to refuse strangers.
    Enforced,
    /// It is judged whenever somebody asks, and stands in no record.
    Judged,
    /// It happened, and someone acknowledged it.
    Acknowledged,
}

/// What must be observed before the absence of an event means that it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Its subject: the source was asked, the target took its turn, the store was read.
    OfItsSubject,
    /// Revocation lists were asked for.
    OfLists,
    /// Every cycle observes it.
    OfEveryCycle,
}

/// Why an event makes a command fail; each is one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The configuration is wrong.
    Configuration,
    /// A source is unreachable or refused us.
    Source,
    /// An answer or an entity of a source was refused.
    Answer,
    /// The store could not be written.
    Store,
    /// A server's own check refused the generation.
    Check,
    /// A reload or a proof is owed, or an addition is held back.
    Owed,
}

impl Event {
    /// Its stable name: `upcoming_refused`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::ALL
            .iter()
            .copied()
            .find(|event| event.name() == name)
            .ok_or_else(|| serde::de::Error::custom(format!("there is no event {name:?}")))
    }
}

impl Facts {
    /// The most urgent severity that it can have.
    #[must_use]
    pub fn worst(&self) -> Severity {
        self.severities.iter().copied().max().unwrap_or(Severity::Critical)
    }
}

impl End {
    /// What must be observed before its absence means that it is over.
    #[must_use]
    pub const fn observation(self) -> Observation {
        match self {
            Self::AnyCycle | Self::Override | Self::Judged => Observation::OfEveryCycle,
            Self::List => Observation::OfLists,
            _ => Observation::OfItsSubject,
        }
    }

    /// When it ends, as the rest of a sentence; `{subject}` stands for the subject.
    #[must_use]
    pub const fn when(self) -> &'static str {
        match self {
            Self::Note | Self::PassingNote => "at once: it raises no alarm",
            Self::Poll => "with the next successful poll",
            Self::ClocksAgree => "with the next poll at which both clocks agree",
            Self::Release => "with the hold: trustsync release",
            Self::IssuerAccepted => "when the issuer is accepted: trustsync accept-issuer",
            Self::Override => {
                "when the vendor lists the certificate, or with another override: trustsync trust, trustsync distrust"
            }
            Self::FirstGeneration => "with the first generation",
            Self::Observed | Self::AnyCycle | Self::Acknowledged => "with the next cycle that no longer finds it",
            Self::Judged => "as soon as it is no longer so: it is judged whenever it is asked for",
            Self::List => "with the next cycle that gets the list",
            Self::Settled => {
                "with a turn that settles the target: trustsync reload {subject}, or trustsync confirm {subject}"
            }
            Self::Enforced => {
                "when the server refuses everyone that the allowlist does not name, and a proof of {subject} saw it"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;

    use super::*;

    /// `deploy/RUNBOOK.md`, as the catalogue has it.
    fn runbook() -> String {
        let mut text = "# What trustsync reports\n\n\
            Each finding has an `event` by one of these names, in the log, in `state.json`, in `trustsync status` and \
            in `trustsync alarms`. Findings that are warnings or critical are alarms. A *condition* ends by itself. An \
            *event* happened: its alarm stays until someone has acknowledged it with `trustsync alarms ack ID`. A \
            *note* is a line of the log and raises no alarm. NAME stands for the name of the subject.\n\n\
            This file is made from the catalogue (`src/trust/event/catalogue.rs`); a test compares them.\n"
            .to_owned();
        let mut events = Event::ALL.to_vec();
        events.sort_by_key(|event| event.name());
        for event in events {
            let Facts { name, severities, subjects, ends, means, action, .. } = event.facts();
            let severities: Vec<String> = severities.iter().map(ToString::to_string).collect();
            let subjects: Vec<String> = subjects.iter().map(|one| one.name().replace('_', " ")).collect();
            let (kind, ends) = match ends {
                End::Note | End::PassingNote => ("note", "It raises no alarm.".to_owned()),
                End::Acknowledged => {
                    ("event", "It ends when its cause is over and someone has acknowledged it.".to_owned())
                }
                _ => ("condition", format!("It ends {}.", ends.when().replace("{subject}", "NAME"))),
            };
            let (severities, subjects) = (severities.join(" or "), subjects.join(" or "));
            let what = if severities == kind { severities } else { format!("{severities}, {kind}") };
            let _ = write!(text, "\n## `{name}`\n\n{what}, about a {subjects}. {means} {ends}\n\n**Do:** {action}\n");
        }
        text.push_str("\n## Lines of the log that report no finding\n\n| event | level |\n|---|---|\n");
        let mut lines: Vec<_> = LogLine::ALL.iter().map(|line| (line.name(), line.level())).collect();
        lines.sort_by_key(|(name, _)| *name);
        for (name, level) in lines {
            let _ = writeln!(text, "| `{name}` | {} |", level.to_string().to_lowercase());
        }
        text
    }

    #[test]
    fn the_runbook_says_what_the_catalogue_says() {
        let (written, meant) = (include_str!("../../../deploy/RUNBOOK.md"), runbook());
        assert!(written == meant, "deploy/RUNBOOK.md is not what the catalogue says. It must be:\n\n{meant}");
    }

    #[test]
    fn each_event_has_a_name_of_its_own_and_facts_that_agree() {
        let names: BTreeSet<&str> = Event::ALL.iter().map(|event| event.name()).collect();
        assert_eq!(names.len(), Event::ALL.len());
        for event in Event::ALL {
            let facts = event.facts();
            // UpcomingRefused
            let snake: String = format!("{event:?}")
                .chars()
                .flat_map(|letter| [letter.is_uppercase().then_some('_'), Some(letter.to_ascii_lowercase())])
                .flatten()
                .skip(1)
                .collect();
            assert_eq!(snake, facts.name);
            assert_eq!(serde_json::from_value::<Event>(facts.name.into()).unwrap(), *event);
            assert!(facts.severities.is_sorted_by(|one, other| one > other) && !facts.severities.is_empty());
            assert!(!facts.subjects.is_empty(), "{event}");
            let alarms = facts.worst() > Severity::Note;
            assert_eq!(alarms, !matches!(facts.ends, End::Note | End::PassingNote), "{event}");
            for sentence in [facts.means, facts.action] {
                assert!(sentence.ends_with('.') && !sentence.contains("  "), "{event}: {sentence}");
            }
        }
    }
}
