//! From raw to resolved: presets applied, every value checked, all problems reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::{self, Origins, SettingsError};
use super::raw::{List, Raw, RawCrl, RawMissing, RawSchedule, RawStore, RawVerify};
use super::resolved::{Crl, CrlPolicy, Kinds, OnDrift, Settings, Source, Store, TurnOrder};
use crate::trust::formats::certificate::{Curve, sound_signatures};
use crate::trust::plan::ChangedIssuer;
use crate::trust::plan::schedule::Schedule;
use crate::trust::values::timestamp::span;
use crate::trust::{plan, verify};

/// The folder of a store that names none.
pub const STORE_PATH: &str = "/var/lib/trustsync";

/// The folder of the files of privileged targets, where a store names none.
pub const PRIVILEGED_PATH: &str = "/var/lib/trustsync-targets";

const DAY: Duration = Duration::from_secs(86_400);

const CHANGED_ISSUER: [(&str, ChangedIssuer); 2] =
    [("accept", ChangedIssuer::Accept), ("confirm", ChangedIssuer::Confirm)];
const CRL_POLICY: [(&str, CrlPolicy); 3] =
    [("off", CrlPolicy::Off), ("soft", CrlPolicy::Soft), ("hard", CrlPolicy::Hard)];
const ON_DRIFT: [(&str, OnDrift); 2] = [("repair", OnDrift::Repair), ("alarm", OnDrift::Alarm)];
const OTHER_USAGES: [(&str, bool); 2] = [("accept", true), ("refuse", false)];
const TURNS: [(&str, TurnOrder); 2] = [("parallel", TurnOrder::Parallel), ("ordered", TurnOrder::Ordered)];

/// Resolved settings, with what `config show` prints.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the program uses.
    pub settings: Settings,
    /// Every value in force by its key, as TOML has it; a secret is only named.
    pub shown: BTreeMap<String, String>,
    /// Where each value was set.
    pub origins: Origins,
}

/// Reads, layers, resolves. `environment` is the process's, passed in so that tests need not change their own.
pub fn read(path: &Path, environment: &BTreeMap<String, String>) -> Result<Loaded, SettingsError> {
    read_by(Kinds::default(), path, environment)
}

/// Like [`read`], with another table of kinds of server.
pub fn read_by(kinds: Kinds, path: &Path, environment: &BTreeMap<String, String>) -> Result<Loaded, SettingsError> {
    let (loaded, problems) = check_with(kinds, path, environment, true)?;
    if problems.is_empty() { Ok(loaded) } else { Err(SettingsError::Wrong { path: path.to_owned(), problems }) }
}

/// Like [`read`], but with what can be made of a configuration that has problems, so that more can be found.
pub fn check(path: &Path, environment: &BTreeMap<String, String>) -> Result<(Loaded, Vec<String>), SettingsError> {
    check_with(Kinds::default(), path, environment, true)
}

/// Like [`check`], for a command that asks no source: a secret that is handed to the daemon alone is not missing here.
pub fn check_without_secrets(
    path: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<(Loaded, Vec<String>), SettingsError> {
    check_with(Kinds::default(), path, environment, false)
}

fn check_with(
    kinds: Kinds,
    path: &Path,
    environment: &BTreeMap<String, String>,
    with_secrets: bool,
) -> Result<(Loaded, Vec<String>), SettingsError> {
    let load::Read { raw, origins, problems } = load::load(path, environment)?;
    let mut resolver = Resolver {
        kinds,
        base: path.parent().unwrap_or(Path::new("")).to_owned(),
        credentials: environment.get("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        with_secrets,
        shown: BTreeMap::new(),
        origins,
        problems,
    };
    let settings = resolver.settings(&raw);
    let Resolver { shown, origins, problems, .. } = resolver;
    Ok((Loaded { settings, shown, origins }, problems))
}

pub(super) struct Resolver {
    /// The kinds of server that are known.
    pub(super) kinds: Kinds,
    /// Relative paths are taken from the folder of the file.
    pub(super) base: PathBuf,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub(super) credentials: Option<PathBuf>,
    /// Whether each source needs a secret.
    pub(super) with_secrets: bool,
    /// Every value in force, noted where it is decided.
    shown: BTreeMap<String, String>,
    pub(super) origins: Origins,
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
            self.problem("there is no [source.NAME]: name a region and credentials (see README, \"Configure\")".into());
        }
        let sources: BTreeMap<String, Source> =
            raw.source.iter().filter_map(|(name, source)| Some((name.clone(), self.source(name, source)?))).collect();
        let stores = self.stores(raw, &sources);
        let policy = plan::Policy::default();
        let (upcoming_missing_warning, upcoming_missing_critical) = self.upcoming_missing(&raw.alarms.upcoming_missing);
        let verify = &raw.verify;
        Settings {
            schedule: self.schedule(&raw.schedule),
            listen: self.listen(raw.listen.address.as_deref()),
            plan: plan::Policy {
                window: self.duration("schedule.window", raw.schedule.window.as_deref(), policy.window),
                upcoming_missing_warning,
                upcoming_missing_critical,
                max_new_leaves: self.count(
                    "verify.max_new_leaves",
                    verify.max_new_leaves,
                    1..=100,
                    policy.max_new_leaves,
                ),
                max_pins: self.count("verify.max_pins", verify.max_pins, 2..=100, policy.max_pins),
                changed_issuer: self.choice(
                    "verify.changed_issuer",
                    verify.changed_issuer.as_deref(),
                    &CHANGED_ISSUER,
                    policy.changed_issuer,
                ),
                ..policy
            },
            verify: self.verify(verify),
            crl: self.crl(&raw.crl),
            sources,
            stores,
        }
    }

    /// The stores with their targets.
    fn stores(&mut self, raw: &Raw, sources: &BTreeMap<String, Source>) -> BTreeMap<String, Store> {
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
            self.show(&format!("target.{name}.store"), &store);
            let resolved = self.target(name, target);
            match stores.get_mut(&store) {
                Some(store) => store.targets.extend(resolved),
                None => self.problem(format!("target.{name}.store names {store:?}, which is not a [store]")),
            }
        }
        for store in stores.values() {
            self.privileged(store);
            self.pinned(store, sources);
            self.expressible(store, sources);
        }
        stores
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
                "{key}.critical ({}) is earlier than {key}.warning ({}): both count the days that are left, so \
                 critical must be the shorter one",
                span(critical),
                span(warning)
            ));
        }
        (warning, critical)
    }

    fn schedule(&mut self, raw: &RawSchedule) -> Schedule {
        let default = Schedule::default();
        // The vendor allows 300 requests a minute; less than daily would see an unscheduled rotation too late.
        let mut interval = |key: &str, raw: Option<&str>, default| {
            self.bounded(&format!("schedule.{key}"), raw, Duration::from_secs(5)..=DAY, default)
        };
        let schedule = Schedule {
            interval: interval("interval", raw.interval.as_deref(), default.interval),
            window_interval: interval("window_interval", raw.window_interval.as_deref(), default.window_interval),
            proof_interval: interval("proof_interval", raw.proof_interval.as_deref(), default.proof_interval),
            jitter: raw.jitter.unwrap_or(default.jitter),
        };
        self.show("schedule.jitter", format_args!("{}", schedule.jitter));
        if !(0.0..=0.5).contains(&schedule.jitter) {
            self.problem(format!("schedule.jitter is {}: it must be 0 to 0.5", schedule.jitter));
            return Schedule { jitter: default.jitter, ..schedule };
        }
        schedule
    }

    fn listen(&mut self, raw: Option<&str>) -> Option<SocketAddr> {
        let text = raw?;
        // Port 0 would be any: no probe would find us there.
        let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
        match address {
            Some(address) => self.show("listen.address", address.to_string()),
            None => self
                .problem(format!("listen.address: {text:?} is not an IP address with a port, such as 127.0.0.1:9464")),
        }
        address
    }

    /// Each range ends where it would no longer be a policy, or would refuse what every vendor has; the reason for each
    /// default stands with [`verify::Policy`].
    fn verify(&mut self, raw: &RawVerify) -> verify::Policy {
        let default = verify::Policy::default();
        let max_chain = self.count("verify.max_chain", raw.max_chain, 2..=8, default.max_chain);
        let signatures: Vec<_> = sound_signatures().map(|name| (name, name)).collect();
        if raw.signatures.as_ref().is_some_and(|List(names)| names.is_empty()) {
            self.problem("verify.signatures is empty: nothing could be verified".into());
        }
        verify::Policy {
            // Shorter keys can be broken, and ring checks neither those nor longer ones.
            min_rsa_bits: self.count("verify.min_rsa_bits", raw.min_rsa_bits, 2_048..=8_192, default.min_rsa_bits),
            curves: self.choices("verify.curves", raw.curves.as_ref(), &Curve::ALL, default.curves),
            signatures: self.choices("verify.signatures", raw.signatures.as_ref(), &signatures, default.signatures),
            other_usages: self.choice(
                "verify.other_usages",
                raw.other_usages.as_deref(),
                &OTHER_USAGES,
                default.other_usages,
            ),
            // Only the operator's word names such leaves.
            usage_waived: default.usage_waived,
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

    fn crl(&mut self, raw: &RawCrl) -> Crl {
        let policy = self.choice("crl.policy", raw.policy.as_deref(), &CRL_POLICY, CrlPolicy::default());
        Crl { policy, allow_private: self.flag("crl.allow_private", raw.allow_private, false) }
    }

    fn store(&mut self, name: &str, raw: &RawStore, whole: &Raw) -> Store {
        let key = |field: &str| format!("store.{name}.{field}");
        let sources: BTreeSet<String> = match &raw.sources {
            Some(List(names)) => names.iter().cloned().collect(),
            None => whole.source.keys().cloned().collect(),
        };
        self.show(&key("sources"), sources.iter().collect::<Vec<_>>());
        for source in sources.iter().filter(|source| !whole.source.contains_key(*source)) {
            self.problem(format!("{} names {source:?}, which is not a [source]", key("sources")));
        }
        let keep = raw.keep.unwrap_or(10);
        self.show(&key("keep"), keep);
        if !(2..=1_000).contains(&keep) {
            self.problem(format!(
                "{} must be 2 to 1000: without an older generation there is no rollback",
                key("keep")
            ));
        }
        let path = self.base.join(raw.path.clone().unwrap_or_else(|| PathBuf::from(STORE_PATH)));
        self.show(&key("path"), &path);
        if path.parent().is_none() {
            self.problem(format!("{} is the root folder", key("path")));
        }
        let privileged_path = raw.privileged_path.as_deref().unwrap_or(Path::new(PRIVILEGED_PATH));
        Store {
            name: name.to_owned(),
            path,
            keep: keep as usize,
            sources,
            extra_anchors: self.paths(&key("extra_anchors"), raw.extra_anchors.as_ref()),
            targets: Vec::new(),
            grace: self.duration(&key("grace"), raw.grace.as_deref(), DAY.saturating_mul(14)),
            seed: self.path(&key("seed"), raw.seed.as_ref()),
            privileged_path: self.base.join(privileged_path),
            on_drift: self.choice(&key("on_drift"), raw.on_drift.as_deref(), &ON_DRIFT, OnDrift::default()),
            kinds: self.kinds,
            turns: self.choice(&key("turns"), raw.turns.as_deref(), &TURNS, TurnOrder::default()),
        }
    }

    /// Notes the value in force for `config show`.
    pub(super) fn show(&mut self, key: &str, value: impl fmt::Debug) {
        self.shown.insert(key.to_owned(), format!("{value:?}"));
    }

    pub(super) fn flag(&mut self, key: &str, raw: Option<bool>, default: bool) -> bool {
        let value = raw.unwrap_or(default);
        self.show(key, value);
        value
    }

    /// The value of which a word is written, among all that there are.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &str,
        raw: Option<&str>,
        known: &[(&str, T)],
        default: T,
    ) -> T {
        let named = raw.and_then(|raw| known.iter().find(|(name, _)| *name == raw));
        if let Some(raw) = raw.filter(|_| named.is_none()) {
            let known: Vec<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
            self.problem(format!("{key}: {raw:?} is not one of {}", known.join(", ")));
        }
        let value = named.map_or(default, |(_, value)| *value);
        if let Some((name, _)) = known.iter().find(|(_, known)| *known == value) {
            self.show(key, name);
        }
        value
    }

    /// The values of which the words are listed, in any case.
    pub(super) fn choices<T: Copy + Ord>(
        &mut self,
        key: &str,
        raw: Option<&List>,
        known: &[(&str, T)],
        default: BTreeSet<T>,
    ) -> BTreeSet<T> {
        let mut values = default;
        if let Some(List(names)) = raw {
            values.clear();
            for name in names {
                match known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    Some((_, value)) => drop(values.insert(*value)),
                    None => {
                        let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                        self.problem(format!("{key}: {name:?} is not known; known are {}", known.join(", ")));
                    }
                }
            }
        }
        let name_of = |value: &T| known.iter().find(|(_, known)| known == value).map(|(name, _)| *name);
        self.show(key, values.iter().filter_map(name_of).collect::<Vec<_>>());
        values
    }

    pub(super) fn path(&mut self, key: &str, raw: Option<&PathBuf>) -> Option<PathBuf> {
        let path = self.base.join(raw?);
        self.show(key, &path);
        Some(path)
    }

    pub(super) fn paths(&mut self, key: &str, raw: Option<&List>) -> Vec<PathBuf> {
        let paths: Vec<_> = raw.iter().flat_map(|List(paths)| paths).map(|path| self.base.join(path)).collect();
        if !paths.is_empty() {
            self.show(key, &paths);
        }
        paths
    }

    pub(super) fn duration(&mut self, key: &str, raw: Option<&str>, default: Duration) -> Duration {
        let read = match raw.map(|text| (text, humantime::parse_duration(text))) {
            None => Ok(default),
            Some((_, Ok(duration))) if duration <= DAY.saturating_mul(3_660) => Ok(duration),
            Some((text, Ok(_))) => Err(format!("{key}: {text:?} is longer than ten years")),
            Some((text, Err(error))) => {
                Err(format!("{key}: {text:?} is not a duration such as \"14d\" or \"90s\": {error}"))
            }
        };
        let duration = read.unwrap_or_else(|why| {
            self.problem(why);
            default
        });
        self.show(key, span(duration));
        duration
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
        let count = raw.map_or(default, |count| count as usize);
        self.show(key, count);
        if range.contains(&count) {
            return count;
        }
        self.problem(format!("{key} must be {} to {}", range.start(), range.end()));
        default
    }

    pub(super) fn problem(&mut self, text: String) {
        self.problems.push(text);
    }
}
