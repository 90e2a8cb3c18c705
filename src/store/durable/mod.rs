//! The trust directory on disk, durable: what servers read, and what survives a kill, a power cut and a full disk.
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
//! Each step may be the last one: what it leaves behind has a name that begins with a dot, which no reader reads and
//! the next [`sweep()`] removes. A generation leaves the other way round: renamed away first, then taken apart.
//!
//! Everything here is synchronous and knows nothing of certificates: it moves bytes and names.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

mod access_list;
mod error;
pub mod file;
pub mod generation;
pub mod link;
mod lock;
pub mod ownership;
mod sweep;

pub use error::StoreError;
pub use generation::Files;
pub use link::{Link, LinkPath};
pub use lock::{LOCK, Lock, LockError};
pub use sweep::{Swept, sweep, sweep_in};

/// A trust directory that has the shape of one, and that only its owner and group can write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store for a writer: `root` (whose parent must exist), `generations/` and `target/` are created, with
    /// mode 0755 whatever the umask, where they are missing.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for (path, may_be_link) in parts(root) {
            if !is_there(&path, may_be_link)? {
                file::create_directory(&path)?;
            }
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Opens the store for a reader, which needs no write access and creates nothing; `None` where there is none yet.
    pub fn find(root: &Path) -> Result<Option<Self>, StoreError> {
        for (path, may_be_link) in parts(root) {
            if !is_there(&path, may_be_link)? {
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

/// The directories that a store consists of, the outer first, and whether each may be a symlink: the root may be one
/// that the administrator made, as long as it leads to a directory.
fn parts(root: &Path) -> [(PathBuf, bool); 3] {
    [(root.to_owned(), true), (root.join(generation::DIRECTORY), false), (root.join(link::TARGETS), false)]
}

/// Whether a directory stands there, and is fit for a store.
fn is_there(path: &Path, may_be_link: bool) -> Result<bool, StoreError> {
    let found = if may_be_link { fs::metadata(path) } else { fs::symlink_metadata(path) };
    let found = match found {
        Ok(found) => found,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::io("look at", path, error)),
        Err(_) if path.is_symlink() => return Err(StoreError::foreign(path, "is a symlink that leads nowhere")),
        Err(_) => return Ok(false),
    };
    if !found.is_dir() {
        return Err(StoreError::foreign(path, &format!("is {}, not a directory", file::kind(&found))));
    }
    // Anyone who may rename in it can put any trust in front of the servers. Its owner may have let in a group, or
    // somebody by an access list: that is the owner's decision, and root believes nothing in a store that is not its
    // own.
    if found.mode() & 0o002 != 0 {
        let what = format!(
            "is writable by others (mode {:04o}): any user of this machine could swap what servers trust. Nothing was \
             changed. Take that right away (chmod o-w) after checking what is in there",
            found.mode() & 0o7777
        );
        return Err(StoreError::Unfit { path: path.to_owned(), what });
    }
    Ok(true)
}
