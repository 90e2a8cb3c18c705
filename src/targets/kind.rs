//! What a kind of server must say of itself: pure data. Each kind says it in a folder of its own, and [`super::table`]
//! lists them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::enforcement::Configuration;
use super::proof::observe::OwnProofKey;
use super::ways::{Addressee, CheckWay, GenerationEvidence, OwnReload, Reload, Signal, Start};
use crate::trust::render::Output;

/// A kind of server: a preset of files, check, reload and proof, which a target's own keys override, and what its
/// server can see of a client. Two are the same if they have the same name.
pub struct ServerKind {
    /// As the configuration's `kind` names it.
    pub name: &'static str,
    /// The family of files that it needs besides the files of every generation.
    pub output: Option<Output>,
    /// How the paths begin of the files of a generation that its server reads by the target's link.
    pub reads: &'static [&'static str],
    /// The lines that a user adds to the server's configuration, made from the target's own link. They name the file
    /// with the generation marker.
    pub snippet: Option<fn(&Path) -> String>,
    /// The file with the generation marker that these lines name, and its twin without the marker.
    pub marker_file: (&'static str, &'static str),
    /// The server's own configuration test.
    pub check: Option<&'static [&'static str]>,
    /// The private start by which a check of this kind judges, unless its command only tests.
    pub start: Option<&'static Start>,
    /// The extension of files that a mere test reads although it is blind to the others: broken ones would show
    /// nothing.
    pub spared_by_canary: Option<&'static str>,
    /// A check that notices broken files, for people whose check does not.
    pub better_check: Option<&'static str>,
    /// The signal by which the server reloads, its pidfile, and the name of its process.
    pub signal: Option<(Signal, &'static str, &'static str)>,
    /// Whether its snippet shows the loaded allowlist's generation in a header.
    pub evidence: GenerationEvidence,
    /// A way of proof that no other kind of server has.
    pub own_proof: Option<&'static OwnProofKey>,
    /// The ways of reload that no other kind of server has.
    pub own_reload: &'static [&'static OwnReload],
    /// For how long answers of the old generation may still come after the first new one.
    pub settle: Duration,
    /// Whether the server acts by some of its files as soon as its link is switched, so that it is never switched only
    /// to see what its check says.
    pub reads_at_requests: bool,
    /// Whether the server admits anyone whom its authorities have signed.
    pub admits_by_authority_alone: bool,
    /// Whether the server can be configured to advertise other names than those of the authorities that it accepts.
    pub advertises_other_names: bool,
    /// Whether its snippet makes it ask every client for a certificate: one that does not ask has no snippet.
    pub asks_every_client: bool,
    /// How its configuration is read to see whether it asks the allowlist, where that can be seen.
    pub configuration: Option<&'static dyn Configuration>,
}

/// Measured: nginx, 270 ms. A server that is not known is taken to be as slow as the slowest that is.
const SLOWEST: Duration = Duration::from_millis(500);

impl ServerKind {
    /// A server of which nothing but its name is known; a kind says what differs.
    #[must_use]
    pub const fn unknown(name: &'static str) -> Self {
        Self {
            name,
            output: None,
            reads: &[],
            snippet: None,
            marker_file: ("trust-bundle.pem", "chain.pem"),
            check: None,
            start: None,
            spared_by_canary: None,
            better_check: None,
            signal: None,
            evidence: GenerationEvidence::None,
            own_proof: None,
            own_reload: &[],
            settle: SLOWEST,
            reads_at_requests: false,
            admits_by_authority_alone: false,
            advertises_other_names: false,
            asks_every_client: false,
            configuration: None,
        }
    }

    /// Whether a server of this kind reads this file of a generation by its link.
    #[must_use]
    pub fn reads(&self, path: &str) -> bool {
        self.reads.iter().any(|start| path.starts_with(start))
    }

    /// The lines that a user adds to the server's configuration, where they are known; with the file that has the
    /// generation marker, or without.
    #[must_use]
    pub fn snippet(&self, marker: bool, link: &Path) -> Option<String> {
        let lines = self.snippet?(link);
        let (with, without) = self.marker_file;
        Some(if marker { lines } else { lines.replace(with, without) })
    }

    /// How a check by this command judges.
    #[must_use]
    pub fn check_way(&self, argv: &[String]) -> CheckWay {
        match self.start {
            Some(start) if !argv.iter().any(|word| start.tests.contains(&word.as_str())) => CheckWay::Start(start),
            _ => CheckWay::Test,
        }
    }

    /// How the server is asked to reload, unless the target says otherwise.
    #[must_use]
    pub fn reload(&self) -> Reload {
        self.signal.map_or(Reload::None, |(signal, pidfile, process)| Reload::Signal {
            signal,
            to: Addressee::Pidfile { pidfile: PathBuf::from(pidfile), process: process.to_owned() },
        })
    }
}

impl fmt::Debug for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for ServerKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ServerKind {}

/// One kind of the table.
pub type Kind = &'static ServerKind;

/// A table of kinds.
#[derive(Debug, Clone, Copy)]
pub struct Kinds(pub &'static [Kind]);

impl Kinds {
    /// Each kind, in the order of the table.
    pub fn all(self) -> impl Iterator<Item = Kind> {
        self.0.iter().copied()
    }

    /// The kind of this name.
    #[must_use]
    pub fn find(self, name: &str) -> Option<Kind> {
        self.all().find(|kind| kind.name == name)
    }

    /// The way of proof of this key, with the kind that has it.
    #[must_use]
    pub fn own_proof(self, key: &str) -> Option<(Kind, &'static OwnProofKey)> {
        self.all().filter_map(|kind| Some((kind, kind.own_proof?))).find(|(_, own)| own.key == key)
    }

    /// The ways of reload that one of them has alone.
    pub fn own_reload(self) -> impl Iterator<Item = &'static OwnReload> {
        self.all().flat_map(|kind| kind.own_reload).copied()
    }

    /// The families of files that the kinds need, in the order of the table.
    pub fn outputs(self) -> impl Iterator<Item = Output> {
        self.all().filter_map(|kind| kind.output)
    }
}
