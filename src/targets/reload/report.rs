//! How a server was asked to reload, or why it was not.

use std::fmt;
use std::path::PathBuf;

use crate::targets::http::HttpError;
use crate::targets::process::RunError;

/// The signals that servers know as "reload".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// nginx reloads.
    Hup,
    /// Apache reloads, gracefully.
    Usr1,
    /// HAProxy's master reloads.
    Usr2,
}

/// How the server was asked to reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadReport {
    /// A process was sent a signal.
    Signalled {
        /// The server's main process, or the one of the pidfile.
        pid: i32,
        /// As configured, or its kind's.
        signal: Signal,
    },
    /// A command ended with exit code 0.
    Ran {
        /// The beginning of what it wrote to stdout and stderr.
        output: String,
    },
    /// A `POST` was answered with 2xx.
    Answered {
        /// 200 to 299.
        status: u16,
    },
    /// A way of the kind's own did it: how, in a sentence.
    Own(String),
    /// A way of the kind's own failed, so its fallback did it: why and how, in a sentence.
    Reloaded(String),
    /// Nobody was asked: this server watches its files by itself.
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
            Self::Own(how) | Self::Reloaded(how) => f.write_str(how),
            Self::Nobody => f.write_str("nothing was asked of it: it watches its files by itself"),
        }
    }
}

/// Why the server was not asked to reload, or did not. It goes on with what it has; the reload stays owed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The process that a pidfile names.
    #[error("the pidfile {} {why}; nothing was signalled and the reload stays owed", path.display())]
    Pidfile {
        /// As configured, or its kind's.
        path: PathBuf,
        /// What is wrong with the file, or with the process.
        why: String,
    },
    /// The process of a name.
    #[error("the process {process:?} {why}; nothing was signalled and the reload stays owed")]
    Process {
        /// The file name of its executable.
        process: String,
        /// Why no process is known to be the one.
        why: String,
    },
    /// The main process of a systemd unit.
    #[error("the unit {unit} {why}; nothing was signalled and the reload stays owed")]
    Unit {
        /// The unit's full name.
        unit: String,
        /// Why it is not known which process that is.
        why: String,
    },
    /// The process is known, and the signal did not reach it.
    #[error("process {pid} {why}; the reload stays owed")]
    Signal {
        /// Held by a pidfd when it was signalled.
        pid: i32,
        /// It ended, or what the kernel said.
        why: String,
    },
    /// The command could not be run.
    #[error("the reload command: {0}; the reload stays owed")]
    NotRun(#[from] RunError),
    /// The command ended with an error, or did not end in time.
    #[error(
        "the reload command {command:?} failed ({how}); the server may go on with the old trust, and the reload stays \
         owed"
    )]
    Failed {
        /// The program and its arguments.
        command: String,
        /// How it ended, and what it said.
        how: String,
    },
    /// No answer to the `POST` came.
    #[error("{0}; the reload stays owed")]
    NotAsked(#[from] HttpError),
    /// The answer was not 2xx.
    #[error("POST {url} was answered with {status}: {body:?}; the reload stays owed")]
    Refused {
        /// Without what may be a secret.
        url: String,
        /// Anything but 200 to 299.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// A way of the kind's own failed.
    #[error("{0}; the reload stays owed")]
    Own(String),
    /// A way of the kind's own failed, and its fallback too: the whole sentence, which ends with the error of that.
    #[error("{0}")]
    Neither(String),
}
