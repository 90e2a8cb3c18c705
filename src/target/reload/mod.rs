//! Tells a server to load what its link names now. That it was told proves nothing: see [`crate::target::proof`].

mod command;
mod http;
mod signal;
mod systemd;

use std::path::PathBuf;
use std::time::Duration;

use crate::settings::resolved::{Reload, Signal};
pub use crate::target::process::Environment;
use crate::target::process::RunError;

/// How long a reload command may take.
pub const RELOAD_LIMIT: Duration = Duration::from_secs(60);

/// How long a server has to answer a `POST`.
pub const HTTP_LIMIT: Duration = Duration::from_secs(10);

/// How the server was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
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
    /// Nobody: this server watches its files by itself.
    Nobody,
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
    /// The URL is neither HTTPS nor on this machine.
    #[error("{url} is refused as a reload URL: without TLS it must name a loopback address")]
    NotLoopback {
        /// The URL without user, password and query.
        url: String,
    },
    /// No answer came.
    #[error("POST {url} brought no answer ({reason}); the reload stays owed")]
    NoAnswer {
        /// The URL without user, password and query.
        url: String,
        /// Why.
        reason: String,
    },
    /// The answer was not 2xx.
    #[error("POST {url} was answered with {status}: {body:?}; the reload stays owed")]
    Refused {
        /// The URL without user, password and query.
        url: String,
        /// The status code.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
}

fn names_nobody(found: &str) -> String {
    if found.trim().is_empty() {
        "is empty: the server does not run (nginx -t leaves such a file where it does not)".to_owned()
    } else {
        format!("holds {found:?}, which names no server process")
    }
}

/// Tells the server.
pub async fn tell(reload: &Reload, environment: &Environment) -> Result<Told, ReloadError> {
    match reload {
        Reload::Signal { signal, pidfile, process } => signal::send(*signal, pidfile, process),
        Reload::Systemd { unit } => systemd::reload(unit, environment).await,
        Reload::Command(argv) => command::run(argv, environment).await,
        Reload::Http(url) => http::post(url).await,
        Reload::None => Ok(Told::Nobody),
    }
}
