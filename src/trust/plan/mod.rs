//! The planner: what to trust after a poll. Pure and total; slot by slot, no slot disturbs another.
//!
//! ```text
//!   planner state + each slot's answer ──▶ slot: additions (the table) · roles · absences · expiry ──▶ state'
//!   committed set + verified leaves ───────────────────────────────────── union of state' ──▶ trust set'
//! ```
//!
//! Its promises (design, rules 2 to 5): an addition needs only itself to be verified; a removal needs three clean
//! answers a grace apart; the last entry of a slot never leaves by absence or expiry; the set becomes empty through
//! denial alone.

mod admission;
pub mod clock_doubt;
mod conditions;
mod departure;
pub mod difference;
pub mod observation;
pub mod overrides;
pub mod planner_state;
pub mod schedule;
mod service;
pub mod set;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::{ListedStatus, SlotAnswer, SlotVerdict};
use crate::trust::plan::planner_state::{Listed, PlannerState, SlotState};
use crate::trust::plan::set::{Denial, Role, TrustSet, Witnesses};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::{Identity, Verified};

/// How long things may last before they are reported or done.
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
    /// How many new leaves one answer may add to a slot. 4: the vendor has one Current and one Upcoming, and may have
    /// two of each while it rotates. Anyone who can make the endpoint list more could otherwise add as many as they
    /// like.
    pub max_new_leaves: usize,
    /// How many entries a slot may have. 8: four that are listed, and as many that retire. It bounds what the limit of
    /// one answer does not: many answers.
    pub max_pins: usize,
    /// What is done about a leaf of an issuer that the slot has never seen.
    pub changed_issuer: ChangedIssuer,
}

/// What is done about a new leaf of another issuer than before. The chain ends in a configured anchor all the same, and
/// CAs replace their intermediates without notice, so it is accepted by default: to wait for a person is safer against
/// a CA that errs, and worse against an outage.
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
            max_pins: 8,
            changed_issuer: ChangedIssuer::Accept,
        }
    }
}

/// Everything that the planner reads.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// What is remembered of earlier polls.
    pub planner: &'a PlannerState,
    /// The set of the newest generation, as recorded on disk.
    pub committed: &'a TrustSet,
    /// Every slot of the configuration.
    pub configured: &'a BTreeSet<SlotId>,
    /// The slots' answers; one that is configured and not here was silent, and contributes what it had.
    pub answers: &'a [SlotAnswer],
    /// Roots of other clients of the same virtual host.
    pub extra_anchors: &'a BTreeMap<Fingerprint, Certificate>,
    /// How long things may last.
    pub policy: &'a Policy,
    /// The time by this machine's clock.
    pub now: Timestamp,
    /// Whether the clock that shows it is to be doubted: then nothing ends by the clock alone.
    pub clock_doubted: bool,
}

/// What to trust, what to remember, and what was found.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The trust set from now on.
    pub set: TrustSet,
    /// The planner's state from now on.
    pub planner: PlannerState,
    /// What was found about the slots.
    pub findings: Vec<Finding>,
    /// Whether an entity of some slot was refused, or an answer lacks a valid Current: exit 5.
    pub answer_refused: bool,
}

impl Plan {
    /// Whether the latest-ending current leaf of the source's slots is within `window` of its end.
    #[must_use]
    pub fn in_window(&self, source: &str, window: Duration, now: Timestamp) -> bool {
        let of_source = |(slot, role): (&SlotId, &Role)| slot.source() == source && *role == Role::Current;
        let pins = self.set.pins.values().filter(|pin| pin.roles.iter().any(of_source));
        let end = pins.map(|pin| pin.leaf.facts().not_after).max();
        end.is_some_and(|end| end.since(now) <= window)
    }
}

/// Plans one cycle: pure, so the same input gives the same plan. It is planned anew without a new leaf that would take
/// another's path away at the servers.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut left_out = BTreeMap::new();
    loop {
        let mut plan = plan_without(input, &left_out);
        match service::harmful(&plan, input.committed, input.now) {
            Some((key, why)) if !left_out.contains_key(&key) => drop(left_out.insert(key, why)),
            _ => {
                let refused = service::refused(&plan.set, input.answers, input.now);
                let is_told_of = |slot: &SlotId| input.answers.iter().any(|answer| answer.slot == *slot);
                plan.answer_refused |=
                    refused.iter().any(|(slot, finding)| finding.severity == Severity::Critical && is_told_of(slot));
                plan.findings.extend(refused.into_iter().map(|(_, finding)| finding));
                return plan;
            }
        }
    }
}

/// What servers would make of a set that no answer speaks of, such as an older generation's: a finding for each pin that
/// they would refuse.
#[must_use]
pub fn servers_would_refuse(set: &TrustSet, now: Timestamp) -> Vec<Finding> {
    service::refused(set, &[], now).into_iter().map(|(_, finding)| finding).collect()
}

/// Plans one cycle, in which none of these enters, for these reasons.
fn plan_without(input: &Input<'_>, left_out: &BTreeMap<Fingerprint, String>) -> Plan {
    let mut state = input.planner.clone();
    if !input.clock_doubted && state.hold.as_ref().is_some_and(|hold| hold.until <= input.now) {
        state.hold = None;
    }
    let mut planner = Planner {
        input,
        left_out,
        held: state.hold.is_some(),
        certificates: known(input.committed),
        findings: Vec::new(),
    };
    let mut answer_refused = false;

    // First, so that what is about to leave does not let another entry leave that would be the last.
    planner.drop_denied(&mut state);
    complete_denials(&mut state.denied, input.answers);
    for answer in input.answers {
        let slot = state.slots.entry(answer.slot.clone()).or_default();
        answer_refused |= planner.take_answer(slot, answer);
    }
    planner.end_overrides(&mut state);
    planner.retire_unconfigured(&mut state);
    for (slot, held) in state.slots.iter().filter(|(slot, _)| input.configured.contains(*slot)) {
        planner.report_slot(slot, held);
        planner.report_roots(slot, held);
    }

    let set = TrustSet { extra: input.extra_anchors.clone(), ..state.set(&planner.certificates) };
    // A slot that is no longer configured is forgotten once it holds nothing.
    state.slots.retain(|slot, held| input.configured.contains(slot) || !held.entries.is_empty());
    Plan { set, planner: state, findings: planner.findings, answer_refused }
}

fn known(set: &TrustSet) -> BTreeMap<Fingerprint, Certificate> {
    let leaves = set.pins.values().map(|pin| &pin.leaf);
    let roots = set.name_rules.iter().map(|rule| &rule.root);
    let held = leaves.chain(roots).chain(set.chain.values());
    held.map(|certificate| (certificate.fingerprint(), certificate.clone())).collect()
}

struct Planner<'a> {
    input: &'a Input<'a>,
    /// What would do harm at the servers if it entered, and which.
    left_out: &'a BTreeMap<Fingerprint, String>,
    /// Whether a hold is in force.
    held: bool,
    certificates: BTreeMap<Fingerprint, Certificate>,
    findings: Vec<Finding>,
}

/// The best that the answer says of Current: the row of the design's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CurrentListing {
    RefusedOrAbsent,
    Expired,
    Valid,
}

/// A verified leaf that is to enter: the key of its entry, and its role.
type Entering<'a> = Vec<(Fingerprint, Role, &'a Verified)>;

impl Planner<'_> {
    /// Takes a slot's answer. Whether something of it was refused.
    fn take_answer(&mut self, slot: &mut SlotState, answer: &SlotAnswer) -> bool {
        let now = self.input.now;
        slot.last_answer = Some(now);
        slot.disagreements = slot.disagreements.saturating_add(answer.disagreements);
        if let (true, Some(Identity::Names(names))) = (answer.learned_now, &answer.identity) {
            slot.identity = Some(names.clone());
        }
        let current = current(answer);
        self.report_certificates(answer, current);

        let roles = listed_roles(answer);
        let (mut entering, denied_listed) = self.entering(slot, answer, current, &roles);
        let listed = entering.len();
        self.refuse_changed_issuers(slot, answer, &mut entering);
        self.refuse_too_many(slot, answer, &mut entering);
        let all_accepted = entering.len() == listed
            && answer.unjudged == 0
            && answer.certificates.iter().all(|listed| listed.verdict.accepted().is_some());
        // What these keep out leaves the answer clean: else no absence would ever make room. Nobody makes room for what
        // is kept out all the same.
        let harmless = self.refuse_harmful(slot, answer, &mut entering);
        let fits = self.make_room(slot, answer, &mut entering) && harmless;
        for (key, role, verified) in &entering {
            self.admit(slot, answer.authority, *key, *role, verified);
        }
        self.learn_issuers(slot, answer.authority);
        if answer.authority == Authority::Genesys {
            self.renew_name_rules(slot, answer, &entering);
        }
        let alive = alive(answer);
        for entry in slot.entries.iter_mut().filter(|(key, _)| alive.contains(key)).map(|(_, entry)| entry) {
            entry.last_seen = now;
            entry.absence = None;
        }

        if answer.complete && all_accepted && current == CurrentListing::Valid {
            slot.last_clean = Some(now);
            slot.listed = all_listed(answer, &roles);
            self.take_clean_answer(slot, answer, &roles, &alive);
        }
        self.let_leave(slot, answer);
        if answer.authority == Authority::DigiCert && current == CurrentListing::Valid {
            self.report_upcoming(slot, answer, &roles);
        }
        // Where the listing that has Current did not come, its own failure is the cause, not a refusal.
        let lacks_current = answer.unfiltered_came && current != CurrentListing::Valid;
        !all_accepted || !fits || denied_listed || lacks_current
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
            let unlisted = if entry.trusted.word.is_some() { Role::Trusted } else { Role::Retiring };
            entry.take_answer(role.unwrap_or(unlisted), self.input.now);
        }
    }

    fn report(&mut self, event: Event, slot: &SlotId, text: String) {
        self.findings.push(Finding::new(event, slot, text));
    }

    fn named(&self, key: &Fingerprint) -> String {
        self.certificates.get(key).map_or_else(|| key.short(), name)
    }
}

/// A certificate in a sentence: subject's name, head of the fingerprint, end.
fn name(certificate: &Certificate) -> String {
    let facts = certificate.facts();
    format!("{} ({}, until {})", short_name(certificate), facts.fingerprint.short(), facts.not_after)
}

fn short_name(certificate: &Certificate) -> String {
    let name = certificate.identity_names().first().unwrap_or(&certificate.facts().subject);
    name.chars().take(100).collect()
}

/// A denial by fingerprint alone learns what nginx and Apache ask for instead, once the vendor lists the certificate.
fn complete_denials(denied: &mut BTreeMap<Fingerprint, Denial>, answers: &[SlotAnswer]) {
    let listed = answers.iter().flat_map(|answer| &answer.certificates);
    for leaf in listed.filter_map(|listed| listed.verdict.leaf()) {
        if let Some(denial) = denied.get_mut(&leaf.fingerprint()) {
            denial.sha1.get_or_insert_with(|| leaf.facts().sha1.clone());
            denial.pem_sha1.get_or_insert_with(|| leaf.pem_sha1());
        }
    }
}

fn current(answer: &SlotAnswer) -> CurrentListing {
    let listings = answer.listed(ListedStatus::Current).map(|verdict| match verdict {
        SlotVerdict::Accepted(_) => CurrentListing::Valid,
        SlotVerdict::Expired(..) => CurrentListing::Expired,
        SlotVerdict::Refused(_) => CurrentListing::RefusedOrAbsent,
    });
    listings.max().unwrap_or(CurrentListing::RefusedOrAbsent)
}

/// The keys of the entries that the answer lists, whatever their status and even if expired or refused by now: listed
/// is not absent.
fn alive(answer: &SlotAnswer) -> BTreeSet<Fingerprint> {
    let keys = answer.certificates.iter().filter_map(|listed| match &listed.verdict {
        SlotVerdict::Accepted(verified) => Some(entry_key(answer.authority, verified)),
        SlotVerdict::Expired(leaf, _) => Some(leaf.fingerprint()),
        SlotVerdict::Refused(refusal) => refusal.leaf.as_ref().map(|(_, fingerprint)| *fingerprint),
    });
    keys.collect()
}

/// The role that the answer gives each listed, unrefused leaf. An Upcoming that is also Current is Current. The end of
/// a leaf takes no role from it: the vendor may present any of them.
fn listed_roles(answer: &SlotAnswer) -> BTreeMap<Fingerprint, Role> {
    let of = |status, role| answer.listed(status).filter_map(SlotVerdict::fingerprint).map(move |leaf| (leaf, role));
    of(ListedStatus::Upcoming, Role::Upcoming).chain(of(ListedStatus::Current, Role::Current)).collect()
}

/// What a clean answer lists, denied or not, by the key of its entry.
fn all_listed(answer: &SlotAnswer, roles: &BTreeMap<Fingerprint, Role>) -> BTreeMap<Fingerprint, Listed> {
    let accepted = answer.certificates.iter().filter_map(|listed| listed.verdict.accepted());
    let of = |verified: &Verified| {
        let leaf = verified.leaf();
        let role = match answer.authority {
            Authority::DigiCert => roles.get(&leaf.fingerprint()).copied().unwrap_or(Role::Current),
            Authority::Genesys => Role::Current,
        };
        let listed = Listed { role, name: short_name(leaf), until: leaf.facts().not_after };
        (entry_key(answer.authority, verified), listed)
    };
    accepted.map(of).collect()
}

/// What an accepted leaf enters as: itself where leaves are pinned, its root where a name rule admits.
pub(super) fn entry_key(authority: Authority, verified: &Verified) -> Fingerprint {
    match authority {
        Authority::DigiCert => verified.leaf().fingerprint(),
        Authority::Genesys => verified.chain().last().unwrap_or(verified.leaf()).fingerprint(),
    }
}

/// The names of a name rule: all that bind, where each witness has one of them as its common name, so that a renewal
/// under another of them changes nothing. Servers cannot see a name that is in the SAN alone: then none, and the issuer
/// alone decides.
pub(super) fn rule_names<'a>(
    mut witnesses: impl Iterator<Item = &'a Certificate>,
    identity: Option<&Identity>,
) -> BTreeSet<String> {
    let Some(Identity::Names(names)) = identity else {
        return BTreeSet::new();
    };
    let has_one = |witness: &Certificate| {
        let common = &witness.facts().common_names;
        common.iter().any(|common| names.iter().any(|name| name.eq_ignore_ascii_case(common)))
    };
    if witnesses.all(has_one) { names.clone() } else { BTreeSet::new() }
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
