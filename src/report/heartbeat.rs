//! A daemon's sign of life: a small file in its runtime directory, rewritten at every beat. Whoever asks how a store
//! stands reads it: bounded, following no link, and only if it belongs to root or to the store's owner.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::bounded::read_at_most;
use crate::store::StoreError;
use crate::store::file;
use crate::trust::records::minder::{Heartbeat, Minder};
use crate::trust::records::summary::{DaemonSeen, StoreSummary};

/// Its name.
pub const HEARTBEAT: &str = "heartbeat.json";

/// Where the unit has its runtime directory: found there too where the state could not be written.
const USUAL: &str = "/run/trustsync";

/// None is larger.
const LARGEST: u64 = 256 * 1024;

/// The file of this process's sign of life, where the service manager gave it a runtime directory.
#[must_use]
pub fn own() -> Option<PathBuf> {
    let given = std::env::var_os("RUNTIME_DIRECTORY").filter(|folders| !folders.is_empty());
    let folder = given.as_ref().and_then(|folders| folders.to_str()?.split(':').next().map(PathBuf::from))?;
    let folder = folder.canonicalize().ok()?;
    folder.is_dir().then(|| folder.join(HEARTBEAT))
}

/// Gives the sign of life.
pub fn give(path: &Path, heartbeat: &Heartbeat) -> Result<(), StoreError> {
    file::replace(path, &heartbeat.to_bytes()).map(drop)
}

/// Adds what a daemon says of the store at `root`: where its state says that the sign of life stands, or where it
/// usually does. Where that cannot be seen from here, the due times are all there is.
#[must_use]
pub fn beside(mut summary: StoreSummary, root: &Path) -> StoreSummary {
    summary.daemon = seen(&summary, root);
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
