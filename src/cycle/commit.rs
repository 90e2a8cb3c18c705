//! Makes a generation: mints its marker, renders its files, writes them, and lets `current` name it.

use std::collections::BTreeSet;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};

use super::CycleError;
use crate::marker;
use crate::store::contents::{self, Contents};
use crate::store::{self, LinkPath, StoreError, generation};
use crate::trust::formats::certificate::Certificate;
use crate::trust::records::manifest::Manifest;
use crate::trust::render::{Content, Label};
use crate::trust::values::fingerprint::{Fingerprint, hex};
use crate::trust::values::marker_name::MarkerName;
use crate::trust::values::timestamp::Timestamp;

/// The id of a store that is being born: 64 random bits.
pub fn draw_store_id() -> String {
    let mut bytes = [0; 8];
    // ring's SystemRandom fails only where the kernel has no randomness; the id then is merely not unique.
    let _ = SystemRandom::new().fill(&mut bytes);
    hex(&bytes)
}

/// A new marker of this generation, whose set has this digest.
pub fn marker(store_id: &str, generation: u64, digest: Fingerprint) -> Result<Certificate, CycleError> {
    let name = MarkerName { store_id: store_id.to_owned(), generation, digest_head: digest.short() };
    let minted = marker::mint(&name).map_err(|error| CycleError::Marker(error.to_string()))?;
    Certificate::parse(&minted).map_err(|error| CycleError::Marker(error.to_string()))
}

/// Writes the next generation and switches `current` to it.
pub fn commit(
    root: &Path,
    contents: &Contents,
    content: &Content<'_>,
    cause: &str,
    now: Timestamp,
) -> Result<Manifest, CycleError> {
    let number = contents.state.generation.saturating_add(1).max(generation::next(root)?);
    let marker = marker(&contents.state.store, number, content.digest())?;
    let files = content.render(&Label {
        store: &contents.state.store,
        generation: number,
        committed: now,
        cause,
        marker: &marker,
    });
    let manifest = files.get("manifest.json").map(|bytes| Manifest::read(bytes));
    let manifest =
        manifest.and_then(Result::ok).ok_or_else(|| CycleError::Marker("its manifest did not read back".to_owned()))?;
    generation::write(root, number, &files)?;
    LinkPath::current(root).switch(number)?;
    Ok(manifest)
}

/// Removes what a writer that died left: half-made things, and a generation that was written but never committed. What
/// could not be removed.
pub fn sweep_leftovers(root: &Path, newest_committed: Option<u64>) -> Vec<StoreError> {
    let mut keep = match generation::list(root) {
        Ok(keep) => keep,
        Err(error) => return vec![error],
    };
    if let Some(newest) = newest_committed {
        keep.retain(|number| *number <= newest);
    }
    store::sweep(root, &keep).failures
}

/// Removes generations beyond the newest `keep`, and the newest `keep` with different sets. Those that servers are
/// known to have loaded stay: a new one is compared with them. What could not be removed.
pub fn sweep_old(root: &Path, keep: usize, newest: u64, loaded: BTreeSet<u64>) -> Vec<StoreError> {
    let on_disk = match generation::list(root) {
        Ok(on_disk) => on_disk,
        Err(error) => return vec![error],
    };
    let (mut wanted, mut kept) = (loaded, 0_usize);
    let mut digests = BTreeSet::new();
    for number in on_disk.into_iter().rev().filter(|number| *number <= newest) {
        let digest = contents::manifest_of(root, number).ok().flatten().map(|manifest| manifest.digest);
        let another = digests.len() < keep && digest.is_some_and(|digest| !digests.contains(&digest));
        // Of equal sets not for ever more: repairs would pile up for years.
        if another || kept < keep {
            wanted.insert(number);
            kept = kept.saturating_add(1);
            digests.extend(digest);
        }
    }
    store::sweep(root, &wanted).failures
}
