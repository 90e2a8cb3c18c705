//! What enters: verified leaves, unless they are denied or held back, too many come at once, or their issuer changed.

use std::collections::{BTreeMap, BTreeSet};

use super::{ChangedIssuer, CurrentListing, Entering, Planner, entry_key, name, rule_names, witnesses};
use crate::trust::event::Event;
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::{ListedStatus, SlotAnswer};
use crate::trust::plan::planner_state::{Entry, Issuer, SlotState, TrustedEntry, kept_out};
use crate::trust::plan::set::Role;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::Authority;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::Verified;

impl Planner<'_> {
    /// The verified leaves that the design's table lets in, less those that are denied or that a hold keeps out; and
    /// whether the answer lists a denied one.
    pub(super) fn entering<'a>(
        &mut self,
        slot: &SlotState,
        answer: &'a SlotAnswer,
        current: CurrentListing,
        roles: &BTreeMap<Fingerprint, Role>,
    ) -> (Entering<'a>, bool) {
        let (mut entering, mut denied_listed, mut held_back) = (Vec::new(), Vec::new(), Vec::new());
        if current == CurrentListing::RefusedOrAbsent && slot.entries.is_empty() {
            return (entering, false);
        }
        let may_enter =
            |status: ListedStatus| answer.authority == Authority::DigiCert || status == ListedStatus::Current;
        let listed = answer.certificates.iter().filter(|listed| may_enter(listed.status));
        let leaves: BTreeMap<Fingerprint, &Verified> = listed
            .filter_map(|listed| listed.verdict.accepted())
            .map(|verified| (verified.leaf().fingerprint(), verified))
            .collect();
        let denied = &self.input.planner.denied;
        for (fingerprint, verified) in leaves {
            let key = entry_key(answer.authority, verified);
            let Some(role) = roles.get(&fingerprint).copied() else { continue };
            // Health finds a leaf in the text by what it enters as.
            let by = if key == fingerprint { String::new() } else { format!(" by the root {}", key.short()) };
            let leaf = format!("{}{by}", name(verified.leaf()));
            if denied.contains_key(&fingerprint) || denied.contains_key(&key) {
                denied_listed.push((role, leaf));
            } else if self.held && !slot.entries.contains_key(&key) {
                held_back.push((role, leaf));
            } else {
                entering.push((key, role, verified));
            }
        }
        let is_denied = !denied_listed.is_empty();
        if is_denied {
            let (leaves, means) = kept_out(denied_listed);
            let text = format!("The vendor lists {leaves}, denied here (revoked or distrusted) and kept out. {means}");
            self.report(Event::DeniedCertificateListed, &answer.slot, text);
        }
        if !held_back.is_empty() {
            let (leaves, means) = kept_out(held_back);
            let text = format!(
                "The vendor lists {leaves}, verified, but a hold keeps out what is new. {means} To let it in: \
                 trustsync release"
            );
            self.report(Event::AdditionHeldBack, &answer.slot, text);
        }
        (entering, is_denied)
    }

    pub(super) fn admit(
        &mut self,
        slot: &mut SlotState,
        authority: Authority,
        key: Fingerprint,
        role: Role,
        verified: &Verified,
    ) {
        let entry = slot
            .entries
            .entry(key)
            .or_insert_with(|| Entry::of(TrustedEntry::seen(role, self.input.now), self.input.now));
        // What an override trusts is an ordinary entry from its first listing on.
        if entry.trusted.role == Role::Trusted {
            (entry.trusted.role, entry.proposal) = (role, None);
        }
        for certificate in verified.issuers() {
            self.certificates.entry(certificate.fingerprint()).or_insert_with(|| certificate.clone());
        }
        // It only grows: a vendor that lists now one cross-signed path, now another, makes no new generation each time.
        entry.trusted.chain.extend(verified.issuers().map(Certificate::fingerprint).filter(|chain| *chain != key));
        if authority == Authority::DigiCert {
            self.certificates.entry(key).or_insert_with(|| verified.leaf().clone());
        }
    }

    /// Names and witnesses of name rules, by the leaves that the answer lists for each.
    pub(super) fn renew_name_rules(&self, slot: &mut SlotState, answer: &SlotAnswer, entering: &Entering<'_>) {
        for (key, entry) in &mut slot.entries {
            let leaves = entering.iter().filter(|(root, ..)| root == key).map(|(.., verified)| verified.leaf());
            if leaves.clone().next().is_none() {
                continue;
            }
            entry.trusted.names = rule_names(leaves.clone(), answer.identity.as_ref());
            // Where these are admitted one by one, a hold admits no other.
            if !self.held || entry.trusted.witnesses.is_empty() {
                entry.trusted.witnesses = witnesses(leaves, answer.identity.as_ref());
            }
        }
    }

    /// Under `confirm`, takes out new leaves of an issuer that neither the slot nor the operator has accepted. The
    /// issuer of a name rule's leaves is a configured anchor, and so accepted.
    pub(super) fn refuse_changed_issuers(
        &mut self,
        slot: &SlotState,
        answer: &SlotAnswer,
        entering: &mut Entering<'_>,
    ) {
        let confirm = self.input.policy.changed_issuer == ChangedIssuer::Confirm;
        let accepted = &self.input.planner.accepted_issuers;
        let mut before = slot.issuers.clone();
        before.extend(self.issuers_of_entries(slot));
        if !confirm || answer.authority == Authority::Genesys || before.is_empty() {
            return;
        }
        let known: Vec<String> = before
            .iter()
            .map(|(fingerprint, issuer)| format!("{} (sha256 {fingerprint})", quoted(&issuer.subject)))
            .collect();
        entering.retain(|(key, role, verified)| {
            let Some(issuer) = verified.chain().first() else { return true };
            let (fingerprint, facts) = (issuer.fingerprint(), issuer.facts());
            if slot.entries.contains_key(key)
                || accepted.contains_key(&fingerprint)
                || before.contains_key(&fingerprint)
                || before.values().any(|before| before.key == facts.key_fingerprint)
            {
                return true;
            }
            let text = format!(
                "{} verified as {role}, but its issuer is new: {} (sha256 {fingerprint}); so far it was {}. \
                 verify.changed_issuer = \"confirm\" keeps it out; what is trusted stays. Ask the vendor; if the new \
                 issuer is theirs: trustsync accept-issuer {fingerprint}",
                name(verified.leaf()),
                quoted(&facts.subject),
                known.join(", ")
            );
            self.report(Event::IssuerChanged, &answer.slot, text);
            false
        });
    }

    /// Keeps all new leaves out where there are more of them than one answer may add: which of them are the vendor's is
    /// unknown.
    pub(super) fn refuse_too_many(&mut self, slot: &SlotState, answer: &SlotAnswer, entering: &mut Entering<'_>) {
        let new: BTreeSet<Fingerprint> =
            entering.iter().map(|(key, ..)| *key).filter(|key| !slot.entries.contains_key(key)).collect();
        let most = self.input.policy.max_new_leaves;
        if new.len() <= most {
            return;
        }
        entering.retain(|(key, ..)| !new.contains(key));
        let heads: Vec<String> = new.iter().take(10).map(Fingerprint::short).collect();
        let text = format!(
            "The vendor's answer has {} new certificates that verify ({}), more than the {most} that one answer may \
             add: none of them enters, and what is trusted stays. Ask the vendor; if all are theirs, raise \
             verify.max_new_leaves for one cycle.",
            new.len(),
            heads.join(", "),
        );
        self.report(Event::TooManyNewLeaves, &answer.slot, text);
    }

    /// Keeps the slot within its bound. What is trusted stays, for it has been listed longer than what is new; only what
    /// retires, which the vendor no longer lists, makes room, the longest absent first. Of what is new, current comes
    /// first. Whether all of it fits.
    pub(super) fn make_room(&mut self, slot: &mut SlotState, answer: &SlotAnswer, entering: &mut Entering<'_>) -> bool {
        let mut new: Vec<(Role, Fingerprint)> = entering
            .iter()
            .map(|(key, role, _)| (*role, *key))
            .filter(|(_, key)| !slot.entries.contains_key(key))
            .collect();
        new.sort_unstable();
        new.dedup_by_key(|(_, key)| *key);
        let most = self.input.policy.max_pins;
        let excess = slot.entries.len().saturating_add(new.len()).saturating_sub(most).min(new.len());
        let listed: BTreeSet<Fingerprint> = entering.iter().map(|(key, ..)| *key).collect();
        let mut retiring: Vec<(Timestamp, Fingerprint)> = slot
            .entries
            .iter()
            .filter(|(_, entry)| entry.trusted.role == Role::Retiring && entry.trusted.word.is_none())
            .filter(|(key, _)| !listed.contains(key))
            .map(|(key, entry)| (entry.last_seen, *key))
            .collect();
        retiring.sort_unstable();
        retiring.truncate(excess);
        for (_, key) in &retiring {
            let text = format!("{} left: the vendor no longer lists it, and the slot is full.", self.named(key));
            self.report(Event::CertificateLeft, &answer.slot, text);
            slot.entries.remove(key);
        }
        let kept_out: BTreeSet<Fingerprint> =
            new.iter().rev().take(excess.saturating_sub(retiring.len())).map(|(_, key)| *key).collect();
        if kept_out.is_empty() {
            return true;
        }
        entering.retain(|(key, ..)| !kept_out.contains(key));
        let heads: Vec<String> = kept_out.iter().take(10).map(Fingerprint::short).collect();
        let text = format!(
            "The slot may trust {most} certificates and is full: {} more that the vendor lists verified and {} kept out \
             ({}). What is trusted stays; calls fail once the vendor presents what is kept out. Ask the vendor; if all \
             are theirs, raise verify.max_pins.",
            kept_out.len(),
            if kept_out.len() == 1 { "is" } else { "are" },
            heads.join(", "),
        );
        self.report(Event::TooManyPins, &answer.slot, text);
        false
    }

    /// Keeps out what would take another's path away at the servers; whether nothing was.
    pub(super) fn refuse_harmful(
        &mut self,
        slot: &SlotState,
        answer: &SlotAnswer,
        entering: &mut Entering<'_>,
    ) -> bool {
        let listed = entering.len();
        let left_out = self.left_out;
        entering.retain(|(key, role, verified)| {
            let Some(why) = left_out.get(key).filter(|_| !slot.entries.contains_key(key)) else { return true };
            let text = format!("{} verified as {role}, but it is kept out: {why}", name(verified.leaf()));
            self.report(Event::ServersWouldRefuse, &answer.slot, text);
            false
        });
        entering.len() == listed
    }

    /// Remembers who issued what the vendor listed; an override for one leaf accepts no issuer.
    pub(super) fn learn_issuers(&self, slot: &mut SlotState, authority: Authority) {
        if authority == Authority::DigiCert {
            let issuers: Vec<(Fingerprint, Issuer)> = self.issuers_of_entries(slot).collect();
            slot.issuers.extend(issuers);
        }
    }

    fn issuers_of_entries<'b>(&'b self, slot: &'b SlotState) -> impl Iterator<Item = (Fingerprint, Issuer)> + 'b {
        let listed = slot.entries.iter().filter(|(_, entry)| entry.trusted.role != Role::Trusted);
        listed.flat_map(move |(key, entry)| {
            let leaf = self.certificates.get(key);
            let above = entry.trusted.chain.iter().filter_map(|link| self.certificates.get(link));
            above
                .filter(move |issuer| leaf.is_some_and(|leaf| leaf.facts().issuer_der == issuer.facts().subject_der))
                .map(|issuer| {
                    let facts = issuer.facts();
                    (facts.fingerprint, Issuer { subject: facts.subject.clone(), key: facts.key_fingerprint })
                })
        })
    }
}
