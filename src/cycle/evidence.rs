//! `evidence.jsonl`: what an auditor asks for, one line an event, appended and fsynced; it outlives the generations.

use std::path::Path;

use serde_json::json;

use crate::store::contents::EVIDENCE;
use crate::store::{StoreError, file};
use crate::trust::difference::Difference;
use crate::trust::manifest::Manifest;
use crate::trust::timestamp::Timestamp;

/// A generation was committed.
pub fn committed(root: &Path, manifest: &Manifest, difference: &Difference) -> Result<(), StoreError> {
    let changes: Vec<_> = difference
        .changes
        .iter()
        .map(|change| json!({"action": change.action, "what": change.what, "sha256": change.fingerprint}))
        .collect();
    append(
        root,
        &json!({
            "event": "committed",
            "time": manifest.committed,
            "generation": manifest.generation,
            "cause": manifest.cause,
            "digest": manifest.digest,
            "changes": changes,
        }),
    )
}

/// A target was told, proven, or neither.
pub fn target(
    root: &Path,
    event: &str,
    target: &str,
    generation: u64,
    detail: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let detail: String = detail.chars().take(2_000).collect();
    append(root, &json!({"event": event, "time": now, "generation": generation, "target": target, "detail": detail}))
}

/// A line longer than the store takes (thousands of certificates in one change) loses its list, never its place.
fn append(root: &Path, record: &serde_json::Value) -> Result<(), StoreError> {
    let mut line = record.to_string();
    if line.len() >= file::MAX_LINE {
        let mut record = record.clone();
        if let Some(fields) = record.as_object_mut() {
            fields.insert("changes".to_owned(), json!("too many to list: see the manifest"));
        }
        line = record.to_string();
    }
    file::append(&root.join(EVIDENCE), &line)
}
