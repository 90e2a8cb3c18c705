//! Generations rendered of a store without a disk, written and read back, whole or with a damage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use trustsync::marker;
use trustsync::store::{Store, generation};
use trustsync::targets::read_back::{ReadBackError, read_back};
use trustsync::targets::table::KINDS;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::planner_state::PlannerState;
use trustsync::trust::plan::set::{DenialReason, TrustSet};
use trustsync::trust::records::manifest::Manifest;
use trustsync::trust::render::{Content, Label, Output};
use trustsync::trust::values::fingerprint::Fingerprint;
use trustsync::trust::values::marker_name::MarkerName;

use crate::leaves::{
    Answer, Leaf, MemoryStore, NAME, WORLD, day, digicert_slot, entity, genesys_leaf, genesys_slot, leaf,
};

/// The id of the store that they are of.
pub const STORE: &str = "0123456789abcdef";

/// The number of each.
pub const GENERATION: u64 = 7;

pub type Files = BTreeMap<String, Vec<u8>>;

pub fn new_marker() -> Certificate {
    let name = MarkerName { store_id: STORE.into(), generation: GENERATION, digest_head: "01234567".into() };
    Certificate::parse(&marker::mint(&name).unwrap()).unwrap()
}

/// The files that these outputs need.
pub fn render(outputs: &[Output], set: &TrustSet, planner: &PlannerState, marker: &Certificate) -> Files {
    let outputs: BTreeSet<Output> = outputs.iter().copied().collect();
    let label = Label { store: STORE, generation: GENERATION, committed: day(0), cause: "cycle", marker };
    Content::of(set, planner, &outputs).render(&label)
}

/// A file, as text.
pub fn text<'a>(files: &'a Files, path: &str) -> &'a str {
    std::str::from_utf8(&files[path]).unwrap()
}

/// Two pins, one rule, one denied, one root of somebody else's.
pub fn rich() -> (MemoryStore, [Leaf; 3]) {
    let leaves = [leaf(-200, 80), leaf(-5, 400), leaf(-5, 390)];
    let mut store = MemoryStore::new([digicert_slot("us"), genesys_slot("us")]);
    let other = Certificate::parse(WORLD.pki.other_root.der()).unwrap();
    store.extra.insert(other.fingerprint(), other);
    store.deny(&leaves[2], DenialReason::Revoked);
    let witness = genesys_leaf("Genesys", NAME, &[NAME], -30, 300);
    store.poll(day(0), &Answer::of(&[&leaves[0]], &[&leaves[1]]).and(entity("Genesys", "Current", &witness.text)));
    (store, leaves)
}

pub fn denied_all() -> MemoryStore {
    let only = leaf(-200, 80);
    let mut store = MemoryStore::trusting(&[&only], 0);
    store.deny(&only, DenialReason::Distrusted);
    store.poll(day(1), &Answer::of(&[&only], &[]));
    assert!(store.set.is_empty());
    store
}

/// Writes them to a store in this folder, in the place of those before, and reads them back.
pub fn written(at: &Path, files: &Files) -> Result<(), ReadBackError> {
    let store = Store::open(&at.join("store")).unwrap();
    let _ = fs::remove_dir_all(generation::path(store.root(), GENERATION));
    generation::write(store.root(), GENERATION, files).unwrap();
    read_back(KINDS, &store.root().join(generation::DIRECTORY), GENERATION)
}

/// A damage in the manifest's own words, so that not the digest but the parser has to see it.
pub fn vouched(mut files: Files, damage: impl FnOnce(&mut Files)) -> Files {
    let mut manifest = Manifest::read(&files.remove("manifest.json").unwrap()).unwrap();
    damage(&mut files);
    manifest.files = files.iter().map(|(path, bytes)| (path.clone(), Fingerprint::of(bytes))).collect();
    files.insert("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap());
    files
}

/// The same, where one file is damaged.
pub fn vouched_file(files: Files, path: &str, bytes: impl Into<Vec<u8>>) -> Files {
    vouched(files, |files| drop(files.insert(path.to_owned(), bytes.into())))
}
