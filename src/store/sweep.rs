//! Tidying at the start of a cycle, under the lock: what a crash left, and generations beyond what is kept.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::store::error::StoreError;
use crate::store::{TARGETS, file, generation, link};

/// What a sweep removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Generations that were neither kept nor named by a link.
    pub generations: BTreeSet<u64>,
    /// Half-made or half-removed things of a writer that died.
    pub leftovers: Vec<PathBuf>,
}

/// Removes leftovers, and every generation that is neither in `keep` nor named by a link. Call it under the lock.
///
/// It also makes durable what a writer that died had renamed but not fsynced: we are about to build on it.
pub fn sweep(root: &Path, keep: &BTreeSet<u64>) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    let generations = root.join(generation::DIRECTORY);
    for (name, _) in generation::entries(&generations)? {
        let half = [generation::UNFINISHED, generation::LEAVING].iter().any(|prefix| name.starts_with(prefix));
        if half {
            let path = generations.join(name);
            file::remove_tree(&path)?;
            swept.leftovers.push(path);
        }
    }
    file::sync_directory(&generations)?;
    for directory in [root.to_owned(), root.join(TARGETS), root.join("crl")] {
        if directory.ends_with("crl") && !directory.is_dir() {
            continue;
        }
        for (name, kind) in generation::entries(&directory)? {
            if !file::is_temporary(&name) {
                continue;
            }
            let path = directory.join(name);
            if kind.is_dir() {
                file::remove_empty(&path)?;
            } else {
                file::remove_stale(&path)?;
            }
            swept.leftovers.push(path);
        }
        file::sync_directory(&directory)?;
    }
    let named = link::naming(root)?;
    for number in generation::list(root)? {
        if !keep.contains(&number) && !named.contains_key(&number) {
            generation::take_apart(root, number)?;
            swept.generations.insert(number);
        }
    }
    Ok(swept)
}
