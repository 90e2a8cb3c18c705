//! `state.json`: what a store remembers between cycles. The trust itself stands in the generation; lost state costs
//! counters, never trust.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::trust::finding::{Finding, Severity};
use crate::trust::manifest::{Manifest, schema_of};
use crate::trust::memory::{Memory, SlotMemory};
use crate::trust::timestamp::Timestamp;
use crate::trust::turn::{Evidence, Owed, Proof};

/// The schema that this version writes.
pub const SCHEMA: u32 = 1;

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
    pub memory: Memory,
    /// How each source does.
    pub sources: BTreeMap<String, SourceState>,
    /// How each target does.
    pub targets: BTreeMap<String, TargetState>,
    /// What is wrong, by alarm id.
    pub alarms: BTreeMap<String, Alarm>,
}

/// How a source does.
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
}

/// How a target does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// The generation that the server is known to serve.
    pub acknowledged: Option<u64>,
    /// By what.
    pub evidence: Option<Evidence>,
    /// When it was last proven.
    pub proven: Option<Timestamp>,
    /// Why the wanted generation is owed.
    pub owed: Option<Owed>,
    /// Since when.
    pub owed_since: Option<Timestamp>,
    /// The generation for which the user was told that the server does not include our files.
    pub told_not_wired: Option<u64>,
}

/// A finding that calls for someone, and since when it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What.
    #[serde(flatten)]
    pub finding: Finding,
    /// Since when.
    pub since: Timestamp,
}

/// The state could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not this format.
    #[error("is no state of a store: {0}")]
    Corrupt(String),
    /// Written by a newer trustsync.
    #[error(
        "has schema {0}, which a newer trustsync wrote; this one reads up to {SCHEMA}: upgrade, or remove the file to have it rebuilt from the manifest"
    )]
    Newer(u32),
}

impl State {
    /// A store at its birth.
    #[must_use]
    pub fn born(store: String) -> Self {
        Self {
            schema: SCHEMA,
            store,
            generation: 0,
            memory: Memory::default(),
            sources: BTreeMap::new(),
            targets: BTreeMap::new(),
            alarms: BTreeMap::new(),
        }
    }

    /// Reads a state of this schema or an older one.
    pub fn read(bytes: &[u8]) -> Result<Self, StateError> {
        let schema = schema_of(bytes).map_err(StateError::Corrupt)?;
        if schema > SCHEMA {
            return Err(StateError::Newer(schema));
        }
        serde_json::from_slice(bytes).map_err(|error| StateError::Corrupt(error.to_string()))
    }

    /// As written to disk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// What is trusted stands in the newest generation; the state contributes its counters. So a crash between the two
    /// writes, or a state restored from a backup, changes nothing of the trust.
    pub fn follow(&mut self, manifest: &Manifest) {
        self.generation = self.generation.max(manifest.generation);
        self.store.clone_from(&manifest.store);
        let mut told = manifest.memory();
        for (slot, held) in &mut told.slots {
            let Some(remembered) = self.memory.slots.get(slot) else { continue };
            for (key, entry) in &mut held.entries {
                if let Some(known) = remembered.entries.get(key) {
                    entry.first_seen = known.first_seen;
                    entry.last_seen = known.last_seen;
                    entry.absence = known.absence;
                    entry.proposal = known.proposal;
                }
            }
            let entries = std::mem::take(&mut held.entries);
            let identity = remembered.identity.clone().or_else(|| held.identity.take());
            *held = SlotMemory { entries, identity, ..remembered.clone() };
        }
        // A slot without entries stands in no need of a generation.
        for (slot, remembered) in &self.memory.slots {
            let counters = SlotMemory { entries: BTreeMap::new(), ..remembered.clone() };
            told.slots.entry(slot.clone()).or_insert(counters);
        }
        told.hold = self.memory.hold.take();
        told.denied.extend(std::mem::take(&mut self.memory.denied));
        self.memory = told;
    }

    /// Replaces the alarms by those of this cycle; one that persists keeps its beginning.
    pub fn raise(&mut self, findings: &[Finding], now: Timestamp) {
        let before = std::mem::take(&mut self.alarms);
        self.raise_besides(findings, now);
        for (id, alarm) in &mut self.alarms {
            alarm.since = before.get(id).map_or(now, |known| known.since);
        }
    }

    /// Adds alarms to those that stand: what was found about a target replaces what stood about it.
    pub fn raise_besides(&mut self, findings: &[Finding], now: Timestamp) {
        for finding in findings.iter().filter(|finding| finding.severity > Severity::Note) {
            let id = finding.alarm_id();
            let known = self.alarms.get(&id);
            if known.is_none_or(|known| known.finding.severity <= finding.severity) {
                let since = known.map_or(now, |known| known.since);
                self.alarms.insert(id, Alarm { finding: finding.clone(), since });
            }
        }
    }

    /// A target was settled: what stood about it ends.
    pub fn settled(&mut self, target: &str) {
        self.alarms.retain(|_, alarm| alarm.finding.subject != target || !alarm.finding.event.starts_with("target_"));
    }
}

impl Owed {
    /// In a sentence, for the target `name`: what happened, what it means, what to do.
    #[must_use]
    pub fn finding(&self, name: &str, wanted: u64, snippet: Option<&str>) -> Finding {
        let again = "It is tried again in every cycle.";
        match self {
            Self::Unreadable(why) => Finding::critical(
                "target_generation_unreadable",
                name,
                format!(
                    "Generation {wanted:06} did not read back as it was written: {why} The server keeps what it has. {again}"
                ),
            ),
            Self::NotSwitched(why) => Finding::critical(
                "target_not_switched",
                name,
                format!(
                    "The target's link could not be moved to generation {wanted:06}: {why} The server keeps what it has. {again}"
                ),
            ),
            Self::Refused(output) => Finding::critical(
                "target_check_refused",
                name,
                format!(
                    "The server's own check refuses generation {wanted:06} and accepts the one before it, so that one stays in place. The check said: {output} {again}"
                ),
            ),
            Self::RefusedButKept(output) => Finding::critical(
                "target_check_refused",
                name,
                format!(
                    "The server's own check refuses generation {wanted:06}; it stays in place all the same, since it drops a revoked or distrusted certificate. The server was not reloaded. The check said: {output} {again}"
                ),
            ),
            Self::BrokenWithoutUs { new, old } => Finding::critical(
                "target_broken",
                name,
                format!(
                    "The server's own check fails with the old generation as with {wanted:06}: its configuration is broken elsewhere. The new generation is in place, so that whoever mends and reloads the server gets the right trust; the reload stays owed. With the new one the check said: {new} With the old one: {old}"
                ),
            ),
            Self::CheckFailed(output) => Finding::critical(
                "target_check_failed",
                name,
                format!(
                    "The server's own check fails; generation {wanted:06} is in place, the server was not reloaded. The check said: {output} {again}"
                ),
            ),
            Self::NotTold(why) => Finding::critical(
                "target_not_told",
                name,
                format!(
                    "Generation {wanted:06} is in place, but the server could not be told to reload: {why} It serves what it loaded last. {again}"
                ),
            ),
            Self::Unproven(Proof::NotWired(why)) => Finding::critical(
                "target_not_wired",
                name,
                format!(
                    "The server does not use this store's files yet: {why} It was told once and is not told again for this generation.{}",
                    snippet.map(|snippet| format!(" To wire it, include this:\n\n{snippet}")).unwrap_or_default()
                ),
            ),
            Self::Unproven(Proof::ChainOnly(why)) => Finding::critical(
                "target_chain_only",
                name,
                format!(
                    "The server serves the chain of generation {wanted:06}, but its allowlist was not seen: {why} A server that trusts the chain alone admits strangers. Include the allowlist.{}",
                    snippet.map(|snippet| format!(" The whole snippet:\n\n{snippet}")).unwrap_or_default()
                ),
            ),
            Self::Unproven(Proof::NotEnforced(servers)) => Finding::critical(
                "target_not_enforced",
                name,
                format!(
                    "The server has loaded generation {wanted:06}, but never asks the allowlist: {servers} Strangers of the same authority are admitted there. Test $trustsync_admit in each such server."
                ),
            ),
            Self::Unproven(Proof::Refuted(why)) => Finding::critical(
                "target_refuted",
                name,
                format!("The server was told, and still serves another generation than {wanted:06}: {why} {again}"),
            ),
            Self::Unproven(Proof::NotYet(why)) => Finding::critical(
                "target_not_yet",
                name,
                format!("The server does not steadily serve generation {wanted:06} yet: {why} {again}"),
            ),
            Self::Unproven(Proof::Unreachable(why)) => Finding::critical(
                "target_unreachable",
                name,
                format!(
                    "The server does not answer where its proof is to be had: {why} Generation {wanted:06} is in place for when it starts. {again}"
                ),
            ),
            Self::Unproven(proof) => Finding::critical(
                "target_unproven",
                name,
                format!(
                    "The server was told of generation {wanted:06}, but that could not be proven: {}. {again}",
                    proof.words()
                ),
            ),
        }
    }
}
