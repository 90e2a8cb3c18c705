//! What leaves: by absence, by expiry, by the end of a word, with its slot, by denial.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use crate::trust::event::Event;
use crate::trust::finding::Finding;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::observation::SlotAnswer;
use crate::trust::planner_state::{Entry, PlannerState, SlotState};
use crate::trust::set::Role;
use crate::trust::timestamp::Timestamp;

impl Planner<'_> {
    /// Removals by absence and by expiry; never the slot's last entry, and none during a hold.
    pub(super) fn let_leave(&mut self, slot: &mut SlotState, answer: &SlotAnswer) {
        if self.held {
            return;
        }
        let now = self.input.now;
        let ends: BTreeMap<Fingerprint, Timestamp> = slot
            .entries
            .keys()
            .filter_map(|key| self.certificates.get(key).map(|certificate| (*key, certificate.facts().not_after)))
            .collect();
        let expired = |key: &Fingerprint| ends.get(key).is_some_and(|end| *end < now);
        let leaving: BTreeSet<Fingerprint> = slot
            .entries
            .iter()
            .filter(|(key, entry)| entry.may_leave(self.input.policy.grace) || (answer.complete && expired(key)))
            .map(|(key, _)| *key)
            .collect();
        let kept = if leaving.len() == slot.entries.len() {
            leaving.iter().max_by_key(|key| (ends.get(*key), **key)).copied()
        } else {
            None
        };
        for key in leaving.iter().filter(|key| Some(**key) != kept) {
            let why =
                if expired(key) { "it has expired" } else { "the vendor no longer lists it, and its grace is over" };
            self.findings.push(Finding::new(
                Event::CertificateLeft,
                &answer.slot,
                format!("{} left: {why}.", self.named(key)),
            ));
            slot.entries.remove(key);
        }
    }

    /// What the operator vouched for leaves when the word ends, by the clock alone, unless the vendor lists it by then; the
    /// slot's last entry stays.
    pub(super) fn end_overrides(&mut self, planner: &mut PlannerState) {
        let now = self.input.now;
        for (slot, held) in &mut planner.slots {
            for entry in held.entries.values_mut().filter(|entry| entry.role != Role::Trusted) {
                entry.word = entry.word.filter(|word| word.until > now || self.input.clock_doubted);
            }
            if self.held || self.input.clock_doubted {
                continue;
            }
            let over = |entry: &Entry| entry.role == Role::Trusted && entry.word.is_none_or(|word| word.until <= now);
            let mut ended: Vec<Fingerprint> =
                held.entries.iter().filter(|(_, entry)| over(entry)).map(|(key, _)| *key).collect();
            ended.sort_by_key(|key| self.certificates.get(key).map(|certificate| certificate.facts().not_after));
            for key in ended {
                if held.entries.len() == 1 {
                    let text = format!(
                        "The operator's word for {} has ended, but it is the last that the slot trusts: it stays \
                         until the vendor lists another, or `distrust`.",
                        self.named(&key)
                    );
                    self.findings.push(Finding::new(Event::WordEnded, slot, text));
                    continue;
                }
                held.entries.remove(&key);
                let text = format!(
                    "{} left: the operator's word for it has ended, and the vendor does not list it.",
                    self.named(&key)
                );
                self.findings.push(Finding::new(Event::CertificateLeft, slot, text));
            }
        }
    }

    /// A slot that the configuration no longer has retires by the clock alone; the store's last entry stays.
    pub(super) fn retire_unconfigured(&mut self, planner: &mut PlannerState) {
        let now = self.input.now;
        for slot in planner.slots.keys().cloned().collect::<Vec<_>>() {
            if self.input.configured.contains(&slot) {
                if let Some(held) = planner.slots.get_mut(&slot) {
                    held.unconfigured_since = None;
                }
                continue;
            }
            let others = planner.slots.iter().any(|(id, held)| *id != slot && !held.entries.is_empty());
            let Some(held) = planner.slots.get_mut(&slot) else {
                continue;
            };
            let since = *held.unconfigured_since.get_or_insert(now);
            for entry in held.entries.values_mut() {
                entry.role = Role::Retiring;
            }
            let over = now.since(since) >= self.input.policy.grace && !self.input.clock_doubted;
            if over && others && !self.held {
                held.entries.clear();
                self.findings.push(Finding::new(
                    Event::SlotRetired,
                    &slot,
                    "The slot left the configuration, and its grace is over: its certificates left.",
                ));
            } else if !held.entries.is_empty() {
                let text = if over && !others {
                    "The slot left the configuration, but what it trusts is the last that the store trusts: it stays \
                     until `distrust`."
                        .to_owned()
                } else {
                    format!(
                        "The slot left the configuration: what it trusts leaves on {}.",
                        since.plus(self.input.policy.grace)
                    )
                };
                self.findings.push(Finding::new(Event::SlotRetiring, &slot, text));
            }
        }
    }

    /// The operator's distrust and a CRL's revocation act at once, hold or not.
    pub(super) fn drop_denied(&mut self, planner: &mut PlannerState) {
        for (slot, held) in &mut planner.slots {
            let denied: Vec<Fingerprint> =
                held.entries.keys().filter(|key| planner.denied.contains_key(*key)).copied().collect();
            for key in denied {
                held.entries.remove(&key);
                self.findings.push(Finding::new(
                    Event::DeniedCertificateLeft,
                    slot,
                    format!("{} is denied: it left the trust set at once.", self.named(&key)),
                ));
            }
        }
    }
}
