//! From raw to resolved: presets applied, every value judged, all problems told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::load::{self, Origins, SettingsError};
use super::raw::{List, Raw, RawCrl, RawMissing, RawSchedule, RawSource, RawStore, RawVerify};
use super::resolved::{
    Crl, CrlPolicy, IdentitySetting, Kinds, OnDrift, Secret, SecretOrigin, Settings, Source, Store, TurnOrder,
};
use crate::genesys::region::Region;
use crate::http_client::is_loopback;
use crate::trust::certificate::{Curve, SOUND_SIGNATURES};
use crate::trust::plan::ChangedIssuer;
use crate::trust::schedule::Schedule;
use crate::trust::set::Authority;
use crate::trust::timestamp::span;
use crate::trust::{plan, verify};

/// The path of the listing, as the vendor documents it.
pub const LISTING_PATH: &str = "/api/v2/integrations/actions/certificates";

/// Where a store stands unless it is told otherwise.
pub const STORE_PATH: &str = "/var/lib/trustsync";

/// Where the files of privileged targets stand unless it is told otherwise.
pub const PRIVILEGED_PATH: &str = "/var/lib/trustsync-targets";

const DAY: Duration = Duration::from_secs(86_400);

/// Resolved settings, with the origin of each value for `config show`.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the program uses.
    pub settings: Settings,
    /// Where each value was set.
    pub origins: Origins,
}

/// Reads, layers, resolves. `environment` is the process's, passed in so that tests need not change their own.
pub fn read(path: &Path, environment: &BTreeMap<String, String>) -> Result<Loaded, SettingsError> {
    read_by(Kinds::default(), path, environment)
}

/// Like [`read`], with another table of kinds of server.
pub fn read_by(kinds: Kinds, path: &Path, environment: &BTreeMap<String, String>) -> Result<Loaded, SettingsError> {
    let (loaded, problems) = judge_with(kinds, path, environment, true)?;
    if problems.is_empty() { Ok(loaded) } else { Err(SettingsError::Wrong { path: path.to_owned(), problems }) }
}

/// Like [`read`], but with what can be made of a configuration that has problems, so that more can be found.
pub fn judge(path: &Path, environment: &BTreeMap<String, String>) -> Result<(Loaded, Vec<String>), SettingsError> {
    judge_with(Kinds::default(), path, environment, true)
}

/// Like [`judge`], for who asks no source: a secret that is handed to the daemon alone is not missing here.
pub fn judge_without_secrets(
    path: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<(Loaded, Vec<String>), SettingsError> {
    judge_with(Kinds::default(), path, environment, false)
}

fn judge_with(
    kinds: Kinds,
    path: &Path,
    environment: &BTreeMap<String, String>,
    with_secrets: bool,
) -> Result<(Loaded, Vec<String>), SettingsError> {
    let load::Read { raw, mut origins, problems } = load::load(path, environment)?;
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut resolver = Resolver {
        kinds,
        base,
        credentials: environment.get("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        credentials_used: Vec::new(),
        with_secrets,
        problems,
    };
    let settings = resolver.settings(&raw);
    for source in resolver.credentials_used {
        origins.credential(format!("source.{source}.client_secret_file"), format!("{source}-client-secret"));
    }
    Ok((Loaded { settings, origins }, resolver.problems))
}

pub(super) struct Resolver {
    /// The kinds of server that are known.
    pub(super) kinds: Kinds,
    /// Relative paths are taken from the folder of the file.
    pub(super) base: PathBuf,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    credentials: Option<PathBuf>,
    /// The sources whose secret is a credential.
    credentials_used: Vec<String>,
    /// Whether each source needs one.
    with_secrets: bool,
    problems: Vec<String>,
}

impl Resolver {
    fn settings(&mut self, raw: &Raw) -> Settings {
        for name in raw.source.keys().chain(raw.store.keys()).chain(raw.target.keys()) {
            let fits = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
                && name.len() <= 40
                && name.chars().all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || "_-".contains(each));
            if !fits {
                self.problem(format!(
                    "the name {name:?} must be 1 to 40 of a-z 0-9 _ -, and begin with a letter or digit"
                ));
            }
        }
        if raw.source.is_empty() {
            self.problem(
                "there is no [source.NAME]: name a region and credentials (see README, \"Configure\")".to_owned(),
            );
        }
        let sources: BTreeMap<String, Source> =
            raw.source.iter().filter_map(|(name, source)| Some((name.clone(), self.source(name, source)?))).collect();

        let default = BTreeMap::from([("main".to_owned(), RawStore::default())]);
        let raw_stores = if raw.store.is_empty() { &default } else { &raw.store };
        let mut stores: BTreeMap<String, Store> =
            raw_stores.iter().map(|(name, store)| (name.clone(), self.store(name, store, raw))).collect();
        for (name, target) in &raw.target {
            let store = match (&target.store, stores.len()) {
                (Some(store), _) => store.clone(),
                (None, 1) => stores.keys().next().cloned().unwrap_or_default(),
                (None, _) => {
                    self.problem(format!("target.{name}.store is missing: there are several stores"));
                    continue;
                }
            };
            let resolved = self.target(name, target);
            match stores.get_mut(&store) {
                Some(store) => store.targets.extend(resolved),
                None => self.problem(format!("target.{name}.store names {store:?}, which is no [store]")),
            }
        }

        for store in stores.values() {
            self.privileged(store);
            self.pinned(store, &sources);
            self.expressible(store, &sources);
        }

        let policy = plan::Policy::default();
        let (upcoming_missing_warning, upcoming_missing_critical) = self.upcoming_missing(&raw.alarms.upcoming_missing);
        Settings {
            schedule: self.schedule(&raw.schedule),
            listen: self.listen(raw.listen.address.as_deref()),
            plan: plan::Policy {
                window: self.duration("schedule.window", raw.schedule.window.as_deref(), policy.window),
                upcoming_missing_warning,
                upcoming_missing_critical,
                max_new_leaves: self.count(
                    "verify.max_new_leaves",
                    raw.verify.max_new_leaves,
                    1..=100,
                    policy.max_new_leaves,
                ),
                changed_issuer: self.changed_issuer(raw.verify.changed_issuer.as_deref()),
                ..policy
            },
            verify: self.verify(&raw.verify),
            crl: self.crl(&raw.crl),
            sources,
            stores,
        }
    }

    /// How long before the end of the last Current the missing of its successor is a warning, and when it is critical.
    fn upcoming_missing(&mut self, raw: &RawMissing) -> (Duration, Duration) {
        let default = plan::Policy::default();
        let key = "alarms.upcoming_missing";
        let warning =
            self.duration(&format!("{key}.warning"), raw.warning.as_deref(), default.upcoming_missing_warning);
        let critical =
            self.duration(&format!("{key}.critical"), raw.critical.as_deref(), default.upcoming_missing_critical);
        if critical > warning {
            self.problem(format!(
                "{key}.critical ({}) is earlier than {key}.warning ({}): both count the days that are left, so critical is the \
                 shorter one",
                span(critical),
                span(warning)
            ));
        }
        (warning, critical)
    }

    fn schedule(&mut self, raw: &RawSchedule) -> Schedule {
        let default = Schedule::default();
        // The vendor allows 300 requests a minute; whoever looks less than daily sees an unscheduled rotation too late.
        let mut interval = |key: &str, raw: Option<&str>, default| {
            self.bounded(&format!("schedule.{key}"), raw, Duration::from_secs(5)..=DAY, default)
        };
        let schedule = Schedule {
            interval: interval("interval", raw.interval.as_deref(), default.interval),
            window_interval: interval("window_interval", raw.window_interval.as_deref(), default.window_interval),
            proof_interval: interval("proof_interval", raw.proof_interval.as_deref(), default.proof_interval),
            jitter: raw.jitter.unwrap_or(default.jitter),
        };
        if !(0.0..=0.5).contains(&schedule.jitter) {
            self.problem(format!("schedule.jitter is {}: it must be 0 to 0.5", schedule.jitter));
            return Schedule { jitter: default.jitter, ..schedule };
        }
        schedule
    }

    fn listen(&mut self, raw: Option<&str>) -> Option<SocketAddr> {
        let text = raw?;
        // Port 0 would be any: nobody would find us there.
        let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
        if address.is_none() {
            self.problem(format!("listen.address: {text:?} is no IP address with a port, such as 127.0.0.1:9464"));
        }
        address
    }

    /// Each range ends where the policy would be none any more, or would refuse what every vendor has; the reason for each
    /// default stands with [`verify::Policy`].
    fn verify(&mut self, raw: &RawVerify) -> verify::Policy {
        let default = verify::Policy::default();
        let max_chain = self.count("verify.max_chain", raw.max_chain, 2..=8, default.max_chain);
        verify::Policy {
            // Shorter keys can be broken, and ring checks neither those nor longer ones.
            min_rsa_bits: self.count("verify.min_rsa_bits", raw.min_rsa_bits, 2_048..=8_192, default.min_rsa_bits),
            curves: self.curves(raw.curves.as_ref(), default.curves),
            signatures: self.signatures(raw.signatures.as_ref(), default.signatures),
            other_usages: self.other_usages(raw.other_usages.as_deref(), default.other_usages),
            // A leaf that lives for decades is a mistake or an attack; one of less than a day could not be rotated.
            max_validity: self.bounded(
                "verify.max_validity",
                raw.max_validity.as_deref(),
                DAY..=DAY.saturating_mul(1_830),
                default.max_validity,
            ),
            max_chain,
            // A string must have room for one path; the work grows with the number of certificates.
            max_certificates: self.count(
                "verify.max_certificates",
                raw.max_certificates,
                max_chain..=32,
                default.max_certificates.max(max_chain),
            ),
            // What is valid in an hour may wait for an hour.
            clock_skew: self.bounded(
                "verify.clock_skew",
                raw.clock_skew.as_deref(),
                Duration::ZERO..=Duration::from_secs(3_600),
                default.clock_skew,
            ),
        }
    }

    fn curves(&mut self, raw: Option<&List>, default: BTreeSet<Curve>) -> BTreeSet<Curve> {
        let Some(List(names)) = raw else { return default };
        let known = Curve::ALL.map(|(known, _)| known).join(", ");
        let mut curves = BTreeSet::new();
        for name in names {
            match Curve::ALL.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some((_, curve)) => drop(curves.insert(curve)),
                None => self.problem(format!("verify.curves: {name:?} is no curve; known are {known}")),
            }
        }
        curves
    }

    fn signatures(&mut self, raw: Option<&List>, default: BTreeSet<&'static str>) -> BTreeSet<&'static str> {
        let Some(List(names)) = raw else { return default };
        let mut signatures = BTreeSet::new();
        for name in names {
            match SOUND_SIGNATURES.into_iter().find(|known| known.eq_ignore_ascii_case(name)) {
                Some(known) => drop(signatures.insert(known)),
                None => self.problem(format!(
                    "verify.signatures: {name:?} is no sound signature algorithm; known are {}",
                    SOUND_SIGNATURES.join(", ")
                )),
            }
        }
        if names.is_empty() {
            self.problem("verify.signatures is empty: nothing could be verified".to_owned());
        }
        signatures
    }

    fn other_usages(&mut self, raw: Option<&str>, default: bool) -> bool {
        match raw {
            None => default,
            Some("accept") => true,
            Some("refuse") => false,
            Some(other) => {
                self.problem(format!("verify.other_usages: {other:?} is neither \"accept\" nor \"refuse\""));
                default
            }
        }
    }

    fn changed_issuer(&mut self, raw: Option<&str>) -> ChangedIssuer {
        match raw {
            None | Some("accept") => ChangedIssuer::Accept,
            Some("confirm") => ChangedIssuer::Confirm,
            Some(other) => {
                self.problem(format!("verify.changed_issuer: {other:?} is neither \"accept\" nor \"confirm\""));
                ChangedIssuer::Accept
            }
        }
    }

    fn crl(&mut self, raw: &RawCrl) -> Crl {
        let policy = match raw.policy.as_deref() {
            None => CrlPolicy::default(),
            Some("off") => CrlPolicy::Off,
            Some("soft") => CrlPolicy::Soft,
            Some("hard") => CrlPolicy::Hard,
            Some(other) => {
                self.problem(format!("crl.policy: {other:?} is none of \"off\", \"soft\", \"hard\""));
                CrlPolicy::default()
            }
        };
        Crl { policy, allow_private: raw.allow_private.unwrap_or(false) }
    }

    fn source(&mut self, name: &str, raw: &RawSource) -> Option<Source> {
        let key = |field: &str| format!("source.{name}.{field}");
        let Some(region_name) = &raw.region else {
            self.problem(format!(
                "{} is missing: the AWS name of your Genesys Cloud region, such as eu-west-1 (trustsync regions)",
                key("region")
            ));
            return None;
        };
        let region = match Region::named(region_name) {
            Ok(region) => region,
            Err(unknown) => {
                self.problem(format!("{}: {unknown}", key("region")));
                return None;
            }
        };
        let client_id = raw.client_id.clone().unwrap_or_default();
        if client_id.is_empty() {
            self.problem(format!(
                "{} is missing: the id of an OAuth client with the grant \"Client Credentials\"",
                key("client_id")
            ));
        }
        let client_secret = self.secret(name, raw)?;
        let authorities = self.authorities(&key("authorities"), raw.authorities.as_ref());
        let identity = self.identity(&key("identity"), raw.identity.as_ref());
        let genesys_anchors = self.paths(raw.genesys_anchors.as_ref());
        if authorities.contains(&Authority::Genesys) {
            if genesys_anchors.is_empty() {
                self.problem(format!("{} is missing: with the authority Genesys the region's root comes as a file from the vendor's page", key("genesys_anchors")));
            }
            if identity == IdentitySetting::Learn && region.certificate_name.is_none() {
                self.problem(format!("{} is missing: the vendor publishes no certificate name for {region_name}, and a name is never learned for Genesys; give [\"name\"] or \"any\"", key("identity")));
            }
        }
        let path = raw.path.clone().unwrap_or_else(|| LISTING_PATH.to_owned());
        if !path.starts_with('/') || path.contains(['?', '#']) {
            self.problem(format!("{} must begin with / and have no query", key("path")));
        }
        Some(Source {
            name: name.to_owned(),
            region: region.aws.to_owned(),
            region_name: region.certificate_name.map(str::to_owned),
            client_id,
            client_secret,
            authorities,
            digicert_anchors: self.paths(raw.digicert_anchors.as_ref()),
            genesys_anchors,
            identity,
            api: self.base_url(&key("api"), raw.api.as_deref().unwrap_or(region.api))?,
            login: self.base_url(&key("login"), raw.login.as_deref().unwrap_or(region.login))?,
            path,
            ca_file: raw.ca_file.as_ref().map(|path| self.base.join(path)),
            proxy: match &raw.proxy {
                Some(proxy) => self.proxy(&key("proxy"), proxy.0.expose()),
                None => None,
            },
        })
    }

    /// The credential wins, then the environment (the only place where the secret itself may stand), then the file.
    fn secret(&mut self, name: &str, raw: &RawSource) -> Option<SecretOrigin> {
        let credential = self.credentials.as_ref().map(|folder| folder.join(format!("{name}-client-secret")));
        if let Some(credential) = credential.filter(|path| path.exists()) {
            self.credentials_used.push(name.to_owned());
            return Some(SecretOrigin::File(credential));
        }
        match (&raw.client_secret, &raw.client_secret_file) {
            (Some(secret), _) => Some(SecretOrigin::Given(secret.0.clone())),
            (None, Some(file)) => Some(SecretOrigin::File(self.base.join(file))),
            (None, None) if !self.with_secrets => Some(SecretOrigin::Given(Secret::new(String::new()))),
            (None, None) => {
                self.problem(format!("source.{name}.client_secret_file is missing: a file that holds the OAuth client's secret, readable by its owner (and group) alone"));
                None
            }
        }
    }

    fn authorities(&mut self, key: &str, raw: Option<&List>) -> BTreeSet<Authority> {
        let Some(List(names)) = raw else { return BTreeSet::from([Authority::DigiCert]) };
        let mut authorities = BTreeSet::new();
        for name in names {
            match Authority::named(name) {
                Some(authority) => {
                    authorities.insert(authority);
                }
                None => self.problem(format!("{key}: {name:?} is no authority; known are DigiCert and Genesys")),
            }
        }
        if names.is_empty() {
            self.problem(format!("{key} is empty: name DigiCert, Genesys, or both"));
        }
        authorities
    }

    fn identity(&mut self, key: &str, raw: Option<&List>) -> IdentitySetting {
        let Some(List(names)) = raw else { return IdentitySetting::Learn };
        match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["learn"] => IdentitySetting::Learn,
            ["any"] => IdentitySetting::Any,
            [] => {
                self.problem(format!("{key} is empty: \"learn\", a list of names, or \"any\""));
                IdentitySetting::Learn
            }
            names => {
                for name in names {
                    if !name.chars().all(|each| each.is_ascii_alphanumeric() || "-._".contains(each))
                        || name.len() > 253
                    {
                        self.problem(format!("{key}: {name:?} is no host name"));
                    }
                }
                IdentitySetting::Names(names.iter().map(|name| (*name).to_owned()).collect())
            }
        }
    }

    fn store(&mut self, name: &str, raw: &RawStore, whole: &Raw) -> Store {
        let sources: BTreeSet<String> = match &raw.sources {
            Some(List(names)) => names.iter().cloned().collect(),
            None => whole.source.keys().cloned().collect(),
        };
        for source in sources.iter().filter(|source| !whole.source.contains_key(*source)) {
            self.problem(format!("store.{name}.sources names {source:?}, which is no [source]"));
        }
        let keep = raw.keep.unwrap_or(10);
        if !(2..=1_000).contains(&keep) {
            self.problem(format!(
                "store.{name}.keep must be 2 to 1000: without an older generation there is no rollback"
            ));
        }
        let path = self.base.join(raw.path.clone().unwrap_or_else(|| PathBuf::from(STORE_PATH)));
        if path.parent().is_none() {
            self.problem(format!("store.{name}.path is the root folder"));
        }
        Store {
            name: name.to_owned(),
            path,
            keep: keep as usize,
            sources,
            extra_anchors: self.paths(raw.extra_anchors.as_ref()),
            targets: Vec::new(),
            grace: self.duration(&format!("store.{name}.grace"), raw.grace.as_deref(), DAY.saturating_mul(14)),
            seed: raw.seed.as_ref().map(|path| self.base.join(path)),
            privileged_path: self
                .base
                .join(raw.privileged_path.clone().unwrap_or_else(|| PathBuf::from(PRIVILEGED_PATH))),
            on_drift: self.on_drift(&format!("store.{name}.on_drift"), raw.on_drift.as_deref()),
            kinds: self.kinds,
            turns: self.turns(&format!("store.{name}.turns"), raw.turns.as_deref()),
        }
    }

    fn on_drift(&mut self, key: &str, raw: Option<&str>) -> OnDrift {
        match raw {
            None | Some("repair") => OnDrift::Repair,
            Some("alarm") => OnDrift::Alarm,
            Some(other) => {
                self.problem(format!("{key}: {other:?} is neither \"repair\" nor \"alarm\""));
                OnDrift::default()
            }
        }
    }

    fn turns(&mut self, key: &str, raw: Option<&str>) -> TurnOrder {
        match raw {
            None | Some("parallel") => TurnOrder::Parallel,
            Some("ordered") => TurnOrder::Ordered,
            Some(other) => {
                self.problem(format!("{key}: {other:?} is neither \"parallel\" nor \"ordered\""));
                TurnOrder::default()
            }
        }
    }

    pub(super) fn paths(&self, raw: Option<&List>) -> Vec<PathBuf> {
        raw.map(|List(paths)| paths.iter().map(|path| self.base.join(path)).collect()).unwrap_or_default()
    }

    pub(super) fn duration(&mut self, key: &str, raw: Option<&str>, default: Duration) -> Duration {
        let Some(text) = raw else { return default };
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= DAY.saturating_mul(3_660) => duration,
            Ok(_) => {
                self.problem(format!("{key}: {text:?} is longer than ten years"));
                default
            }
            Err(error) => {
                self.problem(format!("{key}: {text:?} is no duration such as \"14d\" or \"90s\": {error}"));
                default
            }
        }
    }

    fn bounded(
        &mut self,
        key: &str,
        raw: Option<&str>,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let duration = self.duration(key, raw, default);
        if range.contains(&duration) {
            return duration;
        }
        self.problem(format!("{key} must be {} to {}", span(*range.start()), span(*range.end())));
        default
    }

    fn count(&mut self, key: &str, raw: Option<u32>, range: RangeInclusive<usize>, default: usize) -> usize {
        let Some(count) = raw.map(|count| count as usize) else { return default };
        if range.contains(&count) {
            return count;
        }
        self.problem(format!("{key} must be {} to {}", range.start(), range.end()));
        default
    }

    fn url(&mut self, key: &str, text: &str) -> Option<Url> {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Some(url),
            Ok(_) => {
                self.problem(format!("{key}: {text:?} is no http or https URL with a host"));
                None
            }
            Err(error) => {
                self.problem(format!("{key}: {text:?} is no URL: {error}"));
                None
            }
        }
    }

    fn base_url(&mut self, key: &str, text: &str) -> Option<Url> {
        let url = self.url(key, text)?;
        if url.scheme() != "https" && !is_loopback(&url) {
            self.problem(format!("{key}: {text:?} must be https: the client secret and the token go there"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            self.problem(format!("{key} must have neither credentials nor a query"));
        }
        Some(url)
    }

    /// A proxy's URL may hold credentials: it is never quoted.
    fn proxy(&mut self, key: &str, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        if url.is_none() {
            self.problem(format!("{key} is no http or https URL with a host"));
        }
        url
    }

    pub(super) fn problem(&mut self, text: String) {
        self.problems.push(text);
    }
}
