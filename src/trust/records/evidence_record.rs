//! What `evidence.jsonl` says of each generation, put together for an auditor: when it was observed, committed,
//! reloaded and proven, by which evidence at each target, what was owed meanwhile, what the operator overrode.
//!
//! ```text
//!  line ─▶ [`Records::take`] ─▶ the record of the generation before, once another one begins
//! ```
//! Lines come in the order of what happened, so one record is open at a time, however long the file is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::said::Said;
use crate::trust::values::timestamp::Timestamp;

/// How many events one record lists; a target that owes for months, each time for another reason, must not fill the
/// memory.
pub const MOST_EVENTS: usize = 1_000;

/// What is on record of one generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its number; `None` for what happened before the first.
    pub generation: Option<u64>,
    /// How it came to be; `None` where that is not on record.
    pub committed: Option<Committed>,
    /// What became of it at each target, by name.
    pub targets: BTreeMap<String, TargetRecord>,
    /// The operator's overrides while it was the newest.
    #[serde(rename = "words")]
    pub overrides: Vec<OverrideLine>,
    /// Where evidence is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// How many more events there are than are listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
    #[serde(skip)]
    listed: usize,
}

/// How a generation came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// When it was committed.
    pub time: Timestamp,
    /// Why: `cycle`, `rollback to generation 41`.
    #[serde(default)]
    pub cause: String,
    /// The digest in its manifest.
    pub digest: Fingerprint,
    /// When each source was asked whose answer brought it.
    #[serde(default)]
    pub observed: BTreeMap<String, Timestamp>,
    /// What it changed, as it was written down.
    #[serde(default)]
    pub changes: serde_json::Value,
}

/// What became of a generation at a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TargetRecord {
    /// When its server was first asked to reload.
    #[serde(rename = "told")]
    pub reloaded: Option<Timestamp>,
    /// Since when it is settled by the evidence that it has now; `None` while it is owed.
    pub settled: Option<Settled>,
    /// Reloads, debts and evidence, in the order of the file.
    pub events: Vec<Event>,
}

/// What settled a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// When it happened.
    pub time: Timestamp,
    /// What settled it: a proof, a reload, a confirmation.
    pub by: Happened,
    /// The reason, in words.
    pub detail: String,
}

/// Something that happened at a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When it happened.
    pub time: Timestamp,
    /// A reload, a debt, or the evidence that settled it.
    pub event: Happened,
    /// The reason, in words.
    pub detail: String,
}

/// What the operator overrode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideLine {
    /// When it happened.
    pub time: Timestamp,
    /// What.
    #[serde(default)]
    pub word: String,
    /// Who, and why.
    #[serde(flatten)]
    pub said: Said,
}

/// Lines that the disk did not take for so long that they had no room to wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When it took lines again.
    pub time: Timestamp,
    /// How many are missing.
    #[serde(default)]
    pub lines: u64,
}

/// What the lines of the file have in common, whichever version has written them.
#[derive(Debug, Deserialize)]
struct Line {
    event: Happened,
    time: Timestamp,
    generation: Option<u64>,
    target: Option<String>,
    #[serde(default)]
    detail: String,
}

/// What a line records; the file has its stable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// A generation was committed.
    Committed,
    /// The operator overrode what is trusted, or will be.
    #[serde(rename = "operators_word")]
    OperatorsOverride,
    /// A target's server was asked to reload.
    Told,
    /// A target owes a generation.
    Owed,
    /// A target was settled: chain and allowlist were seen.
    Proven,
    /// The chain alone was.
    ChainProven,
    /// The allowlist alone was.
    AllowlistProven,
    /// It was reloaded, and nothing can prove more.
    ReloadedNotProven,
    /// The operator confirmed it.
    Confirmed,
    /// Lines were lost while the disk took none.
    EvidenceLost,
    /// What a later version says.
    #[serde(other)]
    Unknown,
}

impl Happened {
    /// Its stable name with spaces: `chain proven`.
    #[must_use]
    pub fn words(self) -> String {
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().replace('_', " ")
    }
}

/// Puts lines together to records.
#[derive(Debug, Default)]
pub struct Records {
    open: Option<Record>,
    /// How many lines were read.
    pub lines: u64,
    /// How many of them say nothing that can be understood: torn by a crash, damaged, or of a later version.
    pub unreadable: u64,
}

impl Records {
    /// Takes the next line; yields the record that it closes.
    pub fn take(&mut self, line: &[u8]) -> Option<Record> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        self.lines = self.lines.saturating_add(1);
        let whole = line;
        let Ok(line) = serde_json::from_slice::<Line>(whole) else {
            self.unreadable = self.unreadable.saturating_add(1);
            return None;
        };
        let begins = match (&self.open, line.generation) {
            (None, _) => true,
            // What the operator says is about whatever stands.
            (Some(_), None) => false,
            (Some(open), Some(number)) => {
                let again = line.event == Happened::Committed && open.committed.is_some();
                open.generation != Some(number) || again
            }
        };
        let closed =
            if begins { self.open.replace(Record { generation: line.generation, ..Record::default() }) } else { None };
        if let Some(open) = &mut self.open
            && open.add(line, whole).is_none()
        {
            self.unreadable = self.unreadable.saturating_add(1);
        }
        closed
    }

    /// A line that was too long to be one of ours.
    pub fn skip(&mut self) {
        self.lines = self.lines.saturating_add(1);
        self.unreadable = self.unreadable.saturating_add(1);
    }

    /// The record that is still open, at the end of the file.
    pub fn finish(&mut self) -> Option<Record> {
        self.open.take()
    }
}

impl Record {
    /// Takes a line, if it says something that is known.
    fn add(&mut self, line: Line, whole: &[u8]) -> Option<()> {
        let Line { event, time, target, detail, .. } = line;
        match event {
            Happened::Committed => self.committed = Some(serde_json::from_slice(whole).ok()?),
            Happened::OperatorsOverride => {
                let line = serde_json::from_slice(whole).ok()?;
                let room = self.has_room();
                self.overrides.extend(room.then_some(line));
            }
            Happened::EvidenceLost => {
                let gap = serde_json::from_slice(whole).ok()?;
                let room = self.has_room();
                self.gaps.extend(room.then_some(gap));
            }
            Happened::Unknown => return None,
            _ => {
                let (target, room) = (target?, self.has_room());
                if !room && !self.targets.contains_key(&target) {
                    return Some(());
                }
                let at = self.targets.entry(target).or_default();
                match event {
                    Happened::Told => drop(at.reloaded.get_or_insert(time)),
                    Happened::Owed => at.settled = None,
                    // An override that a proof has made needless, and the other way round.
                    by if at.settled.as_ref().is_none_or(|known| known.by != by) => {
                        at.settled = Some(Settled { time, by, detail: detail.clone() });
                    }
                    _ => {}
                }
                at.events.extend(room.then_some(Event { time, event, detail }));
            }
        }
        Some(())
    }

    /// Counts an event; whether it may be listed.
    fn has_room(&mut self) -> bool {
        let room = self.listed < MOST_EVENTS;
        if room {
            self.listed = self.listed.saturating_add(1);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
        room
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_part_of_the_record_and_not_an_unreadable_line() {
        let mut records = Records::default();
        let line = br#"{"event":"evidence_lost","time":"2026-11-30T06:00:00Z","lines":7}"#;
        assert_eq!(records.take(line), None);
        let record = records.finish().unwrap();
        assert_eq!((record.gaps[0].lines, records.lines, records.unreadable), (7, 1, 0));
    }
}
