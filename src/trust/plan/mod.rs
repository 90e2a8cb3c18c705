//! The planner: what to trust after a poll. Pure and total; slot by slot, no slot disturbs another.
//!
//! ```text
//!   memory + what each slot heard ──▶ slot: additions (the table) · roles · absences · expiry ──▶ memory'
//!   committed set + verified leaves ─────────────────────────────────── union of memory' ──▶ trust set'
//! ```
//!
//! Its promises (design, rules 2 to 5): an addition needs only itself to be verified; a removal needs three clean
//! answers a grace apart; the last entry of a slot never leaves by absence or expiry; the set becomes empty through
//! denial alone.

mod admission;
mod conditions;
mod departure;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::trust::certificate::Certificate;
use crate::trust::event::Event;
use crate::trust::finding::Finding;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::memory::{Memory, SlotMemory};
use crate::trust::observation::{Heard, Judged, Listed, Sighting};
use crate::trust::set::{Authority, Denial, Role, SlotId, TrustSet, Witnesses};
use crate::trust::timestamp::Timestamp;
use crate::trust::verify::{Identity, Verified};

/// How long things may last before they are said or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long a leaf that is no longer listed stays trusted.
    pub grace: Duration,
    /// The time before Current's end in which Upcoming is expected to appear.
    pub window: Duration,
    /// How long before Current's end a missing Upcoming is a warning.
    pub upcoming_missing_warning: Duration,
    /// How long before Current's end a missing Upcoming is critical.
    pub upcoming_missing_critical: Duration,
    /// How many new leaves one answer may add to a slot. 4: the vendor has one Current and one Upcoming, and may have two of
    /// each while it rotates. Whoever can make the endpoint list more would open the door to as many as they like.
    pub max_new_leaves: usize,
    /// What is done about a leaf of an issuer that the slot has never seen.
    pub changed_issuer: ChangedIssuer,
}

/// What is done about a new leaf of another issuer than before. The chain ends in a configured anchor all the same, and
/// CAs replace their intermediates without notice, so it is accepted by default: to wait for a person is safer against a
/// CA that errs, and worse against an outage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChangedIssuer {
    /// It enters.
    #[default]
    Accept,
    /// It waits for `accept-issuer`.
    Confirm,
}

impl Default for Policy {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days.saturating_mul(86_400));
        Self {
            grace: days(14),
            window: days(90),
            upcoming_missing_warning: days(45),
            upcoming_missing_critical: days(14),
            max_new_leaves: 4,
            changed_issuer: ChangedIssuer::Accept,
        }
    }
}

/// Everything that the planner looks at.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// What is remembered of earlier polls.
    pub memory: &'a Memory,
    /// The set of the newest generation, as recorded on disk.
    pub committed: &'a TrustSet,
    /// Every slot of the configuration.
    pub configured: &'a BTreeSet<SlotId>,
    /// What the slots heard; one that is configured and not here was silent, and contributes what it had.
    pub heard: &'a [Heard],
    /// Roots of other clients of the same virtual host.
    pub extra_anchors: &'a BTreeMap<Fingerprint, Certificate>,
    /// The policy.
    pub policy: &'a Policy,
    /// The present moment.
    pub now: Timestamp,
    /// Whether the clock that shows it is to be doubted: then nothing ends by the clock alone.
    pub clock_doubted: bool,
}

/// What is to be trusted, what is to be remembered, and what was found.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The trust set from now on.
    pub set: TrustSet,
    /// The memory from now on.
    pub memory: Memory,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether an entity of some slot was refused, or an answer lacks a valid Current: exit 5.
    pub answer_refused: bool,
}

impl Plan {
    /// Whether the latest-ending current leaf of the source's slots is within `window` of its end.
    #[must_use]
    pub fn in_window(&self, source: &str, window: Duration, now: Timestamp) -> bool {
        let pins = self
            .set
            .pins
            .values()
            .filter(|pin| pin.roles.iter().any(|(slot, role)| slot.source() == source && *role == Role::Current));
        let end = pins.map(|pin| pin.leaf.facts().not_after).max();
        end.is_some_and(|end| end.since(now) <= window)
    }
}

/// Plans one cycle.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut memory = input.memory.clone();
    if !input.clock_doubted && memory.hold.as_ref().is_some_and(|hold| hold.until <= input.now) {
        memory.hold = None;
    }
    let mut turn =
        Planner { input, held: memory.hold.is_some(), certificates: known(input.committed), findings: Vec::new() };
    let mut answer_refused = false;

    // First, so that what is about to be dropped keeps nothing else from being the last entry that stays.
    turn.drop_denied(&mut memory);
    complete_denials(&mut memory.denied, input.heard);
    let words = Words { denied: &memory.denied, accepted_issuers: &memory.accepted_issuers };
    for heard in input.heard {
        let slot = memory.slots.entry(heard.slot.clone()).or_default();
        answer_refused |= turn.hear(slot, heard, words);
    }
    turn.end_words(&mut memory);
    turn.retire_unconfigured(&mut memory);
    for (slot, held) in memory.slots.iter().filter(|(slot, _)| input.configured.contains(*slot)) {
        turn.report_slot(slot, held);
        turn.report_roots(slot, held);
    }

    let set = turn.union(&memory);
    // A slot that is configured no longer and holds nothing any more is forgotten.
    memory.slots.retain(|slot, held| input.configured.contains(slot) || !held.entries.is_empty());
    Plan { set, memory, findings: turn.findings, answer_refused }
}

fn known(set: &TrustSet) -> BTreeMap<Fingerprint, Certificate> {
    let leaves = set.pins.values().map(|pin| &pin.leaf);
    let roots = set.name_rules.iter().map(|rule| &rule.root);
    leaves
        .chain(roots)
        .chain(set.chain.values())
        .map(|certificate| (certificate.fingerprint(), certificate.clone()))
        .collect()
}

struct Planner<'a> {
    input: &'a Input<'a>,
    held: bool,
    certificates: BTreeMap<Fingerprint, Certificate>,
    findings: Vec<Finding>,
}

/// The words that bind every slot.
#[derive(Clone, Copy)]
struct Words<'a> {
    denied: &'a BTreeMap<Fingerprint, Denial>,
    accepted_issuers: &'a BTreeMap<Fingerprint, Timestamp>,
}

/// The best that the answer says of Current: the row of the design's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    RefusedOrAbsent,
    Expired,
    Valid,
}

impl Planner<'_> {
    /// Whether something of it was refused.
    fn hear(&mut self, slot: &mut SlotMemory, heard: &Heard, words: Words<'_>) -> bool {
        let now = self.input.now;
        let denied = words.denied;
        slot.last_heard = Some(now);
        slot.disagreements = slot.disagreements.saturating_add(heard.disagreements);
        if let (true, Some(Identity::Names(names))) = (heard.learned_now, &heard.identity) {
            slot.identity = Some(names.clone());
        }

        let standing = standing(heard);
        let mut all_accepted = heard.sightings.iter().all(|sighting| matches!(sighting.judged, Judged::Accepted(_)));
        self.report_sightings(heard, standing);

        let admissible = admissible(heard, standing, slot.entries.is_empty());
        let roles = listed_roles(heard);
        let mut denied_listed = false;
        let mut entering: Vec<(Fingerprint, Role, &Verified)> = Vec::new();
        for (fingerprint, verified) in &admissible {
            let key = entry_key(heard.authority, verified);
            if denied.contains_key(fingerprint) || denied.contains_key(&key) {
                denied_listed = true;
                self.findings.push(Finding::new(
                    Event::DeniedCertificateListed,
                    &heard.slot,
                    format!(
                        "{} is listed by the vendor, but denied here (revoked or distrusted): it stays out.",
                        name(verified.leaf())
                    ),
                ));
                continue;
            }
            let Some(role) = roles.get(fingerprint).copied() else {
                continue;
            };
            if !slot.entries.contains_key(&key) && self.held {
                self.findings.push(Finding::new(
                    Event::AdditionHeldBack,
                    &heard.slot,
                    format!(
                        "{} verified as {role}, but a hold keeps it out. Calls will fail once the vendor presents \
                         it. To let it in: trustsync release",
                        name(verified.leaf())
                    ),
                ));
                continue;
            }
            entering.push((key, role, verified));
        }
        let listed = entering.len();
        self.refuse_changed_issuers(slot, heard, words.accepted_issuers, &mut entering);
        self.refuse_too_many(slot, heard, &mut entering);
        all_accepted &= entering.len() == listed;
        for (key, role, verified) in &entering {
            self.admit(slot, heard.authority, *key, *role, verified);
        }
        if heard.authority == Authority::Genesys {
            for (key, ..) in &entering {
                let leaves = entering.iter().filter(|(root, ..)| root == key).map(|(.., verified)| verified.leaf());
                if let Some(entry) = slot.entries.get_mut(key) {
                    entry.names = rule_names(leaves.clone(), heard.identity.as_ref());
                    // Where these are admitted one by one, a hold admits no other.
                    if !self.held || entry.witnesses.is_empty() {
                        entry.witnesses = witnesses(leaves, heard.identity.as_ref());
                    }
                }
            }
        }
        self.learn_issuers(slot, heard.authority);
        let alive = alive(heard);
        for (key, entry) in &mut slot.entries {
            if alive.contains(key) {
                entry.last_seen = now;
                entry.absence = None;
            }
        }

        if heard.complete && all_accepted && standing == Standing::Valid {
            slot.last_clean = Some(now);
            self.hear_cleanly(slot, heard, &roles, &alive);
        }
        self.let_leave(slot, heard);
        if heard.authority == Authority::DigiCert && standing == Standing::Valid {
            self.report_upcoming(slot, heard, &roles);
        }
        // Where the listing that has Current did not come, its own failure is the cause, not a refusal.
        let lacks_current = heard.unfiltered_came && standing != Standing::Valid;
        !all_accepted || denied_listed || lacks_current
    }

    /// A clean answer: absences and changes of role count.
    fn hear_cleanly(
        &self,
        slot: &mut SlotMemory,
        heard: &Heard,
        roles: &BTreeMap<Fingerprint, Role>,
        alive: &BTreeSet<Fingerprint>,
    ) {
        for (key, entry) in &mut slot.entries {
            let role = match heard.authority {
                Authority::DigiCert => roles.get(key).copied(),
                Authority::Genesys => alive.contains(key).then_some(Role::Current),
            };
            let unlisted = if entry.word.is_some() { Role::Trusted } else { Role::Retiring };
            entry.hear(role.unwrap_or(unlisted), self.input.now);
        }
    }

    fn union(&self, memory: &Memory) -> TrustSet {
        TrustSet { extra: self.input.extra_anchors.clone(), ..memory.set(&self.certificates) }
    }

    fn named(&self, key: &Fingerprint) -> String {
        self.certificates.get(key).map_or_else(|| key.short(), name)
    }
}

/// A certificate in a sentence: subject's name, head of the fingerprint, end.
fn name(certificate: &Certificate) -> String {
    let facts = certificate.facts();
    let name = certificate.identity_names().first().unwrap_or(&facts.subject);
    format!("{} ({}, until {})", name.chars().take(100).collect::<String>(), facts.fingerprint.short(), facts.not_after)
}

/// A denial by fingerprint alone learns what nginx and Apache ask for instead, once the vendor lists the certificate.
fn complete_denials(denied: &mut BTreeMap<Fingerprint, Denial>, heard: &[Heard]) {
    let leaves = heard.iter().flat_map(|heard| &heard.sightings).filter_map(|sighting| match &sighting.judged {
        Judged::Accepted(verified) => Some(verified.leaf()),
        Judged::Expired(leaf, _) => Some(leaf),
        Judged::Refused(_) => None,
    });
    for leaf in leaves {
        if let Some(denial) = denied.get_mut(&leaf.fingerprint()) {
            denial.sha1.get_or_insert_with(|| leaf.facts().sha1.clone());
            denial.pem_sha1.get_or_insert_with(|| leaf.pem_sha1());
        }
    }
}

fn standing(heard: &Heard) -> Standing {
    heard
        .sightings
        .iter()
        .filter(|sighting| sighting.listed == Listed::Current)
        .map(|sighting| match sighting.judged {
            Judged::Accepted(_) => Standing::Valid,
            Judged::Expired(..) => Standing::Expired,
            Judged::Refused(_) => Standing::RefusedOrAbsent,
        })
        .max()
        .unwrap_or(Standing::RefusedOrAbsent)
}

/// The verified leaves that the table lets in.
fn admissible(heard: &Heard, standing: Standing, empty: bool) -> BTreeMap<Fingerprint, &Verified> {
    if standing == Standing::RefusedOrAbsent && empty {
        return BTreeMap::new();
    }
    heard
        .sightings
        .iter()
        .filter(|sighting| heard.authority == Authority::DigiCert || sighting.listed == Listed::Current)
        .filter_map(accepted)
        .map(|verified| (verified.leaf().fingerprint(), verified))
        .collect()
}

fn accepted(sighting: &Sighting) -> Option<&Verified> {
    match &sighting.judged {
        Judged::Accepted(verified) => Some(verified),
        _ => None,
    }
}

/// The keys of the entries that the answer lists, whatever their status and even if expired or refused by now: listed is
/// not absent.
fn alive(heard: &Heard) -> BTreeSet<Fingerprint> {
    heard
        .sightings
        .iter()
        .filter_map(|sighting| match &sighting.judged {
            Judged::Accepted(verified) => Some(entry_key(heard.authority, verified)),
            Judged::Expired(leaf, _) => Some(leaf.fingerprint()),
            Judged::Refused(refusal) => refusal.leaf.as_ref().map(|(_, fingerprint)| *fingerprint),
        })
        .collect()
}

/// The role that the answer gives each listed, unrefused leaf. An Upcoming that is also Current is Current. When one ends
/// takes no role from it: the vendor may present any of them.
fn listed_roles(heard: &Heard) -> BTreeMap<Fingerprint, Role> {
    let of = |listed: Listed, role: Role| {
        let sightings = heard.sightings.iter().filter(move |sighting| sighting.listed == listed);
        sightings.filter_map(|sighting| sighting.judged.fingerprint()).map(move |leaf| (leaf, role))
    };
    of(Listed::Upcoming, Role::Upcoming).chain(of(Listed::Current, Role::Current)).collect()
}

/// What an accepted leaf enters as: itself where leaves are pinned, its root where a name rule admits.
pub(super) fn entry_key(authority: Authority, verified: &Verified) -> Fingerprint {
    match authority {
        Authority::DigiCert => verified.leaf().fingerprint(),
        Authority::Genesys => verified.chain().last().unwrap_or(verified.leaf()).fingerprint(),
    }
}

/// The names of a name rule: all that bind, where each witness bears one of them as its common name, so that a renewal
/// under another of them changes nothing. Servers cannot see a name that stands in the SAN alone: then none, and the
/// issuer alone decides there.
pub(super) fn rule_names<'a>(
    mut witnesses: impl Iterator<Item = &'a Certificate>,
    identity: Option<&Identity>,
) -> BTreeSet<String> {
    let Some(Identity::Names(names)) = identity else {
        return BTreeSet::new();
    };
    let bears_one = |witness: &Certificate| {
        let common = &witness.facts().common_names;
        common.iter().any(|common| names.iter().any(|name| name.eq_ignore_ascii_case(common)))
    };
    if witnesses.all(bears_one) { names.clone() } else { BTreeSet::new() }
}

/// What the leaves by which a name rule enters show beside their common names.
pub(super) fn witnesses<'a>(
    leaves: impl Iterator<Item = &'a Certificate> + Clone,
    identity: Option<&Identity>,
) -> Witnesses {
    // They were admitted by this identity: where they have dNSNames at all, it is one of these.
    let dns_names = match identity {
        Some(Identity::Names(names)) if leaves.clone().all(|leaf| !leaf.facts().dns_names.is_empty()) => names.clone(),
        _ => BTreeSet::new(),
    };
    Witnesses { dns_names, leaves: leaves.map(Certificate::fingerprint).collect() }
}
