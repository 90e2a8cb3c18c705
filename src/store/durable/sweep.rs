//! Tidying, under the lock: what a crash left, and generations beyond what is kept. None of it is the work itself: what
//! cannot be removed is reported, and the next sweep tries again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::{file, generation, link};

/// What a sweep removed, and what it could not.
#[derive(Debug, Default)]
pub struct Swept {
    /// Generations that were neither kept nor named by a link, and are removed.
    pub generations: BTreeSet<u64>,
    /// Half-made or half-removed things of a writer that died, and are removed.
    pub leftovers: Vec<PathBuf>,
    /// Why a step could not be done.
    pub failures: Vec<StoreError>,
}

impl Swept {
    /// What came of a step; none where it failed, which is noted.
    pub fn tried<T>(&mut self, step: Result<T, StoreError>) -> Option<T> {
        step.map_err(|error| self.failures.push(error)).ok()
    }
}

/// Removes leftovers, and every generation that is neither in `keep` nor named by a link, as far as that works. Call it
/// under the lock.
///
/// It also makes durable what a writer that died had renamed but not fsynced: we are about to build on it.
pub fn sweep(root: &Path, keep: &BTreeSet<u64>) -> Swept {
    let mut swept = Swept::default();
    let generations = root.join(generation::DIRECTORY);
    sweep_in(&generations, &mut swept);
    swept.tried(file::sync_directory(&generations));
    for directory in [root.to_owned(), root.join(link::TARGETS), root.join("crl")] {
        if directory.ends_with("crl") && !directory.is_dir() {
            continue;
        }
        for (name, _) in swept.tried(generation::entries(&directory)).unwrap_or_default() {
            let path = directory.join(&name);
            if file::is_temporary(&name) && swept.tried(file::remove_leftover(&path)).is_some() {
                swept.leftovers.push(path);
            }
        }
        swept.tried(file::sync_directory(&directory));
    }
    // Where a link cannot be read, it is unknown which generations are named.
    let Some(named) = swept.tried(link::naming(root)) else { return swept };
    for number in swept.tried(generation::list(root)).unwrap_or_default() {
        let is_wanted = keep.contains(&number) || named.contains_key(&number);
        if !is_wanted && swept.tried(generation::remove_in(&generations, number)).is_some() {
            swept.generations.insert(number);
        }
    }
    swept
}

/// Removes what a writer that died left in a folder of generations, as far as that works.
pub fn sweep_in(generations: &Path, swept: &mut Swept) {
    for (name, _) in swept.tried(generation::entries(generations)).unwrap_or_default() {
        if [generation::UNFINISHED, generation::LEAVING].iter().any(|prefix| name.starts_with(prefix)) {
            let path = generations.join(name);
            if swept.tried(file::remove_tree(&path)).is_some() {
                swept.leftovers.push(path);
            }
        }
    }
}
