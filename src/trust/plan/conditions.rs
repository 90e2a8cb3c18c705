//! What the planner says of a slot as it stands: what was refused, what is missing, what ends. It decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{CurrentListing, Planner, name};
use crate::trust::certificate::Certificate;
use crate::trust::event::Event;
use crate::trust::finding::{Finding, Severity};
use crate::trust::fingerprint::Fingerprint;
use crate::trust::observation::{ListedStatus, SlotAnswer, SlotVerdict};
use crate::trust::planner_state::SlotState;
use crate::trust::refusal::quoted;
use crate::trust::set::{Authority, Role, SlotId};
use crate::trust::timestamp::Timestamp;

/// How long before a root's end it is a warning, and how long before it is critical: a root is replaced by agreement
/// with the vendor, which takes months.
const ROOT_ENDS_WARNING: Duration = Duration::from_secs(180 * 86_400);
const ROOT_ENDS_CRITICAL: Duration = Duration::from_secs(30 * 86_400);

/// How long before the end of the operator's word it is a warning that the vendor still does not list the leaf.
const WORD_ENDS_WARNING: Duration = Duration::from_secs(3 * 86_400);

impl Planner<'_> {
    pub(super) fn report_certificates(&mut self, answer: &SlotAnswer, current: CurrentListing) {
        for listed in &answer.certificates {
            let (event, which, refusal) = match (listed.status, &listed.verdict) {
                (_, SlotVerdict::Accepted(_)) => continue,
                (ListedStatus::Current, SlotVerdict::Expired(_, refusal)) => {
                    (Event::CurrentExpired, "current", refusal)
                }
                (ListedStatus::Current, SlotVerdict::Refused(refusal)) => (Event::CurrentRefused, "current", refusal),
                (ListedStatus::Upcoming, SlotVerdict::Expired(_, refusal)) => {
                    (Event::UpcomingExpired, "upcoming", refusal)
                }
                (ListedStatus::Upcoming, SlotVerdict::Refused(refusal)) => {
                    (Event::UpcomingRefused, "upcoming", refusal)
                }
            };
            let text = format!("The vendor's {which} certificate: {refusal}");
            self.findings.push(Finding::new(event, &answer.slot, text));
        }
        if answer.unfiltered_came
            && current == CurrentListing::RefusedOrAbsent
            && !answer.certificates.iter().any(|listed| listed.status == ListedStatus::Current)
        {
            self.findings.push(Finding::new(
                Event::CurrentAbsent,
                &answer.slot,
                format!("The vendor's answer has no current {} certificate. What is trusted stays.", answer.authority),
            ));
        }
    }

    /// The conditions of the slot as it stands now, heard or silent: last leaf expired, retirement blocked.
    pub(super) fn report_slot(&mut self, slot: &SlotId, held: &SlotState) {
        let now = self.input.now;
        for (key, entry) in &held.entries {
            let Some(certificate) = self.certificates.get(key).cloned() else {
                continue;
            };
            let end = certificate.facts().not_after;
            if let Some(word) = entry.word.filter(|word| word.until > now && entry.role == Role::Trusted) {
                let severity =
                    if word.until.since(now) <= WORD_ENDS_WARNING { Severity::Warning } else { Severity::Note };
                let text = format!(
                    "{} is not listed by the vendor, and trusted by the operator's word until {}. To go on: \
                     trustsync trust.",
                    name(&certificate),
                    word.until
                );
                self.findings.push(Finding::graded(severity, Event::TrustedByWord, slot, text));
            }
            if held.entries.len() == 1 {
                if end < now {
                    self.findings.push(Finding::new(
                        Event::LastCertificateExpired,
                        slot,
                        format!(
                            "{} expired on {end} and is the last that the slot trusts: it stays published, but \
                             servers refuse it.",
                            name(&certificate)
                        ),
                    ));
                }
                continue;
            }
            let over = now > entry.last_seen.plus(self.input.policy.grace);
            if over
                && entry.word.is_none()
                && entry.absence.is_none_or(|run| held.last_answer.is_none_or(|answer| run.last < answer))
            {
                self.findings.push(Finding::new(
                    Event::RetirementBlocked,
                    slot,
                    format!(
                        "{} was last listed on {}, but no clean answer lets it leave. It stays trusted, at the \
                         latest until it expires on {end}.",
                        name(&certificate),
                        entry.last_seen
                    ),
                ));
            }
        }
    }

    /// A root near its own end takes every leaf below along: servers refuse the whole path.
    pub(super) fn report_roots(&mut self, slot: &SlotId, held: &SlotState) {
        let now = self.input.now;
        let mut ending: BTreeMap<Fingerprint, Certificate> = BTreeMap::new();
        for (key, entry) in &held.entries {
            let path: Vec<&Certificate> =
                entry.chain.iter().chain([key]).filter_map(|link| self.certificates.get(link)).collect();
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
            let left = end.since(now);
            let severity = if left <= ROOT_ENDS_CRITICAL {
                Severity::Critical
            } else if left <= ROOT_ENDS_WARNING {
                Severity::Warning
            } else {
                continue;
            };
            let setting = match slot.authority() {
                Authority::DigiCert => "digicert_anchors",
                Authority::Genesys => "genesys_anchors",
            };
            self.findings.push(Finding::graded(
                severity,
                Event::RootEnds,
                slot,
                format!(
                    "The root {} (sha256 {}) ends on {end} ({} days): from then on servers refuse every certificate \
                     below it. Ask the vendor for its successor, and add that to the source's {setting}.",
                    quoted(&root.facts().subject),
                    root.fingerprint(),
                    now.days_until(end)
                ),
            ));
        }
    }

    /// Upcoming missing, listed early, or ending early.
    pub(super) fn report_upcoming(
        &mut self,
        slot: &SlotState,
        answer: &SlotAnswer,
        roles: &BTreeMap<Fingerprint, Role>,
    ) {
        let now = self.input.now;
        let accepted = |status: ListedStatus| {
            answer.certificates.iter().filter(move |listed| listed.status == status).filter_map(|listed| match &listed
                .verdict
            {
                SlotVerdict::Accepted(verified) => Some(verified.leaf()),
                _ => None,
            })
        };
        let Some(current) = accepted(ListedStatus::Current).max_by_key(|leaf| leaf.facts().not_after) else {
            return;
        };
        let facts = current.facts();
        let left = facts.not_after.since(now);
        self.report_ending_early(slot, answer, roles, facts.not_after);
        let successor = accepted(ListedStatus::Upcoming)
            .find(|leaf| leaf.fingerprint() != current.fingerprint() && leaf.facts().not_after > facts.not_after);
        if let Some(successor) = successor {
            if left > self.input.policy.window {
                self.findings.push(Finding::new(
                    Event::UpcomingEarly,
                    &answer.slot,
                    format!(
                        "{} is listed as upcoming although the current certificate has {} days left: accepted.",
                        name(successor),
                        now.days_until(facts.not_after)
                    ),
                ));
            }
            return;
        }
        // A listing that did not come says nothing: what is trusted from an earlier one stands.
        let known = |key: &Fingerprint| {
            self.certificates.get(key).is_some_and(|certificate| certificate.facts().not_after > facts.not_after)
        };
        if !answer.upcoming_came && slot.entries.keys().any(known) {
            return;
        }
        let is_current = |leaf: &&Certificate| roles.get(&leaf.fingerprint()) == Some(&Role::Current);
        if let Some(same) = accepted(ListedStatus::Upcoming).find(is_current) {
            self.findings.push(Finding::new(
                Event::UpcomingIsNoSuccessor,
                &answer.slot,
                format!("{} is listed as upcoming, but is a current one: it does not count as upcoming.", name(same)),
            ));
        }
        let half_life = facts.not_after.since(facts.not_before).checked_div(2).unwrap_or_default();
        let policy = self.input.policy;
        let severity = if left <= policy.upcoming_missing_critical.min(half_life) {
            Severity::Critical
        } else if left <= policy.upcoming_missing_warning.min(half_life) {
            Severity::Warning
        } else {
            return;
        };
        self.findings.push(Finding::graded(
            severity,
            Event::UpcomingMissing,
            &answer.slot,
            format!(
                "The current certificate ends on {} ({} days), and no valid upcoming one was seen that ends later. \
                 Calls fail from then on unless one appears; ask the vendor.",
                facts.not_after,
                now.days_until(facts.not_after)
            ),
        ));
    }

    /// An Upcoming that ends before Current is trusted, since the vendor may present it any day; but it covers no day that
    /// Current does not.
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
            .filter(|(key, entry)| is_upcoming(key, entry.role))
            .filter_map(|(key, _)| self.certificates.get(key))
            .filter(|leaf| leaf.facts().not_after <= current_ends)
            .map(name)
            .collect();
        if early.is_empty() {
            return;
        }
        self.findings.push(Finding::new(
            Event::UpcomingEndsEarly,
            &answer.slot,
            format!(
                "Listed as upcoming, but ending no later than the current certificate ({current_ends}): {}. What is \
                 listed is trusted, so that calls go on if the vendor presents it; but on the day that the current \
                 one ends, another is needed. Ask the vendor whether a later one follows.",
                early.join(", ")
            ),
        ));
    }
}
