//! Whether a store could be written now, seen without writing: what its filesystem says of itself, its room, and the
//! owners and modes of what must be written. It is a look at this moment by this process: another mount, a quota and a
//! failing disk are found by those who write, and only by them.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags};
use rustix::io::Errno;

use super::durable::{LOCK, Store, StoreError, file, generation, link};

/// What cannot be written of a store, a sentence each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unwritable {
    /// Nothing new can be published or remembered.
    pub store: Vec<String>,
    /// The state has room, and another generation may have none.
    pub scarce: Option<String>,
    /// These files alone lag behind, by their names.
    pub besides: Vec<(String, String)>,
}

/// Looks at the store at `root`, whose state has the first of these names, and beside which the others are kept: files
/// that are appended to, and folders. Of one that was never born nothing is said.
#[must_use]
pub fn unwritable(root: &Path, state: &str, besides: &[&str]) -> Unwritable {
    let mut found = Unwritable::default();
    match Store::find(root) {
        Ok(Some(_)) => {}
        Ok(None) => return found,
        Err(error) => {
            found.store.push(error.in_short());
            return found;
        }
    }
    // Another process wrote it: whoever asks may be another user.
    let Ok(owner) = fs::metadata(root).map(|root| root.uid()) else { return found };
    match filesystem(root, state, owner) {
        Some(Room::None(problem)) => {
            found.store.push(problem);
            return found;
        }
        Some(Room::Little(what)) => found.scarce = Some(what),
        None => {}
    }
    for path in [root.to_owned(), root.join(generation::DIRECTORY), root.join(link::TARGETS)] {
        found.store.extend(refused(&path, owner));
    }
    let lock = root.join(LOCK);
    if let Ok(what) = fs::symlink_metadata(&lock)
        && !what.is_file()
    {
        let what = StoreError::foreign(&lock, &format!("is {}, not a regular file", file::kind(&what)));
        found.store.push(what.in_short());
    }
    found.store.extend(unreplaceable(root, &root.join(state), owner));
    for name in besides {
        found.besides.extend(refused(&root.join(name), owner).map(|problem| ((*name).to_owned(), problem)));
    }
    found
}

/// What a filesystem has no room for.
enum Room {
    /// For nothing: it is full, or read-only.
    None(String),
    /// For another generation, by what the one in place takes: an estimate.
    Little(String),
}

/// A read-only filesystem, or one without room for the state, or for another generation.
fn filesystem(root: &Path, state: &str, owner: u32) -> Option<Room> {
    let found = rustix::fs::statvfs(root).ok()?;
    let say = |errno: Errno| StoreError::io("write", root, errno.into()).in_short();
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(Room::None(say(Errno::ROFS)));
    }
    let block = found.f_frsize.max(1);
    let needed = needed(root, state, block);
    // What a filesystem keeps back, it keeps for root.
    let (blocks, inodes) = if owner == 0 { (found.f_bfree, found.f_ffree) } else { (found.f_bavail, found.f_favail) };
    // Filesystems without a fixed number of inodes report f_files = 0.
    if found.f_files > 0 && inodes < needed.inodes {
        let text = format!(
            "{}: its filesystem has {inodes} inodes left, and the next generation may need {} (remove files from that \
             filesystem: their number counts, not their size)",
            root.display(),
            needed.inodes
        );
        return Some(if inodes < INODES_OF_STATE { Room::None(text) } else { Room::Little(text) });
    }
    if found.f_blocks > 0 && blocks < needed.blocks {
        let (left, may_need) = (blocks.saturating_mul(block), needed.blocks.saturating_mul(block));
        let root = root.display();
        return Some(if blocks < needed.blocks_of_state {
            Room::None(format!("could not write {root}: the disk is full ({left} bytes left; free space there)"))
        } else {
            Room::Little(format!(
                "{root}: its filesystem has {left} bytes left, and the next generation may need {may_need} (free space \
                 there)"
            ))
        });
    }
    None
}

/// What another generation and another state take, with the old ones beside them.
struct Needed {
    blocks: u64,
    blocks_of_state: u64,
    inodes: u64,
}

fn needed(root: &Path, state: &str, block: u64) -> Needed {
    let mut needed = Needed { blocks: 2, blocks_of_state: 0, inodes: 4 };
    let mut add = |found: &Metadata| {
        needed.blocks = needed.blocks.saturating_add(found.len().div_ceil(block).max(1));
        needed.inodes = needed.inodes.saturating_add(1);
    };
    let _ = fs::symlink_metadata(root.join(state)).map(|found| add(&found));
    needed.blocks_of_state = needed.blocks;
    let mut add = |found: &Metadata| {
        needed.blocks = needed.blocks.saturating_add(found.len().div_ceil(block).max(1));
        needed.inodes = needed.inodes.saturating_add(1);
    };
    let mut open: Vec<PathBuf> = fs::canonicalize(root.join(link::CURRENT)).into_iter().collect();
    // A generation has a folder a server, and none within these.
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten().take(MOST_ENTRIES) {
            let Ok(found) = entry.metadata() else { continue };
            add(&found);
            if found.is_dir() && open.len() < MOST_ENTRIES {
                open.push(entry.path());
            }
        }
    }
    // The next one may have a leaf more.
    needed.blocks = needed.blocks.saturating_add(needed.blocks.div_ceil(4));
    needed
}

/// The state is written beside the old one, and so is what is kept of the lists.
const INODES_OF_STATE: u64 = 2;

/// No folder of a generation holds more.
const MOST_ENTRIES: usize = 1_000;

/// Why what stands at `path` could not be written by the store's owner; nothing where nothing stands.
fn refused(path: &Path, owner: u32) -> Option<String> {
    let found = fs::symlink_metadata(path).ok()?;
    // The root may be a symlink that the administrator made.
    let found = if found.is_symlink() { fs::metadata(path).ok()? } else { found };
    if !found.is_dir() && !found.is_file() {
        return Some(format!("could not write {}: it is {}", path.display(), kind(&found)));
    }
    let in_evidence = path.extension().is_some_and(|extension| extension == "jsonl");
    if in_evidence && !found.is_file() {
        return Some(format!("could not append to {}: it is {}", path.display(), file::kind(&found)));
    }
    refused_by_mode(path, &found, owner)
}

fn kind(found: &Metadata) -> &'static str {
    if found.file_type().is_fifo() { "a pipe" } else { file::kind(found) }
}

fn refused_by_mode(path: &Path, found: &Metadata, owner: u32) -> Option<String> {
    let us = rustix::process::geteuid().as_raw();
    if us == owner {
        let access = if found.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
        let errno = rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS).err()?;
        return Some(StoreError::io("write", path, errno.into()).in_short());
    }
    // Root is refused by an immutable file alone.
    let immutable = us == 0 && rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS) == Err(Errno::PERM);
    let needed = if found.is_dir() { 3 } else { 2 };
    let mode = found.mode();
    let may = owner == 0
        || if found.uid() == owner { (mode >> 6) & needed == needed } else { (mode | (mode >> 3)) & needed == needed };
    if may && !immutable {
        return None;
    }
    let (at, by, mode) = (path.display(), found.uid(), mode & 0o7777);
    Some(format!(
        "{at} belongs to uid {by} (mode {mode:04o}), and the store's owner, uid {owner}, cannot write it (give it to \
         that user: chown, or lsattr if it is an immutable file)"
    ))
}

/// Why the state could not be replaced by a rename: an immutable file, or another user's in a folder with the sticky
/// bit.
fn unreplaceable(root: &Path, state: &Path, owner: u32) -> Option<String> {
    let found = fs::symlink_metadata(state).ok()?;
    if !found.is_file() {
        return Some(StoreError::foreign(state, &format!("is {}, not a regular file", file::kind(&found))).in_short());
    }
    let folder = fs::metadata(root).ok()?;
    let sticky = folder.mode() & 0o1000 != 0 && owner != 0 && found.uid() != owner;
    let immutable = rustix::fs::accessat(CWD, state, Access::WRITE_OK, AtFlags::EACCESS) == Err(Errno::PERM);
    (sticky || immutable).then(|| {
        format!(
            "{} belongs to uid {} and cannot be replaced by the store's owner, uid {owner} (an immutable file, or a \
             folder with the sticky bit: lsattr, chown)",
            state.display(),
            found.uid()
        )
    })
}
