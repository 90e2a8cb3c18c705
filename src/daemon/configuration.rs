//! The configuration in force, and whether what it was read from has changed since.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DaemonError;
use crate::bounded::read_at_most;
use crate::cycle;
use crate::settings;
use crate::settings::resolved::Settings;
use crate::trust::values::fingerprint::Fingerprint;

/// No configuration, and no file of HTTPS roots, is larger.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The configuration's file.
    pub path: PathBuf,
    /// The environment that overrides it.
    pub environment: BTreeMap<String, String>,
}

/// A configuration that can be worked by.
#[derive(Debug, Clone)]
pub(super) struct Configuration {
    /// What it resolves to.
    pub settings: Arc<Settings>,
    /// What it was read from.
    pub read_from: Fingerprint,
}

impl Origin {
    /// Reads and judges it, with what it names outside. A secret is not read here: one that is missing for a moment
    /// must not keep owed reloads from being paid.
    pub(super) fn read(&self) -> Result<Configuration, DaemonError> {
        // Before it is read: what is written meanwhile is another one, and is seen as such at the next look.
        let file = content(&self.path);
        let settings = settings::read(&self.path, &self.environment)?.settings;
        let read_from = fingerprint_of(std::iter::once(file).chain(roots(&settings).map(content)));
        let problems = cycle::outside_problems(&settings);
        if !problems.is_empty() {
            return Err(DaemonError::Outside { path: self.path.clone(), problems });
        }
        Ok(Configuration { settings: Arc::new(settings), read_from })
    }

    /// Of the file, and of the HTTPS roots that clients were built with. Anchors and secrets are read when they are
    /// used.
    #[must_use]
    pub(super) fn fingerprint(&self, settings: &Settings) -> Fingerprint {
        fingerprint_of(self.files(settings).map(content))
    }

    /// A look at the same files from outside.
    #[must_use]
    pub(super) fn stamp(&self, settings: &Settings) -> Stamp {
        self.files(settings).map(stamp_of).collect()
    }

    fn files<'a>(&'a self, settings: &'a Settings) -> impl Iterator<Item = &'a Path> {
        std::iter::once(self.path.as_path()).chain(roots(settings))
    }
}

/// The files of HTTPS roots that clients are built with.
fn roots(settings: &Settings) -> impl Iterator<Item = &Path> {
    settings.sources.values().filter_map(|source| source.ca_file.as_deref())
}

fn fingerprint_of(contents: impl Iterator<Item = Vec<u8>>) -> Fingerprint {
    let each: String = contents.map(|content| Fingerprint::of(&content).to_string()).collect();
    Fingerprint::of(each.as_bytes())
}

/// What tells one writing of the configuration from the next without opening it, which every watcher of its folder
/// would have to hear of: device, inode, size, and the times of its content and of its change, of each file.
pub(super) type Stamp = Vec<Option<[i64; 7]>>;

fn stamp_of(path: &Path) -> Option<[i64; 7]> {
    let found = fs::metadata(path).ok()?;
    let numbers = [found.dev(), found.ino(), found.size()].map(u64::cast_signed);
    let [device, inode, size] = numbers;
    Some([device, inode, size, found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()])
}

/// A file that is not there has no content: that, too, is a change.
fn content(path: &Path) -> Vec<u8> {
    fs::File::open(path).and_then(|file| read_at_most(file, LARGEST)).unwrap_or_default()
}
