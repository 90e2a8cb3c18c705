//! The operator's overrides take the cycle's own path, less the poll: remembered, planned, committed, reloaded, proven.

use std::collections::BTreeSet;

use super::{CycleError, Report, Session, observe, plan_with, unasked_of};
use crate::settings::resolved::{Settings, Source, Store as StoreSettings};
use crate::store::contents::{self, Contents};
use crate::store::generation;
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::pem;
use crate::trust::plan::observation::IdentityRule;
use crate::trust::plan::overrides::Digests;
use crate::trust::plan::planner_state::PlannerState;
use crate::trust::plan::set::TrustSet;
use crate::trust::records::manifest::Manifest;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::refusal::{Refusal, Rule};
use crate::trust::verify::{self, Identity, Verdict, Verified};

/// What the operator waives of the policy for a leaf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waived {
    /// The names that it carries.
    pub identity: bool,
    /// That it has an extended key usage: one that it has must be the right one all the same.
    pub usage: bool,
}

/// The certificates of a PEM text that are not CAs.
#[must_use]
pub fn leaves_in(text: &str) -> BTreeSet<Fingerprint> {
    let blocks = pem::scan(text).into_iter().filter_map(|block| Certificate::parse(&block.bytes.ok()?).ok());
    blocks.filter(|certificate| !certificate.facts().is_ca).map(|leaf| leaf.fingerprint()).collect()
}

/// A leaf that a slot would accept.
pub struct Accepted {
    /// The first one that accepts it.
    pub slot: SlotId,
    /// By which identity.
    pub identity: Identity,
    /// The leaf with its path.
    pub verified: Verified,
}

/// Judges a leaf by the policy of the source's slots, as if the vendor listed it; the first slot that accepts it,
/// or why each does not. The identity can be waived where leaves are pinned: a name rule without a name would admit
/// whatever the root signs.
pub fn check_leaf(
    contents: &Contents,
    settings: &Settings,
    source: &Source,
    text: &str,
    waived: Waived,
    now: Timestamp,
) -> Result<Result<Accepted, Vec<(SlotId, Refusal)>>, CycleError> {
    let mut policy = settings.verify.clone();
    if waived.usage {
        policy.usage_waived = leaves_in(text);
    }
    let mut refusals = Vec::new();
    for (slot, authority) in source.slots() {
        let rules = observe::rules(source, slot, authority, &contents.state.planner)?;
        let identity = match rules.identity {
            _ if waived.identity && authority == Authority::DigiCert => Some(Identity::Any),
            IdentityRule::Fixed(identity) => Some(identity),
            IdentityRule::Learn { learned: Some(names), .. } => Some(Identity::Names(names)),
            IdentityRule::Learn { region_name, learned: None } => {
                region_name.map(|name| Identity::Names([name].into()))
            }
        };
        let mut verdict = verify::verify_string(text, &rules.anchors, &policy, now);
        // Who hands in a leaf without its chain means the chain that is known.
        if let Verdict::Refused(refusal) = &verdict
            && refusal.breaks(Rule::UnknownIssuer)
        {
            let known = contents.set.chain.values();
            let known: String = known.map(|link| pem::encode("CERTIFICATE", link.der())).collect();
            match verify::verify_string(&format!("{text}\n{known}"), &rules.anchors, &policy, now) {
                Verdict::Refused(_) => {}
                better => verdict = better,
            }
        }
        let judged = match (verdict, identity) {
            (Verdict::Accepted(candidate), Some(identity)) => {
                candidate.admit(&identity).map(|verified| (identity, verified))
            }
            (Verdict::Accepted(candidate), None) => Err(candidate.without_identity()),
            (Verdict::Expired(_, refusal) | Verdict::Refused(refusal), _) => Err(refusal),
        };
        match judged {
            Ok((identity, verified)) => return Ok(Ok(Accepted { slot: rules.slot, identity, verified })),
            Err(refusal) => refusals.push((rules.slot, refusal)),
        }
    }
    Ok(Err(refusals))
}

impl Session<'_> {
    /// Acts on an override at once: `planner` and `set` are what is remembered and trusted with it. No source is asked.
    pub async fn act_on_override(
        &mut self,
        settings: &Settings,
        planner: PlannerState,
        set: &TrustSet,
        word: &str,
    ) -> Result<Report, CycleError> {
        if planner != self.contents.state.planner {
            self.note_override(word);
        }
        let unasked = unasked_of(settings, self.store, &self.contents, self.clock);
        let times = self.contents.state.known_times();
        let plan = plan_with(settings, self.store, (&planner, set), &unasked, times, self.clock)?;
        let mut report = Report::of(&self.contents, &[], &plan);
        if self.would_lose_by_damage(&plan) {
            report.difference = crate::trust::plan::difference::Difference::default();
            report.deny_all = self.contents.manifest.as_ref().is_some_and(|manifest| manifest.deny_all);
            let text = format!(
                "\"{word}\" could not be published: the store has lost certificates (see its alarms), and a generation \
                 without them would take them from the servers. Denials and accepted issuers are kept for the next \
                 generation; a leaf to trust is not. Run trustsync sync, then the command again."
            );
            report.fail_by(Finding::new(Event::WordNotPublished, Subject::store(&self.store.name), text));
            self.contents.state.planner.denied = planner.denied;
            self.contents.state.planner.accepted_issuers = planner.accepted_issuers;
            self.save();
        } else {
            self.adopt(&plan, word, &mut report)?;
        }
        self.take_turns(&mut report).await;
        Ok(report)
    }
}

/// A certificate that a store knows: it is trusted, stands on a path, or did in a generation that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCertificate {
    /// What it is to the store: `current`, `issuer`, `of generation 000041`.
    pub what: String,
    /// RFC 2253 text.
    pub subject: String,
    /// Last valid second.
    pub not_after: Timestamp,
    /// By which servers ask for it.
    pub digests: Digests,
}

/// What the store knows of a certificate: its set, and what the manifests of the kept generations say of others.
#[must_use]
pub fn known_certificate(
    store: &StoreSettings,
    contents: &Contents,
    fingerprint: &Fingerprint,
) -> Option<KnownCertificate> {
    let set = &contents.set;
    let of = |what: String, certificate: &Certificate| {
        let facts = certificate.facts();
        let digests = Digests { sha1: Some(facts.sha1.clone()), pem_sha1: Some(certificate.pem_sha1()) };
        KnownCertificate { what, subject: facts.subject.clone(), not_after: facts.not_after, digests }
    };
    let pin = set.pins.get(fingerprint).map(|pin| of(pin.role().to_string(), &pin.leaf));
    let root = || set.name_rules.iter().find(|rule| rule.root.fingerprint() == *fingerprint);
    let link = || set.chain.get(fingerprint).or_else(|| set.extra.get(fingerprint));
    let in_force = pin
        .or_else(|| root().map(|rule| of("root of a name rule".to_owned(), &rule.root)))
        .or_else(|| link().map(|issuer| of("issuer".to_owned(), issuer)));
    in_force.or_else(|| {
        manifests(store).find_map(|manifest| {
            let facts = manifest.certificates.get(fingerprint)?;
            Some(KnownCertificate {
                what: format!("of generation {:06}", manifest.generation),
                subject: facts.subject.clone(),
                not_after: facts.not_after,
                digests: Digests { sha1: Some(facts.sha1.clone()), pem_sha1: facts.pem_sha1.clone() },
            })
        })
    })
}

/// Every certificate that the store knows, and each that it denies.
#[must_use]
pub fn known_fingerprints(store: &StoreSettings, contents: &Contents) -> BTreeSet<Fingerprint> {
    let set = &contents.set;
    let rules = set.name_rules.iter();
    let witnesses = rules.clone().flat_map(|rule| rule.witnesses.leaves.iter().copied());
    let held = set.pins.keys().chain(set.chain.keys()).chain(set.extra.keys()).copied();
    let mut known: BTreeSet<Fingerprint> =
        held.chain(rules.map(|rule| rule.root.fingerprint())).chain(witnesses).collect();
    known.extend(contents.state.planner.denied.keys());
    known.extend(manifests(store).flat_map(|manifest| manifest.certificates.into_keys()));
    known
}

/// Those of the kept generations that can be read, the newest first. Where the folder cannot be listed, there are none:
/// a denial then is as good as that of a leaf that is unknown here.
fn manifests(store: &StoreSettings) -> impl Iterator<Item = Manifest> + '_ {
    let numbers = generation::list(&store.path).unwrap_or_default();
    numbers.into_iter().rev().filter_map(|number| contents::manifest_of(&store.path, number).ok().flatten())
}
