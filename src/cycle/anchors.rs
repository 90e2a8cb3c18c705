//! The anchors of a slot: built in, or from the files that the configuration names. Read in every cycle, so that a
//! replaced file counts at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::bounded::read_at_most;
use crate::settings::resolved::{Settings, Source, Store};
use crate::trust::formats::certificate::Certificate;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::Authority;
use crate::trust::verify::anchor::Anchors;

/// Far more than any collection of roots.
const LARGEST: u64 = 16 * 1024 * 1024;

/// A file of anchors cannot be read or used. Exit code 3.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the anchors in {} cannot be {what} Nothing was done; trust is unchanged.", path.display())]
pub struct AnchorsError {
    path: PathBuf,
    what: String,
}

/// The anchors of one authority at one source.
pub fn of(source: &Source, authority: Authority) -> Result<Anchors, AnchorsError> {
    match authority {
        Authority::DigiCert => {
            let built_in = if source.builtin_anchors { Anchors::digicert() } else { Anchors::default() };
            Ok(built_in.and(read_all(&source.digicert_anchors)?))
        }
        Authority::Genesys => read_all(&source.genesys_anchors),
    }
}

/// The roots of other clients of the same virtual hosts.
pub fn extra(store: &Store) -> Result<BTreeMap<Fingerprint, Certificate>, AnchorsError> {
    let anchors = read_all(&store.extra_anchors)?;
    Ok(anchors.0.iter().map(|root| (root.fingerprint(), root.clone())).collect())
}

/// Every anchors' file of the configuration that cannot be used.
#[must_use]
pub fn problems(settings: &Settings) -> Vec<String> {
    let slots = settings
        .sources
        .values()
        .flat_map(|source| source.authorities.iter().map(move |authority| of(source, *authority).err()));
    let extra = settings.stores.values().map(|store| extra(store).err());
    slots.chain(extra).flatten().map(|error| error.to_string()).collect()
}

fn read_all(paths: &[PathBuf]) -> Result<Anchors, AnchorsError> {
    paths.iter().try_fold(Anchors::default(), |anchors, path| Ok(anchors.and(read(path)?)))
}

fn read(path: &Path) -> Result<Anchors, AnchorsError> {
    let refused = |what| AnchorsError { path: path.to_owned(), what };
    let bytes = std::fs::File::open(path)
        .and_then(|file| read_at_most(file, LARGEST))
        .map_err(|error| refused(format!("read: {error}.")))?;
    Anchors::read(&bytes).map_err(|error| refused(format!("used: {error}")))
}
