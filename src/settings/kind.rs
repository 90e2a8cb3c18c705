//! The kinds of server that are known: for each, which files it reads, how it is checked, told and asked, and what it can
//! see of a client. Each of these is a preset; a target's own keys win.

use std::path::PathBuf;
use std::time::Duration;

use super::resolved::{Addressee, GenerationEvidence, Reload, Signal};
use crate::trust::render::Output;

/// A preset of outputs, check, reload and proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Chain bundle, map bodies, the generation's header; `nginx -t`; SIGHUP.
    Nginx,
    /// Chain bundle and lists; `haproxy -c`; SIGUSR2 to the master, or its runtime socket.
    Haproxy,
    /// Chain bundle and an allowlist to include; a real start in private; SIGUSR1 (graceful).
    Apache,
    /// A file of its secret discovery service, which it watches.
    Envoy,
    /// A PKCS#12 truststore, and a check of its own that pins.
    Java,
    /// Whoever can only be told which authorities to trust, and never which certificate.
    CaOnly,
    /// The files that every generation has; no check, nothing told, nothing proven unless configured.
    Generic,
}

impl Kind {
    /// Every kind, by its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("nginx", Self::Nginx),
        ("haproxy", Self::Haproxy),
        ("apache", Self::Apache),
        ("envoy", Self::Envoy),
        ("java", Self::Java),
        ("ca-only", Self::CaOnly),
        ("generic", Self::Generic),
    ];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("generic", |(name, _)| name)
    }

    /// The families of files that it needs besides those of every generation.
    #[must_use]
    pub fn outputs(self) -> &'static [Output] {
        match self {
            Self::Nginx => &[Output::Nginx],
            Self::Haproxy => &[Output::Haproxy],
            Self::Apache => &[Output::Apache],
            Self::Envoy => &[Output::Envoy],
            Self::Java => &[Output::Java],
            Self::CaOnly => &[Output::Hashed],
            Self::Generic => &[],
        }
    }

    /// The server's own configuration test.
    #[must_use]
    pub fn check(self) -> Option<Vec<String>> {
        let argv = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        match self {
            Self::Nginx => argv(&["nginx", "-t"]),
            // Not `-q`: it keeps the reason to itself.
            Self::Haproxy => argv(&["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"]),
            // A start, not a test: `apache2ctl -t` reads no certificate, and a bad one ends the server.
            Self::Apache => argv(&["apache2ctl"]),
            Self::Envoy | Self::Java | Self::CaOnly | Self::Generic => None,
        }
    }

    /// How it is told.
    #[must_use]
    pub fn reload(self) -> Reload {
        let signal = |signal, pidfile: &str, process: &str| Reload::Signal {
            signal,
            to: Addressee::Pidfile { pidfile: PathBuf::from(pidfile), process: process.to_owned() },
        };
        match self {
            Self::Nginx => signal(Signal::Hup, "/run/nginx.pid", "nginx"),
            Self::Haproxy => signal(Signal::Usr2, "/run/haproxy.pid", "haproxy"),
            Self::Apache => signal(Signal::Usr1, "/run/apache2/apache2.pid", "apache2"),
            Self::Envoy | Self::Java | Self::CaOnly | Self::Generic => Reload::None,
        }
    }

    /// Whether its snippet shows the loaded allowlist's generation in a header.
    #[must_use]
    pub fn evidence(self) -> GenerationEvidence {
        match self {
            Self::Nginx | Self::Apache | Self::Java => GenerationEvidence::Header,
            Self::Haproxy | Self::Envoy | Self::CaOnly | Self::Generic => GenerationEvidence::None,
        }
    }

    /// For how long answers of the old generation may still come after the first new one (measured: nginx, 270 ms).
    #[must_use]
    pub fn settle(self) -> Duration {
        match self {
            // Whoever is not known is taken to be as slow as the slowest that is.
            Self::Nginx | Self::CaOnly | Self::Generic => Duration::from_millis(500),
            Self::Haproxy | Self::Apache | Self::Envoy | Self::Java => Duration::ZERO,
        }
    }

    /// Whether a server of this kind reads this file of a generation by its link.
    #[must_use]
    pub fn reads(self, path: &str) -> bool {
        let chain = matches!(path, "trust-bundle.pem" | "chain.pem");
        match self {
            Self::Nginx => chain || path.starts_with("nginx/"),
            Self::Haproxy => chain || path.starts_with("haproxy/"),
            Self::Apache => chain || path.starts_with("apache/") || path.starts_with("hashed/"),
            Self::Envoy => path.starts_with("envoy/"),
            Self::Java => chain || path == "fingerprints.txt" || path.ends_with(".p12"),
            Self::CaOnly => chain || path.starts_with("hashed/") || path.ends_with(".p12"),
            Self::Generic => true,
        }
    }

    /// Whether a server of this kind acts by some of its files as soon as its link is switched, so that it is never switched
    /// only to see what its check says.
    #[must_use]
    pub fn reads_at_requests(self) -> bool {
        matches!(self, Self::Apache | Self::Envoy | Self::Java)
    }

    /// Whether a server of this kind admits whoever its authorities have signed.
    #[must_use]
    pub fn admits_by_authority_alone(self) -> bool {
        self == Self::CaOnly
    }
}
