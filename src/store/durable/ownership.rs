//! Whether a path is root's alone. What root acts by (its configuration, its anchors, its programs) must be root's at
//! every step of its path: anyone who may rename a folder in it chooses what stands at its end. Owner and mode do not
//! say it all: an access list may give a user or a group more, and where root's group owns the file, the mode does not
//! even hint at it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::access_list::{self, UnknownList, Whom};

/// The symlinks of one path that the kernel follows.
const MOST_LINKS: u32 = 40;

/// Set on a folder, others may make entries there, but neither rename nor remove root's.
const STICKY: u32 = 0o1000;

/// Set on a folder, what is made there belongs to the folder's group.
const SET_GROUP: u32 = 0o2000;

/// A step of a path is not root's alone: which, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotRoots(String);

impl NotRoots {
    fn unseen(path: &Path, error: &io::Error) -> Self {
        Self(format!("{} cannot be looked at: {error}", path.display()))
    }

    fn unlisted(path: &Path, why: &UnknownList) -> Self {
        Self(format!(
            "whether others can write {} is unknown: its access list (ACL) {why}. Remove the list (setfacl -b), or \
             name a path on a filesystem without such lists",
            path.display()
        ))
    }
}

fn named(whom: &[Whom]) -> String {
    whom.iter().map(Whom::to_string).collect::<Vec<_>>().join(" and ")
}

/// Walks `path` step by step, symlinks included, and checks that each is root's alone to change; where a folder stands
/// at its end, root makes files there, which must be root's alone, too. The path without its symlinks, which stays true
/// as long as only root acts.
pub fn roots_alone(path: &Path) -> Result<PathBuf, NotRoots> {
    let absolute = std::path::absolute(path).map_err(|error| NotRoots::unseen(path, &error))?;
    let mut left = steps(&absolute);
    let mut at = PathBuf::from("/");
    let mut links = 0_u32;
    step_of_roots(&at)?;
    while let Some(step) = left.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(step);
        let found = step_of_roots(&next)?;
        if !found.is_symlink() {
            at = next;
            continue;
        }
        links = links.saturating_add(1);
        if links > MOST_LINKS {
            return Err(NotRoots(format!("{} leads through too many symlinks", path.display())));
        }
        let target = fs::read_link(&next).map_err(|error| NotRoots::unseen(&next, &error))?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(steps(&target));
    }
    made_by_roots_alone_in(&at)?;
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

fn step_of_roots(path: &Path) -> Result<fs::Metadata, NotRoots> {
    let found = fs::symlink_metadata(path).map_err(|error| NotRoots::unseen(path, &error))?;
    let at = path.display();
    if found.uid() != 0 {
        return Err(NotRoots(format!(
            "{at} belongs to uid {}, who could put something else in its place: give it to root (chown root), or name \
             another path",
            found.uid()
        )));
    }
    // The sticky bit holds against those whom a list names, too.
    let sticky = found.is_dir() && found.mode() & STICKY != 0;
    if found.is_symlink() || sticky {
        return Ok(found);
    }
    let whom = access_list::writers(path).map_err(|why| NotRoots::unlisted(path, &why))?;
    if !whom.is_empty() {
        return Err(NotRoots(format!(
            "{at} can be written by {}, whom its access list (ACL) names: remove the list (setfacl -b), or these \
             entries (setfacl -x), or name another path",
            named(&whom)
        )));
    }
    // Only root is in root's own group.
    let others = if found.gid() == 0 { 0o002 } else { 0o022 };
    if found.mode() & others != 0 {
        return Err(NotRoots(format!(
            "{at} can be written by others than root (mode {:04o}): take that right away (chmod go-w), or name \
             another path",
            found.mode() & 0o7777
        )));
    }
    Ok(found)
}

/// Not asked of the folders on the way: what stands in them already is a step of its own.
fn made_by_roots_alone_in(path: &Path) -> Result<(), NotRoots> {
    let found = fs::symlink_metadata(path).map_err(|error| NotRoots::unseen(path, &error))?;
    if !found.is_dir() {
        return Ok(());
    }
    let mut whom = access_list::writers_of_what_is_made_in(path).map_err(|why| NotRoots::unlisted(path, &why))?;
    let is_roots = found.gid() == 0 || found.mode() & SET_GROUP == 0;
    whom.retain(|whom| *whom != Whom::OwningGroup || !is_roots);
    if whom.is_empty() {
        return Ok(());
    }
    Err(NotRoots(format!(
        "what is made in {} could be written by {}, as its default access list (ACL) says: remove that list (setfacl \
         -k), or name another path",
        path.display(),
        named(&whom)
    )))
}
