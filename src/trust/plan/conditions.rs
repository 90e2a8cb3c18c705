//! What the planner says of a slot as it stands: what was refused, what is missing, what ends. It decides nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::{CurrentListing, Planner, name};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::{ListedStatus, SlotAnswer, SlotVerdict};
use crate::trust::plan::planner_state::SlotState;
use crate::trust::plan::set::Role;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::Verified;

/// How long before a root's end it is a warning, and how long before it is critical: a root is replaced by agreement
/// with the vendor, which takes months.
const ROOT_ENDS_WARNING: Duration = Duration::from_secs(180 * 86_400);
const ROOT_ENDS_CRITICAL: Duration = Duration::from_secs(30 * 86_400);

/// How long before the end of an override it is a warning that the vendor still does not list the leaf.
const OVERRIDE_ENDS_WARNING: Duration = Duration::from_secs(3 * 86_400);

/// The more urgent of the two thresholds that `left` has reached.
fn severity(left: Duration, critical: Duration, warning: Duration) -> Option<Severity> {
    let reached = [(critical, Severity::Critical), (warning, Severity::Warning)];
    reached.into_iter().find(|(threshold, _)| left <= *threshold).map(|(_, severity)| severity)
}

impl Planner<'_> {
    pub(super) fn report_certificates(&mut self, answer: &SlotAnswer, current: CurrentListing) {
        // A thousand that are refused by one rule are one line.
        let mut refusals: BTreeMap<_, (String, usize)> = BTreeMap::new();
        for listed in &answer.certificates {
            let (which, refused, expired) = match listed.status {
                ListedStatus::Current => ("current", Event::CurrentRefused, Event::CurrentExpired),
                ListedStatus::Upcoming => ("upcoming", Event::UpcomingRefused, Event::UpcomingExpired),
            };
            let (event, refusal) = match &listed.verdict {
                SlotVerdict::Accepted(_) => continue,
                SlotVerdict::Expired(_, refusal) => (expired, refusal),
                SlotVerdict::Refused(refusal) => (refused, refusal),
            };
            let kind = (listed.status, event, refusal.first.rule);
            let (_, count) =
                refusals.entry(kind).or_insert_with(|| (format!("The vendor's {which} certificate: {refusal}"), 0));
            *count = count.saturating_add(1);
        }
        for ((_, event, rule), (mut text, count)) in refusals {
            if count > 1 {
                let _ = write!(text, " (And {} more, by the same rule: {}.)", count.saturating_sub(1), rule.name());
            }
            self.report(event, &answer.slot, text);
        }
        if answer.unfiltered_came
            && current == CurrentListing::RefusedOrAbsent
            && answer.listed(ListedStatus::Current).next().is_none()
        {
            let text =
                format!("The vendor's answer has no current {} certificate. What is trusted stays.", answer.authority);
            self.report(Event::CurrentAbsent, &answer.slot, text);
        }
    }

    /// The conditions of the slot as it stands now, whether it was answered for or not.
    pub(super) fn report_slot(&mut self, slot: &SlotId, held: &SlotState) {
        let now = self.input.now;
        for (key, entry) in &held.entries {
            let Some(certificate) = self.certificates.get(key) else { continue };
            let (name, end) = (name(certificate), certificate.facts().not_after);
            if let Some(word) =
                entry.trusted.word.as_ref().filter(|word| word.until > now && entry.trusted.role == Role::Trusted)
            {
                let ends_soon = word.until.since(now) <= OVERRIDE_ENDS_WARNING;
                let severity = if ends_soon { Severity::Warning } else { Severity::Note };
                let text = format!(
                    "{name} is not listed by the vendor; the operator's override trusts it until {}. To extend it: \
                     trustsync trust.",
                    word.until
                );
                self.findings.push(Finding::graded(severity, Event::TrustedByWord, slot, text));
            }
            if held.entries.len() == 1 {
                if end < now {
                    let text = format!(
                        "{name} expired on {end} and is the last that the slot trusts: it stays published, but servers \
                         refuse it."
                    );
                    self.report(Event::LastCertificateExpired, slot, text);
                }
                continue;
            }
            let over = now > entry.last_seen.plus(self.input.policy.grace);
            if over
                && entry.trusted.word.is_none()
                && entry.absence.is_none_or(|run| held.last_answer.is_none_or(|answer| run.last < answer))
            {
                let text = format!(
                    "{name} was last listed on {}, but no clean answer lets it leave. It stays trusted until it \
                     expires on {end} at the latest.",
                    entry.last_seen
                );
                self.report(Event::RetirementBlocked, slot, text);
            }
        }
    }

    /// A root that ends takes every leaf below it along: servers refuse the whole path.
    pub(super) fn report_roots(&mut self, slot: &SlotId, held: &SlotState) {
        let now = self.input.now;
        let mut ending: BTreeMap<Fingerprint, Certificate> = BTreeMap::new();
        for (key, entry) in &held.entries {
            let path: Vec<&Certificate> =
                entry.trusted.chain.iter().chain([key]).filter_map(|link| self.certificates.get(link)).collect();
            let is_top = |certificate: &Certificate| {
                let facts = certificate.facts();
                facts.is_ca
                    && (facts.self_issued()
                        || !path.iter().any(|issuer| issuer.facts().subject_der == facts.issuer_der))
            };
            // Of two roots on two paths, the later one carries the leaf.
            let root = path.iter().filter(|held| is_top(held)).max_by_key(|root| root.facts().not_after);
            ending.extend(root.map(|root| (root.fingerprint(), (*root).clone())));
        }
        for root in ending.values() {
            let end = root.facts().not_after;
            let Some(severity) = severity(end.since(now), ROOT_ENDS_CRITICAL, ROOT_ENDS_WARNING) else { continue };
            let mend = match slot.authority() {
                Authority::DigiCert => {
                    "save it to a file, and write under the source digicert_anchors = [\"FILE\"] and builtin_anchors = \
                     true (true keeps the built-in roots)"
                }
                Authority::Genesys => "add its file to the source's genesys_anchors",
            };
            let text = format!(
                "The root {} (sha256 {}) ends on {end} ({} days): from then on servers refuse every certificate below \
                 it. Ask the vendor for its successor, and {mend}.",
                quoted(&root.facts().subject),
                root.fingerprint(),
                now.days_until(end)
            );
            self.findings.push(Finding::graded(severity, Event::RootEnds, slot, text));
        }
    }

    /// Upcoming missing, listed early, or ending early.
    pub(super) fn report_upcoming(
        &mut self,
        slot: &SlotState,
        answer: &SlotAnswer,
        roles: &BTreeMap<Fingerprint, Role>,
    ) {
        let (now, policy) = (self.input.now, self.input.policy);
        let accepted = |status| answer.listed(status).filter_map(SlotVerdict::accepted).map(Verified::leaf);
        let Some(current) = accepted(ListedStatus::Current).max_by_key(|leaf| leaf.facts().not_after) else { return };
        let facts = current.facts();
        let (left, days_left) = (facts.not_after.since(now), now.days_until(facts.not_after));
        self.report_ending_early(slot, answer, roles, facts.not_after);
        let is_later = |leaf: &Certificate| leaf.facts().not_after > facts.not_after;
        if let Some(successor) = accepted(ListedStatus::Upcoming).find(|leaf| is_later(leaf)) {
            if left > policy.window {
                let text = format!(
                    "{} is listed as upcoming, although the current certificate has {days_left} days left: accepted.",
                    name(successor)
                );
                self.report(Event::UpcomingEarly, &answer.slot, text);
            }
            return;
        }
        // A listing that did not come says nothing: what is trusted from an earlier one stands.
        let is_known = |key: &Fingerprint| self.certificates.get(key).is_some_and(is_later);
        if !answer.upcoming_came && slot.entries.keys().any(is_known) {
            return;
        }
        let is_current = |leaf: &&Certificate| roles.get(&leaf.fingerprint()) == Some(&Role::Current);
        if let Some(same) = accepted(ListedStatus::Upcoming).find(is_current) {
            let text = format!("{} is listed as upcoming, but is a current one: it does not count.", name(same));
            self.report(Event::UpcomingIsNoSuccessor, &answer.slot, text);
        }
        let half_life = facts.not_after.since(facts.not_before).checked_div(2).unwrap_or_default();
        let [critical, warning] =
            [policy.upcoming_missing_critical, policy.upcoming_missing_warning].map(|limit| limit.min(half_life));
        if let Some(severity) = severity(left, critical, warning) {
            let text = format!(
                "The current certificate ends on {} ({days_left} days), and no valid upcoming one was seen that ends \
                 later. Calls fail from then on unless one appears; ask the vendor.",
                facts.not_after
            );
            self.findings.push(Finding::graded(severity, Event::UpcomingMissing, &answer.slot, text));
        }
    }

    /// An Upcoming that ends before Current is trusted, since the vendor may present it any day; but it covers no day
    /// that Current does not.
    fn report_ending_early(
        &mut self,
        slot: &SlotState,
        answer: &SlotAnswer,
        roles: &BTreeMap<Fingerprint, Role>,
        current_ends: Timestamp,
    ) {
        // A listing that did not come says nothing: what is trusted as upcoming from an earlier one still is.
        let is_upcoming = |key: &Fingerprint, held: Role| match roles.get(key) {
            Some(listed) => *listed == Role::Upcoming,
            None => held == Role::Upcoming && !answer.upcoming_came,
        };
        let early: Vec<String> = slot
            .entries
            .iter()
            .filter(|(key, entry)| is_upcoming(key, entry.trusted.role))
            .filter_map(|(key, _)| self.certificates.get(key))
            .filter(|leaf| leaf.facts().not_after <= current_ends)
            .map(name)
            .collect();
        if !early.is_empty() {
            let text = format!(
                "Listed as upcoming, but ending no later than the current certificate ({current_ends}): {}. It is \
                 trusted, so that calls go on if the vendor presents it; but another is needed on the day that the \
                 current one ends. Ask the vendor whether a later one follows.",
                early.join(", ")
            );
            self.report(Event::UpcomingEndsEarly, &answer.slot, text);
        }
    }
}
