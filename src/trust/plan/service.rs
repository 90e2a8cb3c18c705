//! Whether servers find a path for what is pinned, in the very bundle that they get (design, rule 11). What our verifier
//! accepts by one path among several, a server that takes the first issuer of a name may refuse.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Plan, entry_key, known, name};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;
use crate::trust::plan::observation::SlotAnswer;
use crate::trust::plan::set::{Pin, Role, TrustSet};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::served::{self, Unserved};

/// The pins that servers would refuse.
fn unserved(set: &TrustSet, now: Timestamp) -> BTreeMap<Fingerprint, Unserved> {
    let bundle = set.bundle();
    let judged = set.pins.iter().map(|(key, pin)| (*key, served::path(&pin.leaf, &bundle, now)));
    judged.filter_map(|(key, path)| Some((key, path.err()?))).collect()
}

/// A finding for each pin that servers would refuse, by its slot; and for each listed leaf that a name rule should admit.
pub(super) fn refused(set: &TrustSet, answers: &[SlotAnswer], now: Timestamp) -> Vec<(SlotId, Finding)> {
    let mut findings = by_name_rule(set, answers, now);
    for (key, why) in unserved(set, now) {
        let roles = set.pins.get(&key).into_iter().flat_map(|pin| pin.roles.iter().map(move |role| (pin, role)));
        for (pin, (slot, role)) in roles {
            let severity = if *role == Role::Retiring { Severity::Warning } else { Severity::Critical };
            let text = format!(
                "{} ({role}) is trusted, but servers that use OpenSSL would refuse it: {why}. Calls with it fail there. \
                 Show this text to the vendor.",
                name(&pin.leaf)
            );
            findings.push((slot.clone(), Finding::graded(severity, Event::ServersWouldRefuse, slot, text)));
        }
    }
    findings
}

/// A rule knows no leaf; those that the vendor lists show whether servers find its root.
fn by_name_rule(set: &TrustSet, answers: &[SlotAnswer], now: Timestamp) -> Vec<(SlotId, Finding)> {
    let bundle = set.bundle();
    let mut findings = Vec::new();
    for answer in answers.iter().filter(|answer| answer.authority == Authority::Genesys) {
        for verified in answer.certificates.iter().filter_map(|listed| listed.verdict.accepted()) {
            let root = entry_key(answer.authority, verified);
            let is_admitted = set.name_rules.iter().any(|rule| rule.root.fingerprint() == root);
            if let (true, Err(why)) = (is_admitted, served::path(verified.leaf(), &bundle, now)) {
                let text = format!(
                    "{} is what a name rule should admit, but servers that use OpenSSL would refuse it: {why}. Calls with \
                     it fail there. Show this text to the vendor.",
                    name(verified.leaf())
                );
                findings.push((answer.slot.clone(), Finding::new(Event::ServersWouldRefuse, &answer.slot, text)));
            }
        }
    }
    findings
}

/// A leaf that is new in this plan and takes the path of another away: of one that is no less important, or, where
/// servers would refuse the new one itself, of any. And what it would do.
pub(super) fn harmful(plan: &Plan, committed: &TrustSet, now: Timestamp) -> Option<(Fingerprint, String)> {
    let unserved_now = unserved(&plan.set, now);
    if unserved_now.is_empty() {
        return None;
    }
    let mut new: Vec<(&Fingerprint, &Pin)> =
        plan.set.pins.iter().filter(|(key, _)| !committed.pins.contains_key(*key)).collect();
    new.sort_by_key(|(_, pin)| Reverse((pin.role(), pin.leaf.facts().not_before)));
    new.into_iter().find_map(|(key, pin)| {
        let unserved_without = unserved(&without(plan, key), now);
        let suffers = |(other, _): &(&Fingerprint, &Unserved)| {
            let weighs = |other: &Pin| unserved_now.contains_key(key) || other.role() <= pin.role();
            *other != key
                && !unserved_without.contains_key(*other)
                && plan.set.pins.get(*other).is_some_and(weighs)
        };
        let (other, why) = unserved_now.iter().find(suffers)?;
        let other = plan.set.pins.get(other).map(|pin| name(&pin.leaf))?;
        let text = format!(
            "with its issuers in the bundle, servers that use OpenSSL would refuse {other}: {why}. What is trusted stays. \
             It enters once that has left; show this text to the vendor."
        );
        Some((*key, text))
    })
}

/// What the plan would trust without a leaf.
fn without(plan: &Plan, key: &Fingerprint) -> TrustSet {
    let mut planner = plan.planner.clone();
    for held in planner.slots.values_mut() {
        held.entries.remove(key);
    }
    TrustSet { extra: plan.set.extra.clone(), ..planner.set(&known(&plan.set)) }
}
