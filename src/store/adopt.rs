//! Reads the generation of a store that is not ours: another user's, or a seed. Its writer is taken for an adversary
//! who knows that we read.
//!
//! ```text
//!  root folder ─▶ current, as a number ─▶ generations/000042 (held open) ─▶ manifest.json ─▶ leaves.pem, chain.pem
//!  each opened by openat2 beneath the one before: no symlink, no other filesystem, regular files alone, bounded
//! ```
//! What was read is a whole, or an error: the folder is opened once, so that a rename behind us changes nothing, and
//! each file must have the digest that the manifest, read once, gives it. [`crate::trust::records::adopt`] decides what
//! of it is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{file, generation, link, ownership};
use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::pem;
use crate::trust::records::manifest::Manifest;
use crate::trust::values::excerpt;
use crate::trust::values::fingerprint::Fingerprint;

/// The largest file that is read. The largest manifest that the planner can make has some hundreds of kilobytes.
pub const LARGEST: u64 = 8 * 1024 * 1024;

/// No symlink is followed.
const STRICTLY: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// The folder of revocation lists in a store, the largest of them, and all of them together.
const LISTS: &str = "crl";
const LARGEST_LIST: u64 = 16 * 1024 * 1024;
const MOST_OF_LISTS: u64 = 64 * 1024 * 1024;

/// As many names are read of that folder.
const MOST_NAMES: usize = 256;

/// The most certificates in a file.
const MOST_CERTIFICATES: usize = 1_000;

/// How often a generation is read from the beginning, if it is replaced while it is read.
const TRIES: u32 = 3;

/// The files that hold certificates.
const PARTS: [&str; 2] = ["leaves.pem", "chain.pem"];

/// What stands in another's generation, before anything of it is verified.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// As its `manifest.json` has it.
    pub manifest: Manifest,
    /// The certificates that stand beside it.
    pub certificates: BTreeMap<Fingerprint, Certificate>,
}

/// Nothing could be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Nothing is there yet.
    #[error("{} holds no generation yet", .0.display())]
    Nothing(PathBuf),
    /// The kernel refused to open or read something.
    #[error("{} cannot be read: {source}", .path.display())]
    Io {
        /// A folder, a link or a file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What stands there is not a generation of a store, whole and unchanged.
    #[error("{} {what}", .path.display())]
    Unfit {
        /// A folder, a link or a file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl AdoptError {
    fn unfit(path: &Path, what: impl Into<String>) -> Self {
        Self::Unfit { path: path.to_owned(), what: what.into() }
    }

    fn not_ours(path: &Path, what: &str) -> Self {
        Self::unfit(path, format!("is not what we write there: {what}"))
    }
}

/// Reads the current generation of the store at `root`, which another user writes.
pub fn store(root: &Path) -> Result<Foreign, AdoptError> {
    let opened = open_strictly(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC);
    let opened = opened.map_err(|errno| refused(root, errno))?;
    Reader::strict().store(&File::from(opened), root)
}

/// The folder of the store itself.
fn open_strictly(root: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // The path to the folder may have symlinks of root's, and no others.
    let folder = root.parent().zip(root.file_name());
    let whole = folder.and_then(|(parent, name)| Some(ownership::roots_alone(parent).ok()?.join(name)));
    let whole = whole.unwrap_or_else(|| std::path::absolute(root).unwrap_or_else(|_| root.to_owned()));
    rustix::fs::openat2(CWD, &whole, flags, Mode::empty(), STRICTLY)
}

/// Reads the revocation lists that the store at `root`, which another user writes, keeps: as many as there may be, and
/// as far as they can be read. One that is missing revokes nobody.
#[must_use]
pub fn lists(root: &Path) -> Vec<Vec<u8>> {
    let folder = root.join(LISTS);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(opened) = open_strictly(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC) else { return Vec::new() };
    let strict = Reader::strict();
    let Ok(opened) = rustix::fs::openat2(&opened, LISTS, flags, Mode::empty(), strict.flags) else { return Vec::new() };
    let Ok(entries) = rustix::fs::Dir::read_from(&opened) else { return Vec::new() };
    let names = entries.take(MOST_NAMES).filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned));
    let names: BTreeSet<String> = names.filter(|name| name.ends_with(".crl")).collect();
    let opened = File::from(opened);
    let (mut lists, mut left) = (Vec::new(), MOST_OF_LISTS);
    for name in names {
        let Ok(list) = strict.file(&opened, &folder, &name, left.min(LARGEST_LIST)) else { continue };
        left = left.saturating_sub(u64::try_from(list.len()).unwrap_or(u64::MAX));
        lists.push(list);
    }
    lists
}

/// Reads a seed: a store, or a copy of the folder of one generation. It is the operator's, so that its files may be
/// symlinks that stay within it, as those of a Kubernetes volume are.
pub fn seed(folder: &Path) -> Result<Foreign, AdoptError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(folder, flags, Mode::empty()).map_err(|errno| refused(folder, errno))?;
    let opened = File::from(opened);
    let reader = Reader { flags: ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS, single: false };
    match reader.current(&opened, folder) {
        Err(AdoptError::Nothing(_)) => match reader.generation(&opened, folder) {
            Err(AdoptError::Io { path, source })
                if source.kind() == io::ErrorKind::NotFound && path.ends_with("manifest.json") =>
            {
                let what =
                    "is neither a store nor a copy of a generation: it has neither the link current nor manifest.json";
                Err(AdoptError::unfit(folder, what))
            }
            read => read,
        },
        _ => reader.store(&opened, folder),
    }
}

/// How strictly files are opened.
struct Reader {
    flags: ResolveFlags,
    /// Whether a file with a second name is refused: it may be one that its reader alone should read.
    single: bool,
}

impl Reader {
    /// For the files of another user.
    fn strict() -> Self {
        Self { flags: STRICTLY | ResolveFlags::BENEATH | ResolveFlags::NO_XDEV, single: true }
    }

    fn store(&self, folder: &File, root: &Path) -> Result<Foreign, AdoptError> {
        let mut number = self.current(folder, root)?;
        for _ in 1..TRIES {
            let read = self.numbered(folder, root, number);
            let now = self.current(folder, root)?;
            // The store went on while we read, and may have swept what we were reading.
            if read.is_ok() || now == number {
                return read;
            }
            number = now;
        }
        self.numbered(folder, root, number)
    }

    fn current(&self, folder: &File, root: &Path) -> Result<u64, AdoptError> {
        let path = root.join(link::CURRENT);
        let foreign = |found: &str| {
            AdoptError::unfit(&path, format!("is {found:?}, which names no generation; it is not followed"))
        };
        let target = match rustix::fs::readlinkat(folder, link::CURRENT, Vec::new()) {
            Ok(target) => target.to_string_lossy().into_owned(),
            Err(Errno::NOENT) => return Err(AdoptError::Nothing(root.to_owned())),
            Err(Errno::INVAL) => return Err(foreign("(not a symlink)")),
            Err(errno) => return Err(refused(&path, errno)),
        };
        let number = target.strip_prefix("generations/").and_then(generation::number);
        number.ok_or_else(|| foreign(&excerpt::beginning(&target, 200)))
    }

    fn numbered(&self, folder: &File, root: &Path, number: u64) -> Result<Foreign, AdoptError> {
        let relative = Path::new(generation::DIRECTORY).join(generation::name(number));
        let path = root.join(&relative);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat2(folder, &relative, flags, Mode::empty(), self.flags)
            .map_err(|errno| refused(&path, errno))?;
        let foreign = self.generation(&File::from(opened), &path)?;
        if foreign.manifest.generation != number {
            let what = format!("its manifest is that of generation {:06}", foreign.manifest.generation);
            return Err(AdoptError::not_ours(&path, &what));
        }
        Ok(foreign)
    }

    fn generation(&self, folder: &File, at: &Path) -> Result<Foreign, AdoptError> {
        let bytes = self.file(folder, at, "manifest.json", LARGEST)?;
        let manifest =
            Manifest::read(&bytes).map_err(|error| AdoptError::unfit(&at.join("manifest.json"), error.to_string()))?;
        let mut certificates = BTreeMap::new();
        for part in PARTS {
            let bytes = self.file(folder, at, part, LARGEST)?;
            if manifest.files.get(part) != Some(&Fingerprint::of(&bytes)) {
                let what = "is not as its manifest says: it was changed, or replaced while it was read";
                return Err(AdoptError::unfit(&at.join(part), what));
            }
            let blocks = pem::scan(&String::from_utf8_lossy(&bytes));
            if blocks.len() > MOST_CERTIFICATES {
                let what = format!("it has {} blocks, more than {MOST_CERTIFICATES}", blocks.len());
                return Err(AdoptError::not_ours(&at.join(part), &what));
            }
            // What cannot be read is missing, and then refused by name.
            let read = blocks.into_iter().filter_map(|block| Certificate::parse(&block.bytes.ok()?).ok());
            certificates.extend(read.map(|certificate| (certificate.fingerprint(), certificate)));
        }
        Ok(Foreign { manifest, certificates })
    }

    fn file(&self, folder: &File, at: &Path, name: &str, largest: u64) -> Result<Vec<u8>, AdoptError> {
        let path = at.join(name);
        // Without O_NONBLOCK a pipe, or a file under somebody's lease, would hang us.
        let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        if self.single {
            flags |= OFlags::NOFOLLOW;
        }
        let opened = rustix::fs::openat2(folder, name, flags, Mode::empty(), self.flags);
        let opened = File::from(opened.map_err(|errno| refused(&path, errno))?);
        let failed = |source| AdoptError::Io { path: path.clone(), source };
        let unfit = |what: String| Err(AdoptError::not_ours(&path, &what));
        let found = opened.metadata().map_err(failed)?;
        if !found.is_file() {
            return unfit(format!("it is {}, not a regular file", file::kind(&found)));
        }
        if self.single && found.nlink() != 1 {
            return unfit(format!("it has {} names (hard links), and may be somebody else's file", found.nlink()));
        }
        match file::at_most(&opened, largest).map_err(failed)? {
            Some(bytes) => Ok(bytes),
            None => unfit(format!("it is larger than {largest} bytes")),
        }
    }
}

fn refused(path: &Path, errno: Errno) -> AdoptError {
    let what = match errno {
        Errno::LOOP => "a symlink stands in it or on the way to it",
        Errno::XDEV => "it leads out of the folder, or onto another filesystem",
        Errno::NOTDIR => "it is not a folder",
        Errno::NOSYS => "this kernel has no openat2 (Linux 5.6 and later have), without which it cannot be read safely",
        _ => return AdoptError::Io { path: path.to_owned(), source: errno.into() },
    };
    AdoptError::not_ours(path, what)
}
