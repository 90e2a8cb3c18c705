//! `state.json`: what a store remembers between cycles. What is trusted is in the generation; lost state costs
//! counters, never trust.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;
use crate::trust::event::subject::Subject;
use crate::trust::event::{End, Observation};
use crate::trust::plan::clock_doubt::KnownTimes;
use crate::trust::plan::planner_state::{PlannerState, SlotState};
use crate::trust::records::evidence_backlog::EvidenceBacklog;
use crate::trust::records::manifest::{Format, Manifest, RecordError, read_record};
use crate::trust::records::minder::Minder;
use crate::trust::turn::canary::CheckCanary;
use crate::trust::turn::{Evidence, LONGEST_REASON, Owed, Proof};
use crate::trust::values::excerpt;
use crate::trust::values::timestamp::Timestamp;

/// The schema that this version writes.
pub const SCHEMA: u32 = 1;

const STATE: Format = Format {
    what: "the state of a store",
    known: SCHEMA,
    instead: "remove the file to have it rebuilt from the manifest",
};

/// What a store remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of this format.
    pub schema: u32,
    /// The store's id, drawn at its birth; in every marker.
    pub store: String,
    /// The newest committed generation; 0 before the first.
    pub generation: u64,
    /// What the planner remembers.
    #[serde(rename = "memory")]
    pub planner: PlannerState,
    /// Each source, by its name in the configuration.
    pub sources: BTreeMap<String, SourceState>,
    /// Each target, by its name in the configuration.
    pub targets: BTreeMap<String, TargetState>,
    /// What is wrong, by alarm id.
    #[serde(deserialize_with = "known_alarms")]
    pub alarms: BTreeMap<String, Alarm>,
    /// The generation that differed from what was written as soon as it was written: a new one would be no better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfaithful: Option<u64>,
    /// Who minds the store.
    #[serde(default)]
    pub minder: Minder,
    /// The last cycle that asked a source or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_cycle: Option<LastCycle>,
    /// Lines of evidence that the disk did not take yet.
    #[serde(default, skip_serializing_if = "EvidenceBacklog::is_empty")]
    pub evidence_backlog: EvidenceBacklog,
}

/// How a cycle ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCycle {
    /// When.
    pub ended: Timestamp,
    /// With which exit code.
    pub exit: u8,
    /// Why, where it failed: what made it fail, the most urgent first, bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What is known of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The last cycle that asked it.
    pub last_attempt: Option<Timestamp>,
    /// The last poll of which both listings came whole.
    pub last_success: Option<Timestamp>,
    /// Polls without success since then.
    pub failures: u32,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// When it is to be asked next.
    #[serde(default)]
    pub next_due: Option<Timestamp>,
    /// When its clock was last seen to agree with ours.
    #[serde(default)]
    pub clock_agreed: Option<Timestamp>,
    /// Whether its latest answer says that it does not.
    #[serde(default)]
    pub clock_disagrees: bool,
}

/// What is known of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// The generation that the server is known to serve.
    pub acknowledged: Option<u64>,
    /// What shows that it does.
    pub evidence: Option<Evidence>,
    /// When it was last proven.
    pub proven: Option<Timestamp>,
    /// Why the wanted generation is owed.
    pub owed: Option<Owed>,
    /// Since when it is owed.
    pub owed_since: Option<Timestamp>,
    /// The generation for which the server was last reloaded, or which it was seen to serve.
    #[serde(default)]
    pub reloaded: Option<u64>,
    /// Whether it was seen to have loaded a configuration that does not ask the allowlist, and nothing was settled
    /// since. The wire does not show that it asks by now: only a reload loads what stands in the files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unenforced: bool,
    /// How often the server was reloaded since it last owed nothing.
    #[serde(default)]
    pub reloads: u32,
    /// When it was last.
    #[serde(default)]
    pub last_reload: Option<Timestamp>,
    /// The generation that the server serves by the operator's confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<u64>,
    /// Whether its check notices a broken generation.
    #[serde(rename = "sight", default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CheckCanary>,
    /// What its check last said of what stands there, while nothing was owed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing_check: Option<StandingCheck>,
    /// The link that its files were given by in its last turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// By what the server was last seen to read: once the target is another's to write (`privileged`), that is another
    /// link, of which the server does not know yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wired: Option<Wired>,
    /// When it last took its turn.
    #[serde(default)]
    pub last_turn: Option<Timestamp>,
    /// How often the owed reload was tried.
    #[serde(default)]
    pub tries: u32,
}

/// What a server's own check said of its configuration as it stands on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingCheck {
    /// When it was made.
    pub at: Timestamp,
    /// What it said, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What a server was seen to read by a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wired {
    /// The link.
    pub link: String,
    /// The generation that it named.
    pub generation: u64,
}

impl StandingCheck {
    /// How often what passes is checked again. What failed is with every turn, so that it is known when it is mended.
    const EVERY: Duration = Duration::from_secs(3_600);

    /// Whether the check is to be made.
    #[must_use]
    pub fn is_due(known: Option<&Self>, now: Timestamp) -> bool {
        known.is_none_or(|known| known.failed.is_some() || known.at > now || now.since(known.at) >= Self::EVERY)
    }
}

impl TargetState {
    /// The link by which the server was last seen to read, and what, if its files are given by another one now.
    #[must_use]
    pub fn moved_from(&self, link: &str) -> Option<&Wired> {
        self.wired.as_ref().filter(|wired| wired.link != link)
    }

    /// The server was reloaded.
    pub fn reload(&mut self, now: Timestamp) {
        self.reloads = self.reloads.saturating_add(1);
        self.last_reload = Some(now);
    }

    /// A turn ended: by this evidence the server serves the wanted generation.
    pub fn settle(&mut self, wanted: u64, evidence: &Evidence, now: Timestamp) {
        let seen = matches!(evidence, Evidence::Proven | Evidence::ChainOnly(_) | Evidence::AllowlistOnly(_));
        let confirmed = matches!(evidence, Evidence::Confirmed(_));
        let known = seen || confirmed;
        *self = Self {
            acknowledged: Some(wanted),
            evidence: Some(evidence.clone()),
            proven: seen.then_some(now).or(self.proven),
            reloaded: Some(wanted),
            // A proof is more than a confirmation, and holds by itself from then on.
            confirmed: confirmed.then_some(wanted),
            last_turn: Some(now),
            canary: self.canary.take(),
            standing_check: self.standing_check.take(),
            wired: if known {
                self.link.clone().map(|link| Wired { link, generation: wanted })
            } else {
                self.wired.take()
            },
            link: self.link.take(),
            ..Self::default()
        };
    }

    /// A turn ended: the wanted generation is owed.
    pub fn owe(&mut self, wanted: u64, owed: &Owed, now: Timestamp) {
        // No turn ends as unproven before the server was reloaded, or was seen to have loaded it. What ends otherwise
        // owes a reload, which none of before makes up for.
        self.reloaded = match owed {
            Owed::Unproven(_) => Some(wanted),
            _ => self.reloaded.filter(|reloaded| *reloaded != wanted),
        };
        self.unenforced |= matches!(owed, Owed::Unproven(Proof::NotEnforced(_)));
        // What it served once, or as the operator confirmed, it may no longer serve: only a proof, a success or a new
        // confirmation says so again.
        self.acknowledged = self.acknowledged.filter(|acknowledged| *acknowledged != wanted);
        self.confirmed = None;
        self.owed_since.get_or_insert(now);
        self.last_turn = Some(now);
        self.tries = self.tries.saturating_add(1);
        self.owed = Some(owed.clone());
    }
}

/// A finding that calls for someone, and since when it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// The finding as it was last raised.
    #[serde(flatten)]
    pub finding: Finding,
    /// When it was first raised.
    pub since: Timestamp,
    /// Whether what happened is over, and the alarm stands only until someone has acknowledged it (`alarms ack`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

/// What a cycle observed: alarms about anything else stand as they stood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// The sources that were asked.
    pub sources: BTreeSet<String>,
    /// The targets that took their turn.
    pub targets: BTreeSet<String>,
    /// Whether revocation lists were asked for.
    pub lists: bool,
}

impl Looked {
    /// Whether an alarm would have been raised again, were it still true.
    fn covers(&self, finding: &Finding, state: &State) -> bool {
        match finding.event.facts().ends.observation() {
            Observation::OfEveryCycle => true,
            Observation::OfLists => self.lists,
            // What is no longer configured is never observed again: nothing about it would ever end.
            Observation::OfItsSubject => match &finding.subject {
                Subject::Source(source) => self.sources.contains(source) || !state.sources.contains_key(source),
                Subject::Slot(slot) => {
                    self.sources.contains(slot.source()) || !state.sources.contains_key(slot.source())
                }
                Subject::Target(target) => self.targets.contains(target) || !state.targets.contains_key(target),
                Subject::Store(_) | Subject::RevocationList(_) | Subject::Certificate(_) => true,
            },
        }
    }
}

impl State {
    /// A store at its birth.
    #[must_use]
    pub fn born(store: String) -> Self {
        Self {
            schema: SCHEMA,
            store,
            generation: 0,
            planner: PlannerState::default(),
            sources: BTreeMap::new(),
            targets: BTreeMap::new(),
            alarms: BTreeMap::new(),
            unfaithful: None,
            minder: Minder::default(),
            last_cycle: None,
            evidence_backlog: EvidenceBacklog::default(),
        }
    }

    /// Reads a state of this schema or an older one.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        read_record(bytes, &STATE)
    }

    /// As written to disk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// What is trusted is in the newest generation; the state adds its counters. So a crash between the two writes, or
    /// a state restored from a backup, does not change what is trusted.
    pub fn follow(&mut self, manifest: &Manifest) {
        let behind = self.generation < manifest.generation;
        self.generation = self.generation.max(manifest.generation);
        self.store.clone_from(&manifest.store);
        let before = std::mem::take(&mut self.planner);
        self.planner = manifest.planner();
        for (slot, known) in before.slots {
            // One without entries needs no generation.
            let held = self.planner.slots.entry(slot).or_default();
            for (key, entry) in &mut held.entries {
                let Some(known) = known.entries.get(key) else { continue };
                entry.trusted.first_seen = known.trusted.first_seen;
                (entry.last_seen, entry.absence, entry.proposal) = (known.last_seen, known.absence, known.proposal);
                // Another leaf of a name rule is not a new generation, but where leaves are admitted one by one.
                if !behind {
                    entry.trusted.witnesses.leaves.clone_from(&known.trusted.witnesses.leaves);
                }
            }
            let SlotState { entries, identity, mut issuers, .. } = std::mem::take(held);
            issuers.extend(known.issuers.clone());
            *held = SlotState { entries, identity: known.identity.clone().or(identity), issuers, ..known };
        }
        // `hold` and `release` write the state alone; a rollback writes the manifest first, and may have died there.
        if !behind {
            self.planner.hold = before.hold;
        }
        // A denial that a newer generation lacks was taken back there.
        if !behind {
            self.planner.denied.extend(before.denied);
        }
        self.planner.accepted_issuers.extend(before.accepted_issuers);
    }

    /// Replaces the alarms by those of a cycle that observed this much; one that persists keeps its beginning, and one
    /// on an event that is over stays until it is acknowledged.
    pub fn raise(&mut self, findings: &[Finding], looked: &Looked, now: Timestamp) {
        let before = std::mem::take(&mut self.alarms);
        self.raise_besides(findings, now);
        for (id, alarm) in &mut self.alarms {
            alarm.since = before.get(id).map_or(now, |known| known.since);
        }
        for (id, mut alarm) in before {
            if self.alarms.contains_key(&id) {
                continue;
            }
            let over = looked.covers(&alarm.finding, self);
            alarm.unseen |= over && alarm.finding.event.facts().ends == End::Acknowledged;
            if alarm.unseen {
                // Someone should know of it; it wakes no one.
                alarm.finding.severity = Severity::Warning;
            }
            if alarm.unseen || !over {
                self.alarms.insert(id, alarm);
            }
        }
    }

    /// Ends alarms on events that the operator acknowledges. The next cycle raises one again whose cause is still
    /// there. Returns the ids that ended.
    pub fn acknowledge(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let seen: Vec<String> =
            self.alarms.iter().filter(|(id, alarm)| alarm.unseen && wanted(id)).map(|(id, _)| id.clone()).collect();
        self.alarms.retain(|id, _| !seen.contains(id));
        seen
    }

    /// Adds alarms to those that stand: what was found about a subject replaces what stood about it, and what was found
    /// of several of its parts, such as a slot's leaves, is one alarm that names them all.
    pub fn raise_besides(&mut self, findings: &[Finding], now: Timestamp) {
        let mut raised = BTreeSet::new();
        for finding in findings.iter().filter(|finding| finding.severity > Severity::Note) {
            let id = finding.alarm_id();
            match self.alarms.get_mut(&id) {
                Some(known) if raised.contains(&id) => known.finding = joined(&known.finding, finding),
                known if known.as_ref().is_none_or(|known| known.finding.severity <= finding.severity) => {
                    let since = known.map_or(now, |known| known.since);
                    raised.insert(id.clone());
                    self.alarms.insert(id, Alarm { finding: finding.clone(), since, unseen: false });
                }
                _ => {}
            }
        }
    }

    /// What the store knows of earlier times.
    #[must_use]
    pub fn known_times(&self) -> KnownTimes {
        let polls = self.sources.values().filter_map(|source| source.last_attempt);
        let turns = self.targets.values().filter_map(|target| target.last_turn);
        KnownTimes {
            latest: polls.chain(turns).max(),
            agreed: self.sources.values().filter_map(|source| source.clock_agreed).max(),
            disagrees: self.sources.values().any(|source| source.clock_disagrees)
                && !self.sources.values().any(|source| source.clock_agreed.is_some() && !source.clock_disagrees),
        }
    }

    /// A target was settled: what stood about it ends.
    pub fn settled(&mut self, target: &str) {
        let is_settled = |finding: &Finding| {
            matches!(&finding.subject, Subject::Target(name) if name == target)
                && matches!(finding.event.facts().ends, End::Settled | End::Enforced)
        };
        self.alarms.retain(|_, alarm| !is_settled(&alarm.finding));
    }
}

/// Two findings of one cycle in one alarm, the more urgent one first.
fn joined(one: &Finding, other: &Finding) -> Finding {
    let (first, second) = if other.severity > one.severity { (other, one) } else { (one, other) };
    if first.text.contains(&second.text) {
        return first.clone();
    }
    let text = excerpt::beginning(&format!("{} {}", first.text, second.text), LONGEST_REASON);
    Finding { text, ..first.clone() }
}

/// Reads those alarms that this version knows. What another version said of a condition, the next cycle says anew; lost
/// counters would cost more.
fn known_alarms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Alarm>, D::Error> {
    let all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let known = |(id, alarm)| Some((id, serde_json::from_value(alarm).ok()?));
    Ok(all.into_iter().filter_map(known).collect())
}
