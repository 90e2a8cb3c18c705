//! Access lists (ACLs) of files: which users and groups may write, besides owner and group. The kernel hands them out
//! as an extended attribute:
//!
//! ```text
//!  version (u32, 2) │ tag (u16) permissions (u16) id (u32) │ tag permissions id │ ...        little-endian
//! ```
//! A list of another form is an error.

use std::fmt;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// The list of the file or folder itself.
const ACCESS: &str = "system.posix_acl_access";

/// The list that a folder gives to the files that will be made in it.
const DEFAULT: &str = "system.posix_acl_default";

/// Lists of the NFSv4 kind, as NFS and ZFS have them. They have another form, which is not read here.
const OTHER_KINDS: [&str; 2] = ["system.nfs4_acl", "system.nfs4_acl_xdr"];

/// No extended attribute is larger (XATTR_SIZE_MAX).
const LARGEST: usize = 65_536;

const VERSION: u32 = 2;

const WRITE: u16 = 0o2;
const ALL: u16 = 0o7;

const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// One that a list gives a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// By its uid.
    User(u32),
    /// By its gid.
    Group(u32),
    /// The group that owns the file.
    OwningGroup,
    /// All users of the machine.
    Everybody,
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "uid {id}"),
            Self::Group(id) => write!(f, "gid {id}"),
            Self::OwningGroup => f.write_str("its group"),
            Self::Everybody => f.write_str("everybody"),
        }
    }
}

/// Why it is unknown what a list gives: the predicate of a sentence about the list.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnknownList(String);

fn of_another_form(rule: &str) -> UnknownList {
    UnknownList(format!("does not have the form that is known: {rule}"))
}

/// The users and groups that the access list of the path names, where it has one, and lets write. The mode says what
/// owner, owning group and all others may do. A symlink is not followed, and has no list.
pub fn writers(path: &Path) -> Result<Vec<Whom>, UnknownList> {
    for kind in OTHER_KINDS {
        if read(path, kind)?.is_some() {
            return Err(UnknownList(format!("is of the NFSv4 kind ({kind}), which trustsync does not read")));
        }
    }
    let given = read(path, ACCESS)?.map(|list| given_a_write(&list)).transpose()?.unwrap_or_default();
    Ok(given.into_iter().filter(|whom| matches!(whom, Whom::User(_) | Whom::Group(_))).collect())
}

/// Those that the default access list of a folder, where it has one, lets write what will be made in there.
pub fn writers_of_what_is_made_in(folder: &Path) -> Result<Vec<Whom>, UnknownList> {
    Ok(read(folder, DEFAULT)?.map(|list| given_a_write(&list)).transpose()?.unwrap_or_default())
}

fn read(path: &Path, name: &str) -> Result<Option<Vec<u8>>, UnknownList> {
    let mut value = Vec::with_capacity(LARGEST);
    match rustix::fs::lgetxattr(path, name, spare_capacity(&mut value)) {
        Ok(_) => Ok(Some(value)),
        // The file has no list, or the filesystem does not know them.
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(UnknownList(format!("cannot be read ({errno})"))),
    }
}

/// Those that the list lets write, as far as its mask lets it through; without the owner, and root by name.
fn given_a_write(list: &[u8]) -> Result<Vec<Whom>, UnknownList> {
    let Some((version, entries)) = list.split_first_chunk() else { return Err(of_another_form("it has no version")) };
    if u32::from_le_bytes(*version) != VERSION {
        return Err(of_another_form("its version is another one"));
    }
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(of_another_form("it ends within an entry"));
    }
    let entries = entries.iter().map(|[tag, tag_high, permissions, permissions_high, id @ ..]| {
        let number = |low, high| u16::from_le_bytes([low, high]);
        (number(*tag, *tag_high), number(*permissions, *permissions_high), u32::from_le_bytes(*id))
    });
    let entries: Vec<(u16, u16, u32)> = entries.collect();
    let of = |wanted: u16| entries.iter().filter(move |(tag, ..)| *tag == wanted);
    if [OWNER, OWNING_GROUP, OTHER].into_iter().any(|tag| of(tag).count() != 1) || of(MASK).count() > 1 {
        return Err(of_another_form("owner, group, mask or everybody is missing or stands there twice"));
    }
    let mask = of(MASK).next().map(|(_, permissions, _)| *permissions);
    let mut given = Vec::new();
    for (tag, permissions, id) in &entries {
        let masked = permissions & mask.unwrap_or(ALL);
        let (whom, effective) = match *tag {
            _ if permissions & !ALL != 0 => return Err(of_another_form("it has permissions that do not exist")),
            USER | GROUP if mask.is_none() => return Err(of_another_form("it names somebody and has no mask")),
            // Root has every right, and only root is in its own group.
            OWNER | MASK => continue,
            USER | GROUP if *id == 0 => continue,
            USER => (Whom::User(*id), masked),
            GROUP => (Whom::Group(*id), masked),
            OWNING_GROUP => (Whom::OwningGroup, masked),
            OTHER => (Whom::Everybody, *permissions),
            _ => return Err(of_another_form("it has an entry of an unknown kind")),
        };
        if effective & WRITE != 0 {
            given.push(whom);
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: u32 = u32::MAX;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let entry = |(tag, permissions, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        [VERSION.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
    }

    #[test]
    fn a_write_counts_as_far_as_the_mask_lets_it_through() {
        let base = [(OWNER, 6, NONE), (OWNING_GROUP, 4, NONE), (OTHER, 4, NONE)];
        for (more, expected) in [
            (vec![], vec![]),
            (vec![(USER, 6, 1_000), (MASK, 6, NONE)], vec![Whom::User(1_000)]),
            (vec![(USER, 6, 1_000), (MASK, 4, NONE)], vec![]),
            (vec![(USER, 4, 1_000), (GROUP, 2, 5), (MASK, 7, NONE)], vec![Whom::Group(5)]),
            (vec![(USER, 7, 0), (GROUP, 7, 0), (MASK, 7, NONE)], vec![]),
            // An id that this user namespace does not know.
            (vec![(USER, 2, NONE), (MASK, 2, NONE)], vec![Whom::User(NONE)]),
        ] {
            assert_eq!(given_a_write(&list(&[&base[..], &more].concat())).unwrap(), expected, "{more:?}");
        }
        let wide = [(OWNER, 6, NONE), (OWNING_GROUP, 6, NONE), (OTHER, 6, NONE)];
        assert_eq!(given_a_write(&list(&wide)).unwrap(), [Whom::OwningGroup, Whom::Everybody]);
    }

    #[test]
    fn a_list_of_another_form_is_not_guessed_at() {
        let good = list(&[(OWNER, 6, NONE), (USER, 6, 7), (OWNING_GROUP, 4, NONE), (MASK, 6, NONE), (OTHER, 4, NONE)]);
        assert_eq!(given_a_write(&good).unwrap(), [Whom::User(7)]);
        for end in 0..good.len() {
            assert!(given_a_write(&good[..end]).is_err(), "the first {end} bytes");
        }
        // Another version, an unknown kind of entry, permissions that do not exist.
        for (at, byte) in [(0, 3), (1, 1), (4, 0), (4, 2), (5, 1), (6, 8), (7, 1), (28, 4)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(given_a_write(&bad).is_err(), "byte {at} as {byte}");
        }
        assert!(given_a_write(&[&good[..], &[0]].concat()).is_err());
        assert!(given_a_write(&[&good[..], &good[4..12]].concat()).is_err(), "two owners");
    }
}
