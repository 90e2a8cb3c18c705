//! What a kind of server must say of itself. Each kind says it in a folder of its own, and [`super::table`] lists them.
//! Everything here is pure: a kind says what is to be run and how the answer reads, and others run it.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::enforcement::Configuration;
use super::ways::{CheckWay, GenerationEvidence, Reload};
use crate::trust::render::Output;

/// A kind of server: a preset of files, check, reload and proof, which a target's own keys override, and what its
/// server can see of a client.
pub trait ServerKind: Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// The family of files that it needs besides the files of every generation.
    fn output(&self) -> Option<Output> {
        None
    }

    /// Whether a server of this kind reads this file of a generation by its link.
    fn reads(&self, path: &str) -> bool;

    /// The lines that a user adds to the server's configuration, with the target's own link in them. They name the files
    /// with the generation marker.
    fn snippet(&self, _link: &Path) -> Option<String> {
        None
    }

    /// These lines by its own files that have no generation marker.
    fn without_marker(&self, lines: &str) -> String {
        lines.to_owned()
    }

    /// The server's own configuration test.
    fn check(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// How a check by this command judges.
    fn check_way(&self, _argv: &[String]) -> CheckWay {
        CheckWay::Test
    }

    /// Whether a check of this way is known to read such a file, so that it must refuse one that is broken.
    fn is_checked(&self, _way: CheckWay, _path: &Path) -> bool {
        true
    }

    /// A check that looks, for one whose check does not.
    fn check_that_looks(&self) -> Option<&'static str> {
        None
    }

    /// How the server is told.
    fn reload(&self) -> Reload {
        Reload::None
    }

    /// Whether its snippet shows the loaded allowlist's generation in a header.
    fn evidence(&self) -> GenerationEvidence {
        GenerationEvidence::None
    }

    /// For how long answers of the old generation may still come after the first new one. A server that is not known is
    /// taken to be as slow as the slowest that is.
    fn settle(&self) -> Duration {
        SLOWEST
    }

    /// Whether a server of this kind acts by some of its files as soon as its link is switched, so that it is never
    /// switched only to see what its check says.
    fn reads_at_requests(&self) -> bool {
        false
    }

    /// Whether a server of this kind admits anyone whom its authorities have signed.
    fn admits_by_authority_alone(&self) -> bool {
        false
    }

    /// Whether it can be told to advertise other names than those of the authorities that it accepts.
    fn advertises_other_names(&self) -> bool {
        false
    }

    /// Whether its snippet makes it ask every client for a certificate: one that does not ask has no snippet.
    fn asks_every_client(&self) -> bool {
        false
    }

    /// How its configuration is read to see whether it asks the allowlist, where that can be seen.
    fn configuration(&self) -> Option<&'static dyn Configuration> {
        None
    }
}

/// Measured: nginx, 270 ms.
const SLOWEST: Duration = Duration::from_millis(500);

/// One kind of the table. Two are the same if they have the same name.
#[derive(Clone, Copy)]
pub struct Kind(&'static dyn ServerKind);

impl Kind {
    /// This kind.
    #[must_use]
    pub const fn of(kind: &'static dyn ServerKind) -> Self {
        Self(kind)
    }
}

impl std::ops::Deref for Kind {
    type Target = dyn ServerKind;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Kind {}

/// A table of kinds.
#[derive(Debug, Clone, Copy)]
pub struct Kinds(&'static [Kind]);

impl Kinds {
    /// The table of these kinds.
    #[must_use]
    pub const fn of(kinds: &'static [Kind]) -> Self {
        Self(kinds)
    }

    /// Each kind, in the order of the table.
    pub fn all(self) -> impl Iterator<Item = Kind> {
        self.0.iter().copied()
    }

    /// The kind of this name.
    #[must_use]
    pub fn find(self, name: &str) -> Option<Kind> {
        self.all().find(|kind| kind.name() == name)
    }

    /// The families of files that the kinds need, in the order of the table.
    pub fn outputs(self) -> impl Iterator<Item = Output> {
        self.all().filter_map(|kind| kind.output())
    }
}
