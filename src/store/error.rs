//! What can go wrong on the disk, in words that say what it means for trust.

use std::fmt;
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
        "could not {operation} {}: {cause}. No published generation was touched: readers see the one in place, whole. {}",
        .path.display(), .cause.advice()
    )]
    Io {
        /// A verb: `write`, `rename`, `fsync`.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What lies behind it, as found at that moment.
        cause: Cause,
        /// What the kernel said.
        source: io::Error,
    },
    /// A generation is immutable; its number is used once.
    #[error(
        "{} is already there, and a published generation is never written again. It was not touched; \
         take the next free number",
        .path.display()
    )]
    AlreadyThere {
        /// The generation's directory.
        path: PathBuf,
    },
    /// A link must never dangle: servers would lose their trust at the next reload.
    #[error("{} names no generation, so no link was moved to it; readers see what they saw", .path.display())]
    NoSuchGeneration {
        /// Where it would be.
        path: PathBuf,
    },
    /// Somebody reads what was to be removed.
    #[error(
        "{} is what the link {} names, so it was not removed; switch the link first",
        .path.display(), .link.display()
    )]
    InUse {
        /// The generation's directory.
        path: PathBuf,
        /// One link that names it.
        link: PathBuf,
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
    #[error("{} is larger than {limit} bytes, which is more than we ever write there; it was not used", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most we read.
        limit: u64,
    },
    /// Something of another kind stands where the store expects its own.
    #[error(
        "{} {what}. Nothing was changed. Move it away, or name another path for the store",
        .path.display()
    )]
    Unfit {
        /// Where.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Everybody on the machine could put trust in front of the servers.
    #[error(
        "{} is writable by others (mode {mode:04o}): any user of this machine could swap what servers trust. \
         Nothing was changed. Take that right away (chmod o-w) after checking what is in there",
        .path.display()
    )]
    OpenToAll {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// What lies behind an I/O error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// ENOSPC, and the filesystem says it has inodes.
    DiskFull {
        /// What is left to unprivileged users, in bytes.
        available: u64,
    },
    /// ENOSPC, and `statvfs` says that no inode is left.
    NoInodes,
    /// EDQUOT.
    Quota {
        /// Whose quota.
        euid: u32,
    },
    /// EROFS.
    ReadOnly,
    /// EACCES, EPERM.
    WrongOwner {
        /// The directory (or existing file) that would not have us.
        refused_by: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its group.
        group: u32,
        /// Its mode.
        mode: u32,
        /// Who we are.
        euid: u32,
    },
    /// Anything else, in the kernel's words.
    Other(String),
}

impl StoreError {
    /// What happened and what to do, without a word on what it means: that is for who says what it was done for.
    #[must_use]
    pub fn in_short(&self) -> String {
        match self {
            Self::Io { operation, path, cause, .. } => {
                format!("could not {operation} {}: {cause} ({})", path.display(), cause.advice())
            }
            other => other.to_string(),
        }
    }

    /// Looks behind an I/O error at once, while the disk still is as it was.
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), cause: Cause::behind(path, &source), source }
    }
}

impl Cause {
    fn behind(path: &Path, error: &io::Error) -> Self {
        let euid = rustix::process::geteuid().as_raw();
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC) => match rustix::fs::statvfs(nearest_directory(path).as_path()) {
                // Filesystems without a fixed number of inodes report f_files = 0.
                Ok(found) if found.f_files > 0 && found.f_favail == 0 => Self::NoInodes,
                Ok(found) => Self::DiskFull { available: found.f_bavail.saturating_mul(found.f_frsize) },
                Err(_) => Self::DiskFull { available: 0 },
            },
            Some(Errno::DQUOT) => Self::Quota { euid },
            Some(Errno::ROFS) => Self::ReadOnly,
            Some(Errno::ACCESS | Errno::PERM) => {
                let refused_by = refusing(path, euid);
                match fs::symlink_metadata(&refused_by) {
                    Ok(found) => Self::WrongOwner {
                        owner: found.uid(),
                        group: found.gid(),
                        mode: found.mode() & 0o7777,
                        refused_by,
                        euid,
                    },
                    Err(_) => Self::Other(error.to_string()),
                }
            }
            _ => Self::Other(error.to_string()),
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::DiskFull { .. } => "Free space on that filesystem and run again; nothing needs repair",
            Self::NoInodes => {
                "Remove files from that filesystem (their number counts, not their size) and run again; \
                 nothing needs repair"
            }
            Self::Quota { .. } => {
                "Raise that user's quota or remove files of theirs, and run again; nothing needs repair"
            }
            Self::ReadOnly => {
                "Mount it read-write (under systemd: ReadWritePaths=; in a container: a writable volume). One that \
                 turned read-only by itself points to a failing disk: see dmesg"
            }
            Self::WrongOwner { owner, euid, .. } if owner == euid || *euid == 0 => {
                "Owner and mode allow it: look for something in it that is another user's, an immutable file (lsattr), a mount"
            }
            Self::WrongOwner { .. } => "Run as its owner, or give the store to this user (chown -R), and run again",
            Self::Other(_) => "Look into that first, then run again",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFull { available } => {
                write!(f, "the disk is full ({available} bytes left)")
            }
            Self::NoInodes => f.write_str("its filesystem has no inodes left, though it may have space"),
            Self::Quota { euid } => write!(f, "the disk quota of uid {euid} is used up"),
            Self::ReadOnly => f.write_str("its filesystem is read-only"),
            Self::WrongOwner { refused_by, owner, group, mode, euid } => {
                write!(
                    f,
                    "permission denied: {} belongs to uid {owner}, gid {group} (mode {mode:04o}), and we run as uid {euid}",
                    refused_by.display()
                )
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A regular file of somebody else's refuses by itself; everything else is refused by the directory it stands in.
fn refusing(path: &Path, euid: u32) -> PathBuf {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.uid() != euid => path.to_owned(),
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
            assert!(text.contains("No published generation was touched"), "{text}");
            assert!(["run again", "dmesg", "lsattr"].iter().any(|advice| text.contains(advice)), "{text}");
        }
    }
}
