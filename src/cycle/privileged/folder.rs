//! The folder in which the files of privileged targets stand, and by which the daemon and the privileged helper meet.
//!
//! ```text
//!  <root>/                        root's alone
//!    nginx -> generations/nginx/000042      what the server's files name
//!    requests/nginx               all that the daemon may write: a name. Root renames it away before all else
//!    consumed/                    to here, whatever it is; nobody else can enter
//!    outcomes/nginx.json          what came of it, for the daemon
//!    state/nginx.json nginx.lock  what the helper remembers
//! ```
//! Only what `lstat` says of a request counts: its time is its id, its mode says what is asked for. Nothing in it is
//! ever opened.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::store::link::{CONSUMED, LinkPath, OUTCOMES, REQUESTS, STATE};
use crate::store::{StoreError, file, generation, ownership};

/// The daemon's group may make entries there, does not see those of others, and cannot remove root's.
const REQUESTS_MODE: u32 = 0o1730;

/// In a request's mode: the server is to reload even if nothing changed.
const RELOAD: u32 = 0o200;

/// In a request's mode: the server was seen to use root's files.
const USED: u32 = 0o040;

/// As many entries of what was asked with are removed at once: a request has one.
const MOST_REMOVED: usize = 5_000;

/// No outcome is larger.
const LARGEST: u64 = 1024 * 1024;

/// See the head of this file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privileged {
    root: PathBuf,
    target: String,
}

/// What the daemon asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What its outcome will name.
    pub id: String,
    /// Whether the server is to reload even if nothing changed.
    pub reload: bool,
    /// Whether the daemon says that the server uses root's files, so that its check can be tried with broken ones.
    pub used: bool,
    /// Why it could not be taken away, and will be found again: then it is answered once, and not by a reload.
    pub stuck: Option<String>,
}

impl Request {
    fn of(found: &fs::Metadata) -> Self {
        Self { id: id(found), reload: found.mode() & RELOAD != 0, used: found.mode() & USED != 0, stuck: None }
    }
}

/// What the privileged helper is asked for: the mode of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// To have the server reload, even if nothing changed.
    ToReload = 0o400 | RELOAD,
    /// To follow the store, if anything changed.
    ToFollow = 0o400,
    /// The same, and to see whether the check of a server that uses root's files notices broken ones.
    ToTryCheck = 0o400 | USED,
}

impl Privileged {
    /// The target's share of the folder.
    pub fn of(root: &Path, target: &str) -> Result<Self, StoreError> {
        // A name that no link can have is an error.
        LinkPath::privileged(root, target)?;
        Ok(Self { root: root.to_owned(), target: target.to_owned() })
    }

    /// The link that the server's files name.
    pub fn link(&self) -> Result<LinkPath, StoreError> {
        LinkPath::privileged(&self.root, &self.target)
    }

    /// The folder of its generations.
    #[must_use]
    pub fn generations(&self) -> PathBuf {
        self.root.join(generation::DIRECTORY).join(&self.target)
    }

    /// The entry by which the daemon asks.
    #[must_use]
    pub fn request(&self) -> PathBuf {
        self.root.join(REQUESTS).join(&self.target)
    }

    /// What the helper remembers of it.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join(STATE).join(format!("{}.json", self.target))
    }

    /// Held by the helper while it works.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join(STATE).join(format!("{}.lock", self.target))
    }

    fn outcome(&self) -> PathBuf {
        self.root.join(OUTCOMES).join(format!("{}.json", self.target))
    }

    /// Makes what is missing of the folder, for root alone. `group` is the daemon's.
    pub fn prepare(&self, group: u32) -> Result<(), StoreError> {
        for folder in ["", generation::DIRECTORY, OUTCOMES, STATE] {
            make(&self.root.join(folder))?;
        }
        make(&self.generations())?;
        make_for_root(&self.root.join(CONSUMED))?;
        let requests = self.root.join(REQUESTS);
        if make_for_root(&requests)? {
            let failed = |error| StoreError::io("create", &requests, error);
            std::os::unix::fs::lchown(&requests, Some(0), Some(group)).map_err(failed)?;
            fs::set_permissions(&requests, Permissions::from_mode(REQUESTS_MODE)).map_err(failed)?;
        }
        Ok(())
    }

    /// An error unless root alone can change the folder, where there is one: in another one nothing is ever renamed,
    /// written or removed.
    pub fn fits(&self) -> Result<(), StoreError> {
        let unfit = |what: &str| StoreError::foreign(&self.root, what);
        let Some(found) = file::look_up(&self.root)? else { return Ok(()) };
        let at = ownership::roots_alone(&self.root).map_err(|error| unfit(&format!("is not root's alone: {error}")))?;
        let found = if found.is_symlink() {
            fs::symlink_metadata(&at).map_err(|error| StoreError::io("look at", &at, error))?
        } else {
            found
        };
        // Sticky or not: here nobody else may make an entry, either.
        if !found.is_dir() || found.mode() & 0o022 != 0 {
            return Err(unfit("is not a folder in which root alone makes entries"));
        }
        Ok(())
    }

    /// Renames the request away, whatever it is, and says what was asked for. The helper does this first, so that
    /// nothing that fails later leaves it there to be answered again at once.
    pub fn consume(&self) -> Result<Option<Request>, StoreError> {
        self.fits()?;
        let request = self.request();
        let Some(found) = file::look_up(&request)?.as_ref().map(Request::of) else { return Ok(None) };
        let folder = self.root.join(CONSUMED);
        // Where it cannot be made, the rename says why.
        let _ = make_for_root(&folder);
        let consumed = self.unused(CONSUMED, "");
        if let Err(error) = fs::rename(&request, &consumed) {
            // The disk has no room for a name: what cannot be renamed can be removed.
            if fs::remove_file(&request).or_else(|_| fs::remove_dir_all(&request)).is_ok() {
                return Ok(Some(found));
            }
            // Another answer took it.
            if !self.waits() {
                return Ok(None);
            }
            // It stays, and what it asks for is done all the same.
            let why = StoreError::io("rename away", &request, error).in_short();
            return Ok(Some(Request { reload: false, stuck: Some(why), ..found }));
        }
        // None if another answer to this target has cleared it, and taken it as its own.
        Ok(file::look_up(&consumed)?.as_ref().map(Request::of))
    }

    /// A name of this target's alone: no target's name has an `@`.
    fn unused(&self, folder: &str, prefix: &str) -> PathBuf {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let (process, number) = (std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        self.root.join(folder).join(format!("{prefix}{}@{process}-{now}-{number}", self.target))
    }

    /// Removes the requests that were taken. What could not be removed disturbs nothing, and is tried again.
    pub fn clear(&self) -> Vec<StoreError> {
        if self.fits().is_err() {
            return Vec::new();
        }
        let Ok(entries) = fs::read_dir(self.root.join(CONSUMED)) else { return Vec::new() };
        let ours = format!("{}@", self.target);
        let taken = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours));
        // All of them first: what stands in one is removed from beside it.
        let taken: Vec<PathBuf> = taken.take(MOST_REMOVED).map(|entry| entry.path()).collect();
        let beside = || self.unused(CONSUMED, "");
        taken.iter().filter_map(|path| file::remove_deep(path, beside, MOST_REMOVED).err()).collect()
    }

    /// Asks the helper: makes the entry that it waits for, in place of one that is unanswered.
    pub fn ask(&self, purpose: Purpose) -> Result<Request, StoreError> {
        let request = self.request();
        let named = |suffix: &str| self.root.join(REQUESTS).join(format!(".new-{}{suffix}", self.target));
        let beside = || self.unused(REQUESTS, ".old-");
        let prepared = file::free(named, |path| file::remove_deep(path, beside, MOST_REMOVED))?;
        let failed = |error| StoreError::io("create", &request, error);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&prepared).map_err(failed)?;
        let made = self.stamp(&file, purpose).and_then(|made| {
            match fs::rename(&prepared, &request) {
                // Whoever left a folder there, no file can take its place.
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                    let aside = beside();
                    fs::rename(&request, &aside)?;
                    fs::rename(&prepared, &request)?;
                    // It disturbs nothing there.
                    drop(file::remove_deep(&aside, beside, MOST_REMOVED));
                }
                renamed => renamed?,
            }
            Ok(made)
        });
        made.map_err(|error| {
            let _ = fs::remove_file(&prepared);
            failed(error)
        })
    }

    fn stamp(&self, file: &File, purpose: Purpose) -> io::Result<Request> {
        file.set_permissions(Permissions::from_mode(purpose as u32))?;
        // The kernel's own stamp is as coarse as its tick.
        file.set_modified(SystemTime::now() + Duration::from_nanos(u64::from(std::process::id() % 1_000)))?;
        Ok(Request::of(&file.metadata()?))
    }

    /// Whether the helper has not taken the request yet.
    #[must_use]
    pub fn waits(&self) -> bool {
        fs::symlink_metadata(self.request()).is_ok()
    }

    /// Writes the outcome of a request, as the helper.
    pub fn conclude(&self, outcome: &[u8]) -> Result<(), StoreError> {
        self.fits()?;
        file::replace(&self.outcome(), outcome).map(drop)
    }

    /// The outcome of the last request, as written; only a file of root's counts.
    #[must_use]
    pub fn concluded(&self) -> Option<Vec<u8>> {
        let path = self.outcome();
        let is_roots = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.uid() == 0);
        file::read(&path, LARGEST).ok().flatten().filter(|_| is_roots)
    }

    /// Why the helper cannot be asked here, and what to do.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let requests = self.root.join(REQUESTS);
        let advice =
            "privileged targets need their helper: enable trustsync-apply@.path for them, or run `sudo trustsync sync`";
        match fs::symlink_metadata(&requests) {
            Err(error) => Some(format!("{} cannot be looked at ({error}): {advice}", requests.display())),
            Ok(found) if !found.is_dir() || found.uid() != 0 => {
                Some(format!("{} is not a folder of root's: {advice}", requests.display()))
            }
            Ok(_)
                if rustix::fs::access(&requests, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
                    .is_err() =>
            {
                Some(format!(
                    "{} cannot be written by this user: its group must be the daemon's (mode 1730); {advice}",
                    requests.display()
                ))
            }
            Ok(_) => None,
        }
    }
}

fn make(folder: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(folder).is_err() {
        file::create_directory(folder)?;
    }
    ownership::roots_alone(folder)
        .map(drop)
        .map_err(|error| StoreError::foreign(folder, &format!("is not root's alone: {error}")))
}

/// Makes a folder that nobody else can enter, where nothing stands; whether it did.
fn make_for_root(folder: &Path) -> Result<bool, StoreError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(StoreError::io("create", folder, error)),
    }
}

fn id(found: &fs::Metadata) -> String {
    format!("{}.{:09}", found.mtime(), found.mtime_nsec())
}
