//! One writer: a lock held for a cycle, not for a process' life; those who wait learn which process has it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::error::StoreError;
use super::file;
use crate::trust::values::timestamp::{Timestamp, span};

/// The lock's file. It is never removed: a second file of that name would be a second lock.
pub const LOCK: &str = "lock";

const POLL: Duration = Duration::from_millis(50);
const MAX_COMMAND: usize = 200;

/// The right to write, until it is dropped. The kernel takes it back from a process that dies.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// The right to write is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process writes.
    #[error(
        "another writer holds {}: {holder}. Waited {}; nothing was read or changed. Let it finish, or wait longer \
         (--lock-timeout)",
        .path.display(), span(*.waited)
    )]
    Held {
        /// The file that is locked.
        path: PathBuf,
        /// Which process, since when, and what it was started as, where it could say so.
        holder: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The lock's file could not be opened or locked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lock {
    /// Takes the lock of the store at `root`, waiting at most `timeout` (zero: tries once). It blocks the thread.
    /// `command` and `now` are what the lock's file shows to others.
    pub fn acquire(root: &Path, command: &str, now: Timestamp, timeout: Duration) -> Result<Self, LockError> {
        Self::acquire_at(root.join(LOCK), command, now, timeout)
    }

    /// As [`Lock::acquire`], of a lock's file of another name.
    pub fn acquire_at(path: PathBuf, command: &str, now: Timestamp, timeout: Duration) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(file::flags(OFlags::NOFOLLOW | OFlags::NONBLOCK));
        let writable = options.clone().write(true).create(true).truncate(false).mode(0o640).open(&path);
        // A file that cannot be written is as good a lock; its holder has no name.
        let mut file = writable
            .or_else(|error| options.open(&path).map_err(|_| error))
            .map_err(|error| StoreError::io("open the lock", &path, error))?;
        file::regular(&file, &path)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < timeout => {
                    thread::sleep(POLL.min(timeout.saturating_sub(begun.elapsed())));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { holder: holder(&mut file), path, waited: timeout });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(StoreError::io("lock", &path, error).into());
                }
            }
        }
        // A courtesy: a process that may lock the file has the lock, whatever its mode.
        drop(file::settle_mode(&file, &path, 0o640));
        // A courtesy: on a full disk we are a nameless holder, and the write that matters fails in its own words.
        drop(sign(&mut file, command, now));
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.file.set_len(0));
        drop(self.file.unlock());
    }
}

/// Process id (in its own namespace), time and command, in a line.
fn sign(file: &mut File, command: &str, now: Timestamp) -> std::io::Result<()> {
    let command: String = command.chars().filter(|c| !c.is_control()).take(MAX_COMMAND).collect();
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{} {now} {command}\n", std::process::id()).as_bytes())
}

fn holder(file: &mut File) -> String {
    signature(file).unwrap_or_else(|| "a process that left no name (fuser shows it)".to_owned())
}

fn signature(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(1024).read_to_string(&mut text).ok()?;
    let (pid, rest) = text.trim_end().split_once(' ')?;
    let (since, command) = rest.split_once(' ')?;
    let (pid, since): (u32, Timestamp) = (pid.parse().ok()?, since.parse().ok()?);
    Some(format!("process {pid} ({command}), since {since}"))
}
