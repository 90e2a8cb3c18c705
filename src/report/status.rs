//! What `trustsync status` says and `/status` answers, made from what is known of the stores; the JSON is its one shape.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::cycle;
use crate::settings::resolved::{Settings, Source, Store};
use crate::trust::plan::observation::IdentityRule;
use crate::trust::plan::planner_state::{AGREEING_ANSWERS, Entry, Hold, SlotState, TrustOverride};
use crate::trust::plan::set::{Denial, NameRule, Pin, Role};
use crate::trust::records::health::{Health, Verdict};
use crate::trust::records::state::{Alarm, LastCycle, SourceState, TargetState};
use crate::trust::records::summary::{DaemonSeen, StoreSummary};
use crate::trust::turn::{Evidence, Owed};
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::Identity;

/// The schema of the JSON.
const SCHEMA: u32 = 1;

/// How everything stands.
#[derive(Debug, Serialize)]
pub struct Document {
    schema: u32,
    /// Of the program that says it.
    pub version: &'static str,
    /// When it was asked.
    pub now: Timestamp,
    /// Who minds the stores.
    pub daemon: Daemon,
    /// By name.
    pub stores: BTreeMap<String, Status>,
}

/// What is known of the daemon.
#[derive(Debug, Default, Serialize)]
pub struct Daemon {
    /// When it was last seen to live; none where there is none, or it has no runtime directory.
    pub seen: Option<Timestamp>,
    /// Its version.
    pub version: Option<String>,
    /// When the next source is asked, by a daemon or a timer.
    pub next_poll: Option<Timestamp>,
}

/// How a store stands.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Where it is.
    pub path: PathBuf,
    /// The worst of its alarms.
    pub state: Verdict,
    /// The newest intact generation.
    pub generation: Option<u64>,
    /// When it was committed.
    pub committed: Option<Timestamp>,
    /// Whether nobody is admitted.
    pub deny_all: bool,
    /// The pinned leaves.
    pub trusted: Vec<Trusted>,
    /// The rules that admit by name, in words.
    pub name_rules: Vec<String>,
    /// What is denied.
    pub denied: BTreeMap<Fingerprint, Denial>,
    /// The operator's freeze that is in force.
    pub hold: Option<Hold>,
    /// How the last cycle ended that asked a source or failed.
    pub last_cycle: Option<LastCycle>,
    /// Since when the store cannot be worked on.
    pub failing_since: Option<Timestamp>,
    /// By id.
    pub slots: BTreeMap<String, SlotStatus>,
    /// By name.
    pub sources: BTreeMap<String, SourceState>,
    /// By name.
    pub targets: BTreeMap<String, TargetStatus>,
    /// What calls for somebody, the most urgent first.
    pub alarms: Vec<Alarm>,
}

/// A pinned leaf.
#[derive(Debug, Serialize)]
pub struct Trusted {
    /// As the vendor's latest clean answer has it.
    pub role: Role,
    /// That role is published once enough clean answers agree on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirming: Option<Confirming>,
    /// Its name.
    pub name: String,
    /// Its fingerprint.
    pub sha256: String,
    /// Its first valid second.
    pub not_before: Timestamp,
    /// Its last valid second.
    pub not_after: Timestamp,
    /// Until then.
    pub days_left: i64,
    /// Those that trust it.
    pub slots: Vec<String>,
    /// Of a retiring one: when it leaves, if the vendor does not list it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves: Option<Timestamp>,
    /// The operator's override for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<TrustOverride>,
}

/// A role that is not published yet.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Confirming {
    /// The role that is.
    pub published: Role,
    /// The clean answers that agree so far.
    pub answers: u32,
    /// How many must.
    pub of: u32,
}

/// A slot.
#[derive(Debug, Serialize)]
pub struct SlotStatus {
    /// The names that its leaves must carry; none: any.
    pub identity: Vec<String>,
    /// The line that pins them, where they were learned from the vendor and are not the region's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_by: Option<String>,
    /// The last clean answer.
    pub last_clean: Option<Timestamp>,
    /// How often the two listings of one poll contradicted each other.
    pub disagreements: u64,
}

/// A target.
#[derive(Debug, Serialize)]
pub struct TargetStatus {
    /// The generation that its server is known to serve.
    pub serves: Option<u64>,
    /// Whether that is the newest one, and nothing is owed.
    pub loaded: bool,
    /// The same in words, with the reason.
    pub reason: String,
    /// What it means that its server tells no leaf from another of its authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_only: Option<&'static str>,
    /// What is remembered of it.
    #[serde(flatten)]
    pub state: TargetState,
}

impl Document {
    /// Of these stores. `daemon`: the one that answers, if it is one.
    #[must_use]
    pub fn of<'a>(
        settings: &Settings,
        summaries: impl IntoIterator<Item = (&'a StoreSummary, &'a Health)>,
        daemon: Option<DaemonSeen>,
        now: Timestamp,
    ) -> Self {
        let mut seen = daemon;
        let mut next_poll = None;
        let mut stores = BTreeMap::new();
        for (summary, health) in summaries {
            let Some(store) = settings.stores.get(&summary.store) else { continue };
            seen = seen.into_iter().chain(summary.daemon.clone()).max_by_key(|seen| seen.at);
            next_poll = next_poll.into_iter().chain(summary.next_poll()).min();
            stores.insert(summary.store.clone(), Status::of(settings, store, summary, health, now));
        }
        let (at, version) = seen.map(|seen| (seen.at, seen.version)).unzip();
        let daemon = Daemon { seen: at, version, next_poll };
        Self { schema: SCHEMA, version: env!("CARGO_PKG_VERSION"), now, daemon, stores }
    }
}

impl Status {
    fn of(settings: &Settings, store: &Store, summary: &StoreSummary, health: &Health, now: Timestamp) -> Self {
        let mut trusted: Vec<Trusted> =
            summary.set.pins.values().map(|pin| Trusted::of(store, summary, pin, now)).collect();
        trusted.sort_by_key(|held| (held.role, held.not_after));
        let targets = store.targets.iter().map(|target| {
            let state = summary.state.targets.get(&target.name).cloned().unwrap_or_default();
            let wanted = summary.published.as_ref().map(|published| published.generation);
            let loaded = state.owed.is_none() && state.acknowledged.is_some() && state.acknowledged == wanted;
            let reason = target_line(state.evidence.as_ref(), state.owed.as_ref());
            let status = TargetStatus { serves: state.acknowledged, loaded, reason, ca_only: target.ca_only(), state };
            (target.name.clone(), status)
        });
        Self {
            path: store.path.clone(),
            state: health.verdict,
            generation: summary.published.as_ref().map(|published| published.generation),
            committed: summary.published.as_ref().map(|published| published.committed),
            deny_all: summary.published.as_ref().is_some_and(|published| published.deny_all),
            trusted,
            name_rules: summary.set.name_rules.iter().map(name_rule).collect(),
            denied: summary.state.planner.denied.clone(),
            hold: summary.hold(now).cloned(),
            last_cycle: summary.state.last_cycle.clone(),
            failing_since: summary.failing.as_ref().map(|(since, _)| *since),
            slots: slots(settings, store, summary),
            sources: summary.state.sources.clone(),
            targets: targets.collect(),
            alarms: health.alarms.clone(),
        }
    }
}

impl Trusted {
    fn of(store: &Store, summary: &StoreSummary, pin: &Pin, now: Timestamp) -> Self {
        let facts = pin.leaf.facts();
        let shown = summary.shown_role(pin);
        let confirming =
            shown.confirming.map(|answers| Confirming { published: pin.role(), answers, of: AGREEING_ANSWERS });
        let words = summary.entries(pin).filter_map(|(_, entry)| entry.trusted.word.as_ref());
        Self {
            role: shown.role,
            confirming,
            name: pin.leaf.identity_names().first().unwrap_or(&facts.subject).clone(),
            sha256: facts.fingerprint.to_string(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            days_left: now.days_until(facts.not_after),
            slots: pin.roles.keys().map(ToString::to_string).collect(),
            // What is due leaves with the next clean answer.
            leaves: (shown.role == Role::Retiring)
                .then(|| leaves(store, summary, pin, now))
                .flatten()
                .map(|leaves| leaves.max(now)),
            word: words.max_by_key(|word| word.until).cloned(),
        }
    }
}

/// When the last slot lets a retiring leaf go, if the vendor does not list it again; none while one keeps it as its
/// last.
fn leaves(store: &Store, summary: &StoreSummary, pin: &Pin, now: Timestamp) -> Option<Timestamp> {
    let held = summary.hold(now).map(|hold| hold.until);
    let of = |(slot, entry): (&SlotId, &Entry)| {
        let known: &SlotState = summary.state.planner.slots.get(slot)?;
        if known.entries.len() == 1 {
            return None;
        }
        let since = entry.absence.map(|run| run.first).or(known.unconfigured_since)?;
        let grace_ends = since.plus(store.grace);
        Some(grace_ends.min(pin.leaf.facts().not_after).max(held.unwrap_or(grace_ends.min(now))))
    };
    let ends: Option<Vec<Timestamp>> = summary.entries(pin).map(of).collect();
    ends?.into_iter().max()
}

fn slots(settings: &Settings, store: &Store, summary: &StoreSummary) -> BTreeMap<String, SlotStatus> {
    let planner = &summary.state.planner;
    let status = |(source, slot, authority): (&Source, SlotId, Authority)| {
        let regions: BTreeSet<String> = source.region_name.clone().into_iter().collect();
        let (identity, pin_by) = match cycle::identity_rule(source, &slot, authority, planner) {
            IdentityRule::Fixed(Identity::Any) => (BTreeSet::new(), None),
            IdentityRule::Fixed(Identity::Names(names)) => (names, None),
            IdentityRule::Learn { learned, .. } => {
                let learned = learned.unwrap_or_default();
                let is_own = !learned.is_empty() && learned != regions;
                let line = is_own.then(|| cycle::pin_line(&learned));
                (learned, line)
            }
        };
        let held = planner.slots.get(&slot);
        let status = SlotStatus {
            identity: identity.into_iter().collect(),
            pin_by,
            last_clean: held.and_then(|held| held.last_clean),
            disagreements: held.map_or(0, |held| held.disagreements),
        };
        (slot.to_string(), status)
    };
    settings.slots_of(store).map(status).collect()
}

fn name_rule(rule: &NameRule) -> String {
    let names: Vec<&str> = rule.names.iter().map(String::as_str).collect();
    let names = if names.is_empty() { "any name (issuer alone)".to_owned() } else { names.join(", ") };
    format!("{names}, signed by {}, until {}", quoted(&rule.root.facts().subject), rule.root.facts().not_after)
}

/// The state of a target, in a line.
#[must_use]
pub fn target_line(settled: Option<&Evidence>, owed: Option<&Owed>) -> String {
    match (owed, settled) {
        (Some(owed), _) => format!("OWED: {owed}"),
        (None, Some(evidence)) => {
            let why = evidence.reason().map(|why| format!(" ({})", quoted(why))).unwrap_or_default();
            format!("{}{why}", evidence.words())
        }
        (None, None) => "never reloaded".to_owned(),
    }
}
