//! What can go wrong on the disk, and what it means for trust.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The kernel refused an operation.
    #[error(
        "could not {operation} {}: {cause}. Readers see a whole generation all the same, the newest that is in place. \
         {advice}",
        .path.display()
    )]
    Io {
        /// A verb: `write`, `rename`, `fsync`.
        operation: &'static str,
        /// What the operation was done to.
        path: PathBuf,
        /// What lies behind it, as found at that moment.
        cause: String,
        /// What to do about that.
        advice: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// No format is ever written empty: servers read an empty file as "trust nobody" or refuse to load it.
    #[error("{what} is empty, and no format is ever written empty; nothing was written, the old one stays")]
    Empty {
        /// A file, or the whole set of files.
        what: String,
    },
    /// A name that could lead out of the store, or that no reader could handle.
    #[error("{name:?} cannot be a {what}: {why}; nothing was written")]
    BadName {
        /// The name (its head).
        name: String,
        /// What it was to name.
        what: &'static str,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// More bytes than a reader of ours accepts.
    #[error("{} is larger than {limit} bytes, more than we ever write there; it was not used", .path.display())]
    TooLarge {
        /// The file that was to be read.
        path: PathBuf,
        /// The most we read.
        limit: u64,
    },
    /// What stands at this path, or is missing there, rules out what was to be done.
    #[error("{} {what}", .path.display())]
    Unfit {
        /// A file, a link or a directory.
        path: PathBuf,
        /// What was found, what was left undone for that, and what to do.
        what: String,
    },
}

impl StoreError {
    /// What happened and what to do, without what it means: the caller says what it was done for.
    #[must_use]
    pub fn in_short(&self) -> String {
        match self {
            Self::Io { operation, path, cause, advice, .. } => {
                format!("could not {operation} {}: {cause} ({advice})", path.display())
            }
            other => other.to_string(),
        }
    }

    /// Looks behind an I/O error at once, while the disk still is as it was.
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let (cause, advice) = behind(path, &source);
        Self::Io { operation, path: path.to_owned(), cause, advice, source }
    }

    /// Something of another kind stands where the store expects its own: `found` says what.
    pub(crate) fn foreign(path: &Path, found: &str) -> Self {
        let what = format!("{found}. Nothing was changed. Move it away, or name another path for the store");
        Self::Unfit { path: path.to_owned(), what }
    }
}

/// What lies behind an I/O error, and what to do about it.
fn behind(path: &Path, error: &io::Error) -> (String, &'static str) {
    let euid = rustix::process::geteuid().as_raw();
    let unknown = || (error.to_string(), "Look into that first, then run again");
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC) => {
            let found = rustix::fs::statvfs(nearest_directory(path).as_path());
            // Filesystems without a fixed number of inodes report f_files = 0.
            if found.as_ref().is_ok_and(|found| found.f_files > 0 && found.f_favail == 0) {
                return (
                    "its filesystem has no inodes left, though it may have space".to_owned(),
                    "Remove files from that filesystem (their number counts, not their size) and run again; nothing \
                     needs repair",
                );
            }
            let available = found.map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
            (
                format!("the disk is full ({available} bytes left)"),
                "Free space on that filesystem and run again; nothing needs repair",
            )
        }
        Some(Errno::DQUOT) => (
            format!("the disk quota of uid {euid} is used up"),
            "Raise that user's quota or remove files of theirs, and run again; nothing needs repair",
        ),
        Some(Errno::ROFS) => (
            "its filesystem is read-only".to_owned(),
            "Mount it read-write (under systemd: ReadWritePaths=; in a container: a writable volume). One that turned \
             read-only by itself points to a failing disk: see dmesg",
        ),
        Some(Errno::ACCESS | Errno::PERM) => {
            let refused_by = refusing(path, euid);
            let Ok(found) = fs::symlink_metadata(&refused_by) else { return unknown() };
            let (owner, group, mode) = (found.uid(), found.gid(), found.mode() & 0o7777);
            let needed = if found.is_dir() { 0o700 } else { 0o600 };
            let advice = if owner == euid && euid != 0 && mode & needed != needed {
                "Its mode refuses its owner: chmod u+rwX, and run again"
            } else if owner == euid || euid == 0 {
                "Owner and mode allow it: look for something in it that is another user's, an immutable file (lsattr), \
                 a mount"
            } else {
                "Run as its owner, or give the store to this user (chown -R), and run again"
            };
            let at = refused_by.display();
            let belongs = format!("{at} belongs to uid {owner}, gid {group} (mode {mode:04o})");
            (format!("permission denied: {belongs}, and we run as uid {euid}"), advice)
        }
        _ => unknown(),
    }
}
/// A regular file refuses by itself where it is another user's, or its own mode refuses and its directory's does not;
/// for everything else the directory refuses in which it stands.
fn refusing(path: &Path, euid: u32) -> PathBuf {
    let refuses_owner = |found: &fs::Metadata, needed: u32| found.uid() == euid && found.mode() & needed != needed;
    let is_folder_open = || fs::metadata(nearest_directory(path)).is_ok_and(|found| !refuses_owner(&found, 0o300));
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.uid() != euid => path.to_owned(),
        Ok(found) if found.is_file() && refuses_owner(&found, 0o600) && is_folder_open() => path.to_owned(),
        _ => nearest_directory(path),
    }
}

fn nearest_directory(path: &Path) -> PathBuf {
    path.ancestors()
        .skip(1)
        .find(|ancestor| fs::metadata(ancestor).is_ok_and(|found| found.is_dir()))
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(errno: Errno) -> String {
        StoreError::io("write", Path::new("/nonexistent/store/x"), io::Error::from(errno)).to_string()
    }

    #[test]
    fn every_cause_says_what_it_means_and_what_to_do() {
        for (errno, said) in [
            (Errno::NOSPC, "the disk is full"),
            (Errno::DQUOT, "quota of uid"),
            (Errno::ROFS, "is read-only"),
            (Errno::ACCESS, "we run as uid"),
            (Errno::PERM, "we run as uid"),
            (Errno::IO, "Input/output error"),
        ] {
            let text = text(errno);
            assert!(text.contains(said), "{text}");
            assert!(text.contains("Readers see a whole generation"), "{text}");
            assert!(["run again", "dmesg", "lsattr"].iter().any(|advice| text.contains(advice)), "{text}");
        }
    }
}
