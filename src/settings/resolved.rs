//! Settings with every preset applied and every value checked: what the program uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use crate::targets::endpoint::Endpoint;
pub use crate::targets::kind::{Kind, Kinds};
pub use crate::targets::ways::{
    Addressee, Check, CheckWay, GenerationEvidence, OwnReload, ProofMethods, ProxyProtocol, Reload, Signal, WireProof,
};
use crate::trust::plan::schedule::Schedule;
use crate::trust::render::Output;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::{plan, verify};

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

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The sources, by name.
    pub sources: BTreeMap<String, Source>,
    /// The stores, by name, each with its targets.
    pub stores: BTreeMap<String, Store>,
    /// How often someone (the daemon, or a timer that runs `sync`) is meant to look; `status` measures staleness by it.
    pub schedule: Schedule,
    /// Where the daemon answers `/healthz`, `/readyz` and `/metrics`, if anywhere.
    pub listen: Option<SocketAddr>,
    /// The planner's times and limits.
    pub plan: plan::Policy,
    /// The policy for certificates.
    pub verify: verify::Policy,
    /// What is done about revocation lists.
    pub crl: Crl,
}

impl Settings {
    /// The sources of a store.
    pub fn sources_of(&self, store: &Store) -> impl Iterator<Item = &Source> {
        store.sources.iter().filter_map(|name| self.sources.get(name))
    }

    /// The slots of a store, each with its source.
    pub fn slots_of(&self, store: &Store) -> impl Iterator<Item = (&Source, SlotId, Authority)> {
        self.sources_of(store).flat_map(|source| source.slots().map(move |(slot, authority)| (source, slot, authority)))
    }
}

/// `[crl]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crl {
    /// How much an unavailable list counts.
    pub policy: CrlPolicy,
    /// Whether distribution points on addresses that are not globally routable may be asked: those of a private CA.
    pub allow_private: bool,
}

/// How much an unavailable revocation list counts. One that is available always counts, unless they are off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CrlPolicy {
    /// No list is asked for. What was found revoked before stays so.
    Off,
    /// It is a warning. The default: an outage of a CA's web server must not delay the vendor's next certificate.
    #[default]
    Soft,
    /// Nothing new enters without it. Nothing is removed.
    Hard,
}

/// A trust directory, the union of its slots' sets.
#[derive(Debug, Clone)]
pub struct Store {
    /// Its name in the configuration.
    pub name: String,
    /// Its folder, absolute or from the working directory.
    pub path: PathBuf,
    /// How many generations stay for `rollback`.
    pub keep: usize,
    /// The sources whose slots it unites.
    pub sources: BTreeSet<String>,
    /// Roots of other clients of the same virtual hosts.
    pub extra_anchors: Vec<PathBuf>,
    /// The servers that consume it.
    pub targets: Vec<Target>,
    /// How long a leaf stays that is no longer listed.
    pub grace: Duration,
    /// A copy of a generation that an empty store adopts first.
    pub seed: Option<PathBuf>,
    /// The folder of the files of privileged targets, which are root's.
    pub privileged_path: PathBuf,
    /// What is done about a generation that was changed behind our back.
    pub on_drift: OnDrift,
    /// How its targets take their turns.
    pub turns: TurnOrder,
    /// The kinds of server that are known; each reads its own files back.
    pub kinds: Kinds,
}

/// How a store's targets take their turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TurnOrder {
    /// All at the same time: one that hangs keeps no other back.
    #[default]
    Parallel,
    /// One after the other, by their names; one that fails keeps no other back.
    Ordered,
}

/// What is done about a generation that was changed behind our back. It is an alarm in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// A new generation replaces it, and the targets are reloaded.
    #[default]
    Repair,
    /// It stays as it is until somebody looks.
    Alarm,
}

impl Store {
    /// The link by which a target's server reads, as its configuration names it.
    #[must_use]
    pub fn link_path(&self, target: &Target) -> PathBuf {
        self.link_path_of(&target.name, target.privileged)
    }

    /// Where that link would be if `privileged` were the other way round: where it was, for a target that was moved.
    #[must_use]
    pub fn other_link_path(&self, target: &Target) -> PathBuf {
        self.link_path_of(&target.name, !target.privileged)
    }

    fn link_path_of(&self, name: &str, privileged: bool) -> PathBuf {
        let path = if privileged { self.privileged_path.join(name) } else { self.path.join("target").join(name) };
        std::path::absolute(&path).unwrap_or(path)
    }

    /// The families of files that its targets need.
    #[must_use]
    pub fn outputs(&self) -> BTreeSet<Output> {
        self.targets.iter().flat_map(|target| target.outputs.iter().copied()).collect()
    }
}

/// A server that consumes a store.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name in the configuration, and its link's in the store.
    pub name: String,
    /// The preset that it started from.
    pub kind: Kind,
    /// The families of files that it needs besides those of every generation.
    pub outputs: BTreeSet<Output>,
    /// Whether its server reads the files that hold the generation marker.
    pub marker: bool,
    /// Where a leaf is distinguished from the other leaves of its authority.
    pub pinning: Pinning,
    /// Whether its files are root's, and its check and reload are made by `trustsync apply`.
    pub privileged: bool,
    /// The server's own configuration test.
    pub check: Option<Vec<String>>,
    /// How long that may take.
    pub check_timeout: Duration,
    /// How its server is reloaded.
    pub reload: Reload,
    /// How long the reload may take.
    pub reload_timeout: Duration,
    /// How it proves what it serves.
    pub proof: Option<ProofMethods>,
}

impl Target {
    /// The server's own configuration test, and how it is run.
    #[must_use]
    pub fn server_check(&self) -> Option<Check<'_>> {
        let argv = self.check.as_deref()?;
        let way = self.kind.check_way(argv);
        Some(Check { argv, way })
    }
}

impl Target {
    /// What it means that a server trusts authorities alone; `None` for one that tells leaves apart.
    #[must_use]
    pub fn ca_only(&self) -> Option<&'static str> {
        match self.pinning {
            _ if !self.kind.admits_by_authority_alone => None,
            Pinning::Here => Some("CA only: this server admits anyone whom the authority has signed, by whatever name"),
            Pinning::Elsewhere => Some(
                "CA only: this server admits anyone whom the authority has signed, strangers too; that another layer \
                 admits the pinned alone is what the configuration says (pinning = \"elsewhere\"), and cannot be seen \
                 from here",
            ),
        }
    }
}

/// Where a leaf is distinguished from the other leaves of its authority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pinning {
    /// The server does it, by our files.
    #[default]
    Here,
    /// The server trusts an authority only; another layer pins, says the operator.
    Elsewhere,
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
    /// DigiCert anchors of the operator's.
    pub digicert_anchors: Vec<PathBuf>,
    /// Whether the built-in DigiCert anchors count (besides those, where there are any).
    pub builtin_anchors: bool,
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

impl Source {
    /// Its slots: one an authority.
    pub fn slots(&self) -> impl Iterator<Item = (SlotId, Authority)> {
        self.authorities.iter().map(|authority| (SlotId::new(&self.name, &self.region, *authority), *authority))
    }
}

/// `identity =`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySetting {
    /// The region's name where Current carries it, else what all Currents of a complete answer agree on.
    Learn,
    /// One of these names.
    Names(BTreeSet<String>),
    /// Any name: the identity is not checked.
    Any,
}
