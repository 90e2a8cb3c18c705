//! How a server was told, or why it was not.

use std::fmt;
use std::path::PathBuf;

use crate::targets::haproxy::master::MasterError;
use crate::targets::haproxy::update::UpdateError;
use crate::targets::http::HttpError;
use crate::targets::process::RunError;
use crate::targets::ways::Signal;

/// How the server was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadReport {
    /// This process was sent this signal.
    Signalled {
        /// Its number.
        pid: i32,
        /// The signal.
        signal: Signal,
    },
    /// A command ended with exit code 0.
    Ran {
        /// What it said.
        output: String,
    },
    /// A `POST` was answered with 2xx.
    Answered {
        /// The status code.
        status: u16,
    },
    /// HAProxy took the files through its runtime socket.
    Updated {
        /// So many lists and maps.
        lists: usize,
        /// So many CA files.
        ca_files: usize,
    },
    /// HAProxy's runtime socket did not take them, so it was told to reload.
    Reloaded {
        /// Why not.
        why: String,
        /// How instead.
        by: Box<ReloadReport>,
    },
    /// HAProxy's master has a new worker.
    CameUp {
        /// How it was told.
        by: Box<ReloadReport>,
    },
    /// Nobody: this server watches its files by itself.
    Nobody,
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signalled { pid, signal } => {
                let name = match signal {
                    Signal::Hup => "HUP",
                    Signal::Usr1 => "USR1",
                    Signal::Usr2 => "USR2",
                };
                write!(f, "{name} was sent to process {pid}")
            }
            Self::Ran { output } if output.trim().is_empty() => f.write_str("the command ended well"),
            Self::Ran { output } => write!(f, "the command ended well: {}", output.trim()),
            Self::Answered { status } => write!(f, "answered with {status}"),
            Self::Updated { lists, ca_files } => write!(
                f,
                "HAProxy took {lists} lists and {ca_files} CA files through its runtime socket, without a reload"
            ),
            Self::Reloaded { why, by } => {
                write!(f, "the runtime socket did not do it ({why}), so it was reloaded instead: {by}")
            }
            Self::CameUp { by } => write!(f, "{by}, and by its master's word the reload succeeded"),
            Self::Nobody => f.write_str("nobody was told: it watches its files by itself"),
        }
    }
}

/// Why the server could not be told. It goes on with what it has; the reload stays owed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The pidfile is not there or cannot be read.
    #[error(
        "the pidfile {path} cannot be read ({source}): the server does not run, or writes its pidfile elsewhere; the reload stays owed"
    )]
    PidfileUnreadable {
        /// The pidfile.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The pidfile holds something else than one process number.
    #[error("the pidfile {path} {}; nothing was signalled and the reload stays owed", names_nobody(found))]
    PidfileGarbage {
        /// The pidfile.
        path: PathBuf,
        /// The beginning of what it holds.
        found: String,
    },
    /// No process has the number that the pidfile names.
    #[error(
        "the pidfile {path} names process {pid}, which does not exist: the server has stopped or crashed; the reload stays owed until it runs"
    )]
    Stale {
        /// The pidfile.
        path: PathBuf,
        /// The process it names.
        pid: i32,
    },
    /// That process is another program.
    #[error(
        "the pidfile {path} names process {pid}, which is {found:?} and not {wanted:?}: a stale pidfile, or `process` is wrong; nothing was signalled"
    )]
    OtherProcess {
        /// The pidfile.
        path: PathBuf,
        /// The process it names.
        pid: i32,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// It bears the name, and so does its parent.
    #[error(
        "the pidfile {path} names process {pid}, which is a child of another {process:?} and so no master; nothing was signalled"
    )]
    Worker {
        /// The pidfile.
        path: PathBuf,
        /// The process it names.
        pid: i32,
        /// Its name.
        process: String,
    },
    /// No process bears the name.
    #[error(
        "no process is {process:?}: the server does not run, or is known by another name (that of its program's file; a script is known by its interpreter's); nothing was signalled and the reload stays owed"
    )]
    NoProcess {
        /// The name.
        process: String,
    },
    /// More than one could be meant.
    #[error(
        "{} processes are {process:?} and are no children of one ({}): which is meant? Give its pidfile, or its systemd unit; nothing was signalled and the reload stays owed",
        pids.len(),
        pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    SeveralProcesses {
        /// The name.
        process: String,
        /// Their numbers.
        pids: Vec<i32>,
    },
    /// Not every process can be seen.
    #[error(
        "which process is {process:?} cannot be seen ({reason}): /proc is hidden (hidepid, ProtectProc=) or not mounted; nothing was signalled, since there might be several. Give its pidfile, or its systemd unit"
    )]
    AllHidden {
        /// The name.
        process: String,
        /// What /proc said.
        reason: String,
    },
    /// The unit has no main process.
    #[error(
        "the unit {unit} has no main process ({found}): it does not run, or there is no such unit; nothing was signalled and the reload stays owed"
    )]
    NoMainProcess {
        /// The unit.
        unit: String,
        /// What systemd says.
        found: String,
    },
    /// The unit's main process ended while it was asked for.
    #[error(
        "the unit {unit} was restarted just now (process {pid} is its main process no more); nothing was signalled and the reload stays owed"
    )]
    Restarted {
        /// The unit.
        unit: String,
        /// What was its main process.
        pid: i32,
    },
    /// systemd could not be asked.
    #[error("systemd could not be asked for the main process of {unit} ({how}); the reload stays owed")]
    UnitNotShown {
        /// The unit.
        unit: String,
        /// How that ended.
        how: String,
    },
    /// The process ended before it could be signalled.
    #[error("process {pid} ended just now; the reload stays owed until the server runs")]
    Ended {
        /// The process.
        pid: i32,
    },
    /// The process exists but its name cannot be seen.
    #[error(
        "process {pid} of the pidfile {path} exists, but /proc/{pid} shows no name of it ({reason}): /proc is hidden (hidepid, ProtectProc=) or not mounted; nothing was signalled, since it might be any program"
    )]
    Hidden {
        /// The pidfile.
        path: PathBuf,
        /// The process it names.
        pid: i32,
        /// What /proc said.
        reason: String,
    },
    /// We may not signal that process.
    #[error(
        "process {pid} could not be signalled ({reason}): only root or the server's own user may do so; use `reload = {{ systemd = ... }}` or `privileged = true`"
    )]
    NotPermitted {
        /// The process.
        pid: i32,
        /// What the system said.
        reason: String,
    },
    /// The system refused for another reason.
    #[error("process {pid} could not be signalled: {reason}; the reload stays owed")]
    Signal {
        /// The process.
        pid: i32,
        /// What the system said.
        reason: String,
    },
    /// The command could not be run.
    #[error("the reload command: {0}; the reload stays owed")]
    NotRun(#[from] RunError),
    /// The command failed.
    #[error(
        "the reload command {command:?} failed ({how}); the server may go on with the old trust, and the reload stays owed"
    )]
    Failed {
        /// The command.
        command: String,
        /// How it ended, and what it said.
        how: String,
    },
    /// No answer came.
    #[error("{0}; the reload stays owed")]
    NotAsked(#[from] HttpError),
    /// The answer was not 2xx.
    #[error("POST {url} was answered with {status}: {body:?}; the reload stays owed")]
    Refused {
        /// Where, without what may be a secret.
        url: String,
        /// The status code.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// HAProxy's runtime socket did not do it, and nothing else may be done instead.
    #[error("{0}; no reload is configured instead (reload.fallback), and this stays owed")]
    NotUpdated(UpdateError),
    /// Neither HAProxy's runtime socket did it, nor the reload.
    #[error("the runtime socket did not do it ({why}), and the reload instead failed too: {reload}")]
    Neither {
        /// What the socket said.
        why: UpdateError,
        /// What came of the reload.
        reload: Box<ReloadError>,
    },
    /// HAProxy's master does not say that the reload succeeded.
    #[error("{0}; the reload stays owed")]
    Master(#[from] MasterError),
}

fn names_nobody(found: &str) -> String {
    if found.trim().is_empty() {
        "is empty: the server does not run (nginx -t leaves such a file where it does not)".to_owned()
    } else {
        format!("holds {found:?}, which names no server process")
    }
}
