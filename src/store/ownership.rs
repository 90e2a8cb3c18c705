//! Whose a path is. What root acts by (its configuration, its anchors, its programs) must be root's at every step of its
//! path: who may rename a folder in it chooses what stands at its end. Owner and mode do not say it all: an access list may
//! give a user or a group more, and where root's group owns the file, the mode does not even hint at it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::store::access_list::{self, Unknown, Whom};

/// As many as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Set on a folder, others may make entries there, but neither rename nor remove root's.
const STICKY: u32 = 0o1000;

/// Set on a folder, what is made there belongs to the folder's group.
const SET_GROUP: u32 = 0o2000;

/// A step of a path is not root's alone.
#[derive(Debug, thiserror::Error)]
pub enum NotRoots {
    /// Somebody else owns it.
    #[error(
        "{} belongs to uid {owner}, who could put something else in its place: give it to root (chown root), or name another path",
        .path.display()
    )]
    Owned {
        /// The step.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Somebody else may write it.
    #[error(
        "{} can be written by others than root (mode {mode:04o}): take that right away (chmod go-w), or name another path",
        .path.display()
    )]
    Writable {
        /// The step.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Its access list gives somebody else a write.
    #[error(
        "{} can be written by {}, whom its access list (ACL) names: remove the list (setfacl -b), or these entries (setfacl -x), \
         or name another path",
        .path.display(), all(.whom)
    )]
    Listed {
        /// The step.
        path: PathBuf,
        /// Who.
        whom: Vec<Whom>,
    },
    /// Its default access list would give somebody else a write to what root makes there.
    #[error(
        "what is made in {} could be written by {}, as its default access list (ACL) says: remove that list (setfacl -k), or name \
         another path",
        .path.display(), all(.whom)
    )]
    ListedInside {
        /// The folder.
        path: PathBuf,
        /// Who.
        whom: Vec<Whom>,
    },
    /// Nobody can tell what its access list says.
    #[error(
        "whether others can write {} is unknown: its access list (ACL) {why}. Remove the list (setfacl -b), or name a path on a \
         filesystem without such lists",
        .path.display()
    )]
    Unlisted {
        /// The step.
        path: PathBuf,
        /// Why.
        why: Unknown,
    },
    /// It cannot be looked at.
    #[error("{} cannot be looked at: {source}", .path.display())]
    Unseen {
        /// The step.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Symlinks that lead round in circles.
    #[error("{} leads through too many symlinks", .0.display())]
    Circle(PathBuf),
}

fn all(whom: &[Whom]) -> String {
    whom.iter().map(Whom::to_string).collect::<Vec<_>>().join(" and ")
}

/// Walks `path` step by step, symlinks included, and checks that each is root's alone to change; where a folder stands at its
/// end, root makes files there, which must be root's alone, too. The path without its symlinks, which stays true as long as
/// only root acts.
pub fn roots_alone(path: &Path) -> Result<PathBuf, NotRoots> {
    let absolute = std::path::absolute(path).map_err(|source| NotRoots::Unseen { path: path.to_owned(), source })?;
    let mut left = steps(&absolute);
    let mut at = PathBuf::from("/");
    let mut links = 0_u32;
    judge(&at)?;
    while let Some(step) = left.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(step);
        let found = judge(&next)?;
        if !found.is_symlink() {
            at = next;
            continue;
        }
        links = links.saturating_add(1);
        if links > MOST_LINKS {
            return Err(NotRoots::Circle(path.to_owned()));
        }
        let target = fs::read_link(&next).map_err(|source| NotRoots::Unseen { path: next, source })?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(steps(&target));
    }
    judge_what_is_made_in(&at)?;
    Ok(at)
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

fn judge(path: &Path) -> Result<fs::Metadata, NotRoots> {
    let found = fs::symlink_metadata(path).map_err(|source| NotRoots::Unseen { path: path.to_owned(), source })?;
    if found.uid() != 0 {
        return Err(NotRoots::Owned { path: path.to_owned(), owner: found.uid() });
    }
    // Sticky: see above. It holds against those whom a list names, too.
    let sticky = found.is_dir() && found.mode() & STICKY != 0;
    if found.is_symlink() || sticky {
        return Ok(found);
    }
    let whom = access_list::writers(path).map_err(|why| NotRoots::Unlisted { path: path.to_owned(), why })?;
    if !whom.is_empty() {
        return Err(NotRoots::Listed { path: path.to_owned(), whom });
    }
    // Root's own group is root.
    let others = if found.gid() == 0 { 0o002 } else { 0o022 };
    if found.mode() & others != 0 {
        return Err(NotRoots::Writable { path: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    Ok(found)
}

/// Of the folders on the way nothing is asked here: what stands in them already is judged itself.
fn judge_what_is_made_in(path: &Path) -> Result<(), NotRoots> {
    let found = fs::symlink_metadata(path).map_err(|source| NotRoots::Unseen { path: path.to_owned(), source })?;
    if !found.is_dir() {
        return Ok(());
    }
    let given = access_list::writers_of_what_is_made_in(path);
    let mut whom = given.map_err(|why| NotRoots::Unlisted { path: path.to_owned(), why })?;
    let is_roots = found.gid() == 0 || found.mode() & SET_GROUP == 0;
    whom.retain(|whom| *whom != Whom::OwningGroup || !is_roots);
    if whom.is_empty() { Ok(()) } else { Err(NotRoots::ListedInside { path: path.to_owned(), whom }) }
}
