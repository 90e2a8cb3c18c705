//! Reads a generation back before any server is shown it: every file by an independent strict parser, and counted. Some
//! servers load one certificate of two and say nothing, one dies of a bad file that its own check passed (servers.md);
//! so what stands on the disk is checked, not what was meant.

mod fingerprints;
pub(super) mod meant;

use std::path::Path;

use super::kind::Kinds;
use crate::store::contents::{self, ContentsError};
use crate::store::{StoreError, generation};
use crate::trust::records::manifest::Manifest;
use crate::trust::render::Odd;
use crate::trust::values::fingerprint::Fingerprint;
use meant::{authorities, certificates, counted, pinned, text};

const LARGEST: u64 = 32 * 1024 * 1024;

/// What did not read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// A file could not be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manifest cannot be used.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// The generation was swept, or lost its manifest.
    #[error("generation {0:06} has no manifest.")]
    NoManifest(u64),
    /// A file is not what the manifest says.
    #[error("{path} is not as it was written.")]
    Changed {
        /// Within the generation.
        path: String,
    },
    /// A file is missing.
    #[error("{path} is missing.")]
    Missing {
        /// Within the generation.
        path: String,
    },
    /// A file that no kind of server reads, so that nobody could say what it should hold.
    #[error("{path} is not a file of any kind of server: nothing reads it back, so the generation is not used.")]
    Unknown {
        /// Within the generation.
        path: String,
    },
    /// A file does not hold what it should.
    #[error("{path} holds {found} where {expected} are meant.")]
    Count {
        /// Within the generation.
        path: String,
        /// How many of what, or a line, quoted.
        found: String,
        /// The same, by the manifest.
        expected: String,
    },
}

/// Reads generation `number` of a folder of generations back, by the kinds that are known.
pub fn read_back(kinds: Kinds, generations: &Path, number: u64) -> Result<(), ReadBackError> {
    let manifest = contents::manifest_in(generations, number)?.ok_or(ReadBackError::NoManifest(number))?;
    for (path, digest) in &manifest.files {
        let missing = || ReadBackError::Missing { path: path.clone() };
        let bytes = generation::read_file(generations, number, path, LARGEST)?.ok_or_else(missing)?;
        if Fingerprint::of(&bytes) != *digest {
            return Err(ReadBackError::Changed { path: path.clone() });
        }
        let read = of_every_generation(path, &bytes, &manifest)
            .or_else(|| kinds.outputs().find_map(|output| output.read_back(path, &bytes, &manifest)));
        match read {
            Some(Ok(())) => {}
            Some(Err((found, expected))) => return Err(ReadBackError::Count { path: path.clone(), found, expected }),
            None => return Err(ReadBackError::Unknown { path: path.clone() }),
        }
    }
    Ok(())
}

/// One of the files that every generation has; `None` if it is not one of them.
fn of_every_generation(path: &str, bytes: &[u8], manifest: &Manifest) -> Option<Result<(), Odd>> {
    let expected = match path {
        "trust-bundle.pem" => authorities(manifest).saturating_add(1),
        "chain.pem" => authorities(manifest).max(1),
        "leaves.pem" => pinned(manifest).max(1),
        "fingerprints.txt" => return Some(fingerprints::list(&text(bytes), manifest)),
        _ if is_of_slot(path, manifest) => {
            return Some(certificates(bytes).map(drop).map_err(|why| (why, "certificates".to_owned())));
        }
        _ => return None,
    };
    Some(match certificates(bytes) {
        Ok(found) => counted(found, expected, "certificates"),
        Err(why) => Err((why, format!("{expected} certificates"))),
    })
}

/// `<slot>/current.pem` and the like.
fn is_of_slot(path: &str, manifest: &Manifest) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    matches!(file, "current.pem" | "upcoming.pem" | "trusted.pem")
        && manifest.slots.keys().any(|slot| slot.to_string() == folder)
}
