//! `trustsync diff`: what changed since a generation, or against a file.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::inspect::read_bounded;
use super::{Failure, load, of_store, print, published, the_store};
use crate::cli::Global;
use crate::cycle;
use crate::exit::Exit;
use crate::settings::resolved::Store;
use crate::store::contents;
use crate::store::generation;
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::difference::Difference;
use crate::trust::plan::set::TrustSet;
use crate::trust::values::fingerprint::Fingerprint;

pub fn run(global: &Global, number: Option<u64>, with: Option<&Path>) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let store = the_store(global, &loaded)?;
    let held = cycle::read(store)?;
    let current = published(&held)?;
    if let Some(file) = with {
        return against_file(global, store, &held.set, file);
    }
    let on_disk = generation::list(&store.path)?;
    let before = match number.or_else(|| on_disk.range(..current.generation).next_back().copied()) {
        None => TrustSet::default(),
        Some(number) => {
            let manifest = contents::manifest_of(&store.path, number)?
                .ok_or_else(|| Failure::Refused(format!("there is no generation {number:06} (trustsync history)")))?;
            manifest.set(&contents::certificates_of(&store.path, number)?)
        }
    };
    let difference = Difference::between(&before, &held.set);
    print(global.output, &of_store(store, &difference), || {
        if difference.is_empty() { "no difference\n".to_owned() } else { difference.to_text() }
    })?;
    Ok(Exit::Done)
}

/// Which certificates are only in the store, and which only in the file.
fn against_file(global: &Global, store: &Store, set: &TrustSet, file: &Path) -> Result<Exit, Failure> {
    let bytes = read_bounded(file)?;
    let theirs: BTreeSet<Fingerprint> =
        super::inspect::certificates(&bytes).iter().map(Certificate::fingerprint).collect();
    let held: Vec<&Certificate> =
        set.pins.values().map(|pin| &pin.leaf).chain(set.chain.values()).chain(set.extra.values()).collect();
    let ours: BTreeSet<Fingerprint> = held.iter().map(|certificate| certificate.fingerprint()).collect();
    let only_here: Vec<&&Certificate> =
        held.iter().filter(|certificate| !theirs.contains(&certificate.fingerprint())).collect();
    let only_there: Vec<&Fingerprint> = theirs.difference(&ours).collect();
    let value = json!({
        "only_in_store": only_here.iter().map(|certificate| certificate.fingerprint()).collect::<Vec<_>>(),
        "only_in_file": only_there,
    });
    print(global.output, &of_store(store, value), || {
        let here = only_here
            .iter()
            .map(|held| format!("store only  sha256:{} {}\n", held.fingerprint(), held.facts().subject));
        let there = only_there.iter().map(|fingerprint| format!("file only   sha256:{fingerprint}\n"));
        let text: String = here.chain(there).collect();
        if text.is_empty() { "no difference\n".to_owned() } else { text }
    })?;
    Ok(Exit::Done)
}
