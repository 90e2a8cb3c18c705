//! Single files and directories, made durable: what a rename exposes was fsynced before, and the directory is after.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::StoreError;

/// The longest line that [`append`] takes, without its newline.
pub const MAX_LINE: usize = 64 * 1024;

const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Whether [`replace`] had to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The file had other bytes, or was missing.
    Written,
    /// The file had these bytes already.
    Unchanged,
}

/// Replaces one file by one rename, with mode 0644 whatever the umask; leaves it alone where it has these bytes
/// already.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<Replaced, StoreError> {
    if bytes.is_empty() {
        return Err(StoreError::Empty { what: path.display().to_string() });
    }
    match read(path, bytes.len() as u64) {
        Ok(Some(old)) if old == bytes => return Ok(Replaced::Unchanged),
        Ok(_) | Err(StoreError::TooLarge { .. }) => {}
        Err(error) => return Err(error),
    }
    let temporary = free_temporary(path)?;
    write_new(&temporary, bytes)
        .and_then(|()| rename(&temporary, path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync_directory(parent(path))?;
    Ok(Replaced::Written)
}

/// Reads a regular file of at most `limit` bytes; `None` where there is none. A symlink, a pipe or a device is an
/// error.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    open(path)?.map(|file| within(&file, path, limit)).transpose()
}

/// Opens a regular file, to be read bit by bit; `None` where there is none.
pub fn open(path: &Path) -> Result<Option<File>, StoreError> {
    // Without O_NONBLOCK, a pipe in the file's place would hang us.
    let opened = OpenOptions::new().read(true).custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK)).open(path);
    match opened {
        Ok(file) => regular(&file, path).map(|_| Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if is(&error, Errno::LOOP) => Err(StoreError::foreign(path, "is a symlink, not a regular file")),
        Err(error) => Err(StoreError::io("open", path, error)),
    }
}

/// What stands at a path, following no symlink; `None` where nothing does.
pub(crate) fn look_up(path: &Path) -> Result<Option<fs::Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("look at", path, error)),
    }
}

/// What the kernel says of an open file, which must be a regular one.
pub(super) fn regular(file: &File, path: &Path) -> Result<fs::Metadata, StoreError> {
    let found = file.metadata().map_err(|error| StoreError::io("look at", path, error))?;
    if found.is_file() {
        return Ok(found);
    }
    Err(StoreError::foreign(path, &format!("is {}, not a regular file", kind(&found))))
}

/// Reads the last `limit` bytes of a regular file; nothing where there is none.
pub fn read_tail(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let failed = |error| StoreError::io("read", path, error);
    let Some(mut file) = open(path)? else { return Ok(Vec::new()) };
    let length = file.metadata().map_err(failed)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit))).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Reads an open file, which must be a regular one of at most `limit` bytes.
pub(super) fn read_bounded(file: &File, path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    regular(file, path)?;
    within(file, path, limit)
}

fn within(file: &File, path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let read = at_most(file, limit).map_err(|error| StoreError::io("read", path, error))?;
    read.ok_or_else(|| StoreError::TooLarge { path: path.to_owned(), limit })
}

/// Reads a file whole; `None` if it has more than `limit` bytes.
pub(crate) fn at_most(file: &File, limit: u64) -> io::Result<Option<Vec<u8>>> {
    if file.metadata()?.len() > limit {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    // It may grow while we read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= limit))
}

/// Appends one line and fsyncs it. A line that a crash tore is closed first, so that it spoils only itself.
pub fn append(path: &Path, line: &str) -> Result<(), StoreError> {
    let refused = |why| StoreError::BadName { name: line.chars().take(40).collect(), what: "line of evidence", why };
    if line.is_empty() {
        return Err(StoreError::Empty { what: format!("the line for {}", path.display()) });
    }
    if line.len() > MAX_LINE {
        return Err(refused("it is longer than 64 KiB"));
    }
    if line.contains('\n') {
        return Err(refused("it has a line break inside"));
    }
    let (mut file, created) = open_to_append(path)?;
    let failed = |error| StoreError::io("append to", path, error);
    let found = regular(&file, path)?;
    let mut last = [b'\n'];
    if found.len() > 0 {
        file.seek(SeekFrom::End(-1)).map_err(failed)?;
        file.read_exact(&mut last).map_err(failed)?;
    }
    let mut bytes = Vec::with_capacity(line.len().saturating_add(2));
    if last != *b"\n" {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    file.write_all(&bytes).map_err(|error| {
        let error = failed(error);
        // What a full disk took of it is half a line.
        drop(file.set_len(found.len()));
        error
    })?;
    // The line stands: a process that may append to another user's file may still not change its mode.
    drop(settle_mode(&file, path, FILE_MODE));
    sync(&file, path)?;
    if created {
        sync_directory(parent(path))?;
    }
    Ok(())
}

fn open_to_append(path: &Path) -> Result<(File, bool), StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(FILE_MODE).custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK));
    match options.open(path) {
        Ok(file) => Ok((file, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = options.create_new(true).open(path).map_err(|error| StoreError::io("create", path, error))?;
            Ok((file, true))
        }
        Err(error) => Err(StoreError::io("open", path, error)),
    }
}

/// Creates a file that must not exist yet, and fsyncs it; its directory is the caller's to fsync.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|error| StoreError::io("create", path, error))?;
    file.write_all(bytes).map_err(|error| StoreError::io("write", path, error))?;
    settle_mode(&file, path, FILE_MODE)?;
    sync(&file, path)
}

/// Creates an empty directory of mode 0755 whatever the umask, under another name first: a crash before the `fchmod`
/// must not leave one that servers cannot enter. Two first runs may do this at once, since no lock stands yet.
pub(crate) fn create_directory(path: &Path) -> Result<(), StoreError> {
    let mut tries = 0_u8;
    loop {
        match try_to_create_directory(path) {
            Err(_) if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) => return Ok(()),
            Err(StoreError::Io { source, .. })
                if tries < 20 && matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) =>
            {
                tries = tries.saturating_add(1);
            }
            done => return done,
        }
    }
}

fn try_to_create_directory(path: &Path) -> Result<(), StoreError> {
    let temporary = free_temporary(path)?;
    let made = make_directory(&temporary)?;
    sync(&made, &temporary)?;
    rename(&temporary, path).inspect_err(|_| drop(fs::remove_dir(&temporary)))?;
    sync_directory(parent(path))
}

/// Creates a directory in place; the open handle is the caller's to fsync once it is filled.
pub(super) fn make_directory(path: &Path) -> Result<File, StoreError> {
    DirBuilder::new().mode(DIRECTORY_MODE).create(path).map_err(|error| StoreError::io("create", path, error))?;
    let directory = open_directory(path).map_err(|error| StoreError::io("open", path, error))?;
    settle_mode(&directory, path, DIRECTORY_MODE)?;
    Ok(directory)
}

pub(super) fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags(OFlags::DIRECTORY | OFlags::NOFOLLOW)).open(path)
}

/// Sets the mode that the umask may have changed when the file was created.
pub(super) fn settle_mode(file: &File, path: &Path, mode: u32) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("set the mode of", path, error);
    if file.metadata().map_err(failed)?.mode() & 0o7777 != mode {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

/// Whether the file has another mode than we give one.
pub(super) fn has_other_mode(file: &File, path: &Path) -> Result<bool, StoreError> {
    let found = file.metadata().map_err(|error| StoreError::io("look at", path, error))?;
    Ok(found.mode() & 0o7777 != FILE_MODE)
}

/// Whether a directory has. A set-group-id bit is inherited from the folder above, and is the administrator's.
pub(super) fn directory_has_other_mode(path: &Path) -> Result<bool, StoreError> {
    let found = fs::symlink_metadata(path).map_err(|error| StoreError::io("look at", path, error))?;
    Ok(found.mode() & 0o5777 != DIRECTORY_MODE)
}

pub(super) fn sync(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_all().map_err(|error| StoreError::io("fsync", path, error))
}

/// Makes the names in a directory durable. Some network filesystems cannot, and answer EINVAL: nothing more can be
/// done.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    match synced {
        Err(error) if is(&error, Errno::INVAL) => Ok(()),
        other => other.map_err(|error| StoreError::io("fsync", path, error)),
    }
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| StoreError::io("rename into place", to, error))
}

/// A name under which the next content of `path` is prepared, in the same directory, so that a rename can expose it.
/// What a crash left there is removed; what cannot be removed is passed over, so that it cannot wedge us.
pub(super) fn free_temporary(path: &Path) -> Result<PathBuf, StoreError> {
    let Some(name) = path.file_name() else {
        return Err(StoreError::BadName { name: path.display().to_string(), what: "file", why: "it has no last part" });
    };
    let named = |suffix: &str| {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(suffix);
        hidden.push(".new");
        path.with_file_name(hidden)
    };
    free(named, remove_leftover)
}

/// Whether [`free_temporary`] gave a file that name.
pub(super) fn is_temporary(name: &str) -> bool {
    name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new")).is_some_and(|name| !name.is_empty())
}

/// The first of the paths that `named` makes of a suffix at which nothing is left by `remove`.
pub(crate) fn free(
    named: impl Fn(&str) -> PathBuf,
    remove: impl Fn(&Path) -> Result<(), StoreError>,
) -> Result<PathBuf, StoreError> {
    const SUFFIXES: [&str; 4] = ["", ".2", ".3", ".4"];
    let mut first = None;
    for path in SUFFIXES.map(&named) {
        match remove(&path) {
            Ok(()) => return Ok(path),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or_else(|| Ok(named("")), Err)
}

/// Removes a file or link that a crash left, or a directory that it left before anything was put into it; one with
/// something in it is not ours.
pub(crate) fn remove_leftover(path: &Path) -> Result<(), StoreError> {
    remove(path, |path| fs::remove_dir(path))
}

/// Removes what stands at `path`, a directory with what is in it, following no symlink.
pub(super) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    remove(path, |path| fs::remove_dir_all(path))
}

/// Removes what stands at `path`, however deep it is, with one file open at a time: what stands in a directory is first
/// renamed to a name that `beside` makes, in a folder of ours, or removed. So no directory is looked into but one whose
/// name nobody else can exchange, and no symlink is followed. Never more than `most` entries at once: the rest stays at
/// those names.
pub(crate) fn remove_deep(path: &Path, mut beside: impl FnMut() -> PathBuf, most: usize) -> Result<(), StoreError> {
    let failed = |path: &Path, error| StoreError::io("remove", path, error);
    let mut left = most;
    let mut waiting = vec![path.to_owned()];
    while let Some(next) = waiting.pop() {
        if left == 0 {
            return Err(failed(path, io::Error::other(format!("it holds more than {most} entries"))));
        }
        left = left.saturating_sub(1);
        if !look_up(&next)?.is_some_and(|found| found.is_dir()) {
            remove(&next, |_| Ok(()))?;
            continue;
        }
        for entry in fs::read_dir(&next).map_err(|error| failed(&next, error))?.flatten() {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(1);
            let inner = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let outside = beside();
                fs::rename(&inner, &outside).map_err(|error| failed(&inner, error))?;
                waiting.push(outside);
            } else {
                fs::remove_file(&inner).map_err(|error| failed(&inner, error))?;
            }
        }
        fs::remove_dir(&next).map_err(|error| failed(&next, error))?;
    }
    Ok(())
}

fn remove(path: &Path, directory: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), StoreError> {
    // Asked first: a read-only disk refuses to remove even what is not there, and that would look like an error of
    // ours.
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => directory(path),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        // Another first run was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| StoreError::io("remove", path, error)),
    }
}

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

pub(super) fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}

/// What kind of thing stands at a path, with its article.
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
