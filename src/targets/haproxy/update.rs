//! Gives a running HAProxy a target's files as they stand now, through its runtime socket: no reload, no new worker, no
//! connection lost.
//!
//! ```text
//!  all lists: prepare ─▶ add ─▶ read back     nothing of it acts yet
//!  CA files:  set ─▶ commit ─▶ set ─▶ commit  the second time, since it advertises the list of the commit before
//!  all lists: commit                          denied and admitted first, the map that names the generation last
//! ```
//! Whatever stops it half-way leaves entries of both generations side by side, each of which was trusted by one of them; the
//! files on disk are right in any case, for the reload that must follow.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::loaded::{CaFile, Form, List, Loaded, certificates, entries};
use super::on_disk::OnDisk;
use super::socket::{SocketError, ask, ask_in_turn, word};
use crate::trust::excerpt;

/// How much of a command is quoted.
const COMMAND_SHOWN: usize = 80;

/// How much of an answer is quoted.
const ANSWER_SHOWN: usize = 200;

/// What it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Updated {
    /// So many lists and maps.
    pub lists: usize,
    /// So many CA files.
    pub ca_files: usize,
}

/// Why it does not have all of it.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// No answer.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Its configuration names none of the files, or was not loaded since.
    #[error("HAProxy has loaded no file beneath {}", .0.display())]
    NothingLoaded(PathBuf),
    /// One of our own files.
    #[error("{path} cannot be read: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Anything but the text that says success.
    #[error("HAProxy answered {command:?} with {answer:?}")]
    Refused {
        /// The beginning of what was asked.
        command: String,
        /// The beginning of what it said.
        answer: String,
    },
    /// It is too slow.
    #[error("HAProxy's runtime socket did not take everything within {}", humantime::format_duration(*.0))]
    Slow(Duration),
    /// It took everything, and shows something else.
    #[error("HAProxy took {path} and shows something else of it")]
    Otherwise {
        /// Which.
        path: String,
    },
}

/// A list that is filled, and not in force yet.
struct Prepared<'a> {
    list: &'a List,
    version: String,
}

/// Gives it every file beneath `link` that it has loaded.
pub async fn update(socket: &Path, link: &Path) -> Result<Updated, UpdateError> {
    let disk = OnDisk::of(link).map_err(|source| UpdateError::File { path: link.display().to_string(), source })?;
    let loaded = Loaded::of(socket, &disk).await?;
    if loaded.is_empty() {
        return Err(UpdateError::NothingLoaded(link.to_owned()));
    }
    let mut prepared = VecDeque::new();
    let done = give(socket, &disk, &loaded, &mut prepared).await;
    if done.is_err() {
        for Prepared { list, version } in prepared {
            // What was prepared and never comes into force would only take up memory.
            let _ = ask(socket, &format!("clear {} @{version} {}", list.form.word(), list.id), None).await;
        }
    }
    done.map(|()| Updated { lists: loaded.lists.len(), ca_files: loaded.ca_files.len() })
}

async fn give<'a>(
    socket: &Path,
    disk: &OnDisk,
    loaded: &'a Loaded,
    prepared: &mut VecDeque<Prepared<'a>>,
) -> Result<(), UpdateError> {
    for list in &loaded.lists {
        prepare(socket, disk, list, prepared).await?;
    }
    for ca_file in &loaded.ca_files {
        commit_ca_file(socket, disk, ca_file).await?;
    }
    while let Some(Prepared { list, version }) = prepared.pop_front() {
        silent(socket, &format!("commit {} @{version} {}", list.form.word(), list.id)).await?;
    }
    Ok(())
}

async fn prepare<'a>(
    socket: &Path,
    disk: &OnDisk,
    list: &'a List,
    prepared: &mut VecDeque<Prepared<'a>>,
) -> Result<(), UpdateError> {
    let wanted = disk.entries(&list.path).map_err(|source| UpdateError::File { path: list.path.clone(), source })?;
    let (form, id) = (list.form.word(), &list.id);
    let command = format!("prepare {form} {id}");
    let answer = ask(socket, &command, None).await?;
    let version = answer.strip_prefix("New version created: ").filter(|version| version.parse::<u32>().is_ok());
    let Some(version) = version.map(str::to_owned) else { return Err(refused(&command, &answer)) };
    prepared.push_back(Prepared { list, version: version.clone() });
    for entry in &wanted {
        let entry = match (list.form, entry.split_once(char::is_whitespace)) {
            (Form::Map, Some((key, value))) => format!("{} {}", word(key), word(value.trim_start())),
            (Form::Map, None) | (Form::Acl, _) => word(entry),
        };
        silent(socket, &format!("add {form} @{version} {id} {entry}")).await?;
    }
    if entries(socket, list, Some(&version)).await? == wanted {
        Ok(())
    } else {
        Err(UpdateError::Otherwise { path: list.path.clone() })
    }
}

async fn commit_ca_file(socket: &Path, disk: &OnDisk, ca_file: &CaFile) -> Result<(), UpdateError> {
    let CaFile { name, path } = ca_file;
    let unreadable = |source| UpdateError::File { path: path.clone(), source };
    let (text, wanted) = (disk.text(path).map_err(unreadable)?, disk.certificates(path).map_err(unreadable)?);
    if let Err(error) = set_and_commit_twice(socket, name, &text).await {
        // Left open, it would be in everybody's way; another one's is not ended by our name.
        let _ = ask(socket, &format!("abort ssl ca-file {}", word(name)), None).await;
        return Err(error);
    }
    if certificates(socket, name).await?.fingerprints == wanted {
        Ok(())
    } else {
        Err(UpdateError::Otherwise { path: path.clone() })
    }
}

async fn set_and_commit_twice(socket: &Path, name: &str, text: &str) -> Result<(), UpdateError> {
    for _ in 0..2 {
        let command = format!("set ssl ca-file {}", word(name));
        let answer = ask_in_turn(socket, &command, Some(text)).await?;
        let answer_fits = ["transaction created for CA ", "transaction updated for CA "]
            .iter()
            .any(|success| answer.strip_prefix(success).is_some_and(|rest| rest == format!("{name}!")));
        if !answer_fits {
            return Err(refused(&command, &answer));
        }
        let command = format!("commit ssl ca-file {}", word(name));
        let answer = ask_in_turn(socket, &command, None).await?;
        if answer.lines().last() != Some("Success!") {
            return Err(refused(&command, &answer));
        }
    }
    Ok(())
}

/// A command whose success is an empty line.
async fn silent(socket: &Path, command: &str) -> Result<(), UpdateError> {
    let answer = ask(socket, command, None).await?;
    if answer.is_empty() { Ok(()) } else { Err(refused(command, &answer)) }
}

/// The answer may be megabytes long, and is kept as the reason why the target could not be told.
fn refused(command: &str, answer: &str) -> UpdateError {
    UpdateError::Refused {
        command: excerpt::beginning(command, COMMAND_SHOWN),
        answer: excerpt::beginning(answer, ANSWER_SHOWN),
    }
}
