//! A store in the few figures that a service manager, a probe and a monitoring system ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::trust::event::Event;
use crate::trust::event::severity::Severity;
use crate::trust::plan::planner_state::Hold;
use crate::trust::plan::set::{Role, TrustSet};
use crate::trust::records::state::{Alarm, SourceState, State, TargetState};
use crate::trust::values::timestamp::Timestamp;

/// A store in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSummary {
    /// Its name in the configuration.
    pub store: String,
    /// The newest committed generation; 0 before the first.
    pub generation: u64,
    /// Whether everyone is denied.
    pub deny_all: bool,
    /// Each pinned leaf, and each root of a name rule: the slot, its role, its last valid second.
    pub ends: Vec<(String, Role, Timestamp)>,
    /// What is known of each source, by its name.
    pub sources: BTreeMap<String, SourceState>,
    /// What is known of each target, by its name.
    pub targets: BTreeMap<String, TargetState>,
    /// What each alarm is and how bad, by its id.
    pub alarms: BTreeMap<String, (Event, Severity)>,
    /// Those of them that are over, and wait to be acknowledged.
    pub over: BTreeSet<String>,
    /// The operator's freeze, while it is in force.
    pub hold: Option<Hold>,
    /// Since when the store cannot be read or written, and why; then nothing is added, removed, reloaded or proven.
    pub failing: Option<(Timestamp, String)>,
}

impl StoreSummary {
    /// Of a store, by its state and what it trusts.
    #[must_use]
    pub fn of(store: &str, state: &State, set: &TrustSet) -> Self {
        let pins = set.pins.values().flat_map(|pin| {
            let end = pin.leaf.facts().not_after;
            pin.roles.iter().map(move |(slot, role)| (slot.to_string(), *role, end))
        });
        let rules = set.name_rules.iter().flat_map(|rule| {
            let end = rule.root.facts().not_after;
            rule.slots.iter().map(move |slot| (slot.to_string(), Role::Current, end))
        });
        let alarm = |(id, alarm): (&String, &Alarm)| (id.clone(), (alarm.finding.event, alarm.finding.severity));
        Self {
            store: store.to_owned(),
            generation: state.generation,
            deny_all: state.generation > 0 && set.is_empty(),
            ends: pins.chain(rules).collect(),
            sources: state.sources.clone(),
            targets: state.targets.clone(),
            alarms: state.alarms.iter().map(alarm).collect(),
            over: state.alarms.iter().filter(|(_, alarm)| alarm.unseen).map(|(id, _)| id.clone()).collect(),
            hold: state.planner.hold.clone(),
            failing: None,
        }
    }

    /// Of a store that could not be read.
    #[must_use]
    pub fn unknown(store: &str) -> Self {
        Self::of(store, &State::born(String::new()), &TrustSet::default())
    }

    /// How many alarms there are of a severity.
    #[must_use]
    pub fn alarms_of(&self, severity: Severity) -> usize {
        self.alarms.values().filter(|(_, of)| *of == severity).count()
    }

    /// The end of the latest-ending leaf of a role.
    #[must_use]
    fn end_of(&self, role: Role) -> Option<Timestamp> {
        self.ends.iter().filter(|(_, of, _)| *of == role).map(|(.., end)| *end).max()
    }

    /// One line of truth: `main: generation 000042, current 73 days left, next poll 14:05Z, 1 owed, 1 critical`.
    #[must_use]
    pub fn line(&self, now: Timestamp) -> String {
        let mut line = match self.generation {
            0 => format!("{}: nothing published yet", self.store),
            number => format!("{}: generation {number:06}", self.store),
        };
        if let Some((since, _)) = &self.failing {
            let _ = write!(line, ", CANNOT BE WORKED ON since {since}");
        }
        if self.deny_all {
            line.push_str(", DENY ALL");
        }
        for role in [Role::Current, Role::Upcoming] {
            if let Some(end) = self.end_of(role) {
                let _ = write!(line, ", {role} {} days left", now.days_until(end));
            }
        }
        if self.hold.as_ref().is_some_and(|hold| hold.until > now) {
            line.push_str(", HELD");
        }
        if let Some(next) = self.sources.values().filter_map(|source| source.next_due).min() {
            // 2026-11-25T14:05:00Z
            let next = next.to_string();
            let _ = write!(line, ", next poll {}Z", next.get(11..16).unwrap_or(&next));
        }
        let owed = self.targets.values().filter(|target| target.owed_since.is_some()).count();
        for (count, what) in [
            (owed, "owed"),
            (self.alarms_of(Severity::Critical), "critical"),
            (self.alarms_of(Severity::Warning), "warning"),
        ] {
            if count > 0 {
                let _ = write!(line, ", {count} {what}");
            }
        }
        line
    }
}
