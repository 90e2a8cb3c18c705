//! Settings with every preset applied and every value judged: what the program uses.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::trust::set::Authority;

/// A text that is never shown: its `Debug` says `[redacted]`, and it has no `Display` and no serialisation.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret's text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where a source's secret comes from. It is read when it is needed, so that a rotated file is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOrigin {
    /// A file whose content, less one final newline, is the secret.
    File(PathBuf),
    /// The environment held it.
    Given(Secret),
}

/// A Genesys Cloud region with credentials.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the configuration.
    pub name: String,
    /// The AWS region name, which is part of each slot's id.
    pub region: String,
    /// The certificate name of the region, where the table knows it.
    pub region_name: Option<String>,
    /// OAuth client id.
    pub client_id: String,
    /// OAuth client secret.
    pub client_secret: SecretOrigin,
    /// Which authorities' certificates we take.
    pub authorities: BTreeSet<Authority>,
    /// Instead of the built-in DigiCert anchors.
    pub digicert_anchors: Vec<PathBuf>,
    /// The Genesys roots of the region.
    pub genesys_anchors: Vec<PathBuf>,
    /// Which names its leaves must carry.
    pub identity: IdentitySetting,
    /// Base of the API, without a final slash: `https://api.mypurecloud.com`.
    pub api: Url,
    /// Base of the login service.
    pub login: Url,
    /// Path of the listing on `api`.
    pub path: String,
    /// Roots for HTTPS besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Proxy instead of the environment's.
    pub proxy: Option<Url>,
}

/// `identity =`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySetting {
    /// The region's name where Current carries it, else what all Currents of a complete answer agree on.
    Learn,
    /// One of these names.
    Names(BTreeSet<String>),
    /// No check.
    Any,
}

/// How a target is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// A signal to the process that a pidfile names.
    Signal {
        /// `HUP`, `USR1`, `USR2`.
        signal: Signal,
        /// Read anew each time.
        pidfile: PathBuf,
        /// The name that the process must bear (`/proc/PID/comm` or its executable's name).
        process: String,
    },
    /// `systemctl reload UNIT`.
    Systemd {
        /// The unit.
        unit: String,
    },
    /// A command, without a shell.
    Command(Vec<String>),
    /// `POST` to a URL; 2xx is success.
    Http(Url),
    /// The server watches by itself.
    None,
}

/// The signals that servers know as "reload".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

/// How a target proves what it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireProof {
    /// `host:port`; all must agree.
    pub connect: Vec<String>,
    /// SNI and Host; none sends no SNI and the address as Host.
    pub server_name: Option<String>,
    /// Whether the loaded allowlist names its generation in a response header.
    pub generation: GenerationEvidence,
    /// Path of the one GET.
    pub path: String,
    /// For how long fresh handshakes must all show the new generation.
    pub settle: Duration,
    /// How long to wait for that.
    pub timeout: Duration,
}

/// How the loaded allowlist names its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationEvidence {
    /// In the response header `X-Trustsync-Generation`.
    Header,
    /// It cannot: only the chain is proven.
    None,
}
