//! The ways in which a server is checked, reloaded and made to prove itself, as the configuration resolves them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::targets::BoxFuture;
use crate::targets::endpoint::Endpoint;
use crate::targets::process::Environment;
use crate::targets::proof::observe::OwnProof;
pub use crate::targets::reload::report::Signal;
use crate::targets::reload::report::{ReloadError, ReloadReport};

/// A server's own check of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// By its exit code, or by a start.
    pub way: CheckWay,
}

impl Check<'_> {
    /// The command of a check in place: for a start, the same program's own test.
    #[must_use]
    pub fn in_place(&self) -> Vec<String> {
        let test = match self.way {
            CheckWay::Test => None,
            CheckWay::Start(start) => Some(start.test.to_owned()),
        };
        self.argv.iter().cloned().chain(test).collect()
    }
}

/// How a check judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckWay {
    /// The command reads the configuration and ends; its exit code is the verdict.
    Test,
    /// The command is the server's own start, in namespaces of its own; the verdict is whether it gets ready to serve.
    Start(&'static Start),
}

/// How a server of some kind is started in private, only to see whether it gets ready to serve.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// A script for `sh`: `$1` is an empty folder for its use, `$2` is bound over `$3` unless it is empty, the rest
    /// starts the server. It prints the line of [`VIEW_STANDS`](crate::targets::check::VIEW_STANDS) once the namespaces
    /// stand.
    pub script: &'static str,
    /// The argument that makes the same program only test its configuration.
    pub test: &'static str,
    /// The arguments with which a check of this kind is such a test: it says so by its exit code alone.
    pub tests: &'static [&'static str],
    /// What that test does not see.
    pub misses: &'static str,
}

/// How a target's server is asked to reload.
#[derive(Debug, Clone)]
pub enum Reload {
    /// A signal to the server's process.
    Signal {
        /// As configured, or its kind's.
        signal: Signal,
        /// Which process that is, found out anew each time.
        to: Addressee,
    },
    /// `systemctl reload UNIT`.
    Systemd {
        /// With its suffix: `nginx.service`.
        unit: String,
    },
    /// A command, without a shell.
    Command(Vec<String>),
    /// `POST`; 2xx is success.
    Http(Endpoint),
    /// A way that one kind of server has alone.
    Own {
        /// What it does.
        way: &'static OwnReload,
        /// The server's socket, by which it does that.
        socket: PathBuf,
        /// The fallback, or the way that it watches.
        within: Box<Reload>,
    },
    /// The server watches by itself.
    None,
}

impl Reload {
    /// This way, and those within it.
    #[must_use]
    pub fn ways(&self) -> Vec<&Reload> {
        let mut ways = vec![self];
        if let Self::Own { within, .. } = self {
            ways.extend(within.ways());
        }
        ways
    }
}

/// A way of reload that one kind of server has alone. Anyone who may write in the folder of a socket may answer there:
/// a way gives that socket nothing but public files of the generation, and what it reads of an answer is bounded.
#[derive(Debug)]
pub struct OwnReload {
    /// As it is written below `reload`; its value is the path of a socket.
    pub key: &'static str,
    /// Whether the way within it is the fallback, where this one fails; else this one watches how that one ends.
    pub has_fallback: bool,
    /// Does it, within this time.
    pub request: for<'a> fn(socket: &'a Path, within: &'a Reload, &'a Environment, limit: Duration) -> Reloading<'a>,
}

/// A reload under way.
pub type Reloading<'a> = BoxFuture<'a, Result<ReloadReport, ReloadError>>;

/// How the process is found that gets a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// The process that a pidfile names.
    Pidfile {
        /// Absolute; the server writes it.
        pidfile: PathBuf,
        /// The name that the process must have (its executable's, or `/proc/PID/comm`).
        process: String,
    },
    /// The one process of this name whose parent has another.
    Process(String),
    /// The main process of this systemd unit.
    Unit(String),
}

/// How a target proves what it serves: all ways that are configured must agree, and what one cannot show (the chain,
/// the allowlist) another may.
#[derive(Debug, Clone, Default)]
pub struct ProofMethods {
    /// By the server's handshake and one answer.
    pub wire: Option<WireProof>,
    /// By the generation that a command names; its program and arguments.
    pub command: Option<Vec<String>>,
    /// By the generation that the server names in an answer to `GET`.
    pub http: Option<Endpoint>,
    /// By what servers of one kind alone can show.
    pub own: Vec<OwnProof>,
    /// For how long every new observation must show the new generation.
    pub settle: Duration,
    /// How long that may take in all.
    pub timeout: Duration,
}

impl ProofMethods {
    /// Whether the loaded chain is sure to show its generation.
    #[must_use]
    pub fn shows_chain(&self) -> bool {
        let own = self.own.iter().any(|own| own.shows_chain);
        self.reports() || own || self.wire.as_ref().is_some_and(|wire| wire.marker)
    }

    /// Whether the loaded allowlist can.
    #[must_use]
    pub fn shows_allowlist(&self) -> bool {
        let header = self.wire.as_ref().is_some_and(|wire| wire.generation == GenerationEvidence::Header);
        self.reports() || !self.own.is_empty() || header
    }

    /// Whether the server reports what it has loaded, which answers for both.
    fn reports(&self) -> bool {
        self.command.is_some() || self.http.is_some()
    }
}

/// How to observe a server from outside: a handshake and one GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireProof {
    /// Each `host:port`; all must agree.
    pub connect: Vec<String>,
    /// SNI and Host; none sends no SNI and the address as Host.
    pub server_name: Option<String>,
    /// Whether the loaded allowlist names its generation in a response header.
    pub generation: GenerationEvidence,
    /// Whether the server advertises the generation marker.
    pub marker: bool,
    /// Path of the one GET.
    pub path: String,
    /// The header with which a proxy in front of the server would begin.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// A version of the PROXY protocol (HAProxy's proxy-protocol.txt).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// A binary header, since HAProxy 1.5.
    V2,
}

/// How the loaded allowlist names its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationEvidence {
    /// By the response header `X-Trustsync-Generation`.
    Header,
    /// It cannot: only the chain is proven.
    None,
}
