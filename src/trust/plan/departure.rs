//! What leaves: by absence, by expiry, by the end of an override, with its slot, by denial.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use crate::trust::event::Event;
use crate::trust::plan::observation::SlotAnswer;
use crate::trust::plan::planner_state::{Entry, PlannerState, SlotState};
use crate::trust::plan::set::Role;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;

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
        let all = leaving.len() == slot.entries.len();
        let kept = leaving.iter().max_by_key(|key| (ends.get(*key), **key)).copied().filter(|_| all);
        for key in leaving.iter().filter(|key| Some(**key) != kept) {
            let expired = expired(key);
            let why = if expired { "it has expired" } else { "the vendor no longer lists it, and its grace is over" };
            self.report(Event::CertificateLeft, &answer.slot, format!("{} left: {why}.", self.named(key)));
            slot.entries.remove(key);
        }
    }

    /// What an override trusts leaves when that ends, by the clock alone, unless the vendor lists it by then; the
    /// slot's last entry stays.
    pub(super) fn end_overrides(&mut self, state: &mut PlannerState) {
        let now = self.input.now;
        for (slot, held) in &mut state.slots {
            for entry in held.entries.values_mut().filter(|entry| entry.trusted.role != Role::Trusted) {
                entry.trusted.word.take_if(|word| word.until <= now && !self.input.clock_doubted);
            }
            if self.held || self.input.clock_doubted {
                continue;
            }
            let over = |entry: &Entry| {
                entry.trusted.role == Role::Trusted && entry.trusted.word.as_ref().is_none_or(|word| word.until <= now)
            };
            let mut ended: Vec<Fingerprint> =
                held.entries.iter().filter(|(_, entry)| over(entry)).map(|(key, _)| *key).collect();
            ended.sort_by_key(|key| self.certificates.get(key).map(|certificate| certificate.facts().not_after));
            for key in ended {
                if held.entries.len() == 1 {
                    let text = format!(
                        "The operator's override for {} has ended, but it is the last that the slot trusts: it stays \
                         until the vendor lists another, or `distrust`.",
                        self.named(&key)
                    );
                    self.report(Event::WordEnded, slot, text);
                    continue;
                }
                held.entries.remove(&key);
                let why = "the operator's override for it has ended, and the vendor does not list it";
                self.report(Event::CertificateLeft, slot, format!("{} left: {why}.", self.named(&key)));
            }
        }
    }

    /// A slot that is no longer configured retires by the clock alone; the store's last entry stays.
    pub(super) fn retire_unconfigured(&mut self, state: &mut PlannerState) {
        let (now, grace) = (self.input.now, self.input.policy.grace);
        let mut holding = state.slots.values().filter(|held| !held.entries.is_empty()).count();
        for (slot, held) in &mut state.slots {
            if self.input.configured.contains(slot) {
                held.unconfigured_since = None;
                continue;
            }
            let since = *held.unconfigured_since.get_or_insert(now);
            for entry in held.entries.values_mut() {
                entry.trusted.role = Role::Retiring;
            }
            let others = holding > usize::from(!held.entries.is_empty());
            let over = now.since(since) >= grace && !self.input.clock_doubted;
            if over && others && !self.held {
                holding = holding.saturating_sub(usize::from(!held.entries.is_empty()));
                held.entries.clear();
                let text = "The slot left the configuration, and its grace is over: its certificates left.";
                self.report(Event::SlotRetired, slot, text.to_owned());
            } else if !held.entries.is_empty() {
                let text = if over && !others {
                    "The slot left the configuration, but what it trusts is the last that the store trusts: it stays \
                     until `distrust`."
                        .to_owned()
                } else {
                    format!("The slot left the configuration: what it trusts leaves on {}.", since.plus(grace))
                };
                self.report(Event::SlotRetiring, slot, text);
            }
        }
    }

    /// The operator's distrust and a CRL's revocation act at once, hold or not.
    pub(super) fn drop_denied(&mut self, state: &mut PlannerState) {
        let PlannerState { slots, denied, .. } = state;
        for (slot, held) in slots {
            held.entries.retain(|key, _| {
                let is_denied = denied.contains_key(key);
                if is_denied {
                    let text = format!("{} is denied: it left the trust set at once.", self.named(key));
                    self.report(Event::DeniedCertificateLeft, slot, text);
                }
                !is_denied
            });
        }
    }
}
