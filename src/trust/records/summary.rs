//! How a store stands, in memory: everything that `status`, probes, metrics and the service manager are answered from.
//! Its health is judged from it at the time of asking ([`crate::trust::records::health`]).

use std::collections::BTreeMap;

use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::plan::planner_state::{Entry, Hold};
use crate::trust::plan::set::{Pin, Role, TrustSet};
use crate::trust::records::manifest::Manifest;
use crate::trust::records::minder::StoreSeen;
use crate::trust::records::state::State;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;
use crate::trust::values::timestamp::Timestamp;

/// Everything that is known of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSummary {
    /// Its name in the configuration.
    pub store: String,
    /// What it remembers, with the alarms that stand.
    pub state: State,
    /// What it trusts.
    pub set: TrustSet,
    /// The newest intact generation, where there is one.
    pub published: Option<Published>,
    /// What the disk showed at the latest look.
    pub found: Vec<Finding>,
    /// Since when the store cannot be read or written, and why; then nothing is added, removed, reloaded or proven.
    pub failing: Option<(Timestamp, String)>,
    /// The sign of life of the daemon that minds it, and what that says of the store.
    pub daemon: Option<DaemonSeen>,
}

/// What is in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its number.
    pub generation: u64,
    /// When it was committed.
    pub committed: Timestamp,
    /// Why it was made.
    pub cause: String,
    /// Whether everyone is denied.
    pub deny_all: bool,
}

/// A daemon that was seen to live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonSeen {
    /// When.
    pub at: Timestamp,
    /// Its version.
    pub version: String,
    /// What it says of the store.
    pub store: StoreSeen,
}

/// The role of a leaf as the vendor lists it, which a slot publishes once three clean answers agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownRole {
    /// As the latest clean answer has it.
    pub role: Role,
    /// How many clean answers have given it so far, where it is not published yet.
    pub confirming: Option<u32>,
}

impl From<&Manifest> for Published {
    fn from(manifest: &Manifest) -> Self {
        let Manifest { generation, committed, deny_all, .. } = *manifest;
        Self { generation, committed, cause: manifest.cause.clone(), deny_all }
    }
}

impl StoreSummary {
    /// Of a store, by its state and what it trusts.
    #[must_use]
    pub fn of(store: &str, state: &State, set: &TrustSet) -> Self {
        Self {
            store: store.to_owned(),
            state: state.clone(),
            set: set.clone(),
            published: None,
            found: Vec::new(),
            failing: None,
            daemon: None,
        }
    }

    /// With the newest intact generation.
    #[must_use]
    pub fn publishing(mut self, manifest: Option<&Manifest>) -> Self {
        self.published = manifest.map(Published::from);
        self
    }

    /// Of a store that could not be read.
    #[must_use]
    pub fn unknown(store: &str) -> Self {
        Self::of(store, &State::born(String::new()), &TrustSet::default())
    }

    /// The newest committed generation; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.state.generation
    }

    /// Whether everyone is denied.
    #[must_use]
    pub fn deny_all(&self) -> bool {
        self.generation() > 0 && self.set.is_empty()
    }

    /// That the store could not be written at the latest look, and why; nobody may have tried since.
    #[must_use]
    pub fn unwritable(&self) -> Option<&str> {
        let found = self.found.iter().find(|finding| finding.event == Event::StoreFailing);
        found.map(|finding| finding.text.as_str())
    }

    /// The operator's freeze, while it is in force.
    #[must_use]
    pub fn hold(&self, now: Timestamp) -> Option<&Hold> {
        self.state.planner.hold.as_ref().filter(|hold| hold.until > now)
    }

    /// Whether a target's server is not known to serve the newest generation, for whatever reason.
    #[must_use]
    pub fn owes(&self, target: &str) -> bool {
        let wanted = self.published.as_ref().map(|published| published.generation);
        self.state
            .targets
            .get(target)
            .is_none_or(|known| known.owed.is_some() || known.acknowledged.is_none() || known.acknowledged != wanted)
    }

    /// When a source is asked next, as far as is known: the earliest of all.
    #[must_use]
    pub fn next_poll(&self) -> Option<Timestamp> {
        self.state.sources.values().filter_map(|source| source.next_due).min()
    }

    /// What is remembered of a pinned leaf in each slot that trusts it.
    pub fn entries<'a>(&'a self, pin: &'a Pin) -> impl Iterator<Item = (&'a SlotId, &'a Entry)> {
        let leaf = pin.leaf.fingerprint();
        pin.roles.keys().filter_map(move |slot| Some((slot, self.entry(slot, &leaf)?)))
    }

    fn entry(&self, slot: &SlotId, key: &Fingerprint) -> Option<&Entry> {
        self.state.planner.slots.get(slot)?.entries.get(key)
    }

    fn role_in(&self, slot: &SlotId, leaf: &Fingerprint, published: Role) -> ShownRole {
        let (role, confirming) = self.entry(slot, leaf).map_or((published, None), Entry::listed_role);
        ShownRole { role, confirming }
    }

    /// The role that is shown for a pinned leaf: the vendor's latest clean word, of several slots the first in the
    /// order of roles.
    #[must_use]
    pub fn shown_role(&self, pin: &Pin) -> ShownRole {
        let leaf = pin.leaf.fingerprint();
        let roles = pin.roles.iter().map(|(slot, role)| self.role_in(slot, &leaf, *role));
        roles.min_by_key(|shown| shown.role).unwrap_or(ShownRole { role: Role::Retiring, confirming: None })
    }

    /// Each pinned leaf, and each root of a name rule: the slot, its role as it is listed, its last valid second.
    #[must_use]
    pub fn ends(&self) -> Vec<(String, Role, Timestamp)> {
        let pins = self.set.pins.values().flat_map(|pin| {
            let (leaf, end) = (pin.leaf.fingerprint(), pin.leaf.facts().not_after);
            let shown = move |slot: &SlotId, role: &Role| self.role_in(slot, &leaf, *role).role;
            pin.roles.iter().map(move |(slot, role)| (slot.to_string(), shown(slot, role), end))
        });
        let rules = self.set.name_rules.iter().flat_map(|rule| {
            let end = rule.root.facts().not_after;
            rule.slots.iter().map(move |slot| (slot.to_string(), Role::Current, end))
        });
        pins.chain(rules).collect()
    }

    /// By slot and role, the end of what ends last.
    #[must_use]
    pub fn latest_ends(&self) -> BTreeMap<(String, String), Timestamp> {
        let mut latest = BTreeMap::new();
        for (slot, role, end) in self.ends() {
            let known = latest.entry((slot, role.to_string())).or_insert(end);
            *known = (*known).max(end);
        }
        latest
    }
}
