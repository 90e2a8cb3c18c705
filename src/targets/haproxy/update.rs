//! Gives a running HAProxy a target's files as they stand now, through its runtime socket: no reload, no new worker, no
//! connection lost.
//!
//! ```text
//!  all lists: prepare ─▶ add ─▶ read back     nothing of it acts yet
//!  CA files:  set ─▶ commit ─▶ set ─▶ commit  the second time, since it advertises the list of the commit before
//!  all lists: commit                          denied and admitted first, the map that names the generation last
//! ```
//! If it stops half-way, entries of both generations stand side by side, each of which one of them trusted; the files
//! on disk are right in any case, for the reload that must follow.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use tokio::time::{Instant, timeout};

use super::loaded::{CaFile, Form, List, Loaded, certificates, entries};
use super::on_disk::OnDisk;
use super::socket::{HaproxyError, argument, ask, ask_in_turn};
use crate::targets::reload::{ReloadError, ReloadReport, request};
use crate::targets::ways::{OwnReload, Reload};

/// The files of the target through the runtime socket, within half of the time; where that fails, the reload instead.
pub(super) static RELOAD: OwnReload = OwnReload {
    key: "haproxy",
    has_fallback: true,
    request: |socket, fallback, environment, limit| {
        Box::pin(async move {
            let began = Instant::now();
            let half = limit / 2;
            let slow = |_| {
                let half = humantime::format_duration(half);
                Err(HaproxyError::lasting(format!("HAProxy's runtime socket did not take everything within {half}")))
            };
            let why = match timeout(half, update(socket, environment.directory())).await.unwrap_or_else(slow) {
                Ok(Updated { lists, ca_files }) => {
                    return Ok(ReloadReport::Own(format!(
                        "HAProxy took {lists} lists and {ca_files} CA files through its runtime socket, without a \
                         reload"
                    )));
                }
                Err(why) => why,
            };
            if matches!(fallback, Reload::None) {
                return Err(ReloadError::Own(format!("{why}; no reload is configured instead (reload.fallback)")));
            }
            let why = format!("the runtime socket did not do it ({why})");
            match request(fallback, environment, limit.saturating_sub(began.elapsed())).await {
                Ok(by) => Ok(ReloadReport::Reloaded(format!("{why}, so it was reloaded instead: {by}"))),
                Err(reload) => Err(ReloadError::Neither(format!("{why}, and the reload instead failed too: {reload}"))),
            }
        })
    },
};

/// How many of our files HAProxy took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Updated {
    /// How many lists and maps.
    pub lists: usize,
    /// How many CA files.
    pub ca_files: usize,
}

/// A list that is filled, and not in force yet.
struct Prepared<'a> {
    list: &'a List,
    version: String,
}

/// Gives it every file beneath `link` that it has loaded.
pub async fn update(socket: &Path, link: &Path) -> Result<Updated, HaproxyError> {
    let disk = OnDisk::of(link).map_err(unreadable(link.display()))?;
    let loaded = Loaded::of(socket, &disk).await?;
    if loaded.is_empty() {
        return Err(HaproxyError::lasting(format!("HAProxy has loaded no file beneath {}", link.display())));
    }
    let mut prepared = VecDeque::new();
    let done = give(socket, &disk, &loaded, &mut prepared).await;
    if done.is_err() {
        for Prepared { list, version } in prepared {
            // What is prepared and never comes into force would only take up memory.
            let _ = ask(socket, &format!("clear {} @{version} {}", list.form.keyword(), list.id), None).await;
        }
    }
    done.map(|()| Updated { lists: loaded.lists.len(), ca_files: loaded.ca_files.len() })
}

async fn give<'a>(
    socket: &Path,
    disk: &OnDisk,
    loaded: &'a Loaded,
    prepared: &mut VecDeque<Prepared<'a>>,
) -> Result<(), HaproxyError> {
    for list in &loaded.lists {
        prepare(socket, disk, list, prepared).await?;
    }
    for ca_file in &loaded.ca_files {
        commit_ca_file(socket, disk, ca_file).await?;
    }
    while let Some(Prepared { list, version }) = prepared.pop_front() {
        silent(socket, &format!("commit {} @{version} {}", list.form.keyword(), list.id)).await?;
    }
    Ok(())
}

async fn prepare<'a>(
    socket: &Path,
    disk: &OnDisk,
    list: &'a List,
    prepared: &mut VecDeque<Prepared<'a>>,
) -> Result<(), HaproxyError> {
    let wanted = disk.entries(&list.path).map_err(unreadable(&list.path))?;
    let (form, id) = (list.form.keyword(), &list.id);
    let command = format!("prepare {form} {id}");
    let answer = ask(socket, &command, None).await?;
    let version = answer.strip_prefix("New version created: ").filter(|version| version.parse::<u32>().is_ok());
    let Some(version) = version.map(str::to_owned) else { return Err(HaproxyError::refused(&command, &answer)) };
    prepared.push_back(Prepared { list, version: version.clone() });
    for entry in &wanted {
        let entry = match (list.form, entry.split_once(char::is_whitespace)) {
            (Form::Map, Some((key, value))) => format!("{} {}", argument(key), argument(value.trim_start())),
            (Form::Map, None) | (Form::Acl, _) => argument(entry),
        };
        silent(socket, &format!("add {form} @{version} {id} {entry}")).await?;
    }
    if entries(socket, list, Some(&version)).await? == wanted { Ok(()) } else { Err(shows_another(&list.path)) }
}

async fn commit_ca_file(socket: &Path, disk: &OnDisk, ca_file: &CaFile) -> Result<(), HaproxyError> {
    let CaFile { name, path } = ca_file;
    let text = disk.text(path).map_err(unreadable(path))?;
    let wanted = disk.certificates(path).map_err(unreadable(path))?;
    if let Err(error) = set_and_commit_twice(socket, name, &text).await {
        // Left open, it would keep others from changing a CA file; by our name it does not end another's change.
        let _ = ask(socket, &format!("abort ssl ca-file {}", argument(name)), None).await;
        return Err(error);
    }
    if certificates(socket, name).await?.fingerprints == wanted { Ok(()) } else { Err(shows_another(path)) }
}

async fn set_and_commit_twice(socket: &Path, name: &str, text: &str) -> Result<(), HaproxyError> {
    for _ in 0..2 {
        let command = format!("set ssl ca-file {}", argument(name));
        let answer = ask_in_turn(socket, &command, Some(text)).await?;
        let answer_fits = ["transaction created for CA ", "transaction updated for CA "]
            .iter()
            .any(|success| answer.strip_prefix(success).is_some_and(|rest| rest == format!("{name}!")));
        if !answer_fits {
            return Err(HaproxyError::refused(&command, &answer));
        }
        let command = format!("commit ssl ca-file {}", argument(name));
        let answer = ask_in_turn(socket, &command, None).await?;
        if answer.lines().last() != Some("Success!") {
            return Err(HaproxyError::refused(&command, &answer));
        }
    }
    Ok(())
}

/// A command whose success is an empty line.
async fn silent(socket: &Path, command: &str) -> Result<(), HaproxyError> {
    let answer = ask(socket, command, None).await?;
    if answer.is_empty() { Ok(()) } else { Err(HaproxyError::refused(command, &answer)) }
}

fn unreadable(path: impl std::fmt::Display) -> impl FnOnce(io::Error) -> HaproxyError {
    move |error| HaproxyError::lasting(format!("{path} cannot be read: {error}"))
}

fn shows_another(path: &str) -> HaproxyError {
    HaproxyError::lasting(format!("HAProxy took {path} and shows something else of it"))
}
