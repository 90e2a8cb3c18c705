//! What enters: verified leaves, unless too many come at once or their issuer is another than ever before.

use std::collections::{BTreeMap, BTreeSet};

use super::{ChangedIssuer, Planner, name};
use crate::trust::certificate::Certificate;
use crate::trust::event::Event;
use crate::trust::finding::Finding;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::observation::SlotAnswer;
use crate::trust::planner_state::{Entry, Issuer, SlotState};
use crate::trust::refusal::quoted;
use crate::trust::set::{Authority, Role};
use crate::trust::timestamp::Timestamp;
use crate::trust::verify::Verified;

impl Planner<'_> {
    pub(super) fn admit(
        &mut self,
        slot: &mut SlotState,
        authority: Authority,
        key: Fingerprint,
        role: Role,
        verified: &Verified,
    ) {
        let entry = slot.entries.entry(key).or_insert_with(|| Entry::seen(role, self.input.now));
        // What the operator vouched for is an ordinary entry from its first listing on.
        if entry.role == Role::Trusted {
            (entry.role, entry.proposal) = (role, None);
        }
        for certificate in verified.chain() {
            self.certificates.entry(certificate.fingerprint()).or_insert_with(|| certificate.clone());
        }
        // Growing alone: a vendor that lists now one cross-signed path, now another, makes no new generation each time.
        entry.chain.extend(verified.chain().iter().map(Certificate::fingerprint).filter(|chain| *chain != key));
        if authority == Authority::DigiCert {
            self.certificates.entry(key).or_insert_with(|| verified.leaf().clone());
        }
    }

    /// Under `confirm`, takes out new leaves of an issuer that neither the slot nor the operator has accepted. A name rule
    /// has a configured anchor as its issuer, which is accepted by being configured.
    pub(super) fn refuse_changed_issuers(
        &mut self,
        slot: &SlotState,
        answer: &SlotAnswer,
        accepted: &BTreeMap<Fingerprint, Timestamp>,
        entering: &mut Vec<(Fingerprint, Role, &Verified)>,
    ) {
        let confirm = self.input.policy.changed_issuer == ChangedIssuer::Confirm;
        let mut before = slot.issuers.clone();
        before.extend(self.issuers_of_entries(slot));
        if !confirm || answer.authority == Authority::Genesys || before.is_empty() {
            return;
        }
        let known = before
            .iter()
            .map(|(fingerprint, issuer)| format!("{} (sha256 {fingerprint})", quoted(&issuer.subject)))
            .collect::<Vec<_>>()
            .join(", ");
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
            self.findings.push(Finding::new(
                Event::IssuerChanged,
                &answer.slot,
                format!(
                    "{} verified as {role}, but its issuer is another one than before: {} (sha256 {fingerprint}); so \
                     far it was {known}. verify.changed_issuer = \"confirm\" keeps it out; what is trusted stays. \
                     Ask the vendor; if the new issuer is theirs: trustsync accept-issuer {fingerprint}",
                    name(verified.leaf()),
                    quoted(&facts.subject),
                ),
            ));
            false
        });
    }

    /// All new leaves are kept out, where there are more of them than one answer may add: which of them are the vendor's,
    /// nobody can tell.
    pub(super) fn refuse_too_many(
        &mut self,
        slot: &SlotState,
        answer: &SlotAnswer,
        entering: &mut Vec<(Fingerprint, Role, &Verified)>,
    ) {
        let new: BTreeSet<Fingerprint> =
            entering.iter().map(|(key, ..)| *key).filter(|key| !slot.entries.contains_key(key)).collect();
        let most = self.input.policy.max_new_leaves;
        if new.len() <= most {
            return;
        }
        entering.retain(|(key, ..)| !new.contains(key));
        let heads: Vec<String> = new.iter().take(10).map(Fingerprint::short).collect();
        self.findings.push(Finding::new(
            Event::TooManyNewLeaves,
            &answer.slot,
            format!(
                "The vendor's answer has {} new certificates that verify ({}), more than the {most} that one answer \
                 may add: none of them enters, and what is trusted stays. Ask the vendor; if all are theirs, raise \
                 verify.max_new_leaves for one cycle.",
                new.len(),
                heads.join(", "),
            ),
        ));
    }

    /// Remembers who issued what the vendor listed; the operator's word for one leaf accepts no issuer.
    pub(super) fn learn_issuers(&self, slot: &mut SlotState, authority: Authority) {
        if authority == Authority::DigiCert {
            let issuers: Vec<(Fingerprint, Issuer)> = self.issuers_of_entries(slot).collect();
            slot.issuers.extend(issuers);
        }
    }

    pub(super) fn issuers_of_entries<'b>(
        &'b self,
        slot: &'b SlotState,
    ) -> impl Iterator<Item = (Fingerprint, Issuer)> + 'b {
        let listed = slot.entries.iter().filter(|(_, entry)| entry.role != Role::Trusted);
        listed.flat_map(move |(key, entry)| {
            let leaf = self.certificates.get(key);
            let above = entry.chain.iter().filter_map(|link| self.certificates.get(link));
            above
                .filter(move |issuer| leaf.is_some_and(|leaf| leaf.facts().issuer_der == issuer.facts().subject_der))
                .map(|issuer| (issuer.fingerprint(), Issuer::from(issuer)))
        })
    }
}
