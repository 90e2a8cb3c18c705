//! What is known of a store beside it: a daemon's sign of life, a small file in its runtime directory that is rewritten
//! at every beat; and what a one-shot leaves there of a store in which it could save nothing. Whoever asks how a store
//! stands reads them: bounded, following no link, and only if they belong to root or to the store's owner.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::bounded::read_at_most;
use crate::store::StoreError;
use crate::store::file;
use crate::trust::records::minder::{self, Heartbeat, Minder, StoreSeen};
use crate::trust::records::summary::{DaemonSeen, StoreSummary};
use crate::trust::values::excerpt;
use crate::trust::values::timestamp::Timestamp;

/// Its name.
pub const HEARTBEAT: &str = "heartbeat.json";

/// The name of what a one-shot leaves.
const LEFT: &str = "sync.json";

/// Where the unit has its runtime directory: found there too where the state could not be written.
const USUAL: &str = "/run/trustsync";

/// How much is left of why.
const LONGEST_REASON: usize = 2_000;

/// None is larger.
const LARGEST: u64 = 256 * 1024;

/// The file of this process's sign of life, where the service manager gave it a runtime directory.
#[must_use]
pub fn own() -> Option<PathBuf> {
    Some(given()?.join(HEARTBEAT))
}

fn given() -> Option<PathBuf> {
    let given = std::env::var_os("RUNTIME_DIRECTORY").filter(|folders| !folders.is_empty());
    let folder = given.as_ref().and_then(|folders| folders.to_str()?.split(':').next().map(PathBuf::from))?;
    folder.canonicalize().ok().filter(|folder| folder.is_dir())
}

/// Gives the sign of life.
pub fn give(path: &Path, heartbeat: &Heartbeat) -> Result<(), StoreError> {
    file::replace(path, &heartbeat.to_bytes()).map(drop)
}

/// Leaves beside the store at `root` why a one-shot could save nothing in it, or that it could. Where there is no
/// runtime directory, or it cannot be written, only a look at the store itself tells.
pub fn leave(root: &Path, trouble: Option<&str>, now: Timestamp) {
    let folder = given().or_else(|| Some(PathBuf::from(USUAL)).filter(|usual| usual.is_dir()));
    let (Some(folder), Ok(root)) = (folder, root.canonicalize()) else { return };
    let (path, Some(root)) = (folder.join(LEFT), root.to_str()) else { return };
    let known = file::read(&path, LARGEST).ok().flatten().and_then(|bytes| Heartbeat::read(&bytes).ok());
    if trouble.is_none() && known.is_none() {
        return;
    }
    let mut stores = known.map(|known| known.stores).unwrap_or_default();
    stores.remove(root);
    if let Some(why) = trouble {
        let failing = Some((now, excerpt::beginning(why, LONGEST_REASON)));
        stores.insert(root.to_owned(), StoreSeen { next_poll: None, failing });
    }
    let left = Heartbeat { schema: minder::SCHEMA, version: env!("CARGO_PKG_VERSION").to_owned(), at: now, stores };
    // What cannot be left there, the exit code and the log have said.
    drop(give(&path, &left));
}

/// Adds what a daemon says of the store at `root`: where its state says that the sign of life stands, or where it
/// usually does. Where that cannot be seen from here, the due times are all there is.
#[must_use]
pub fn beside(mut summary: StoreSummary, root: &Path) -> StoreSummary {
    summary.daemon = seen(&summary, root);
    let ended = summary.state.last_cycle.as_ref().map(|last| last.ended);
    let left = left(root).filter(|(since, _)| ended.is_none_or(|ended| ended <= *since));
    summary.failing = summary.failing.or(left);
    if summary.daemon.is_none()
        && let Minder::Daemon { heartbeat, .. } = &mut summary.state.minder
    {
        let is_gone = |path: &String| {
            let path = Path::new(path);
            let folder = path.parent().is_some_and(Path::is_dir);
            folder && fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        *heartbeat = heartbeat.take().filter(is_gone);
    }
    summary
}

/// What a one-shot has left of a store in which it could save nothing.
fn left(root: &Path) -> Option<(Timestamp, String)> {
    let owner = fs::metadata(root).ok()?.uid();
    let root = root.canonicalize().ok()?;
    let said = |folder: PathBuf| {
        let mut left = Heartbeat::read(&read(&folder.join(LEFT), owner).ok()?).ok()?;
        left.stores.remove(root.to_str()?)?.failing
    };
    given().into_iter().chain([PathBuf::from(USUAL)]).find_map(said)
}

fn seen(summary: &StoreSummary, root: &Path) -> Option<DaemonSeen> {
    let recorded = match &summary.state.minder {
        Minder::Daemon { heartbeat, .. } => heartbeat.as_ref().map(PathBuf::from),
        Minder::OneShot => None,
    };
    // A file of another name is not one of ours, whatever the state says.
    let recorded = recorded.filter(|path| path.file_name().is_some_and(|name| name == HEARTBEAT));
    let usual = Path::new(USUAL).join(HEARTBEAT);
    let owner = fs::metadata(root).ok()?.uid();
    let root = root.canonicalize().ok()?;
    let said = |path: PathBuf| {
        let mut heartbeat = Heartbeat::read(&read(&path, owner).ok()?).ok()?;
        let store = heartbeat.stores.remove(root.to_str()?)?;
        Some(DaemonSeen { at: heartbeat.at, version: heartbeat.version, store })
    };
    own().into_iter().chain(recorded).chain([usual]).find_map(said)
}

fn read(path: &Path, owner: u32) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let file = fs::File::from(opened);
    let found = file.metadata()?;
    if !found.is_file() || ![0, owner].contains(&found.uid()) {
        return Err(io::Error::other("it is not a sign of life of this store's"));
    }
    read_at_most(file, LARGEST)
}
