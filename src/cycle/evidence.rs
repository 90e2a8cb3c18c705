//! `evidence.jsonl`: what an auditor asks for, one line an event, appended and fsynced; it outlives the generations.
//!
//! Evidence is not the work: what the disk does not take waits in the state and is appended by a later cycle.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use crate::store::contents::EVIDENCE;
use crate::store::{StoreError, file};
use crate::trust::plan::difference::Difference;
use crate::trust::records::evidence_backlog::EvidenceBacklog;
use crate::trust::records::evidence_record::Happened;
use crate::trust::records::manifest::Manifest;
use crate::trust::values::said::Said;
use crate::trust::values::timestamp::Timestamp;

/// A line that could not be appended.
#[derive(Debug, Clone)]
pub struct Unwritten {
    /// As it will stand in the file.
    pub line: String,
    /// Why not, and what to do.
    pub why: String,
}

/// Four lines of the longest kind.
const TAIL: u64 = 4 * 64 * 1024;

/// A generation was committed. `observed`: when each source was asked whose answer brought it; none where no answer
/// did.
pub fn committed(
    root: &Path,
    manifest: &Manifest,
    difference: &Difference,
    observed: &BTreeMap<String, Timestamp>,
) -> Result<(), Unwritten> {
    let changes: Vec<_> = difference
        .changes
        .iter()
        .map(|change| json!({"action": change.action, "what": change.what, "sha256": change.fingerprint}))
        .collect();
    append(
        root,
        &json!({
            "event": Happened::Committed,
            "time": manifest.committed,
            "generation": manifest.generation,
            "cause": manifest.cause,
            "digest": manifest.digest,
            "observed": observed,
            "changes": changes,
        }),
    )
}

#[derive(Deserialize)]
struct Committed {
    event: Happened,
    generation: Option<u64>,
}

/// Whether the commit of this generation is in evidence. Asked after a crash alone, so of the last lines only.
pub fn has_committed(root: &Path, generation: u64) -> Result<bool, StoreError> {
    let tail = file::read_tail(&root.join(EVIDENCE), TAIL)?;
    Ok(String::from_utf8_lossy(&tail).lines().any(|line| is_commit_of(line, generation)))
}

/// Whether the commit of this generation waits to be put there.
pub fn waits_with_commit(backlog: &EvidenceBacklog, generation: u64) -> bool {
    backlog.lines.iter().any(|line| is_commit_of(line, generation))
}

fn is_commit_of(line: &str, generation: u64) -> bool {
    let commit = serde_json::from_str::<Committed>(line);
    commit.is_ok_and(|line| line.event == Happened::Committed && line.generation == Some(generation))
}

/// The operator has changed what is trusted, or will be.
pub fn word(root: &Path, word: &str, said: &Said, now: Timestamp) -> Result<(), Unwritten> {
    let Said { by, why } = said;
    append(root, &json!({"event": Happened::OperatorsOverride, "time": now, "word": word, "by": by, "why": why}))
}

/// A target was reloaded, proven, or neither.
pub fn target(
    root: &Path,
    event: Happened,
    target: &str,
    generation: u64,
    detail: &str,
    now: Timestamp,
) -> Result<(), Unwritten> {
    let detail: String = detail.chars().take(2_000).collect();
    append(root, &json!({"event": event, "time": now, "generation": generation, "target": target, "detail": detail}))
}

/// A line longer than the store takes (thousands of certificates in one change) loses its list, never its place.
fn append(root: &Path, record: &serde_json::Value) -> Result<(), Unwritten> {
    let mut line = record.to_string();
    if line.len() >= file::MAX_LINE {
        let mut record = record.clone();
        if let Some(fields) = record.as_object_mut() {
            fields.insert("changes".to_owned(), json!("too many to list: see the manifest"));
        }
        line = record.to_string();
    }
    file::append(&root.join(EVIDENCE), &line).map_err(|error| Unwritten { line, why: error.in_short() })
}

/// Appends what waits, until the disk refuses; why it does.
pub fn append_backlog(root: &Path, backlog: &mut EvidenceBacklog, now: Timestamp) -> Result<(), StoreError> {
    if backlog.is_empty() {
        return Ok(());
    }
    let path = root.join(EVIDENCE);
    // A line whose fsync failed may stand there all the same.
    let tail = file::read_tail(&path, TAIL)?;
    let tail = String::from_utf8_lossy(&tail);
    if backlog.lost > 0 {
        let lost = json!({"event": Happened::EvidenceLost, "time": now, "lines": backlog.lost});
        file::append(&path, &lost.to_string())?;
        backlog.lost = 0;
    }
    while let Some(line) = backlog.lines.first() {
        if !tail.lines().any(|known| known == line) {
            file::append(&path, line)?;
        }
        backlog.lines.remove(0);
    }
    Ok(())
}
