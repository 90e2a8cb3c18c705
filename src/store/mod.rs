//! The trust directory on disk: what servers read, and what survives a kill, a power cut and a full disk.
//!
//! The promise: **a reader sees a whole generation or the one before it, whatever happens in between**, and the data of
//! a generation never changes. How it is kept:
//!
//! ```text
//!  generations/.new-000042/   files written, fchmod, fsync; directories fsynced bottom-up     (nobody reads here)
//!         │ rename
//!         ▼
//!  generations/000042/        fsync of generations/: only now may a link name it
//!         │
//!  .current.new -> generations/000042
//!         │ rename
//!         ▼
//!  current                    fsync of the link's directory
//! ```
//!
//! Each step may be the last one: whatever it leaves behind has a name that begins with a dot, is read by nobody, and is
//! removed by the next [`sweep()`]. A generation leaves the other way round: renamed away first, then taken apart.
//!
//! Everything here is synchronous and knows nothing of certificates: it moves bytes and names.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub mod access_list;
pub mod adopt;
pub mod contents;
pub mod error;
pub mod file;
pub mod generation;
pub mod link;
pub mod lock;
pub mod ownership;
pub mod privileged;
pub mod sweep;

pub use error::{Cause, StoreError};
pub use generation::Files;
pub use link::{Link, LinkPath};
pub use lock::{Holder, Lock, LockError};
pub use sweep::{Swept, remove, sweep, sweep_in};

/// The folder of the targets' links.
pub const TARGETS: &str = "target";

/// A trust directory whose shape was found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store for a writer: `root` (whose parent must exist), `generations/` and `target/` are created, with
    /// mode 0755 whatever the umask, where they are missing.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        if !root_is_there(root)? {
            file::create_directory(root)?;
        }
        for part in [generation::DIRECTORY, TARGETS] {
            let path = root.join(part);
            if !part_is_there(&path)? {
                file::create_directory(&path)?;
            }
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Opens the store for a reader, which needs no write access and creates nothing; `None` where there is none yet.
    pub fn look(root: &Path) -> Result<Option<Self>, StoreError> {
        if !root_is_there(root)? {
            return Ok(None);
        }
        for part in [generation::DIRECTORY, TARGETS] {
            if !part_is_there(&root.join(part))? {
                return Ok(None);
            }
        }
        Ok(Some(Self { root: root.to_owned() }))
    }

    /// The trust directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The root may be a symlink that the administrator made, as long as it leads to a directory.
fn root_is_there(root: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("look at", root, error)),
        Ok(found) if found.is_symlink() => match fs::metadata(root) {
            Ok(led_to) => judge_directory(root, &led_to).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Unfit { path: root.to_owned(), what: "is a symlink that leads nowhere".into() })
            }
            Err(error) => Err(StoreError::io("follow", root, error)),
        },
        Ok(found) => judge_directory(root, &found).map(|()| true),
    }
}

fn part_is_there(path: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("look at", path, error)),
        Ok(found) => judge_directory(path, &found).map(|()| true),
    }
}

fn judge_directory(path: &Path, found: &fs::Metadata) -> Result<(), StoreError> {
    if !found.is_dir() {
        return Err(StoreError::Unfit { path: path.to_owned(), what: format!("is {}, not a directory", kind(found)) });
    }
    // Whoever may rename in it can put any trust in front of the servers. Its owner may have let in a group, or somebody by
    // an access list; that is a word of the owner's, and root believes nothing in a store that is not its own.
    if found.mode() & 0o002 != 0 {
        return Err(StoreError::OpenToAll { path: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    Ok(())
}

pub(crate) fn kind(found: &fs::Metadata) -> &'static str {
    if found.is_symlink() {
        "a symlink"
    } else if found.is_dir() {
        "a directory"
    } else if found.is_file() {
        "a regular file"
    } else {
        "a special file"
    }
}
