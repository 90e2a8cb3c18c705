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
use crate::trust::observation::{ListedCertificate, ListedStatus, SlotAnswer, SlotVerdict};
use crate::trust::planner_state::{PlannerState, SlotState};
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
    pub planner: &'a PlannerState,
    /// The set of the newest generation, as recorded on disk.
    pub committed: &'a TrustSet,
    /// Every slot of the configuration.
    pub configured: &'a BTreeSet<SlotId>,
    /// What the slots heard; one that is configured and not here was silent, and contributes what it had.
    pub answers: &'a [SlotAnswer],
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
    pub planner: PlannerState,
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
    let mut planner = input.planner.clone();
    if !input.clock_doubted && planner.hold.as_ref().is_some_and(|hold| hold.until <= input.now) {
        planner.hold = None;
    }
    let mut turn =
        Planner { input, held: planner.hold.is_some(), certificates: known(input.committed), findings: Vec::new() };
    let mut answer_refused = false;

    // First, so that what is about to be dropped keeps nothing else from being the last entry that stays.
    turn.drop_denied(&mut planner);
    complete_denials(&mut planner.denied, input.answers);
    let overrides = Overrides { denied: &planner.denied, accepted_issuers: &planner.accepted_issuers };
    for answer in input.answers {
        let slot = planner.slots.entry(answer.slot.clone()).or_default();
        answer_refused |= turn.take_answer(slot, answer, overrides);
    }
    turn.end_overrides(&mut planner);
    turn.retire_unconfigured(&mut planner);
    for (slot, held) in planner.slots.iter().filter(|(slot, _)| input.configured.contains(*slot)) {
        turn.report_slot(slot, held);
        turn.report_roots(slot, held);
    }

    let set = turn.union(&planner);
    // A slot that is configured no longer and holds nothing any more is forgotten.
    planner.slots.retain(|slot, held| input.configured.contains(slot) || !held.entries.is_empty());
    Plan { set, planner, findings: turn.findings, answer_refused }
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
struct Overrides<'a> {
    denied: &'a BTreeMap<Fingerprint, Denial>,
    accepted_issuers: &'a BTreeMap<Fingerprint, Timestamp>,
}

/// The best that the answer says of Current: the row of the design's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CurrentListing {
    RefusedOrAbsent,
    Expired,
    Valid,
}

impl Planner<'_> {
    /// Whether something of it was refused.
    fn take_answer(&mut self, slot: &mut SlotState, answer: &SlotAnswer, overrides: Overrides<'_>) -> bool {
        let now = self.input.now;
        let denied = overrides.denied;
        slot.last_answer = Some(now);
        slot.disagreements = slot.disagreements.saturating_add(answer.disagreements);
        if let (true, Some(Identity::Names(names))) = (answer.learned_now, &answer.identity) {
            slot.identity = Some(names.clone());
        }

        let current = current(answer);
        let mut all_accepted =
            answer.certificates.iter().all(|listed| matches!(listed.verdict, SlotVerdict::Accepted(_)));
        self.report_certificates(answer, current);

        let admissible = admissible(answer, current, slot.entries.is_empty());
        let roles = listed_roles(answer);
        let mut denied_listed = false;
        let mut entering: Vec<(Fingerprint, Role, &Verified)> = Vec::new();
        for (fingerprint, verified) in &admissible {
            let key = entry_key(answer.authority, verified);
            if denied.contains_key(fingerprint) || denied.contains_key(&key) {
                denied_listed = true;
                self.findings.push(Finding::new(
                    Event::DeniedCertificateListed,
                    &answer.slot,
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
                    &answer.slot,
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
        self.refuse_changed_issuers(slot, answer, overrides.accepted_issuers, &mut entering);
        self.refuse_too_many(slot, answer, &mut entering);
        all_accepted &= entering.len() == listed;
        for (key, role, verified) in &entering {
            self.admit(slot, answer.authority, *key, *role, verified);
        }
        if answer.authority == Authority::Genesys {
            for (key, ..) in &entering {
                let leaves = entering.iter().filter(|(root, ..)| root == key).map(|(.., verified)| verified.leaf());
                if let Some(entry) = slot.entries.get_mut(key) {
                    entry.names = rule_names(leaves.clone(), answer.identity.as_ref());
                    // Where these are admitted one by one, a hold admits no other.
                    if !self.held || entry.witnesses.is_empty() {
                        entry.witnesses = witnesses(leaves, answer.identity.as_ref());
                    }
                }
            }
        }
        self.learn_issuers(slot, answer.authority);
        let alive = alive(answer);
        for (key, entry) in &mut slot.entries {
            if alive.contains(key) {
                entry.last_seen = now;
                entry.absence = None;
            }
        }

        if answer.complete && all_accepted && current == CurrentListing::Valid {
            slot.last_clean = Some(now);
            self.take_clean_answer(slot, answer, &roles, &alive);
        }
        self.let_leave(slot, answer);
        if answer.authority == Authority::DigiCert && current == CurrentListing::Valid {
            self.report_upcoming(slot, answer, &roles);
        }
        // Where the listing that has Current did not come, its own failure is the cause, not a refusal.
        let lacks_current = answer.unfiltered_came && current != CurrentListing::Valid;
        !all_accepted || denied_listed || lacks_current
    }

    /// A clean answer: absences and changes of role count.
    fn take_clean_answer(
        &self,
        slot: &mut SlotState,
        answer: &SlotAnswer,
        roles: &BTreeMap<Fingerprint, Role>,
        alive: &BTreeSet<Fingerprint>,
    ) {
        for (key, entry) in &mut slot.entries {
            let role = match answer.authority {
                Authority::DigiCert => roles.get(key).copied(),
                Authority::Genesys => alive.contains(key).then_some(Role::Current),
            };
            let unlisted = if entry.word.is_some() { Role::Trusted } else { Role::Retiring };
            entry.take_answer(role.unwrap_or(unlisted), self.input.now);
        }
    }

    fn union(&self, planner: &PlannerState) -> TrustSet {
        TrustSet { extra: self.input.extra_anchors.clone(), ..planner.set(&self.certificates) }
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
fn complete_denials(denied: &mut BTreeMap<Fingerprint, Denial>, answers: &[SlotAnswer]) {
    let leaves = answers.iter().flat_map(|answer| &answer.certificates).filter_map(|listed| match &listed.verdict {
        SlotVerdict::Accepted(verified) => Some(verified.leaf()),
        SlotVerdict::Expired(leaf, _) => Some(leaf),
        SlotVerdict::Refused(_) => None,
    });
    for leaf in leaves {
        if let Some(denial) = denied.get_mut(&leaf.fingerprint()) {
            denial.sha1.get_or_insert_with(|| leaf.facts().sha1.clone());
            denial.pem_sha1.get_or_insert_with(|| leaf.pem_sha1());
        }
    }
}

fn current(answer: &SlotAnswer) -> CurrentListing {
    answer
        .certificates
        .iter()
        .filter(|listed| listed.status == ListedStatus::Current)
        .map(|listed| match listed.verdict {
            SlotVerdict::Accepted(_) => CurrentListing::Valid,
            SlotVerdict::Expired(..) => CurrentListing::Expired,
            SlotVerdict::Refused(_) => CurrentListing::RefusedOrAbsent,
        })
        .max()
        .unwrap_or(CurrentListing::RefusedOrAbsent)
}

/// The verified leaves that the table lets in.
fn admissible(answer: &SlotAnswer, current: CurrentListing, empty: bool) -> BTreeMap<Fingerprint, &Verified> {
    if current == CurrentListing::RefusedOrAbsent && empty {
        return BTreeMap::new();
    }
    answer
        .certificates
        .iter()
        .filter(|listed| answer.authority == Authority::DigiCert || listed.status == ListedStatus::Current)
        .filter_map(accepted)
        .map(|verified| (verified.leaf().fingerprint(), verified))
        .collect()
}

fn accepted(listed: &ListedCertificate) -> Option<&Verified> {
    match &listed.verdict {
        SlotVerdict::Accepted(verified) => Some(verified),
        _ => None,
    }
}

/// The keys of the entries that the answer lists, whatever their status and even if expired or refused by now: listed is
/// not absent.
fn alive(answer: &SlotAnswer) -> BTreeSet<Fingerprint> {
    answer
        .certificates
        .iter()
        .filter_map(|listed| match &listed.verdict {
            SlotVerdict::Accepted(verified) => Some(entry_key(answer.authority, verified)),
            SlotVerdict::Expired(leaf, _) => Some(leaf.fingerprint()),
            SlotVerdict::Refused(refusal) => refusal.leaf.as_ref().map(|(_, fingerprint)| *fingerprint),
        })
        .collect()
}

/// The role that the answer gives each listed, unrefused leaf. An Upcoming that is also Current is Current. When one ends
/// takes no role from it: the vendor may present any of them.
fn listed_roles(answer: &SlotAnswer) -> BTreeMap<Fingerprint, Role> {
    let of = |status: ListedStatus, role: Role| {
        let certificates = answer.certificates.iter().filter(move |listed| listed.status == status);
        certificates.filter_map(|listed| listed.verdict.fingerprint()).map(move |leaf| (leaf, role))
    };
    of(ListedStatus::Upcoming, Role::Upcoming).chain(of(ListedStatus::Current, Role::Current)).collect()
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
