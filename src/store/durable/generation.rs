//! A generation: one immutable state of the store, whole or not there at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::error::StoreError;
use super::file;
use crate::trust::values::fingerprint::Fingerprint;

/// The folder of all generations.
pub const DIRECTORY: &str = "generations";

/// The files of a generation: path relative to it, with `/` between its parts, to content.
pub type Files = BTreeMap<String, Vec<u8>>;

pub(super) const UNFINISHED: &str = ".new-";
pub(super) const LEAVING: &str = ".old-";

const MAX_PART: usize = 128;
const MAX_DEPTH: usize = 4;

/// How a generation is called on disk: `000042`.
#[must_use]
pub fn name(number: u64) -> String {
    format!("{number:06}")
}

/// The number of the generation whose folder is called `text`; none if we give no folder that name.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    let number = text.parse().ok()?;
    (name(number) == text).then_some(number)
}

/// Where generation `number` stands.
#[must_use]
pub fn path(root: &Path, number: u64) -> PathBuf {
    root.join(DIRECTORY).join(name(number))
}

/// Writes and publishes a generation. It is durable when this returns; on any error it is not there, and what was
/// written of it is gone or left to the next sweep.
pub fn write(root: &Path, number: u64, files: &Files) -> Result<(), StoreError> {
    write_in(&root.join(DIRECTORY), number, files)
}

/// As [`write()`], into a folder of generations.
pub fn write_in(generations: &Path, number: u64, files: &Files) -> Result<(), StoreError> {
    let published = generations.join(name(number));
    // A rename would silently replace an empty directory.
    if file::look_up(&published)?.is_some() {
        let what = "is already there, and a published generation is never written again. It was not touched; take the \
                    next free number"
            .to_owned();
        return Err(StoreError::Unfit { path: published, what });
    }
    publish(generations, number, files, |built| file::rename(built, &published)).map(drop)
}

/// Puts other files in the place of a generation's, by one exchange of the two folders: those who open the folder
/// have all of the old or all of the new. For root, which renders the daemon's generations under the daemon's numbers.
pub fn exchange_in(generations: &Path, number: u64, files: &Files) -> Result<(), StoreError> {
    let published = generations.join(name(number));
    let old = publish(generations, number, files, |built| {
        let here = rustix::fs::CWD;
        rustix::fs::renameat_with(here, built, here, &published, rustix::fs::RenameFlags::EXCHANGE)
            .map_err(|error| StoreError::io("exchange", &published, error.into()))
    })?;
    // The next sweep removes what is left of the old one.
    drop(file::remove_tree(&old));
    Ok(())
}

/// Builds a generation where no reader looks, and has `expose` put it in its place; where it was built.
fn publish(
    generations: &Path,
    number: u64,
    files: &Files,
    expose: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<PathBuf, StoreError> {
    let directories = directories_of(files)?;
    let named = |suffix: &str| generations.join(format!("{UNFINISHED}{}{suffix}", name(number)));
    let unfinished = file::free(named, file::remove_tree)?;
    build(&unfinished, &directories, files)
        .and_then(|()| expose(&unfinished))
        // Gives a full disk its space back.
        .inspect_err(|_| drop(fs::remove_dir_all(&unfinished)))?;
    file::sync_directory(generations)?;
    Ok(unfinished)
}

fn build(at: &Path, directories: &BTreeSet<&str>, files: &Files) -> Result<(), StoreError> {
    let mut made: Vec<(PathBuf, File)> = vec![(at.to_owned(), file::make_directory(at)?)];
    // In this order a directory comes after the one that it stands in.
    for relative in directories {
        let path = at.join(relative);
        let directory = file::make_directory(&path)?;
        made.push((path, directory));
    }
    for (relative, bytes) in files {
        file::write_new(&at.join(relative), bytes)?;
    }
    for (path, directory) in made.iter().rev() {
        file::sync(directory, path)?;
    }
    Ok(())
}

/// Every directory that the files need; an error if a name or a file is not fit for a generation.
fn directories_of(files: &Files) -> Result<BTreeSet<&str>, StoreError> {
    if files.is_empty() {
        return Err(StoreError::Empty { what: "a generation".into() });
    }
    let mut directories = BTreeSet::new();
    for (relative, bytes) in files {
        check_path(relative)?;
        if bytes.is_empty() {
            return Err(StoreError::Empty { what: relative.clone() });
        }
        directories.extend(relative.match_indices('/').filter_map(|(end, _)| relative.get(..end)));
    }
    match directories.iter().find(|directory| files.contains_key(**directory)) {
        None => Ok(directories),
        Some(both) => Err(bad(both, "another file's path makes it a directory as well")),
    }
}

fn check_path(relative: &str) -> Result<(), StoreError> {
    for part in relative.split('/') {
        if part.is_empty() {
            return Err(bad(relative, "a part of it is empty"));
        }
        if part.len() > MAX_PART {
            return Err(bad(relative, "a part of it is longer than 128 bytes"));
        }
        if part.starts_with(['.', '-']) {
            return Err(bad(relative, "a part of it begins with a dot or a dash"));
        }
        if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@+".contains(&b)) {
            return Err(bad(relative, "only letters, digits and . _ - @ + may stand in it"));
        }
    }
    if relative.split('/').count() > MAX_DEPTH {
        return Err(bad(relative, "it is more than four levels deep"));
    }
    Ok(())
}

fn bad(relative: &str, why: &'static str) -> StoreError {
    StoreError::BadName { name: relative.chars().take(80).collect(), what: "path in a generation", why }
}

/// The number after the highest that is taken, by whatever stands there.
pub fn next(root: &Path) -> Result<u64, StoreError> {
    let taken = entries(&root.join(DIRECTORY))?.into_iter().filter_map(|(name, _)| number(&name)).max();
    Ok(taken.unwrap_or(0).saturating_add(1))
}

/// The numbers of all published generations.
pub fn list(root: &Path) -> Result<BTreeSet<u64>, StoreError> {
    list_in(&root.join(DIRECTORY))
}

/// As [`list`], of a folder of generations.
pub fn list_in(generations: &Path) -> Result<BTreeSet<u64>, StoreError> {
    let directories = entries(generations)?.into_iter().filter(|(_, kind)| kind.is_dir());
    Ok(directories.filter_map(|(name, _)| number(&name)).collect())
}

/// Reads a file of a generation in a folder of generations, at most `limit` bytes; `None` where the generation or the
/// file is missing. No part of the path beneath the generation may be a symlink.
pub fn read_file(generations: &Path, number: u64, relative: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let Some((file, at)) = open_file(generations, number, relative)? else { return Ok(None) };
    file::read_bounded(&file, &at, limit).map(Some)
}

/// What differs, in a generation, from what was written, a sentence each: `digests` has the SHA-256 of each file but
/// the manifest.
pub fn differences(root: &Path, number: u64, digests: &BTreeMap<String, Fingerprint>, limit: u64) -> Vec<String> {
    let difference = |relative: &String, digest: &Fingerprint| -> Result<Option<&str>, StoreError> {
        let Some((file, at)) = open_file(&root.join(DIRECTORY), number, relative)? else {
            return Ok(Some("is missing"));
        };
        if Fingerprint::of(&file::read_bounded(&file, &at, limit)?) != *digest {
            return Ok(Some("was changed"));
        }
        Ok(file::has_other_mode(&file, &at)?.then_some("has another mode"))
    };
    let mut found = Vec::new();
    for (relative, digest) in digests {
        match difference(relative, digest) {
            Ok(what) => found.extend(what.map(|what| format!("{relative} {what}"))),
            Err(error) => found.push(format!("{relative}: {error}")),
        }
    }
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        let at = path(root, number).join(&directory);
        if file::directory_has_other_mode(&at).unwrap_or(true) {
            found.push(format!("{} has another mode", if directory.is_empty() { "its directory" } else { &directory }));
        }
        // A directory that cannot be listed has lost its files, which was said above.
        for (name, kind) in entries(&at).unwrap_or_default() {
            let relative = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            let leads_to = |file: &String| file.strip_prefix(&relative).is_some_and(|rest| rest.starts_with('/'));
            if kind.is_dir() && digests.keys().any(leads_to) {
                open.push(relative);
            } else if relative != "manifest.json" && !digests.contains_key(&relative) {
                found.push(format!("{relative} was put there by another program"));
            }
        }
    }
    found
}

/// Opens a file of a generation, and says where it stands; `None` where the generation or the file is missing.
fn open_file(generations: &Path, number: u64, relative: &str) -> Result<Option<(File, PathBuf)>, StoreError> {
    check_path(relative)?;
    let mut at = generations.join(name(number));
    let mut parts = relative.split('/').peekable();
    let mut opened = file::open_directory(&at);
    while let Some(part) = parts.next() {
        let directory = match opened {
            Ok(directory) => directory,
            Err(error) => return missing_or(&at, error),
        };
        at.push(part);
        let wanted = if parts.peek().is_some() { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
        opened = rustix::fs::openat(
            &directory,
            part,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | wanted,
            Mode::empty(),
        )
        .map(File::from)
        .map_err(io::Error::from);
    }
    match opened {
        Ok(file) => Ok(Some((file, at))),
        Err(error) => missing_or(&at, error),
    }
}

fn missing_or<T>(at: &Path, error: io::Error) -> Result<Option<T>, StoreError> {
    if error.kind() == io::ErrorKind::NotFound {
        return Ok(None);
    }
    if file::is(&error, rustix::io::Errno::LOOP) || file::is(&error, rustix::io::Errno::NOTDIR) {
        return Err(StoreError::foreign(at, "is a symlink or of another kind than we wrote"));
    }
    Err(StoreError::io("open", at, error))
}

/// Removes a generation from a folder of generations, of which the caller knows that no link names it: renamed away
/// first, so that no reader finds half of it under its number.
pub fn remove_in(generations: &Path, number: u64) -> Result<(), StoreError> {
    let published = generations.join(name(number));
    let leaving =
        file::free(|suffix| generations.join(format!("{LEAVING}{}{suffix}", name(number))), file::remove_tree)?;
    match fs::rename(&published, &leaving) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| StoreError::io("rename away", &published, error))?,
    }
    // Else a power cut could bring the number back with some of its files gone.
    file::sync_directory(generations)?;
    file::remove_tree(&leaving)
}

/// Names and kinds in a directory; names that are not UTF-8 are not ours.
pub(super) fn entries(directory: &Path) -> Result<Vec<(String, fs::FileType)>, StoreError> {
    let failed = |error| StoreError::io("list", directory, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.file_type().map_err(failed)?));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_name() {
        assert_eq!(name(42), "000042");
        assert_eq!(name(12_345_678), "12345678");
        for (text, expected) in [
            ("000042", Some(42)),
            ("12345678", Some(12_345_678)),
            ("42", None),
            ("0000042", None),
            ("+00042", None),
            (".new-000042", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn a_path_that_could_lead_out_is_refused() {
        for good in ["a", "nginx/allow.map", "hashed/1f2e3d4c.0", "us.us-east-1.DigiCert/current.pem"] {
            check_path(good).unwrap();
        }
        let long = "x".repeat(129);
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/",
            ".new",
            "a/.b",
            "-rf",
            "a b",
            "a\0b",
            "a\\b",
            "a/b/c/d/e",
            "ä",
            "a\nb",
            &long,
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        let both: Files = [("a".to_owned(), vec![1]), ("a/b".to_owned(), vec![1])].into();
        assert!(matches!(directories_of(&both), Err(StoreError::BadName { .. })));
    }
}
