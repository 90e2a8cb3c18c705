//! The lists that were fetched, kept in `<store>/crl/` across restarts and outages: each list as it came, beside it a
//! record of where and when. Kept means no more than that: a list is judged anew whenever it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::crl_fetch::{LARGEST, Validators};
use crate::store::StoreError;
use crate::store::file;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;

/// The folder in a store.
pub const FOLDER: &str = "crl";
const LARGEST_RECORD: u64 = 64 * 1024;
/// The hosts that did not answer; without the extension of a list or a record.
const SILENT: &str = "silent-hosts";

/// The folder of kept lists.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

/// A list that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The list as it came.
    pub bytes: Bytes,
    /// What is known of it; none where the record was lost or belongs to another list, which costs a fetch.
    pub record: Option<Record>,
}

/// Where and when a list was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The URL, as the certificate has it.
    pub url: String,
    /// When the server last said that this is its list.
    pub fetched: Timestamp,
    /// By which it is asked for again.
    #[serde(flatten)]
    pub validators: Validators,
    /// SHA-256 of the list: a crash between the two files leaves a record that is not this list's.
    pub sha256: Fingerprint,
}

impl Cache {
    /// The cache of a store, whose folder is created where it is missing.
    pub fn open(store: &Path) -> Result<Self, StoreError> {
        let folder = store.join(FOLDER);
        if fs::symlink_metadata(&folder).is_err() {
            file::create_directory(&folder)?;
        }
        Ok(Self { folder })
    }

    /// The cache of a store, for reading alone: nothing is created.
    #[must_use]
    pub fn for_reading(store: &Path) -> Self {
        Self { folder: store.join(FOLDER) }
    }

    /// What is kept of a URL.
    pub fn read(&self, url: &str) -> Result<Option<Kept>, StoreError> {
        let Some(bytes) = file::read(&self.path(url, "crl"), LARGEST)? else { return Ok(None) };
        let record = file::read(&self.path(url, "json"), LARGEST_RECORD)?
            .and_then(|json| serde_json::from_slice::<Record>(&json).ok())
            .filter(|record| record.url == url && record.sha256 == Fingerprint::of(&bytes));
        Ok(Some(Kept { bytes: Bytes::from(bytes), record }))
    }

    /// Keeps a list, in place of the one before.
    pub fn keep(&self, url: &str, bytes: &[u8], validators: Validators, now: Timestamp) -> Result<(), StoreError> {
        let sha256 = Fingerprint::of(bytes);
        file::replace(&self.path(url, "crl"), bytes)?;
        self.record(&Record { url: url.to_owned(), fetched: now, validators, sha256 })
    }

    /// Writes that the server said, at `now`, that the kept list is still its list.
    pub fn confirm(&self, record: Record, now: Timestamp) -> Result<(), StoreError> {
        self.record(&Record { fetched: now, ..record })
    }

    /// Removes what is kept of other URLs than these. What could not be removed.
    pub fn retain(&self, urls: &BTreeSet<String>) -> Vec<StoreError> {
        let names: BTreeSet<String> = urls.iter().map(|url| stem(url)).collect();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => return vec![StoreError::io("look into", &self.folder, error)],
        };
        let is_unwanted = |path: &PathBuf| {
            let ours = path.extension().is_some_and(|extension| extension == "crl" || extension == "json");
            ours && !path.file_stem().and_then(OsStr::to_str).is_some_and(|stem| names.contains(stem))
        };
        let unwanted = entries.flatten().map(|entry| entry.path()).filter(is_unwanted);
        let removed =
            unwanted.map(|path| fs::remove_file(&path).map_err(|error| StoreError::io("remove", &path, error)));
        removed.filter_map(Result::err).collect()
    }

    /// The hosts that did not answer when they were last asked, and when that was. A file that cannot be read costs a
    /// question.
    #[must_use]
    pub fn silent(&self) -> BTreeMap<String, Timestamp> {
        let read = file::read(&self.folder.join(SILENT), LARGEST_RECORD).ok().flatten();
        read.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    /// Keeps them for the next cycle.
    pub fn keep_silent(&self, hosts: &BTreeMap<String, Timestamp>) -> Result<(), StoreError> {
        let json = serde_json::to_vec(hosts).unwrap_or_else(|_| b"{}".to_vec());
        file::replace(&self.folder.join(SILENT), &json).map(drop)
    }

    fn record(&self, record: &Record) -> Result<(), StoreError> {
        // A record of texts and a time can always be written as JSON; an empty one would only cost a fetch.
        let json = serde_json::to_vec_pretty(record).unwrap_or_else(|_| b"{}".to_vec());
        file::replace(&self.path(&record.url, "json"), &json).map(drop)
    }

    fn path(&self, url: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", stem(url)))
    }
}

/// A URL is not a file name.
fn stem(url: &str) -> String {
    Fingerprint::of(url.as_bytes()).to_string()
}
