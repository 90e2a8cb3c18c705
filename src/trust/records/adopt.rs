//! Adopts another's manifest. Only what our own policy would have let in is believed: a leaf enters if it verifies
//! anew, under a slot that is configured here, with the slot's identity; a name rule if its root is an anchor here and
//! its names are the slot's. A denial is believed as long as it is said: it can only take away. What we know by ourselves
//! stays denied whatever is said: our own operator's word, and whom a list revokes that an issuer of ours has signed.

use std::collections::{BTreeMap, BTreeSet};

use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::{IdentityRule, SlotRules};
use crate::trust::plan::planner_state::{Entry, PlannerState, TrustOverride, TrustedEntry};
use crate::trust::plan::set::{Denial, DenialReason, Role, TrustSet, Witnesses};
use crate::trust::records::manifest::Manifest;
use crate::trust::values::excerpt::{SHOWN, quoted, quoted_list};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::marker_name::MarkerName;
use crate::trust::values::said::Said;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::crl::{Crl, Freshest, believe, revocations};
use crate::trust::verify::refusal::Rule;
use crate::trust::verify::work::Work;
use crate::trust::verify::{self, Identity, Policy, Verdict};

/// More entries and slots than any store of ours has: the work is bounded before it begins.
const MOST_ENTRIES: usize = 500;

/// As many denials are taken from a giver, the newest first. Our own are not counted: nothing that others say pushes
/// them out.
const MOST_DENIALS: usize = 1_000;

/// Whose generation is adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Giver {
    /// The store of the daemon that polls for us: the first identity that it names is kept, and what has expired stays,
    /// as the last leaf does.
    Daemon,
    /// A copy from another day and place: only what is valid enters, and no identity is learned.
    Seed,
}

/// A generation that is offered, and what it must satisfy here.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// Who offers it.
    pub giver: Giver,
    /// The manifest of the generation.
    pub manifest: &'a Manifest,
    /// The certificates in the generation's files.
    pub certificates: &'a BTreeMap<Fingerprint, Certificate>,
    /// Of every slot that is configured here; an identity that was kept counts as learned.
    pub rules: &'a [SlotRules],
    /// What was adopted before: a slot that is no longer configured keeps what it had, while the giver retires it.
    pub earlier: Option<&'a Manifest>,
    /// The certificates of what was adopted before, from our own files.
    pub earlier_certificates: &'a BTreeMap<Fingerprint, Certificate>,
    /// What is denied by our own knowledge, which no giver can take back. Neither does a clock: what the giver denies,
    /// on the other hand, is denied while the giver says so.
    pub denied: &'a BTreeMap<Fingerprint, Denial>,
    /// Revocation lists that stand beside it. Signed by an issuer of ours, they revoke whom they name, whatever the
    /// giver says and however old they are.
    pub lists: &'a [Crl],
    /// The roots of other clients, configured here.
    pub extra: &'a BTreeMap<Fingerprint, Certificate>,
    /// What a leaf and its path must satisfy.
    pub policy: &'a Policy,
    /// The time by this machine's clock.
    pub now: Timestamp,
}

/// What may be rendered.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// Whom to trust.
    pub set: TrustSet,
    /// What the planner begins from. A daemon's slot has an identity where the configuration leaves it to be learned,
    /// and leaves entered by it.
    pub planner: PlannerState,
    /// What was not let in, each with the reason.
    pub refused: Vec<String>,
    /// The leaves that a list names, as we have verified by ourselves: to be kept, whatever becomes of the list.
    pub revoked: BTreeMap<Fingerprint, Denial>,
}

impl Adopted {
    /// The identities that were learned from the daemon.
    pub fn identities(&self) -> impl Iterator<Item = (SlotId, BTreeSet<String>)> + '_ {
        self.planner.slots.iter().filter_map(|(slot, held)| Some((slot.clone(), held.identity.clone()?)))
    }
}

/// Nothing of it may be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// Its store's id cannot stand in a marker.
    #[error("its manifest has no usable store id")]
    StoreId,
    /// More than we work through.
    #[error("its manifest has more than {most} {what}")]
    TooMany {
        /// Slots and certificates.
        what: &'static str,
        /// How many we would work through.
        most: usize,
    },
    /// Another identity than the first one.
    #[error(
        "its manifest names another identity for {slot} ({}) than the first one, which was kept ({}): if the vendor \
         changed it, set source.{}.identity",
        quoted_list(.named, SHOWN), quoted_list(.kept, SHOWN), .slot.source()
    )]
    Identity {
        /// The slot whose leaves it binds.
        slot: SlotId,
        /// The names that were kept from the first time.
        kept: BTreeSet<String>,
        /// The names in the manifest.
        named: BTreeSet<String>,
    },
    /// Nothing of it verifies, and it does not say that everyone is denied. Why not, each reason.
    #[error(
        "nothing that it trusts may be trusted here{}", .0.iter().map(|why| format!("; {why}")).collect::<String>()
    )]
    Nothing(Vec<String>),
}

/// Verifies a generation by our own policy.
pub fn adopt(input: &Input<'_>) -> Result<Adopted, Withheld> {
    let manifest = input.manifest;
    bounded(manifest)?;
    let denied = denials(input);
    let planner =
        PlannerState { denied, accepted_issuers: manifest.accepted_issuers.clone(), ..PlannerState::default() };
    let mut adoption = Adoption { input, planner, certificates: BTreeMap::new(), work: Work::default() };
    let mut refused = Vec::new();
    if manifest.denied.len() > MOST_DENIALS {
        let given = manifest.denied.len();
        refused.push(format!("it denies {given} certificates, of which the {MOST_DENIALS} newest are taken"));
    }
    for (slot, held) in &manifest.slots {
        let rules = input.rules.iter().find(|rules| rules.slot == *slot);
        let identity = match rules {
            Some(rules) => adoption.identity(rules, held.identity.as_ref())?,
            None => None,
        };
        for (key, entry) in held.entries.iter().filter(|(key, _)| !manifest.denied.contains_key(*key)) {
            let let_in = match rules {
                None => adoption.as_before(slot, *key, entry),
                Some(_) if adoption.planner.denied.contains_key(key) => Err(format!("{} is denied here", key.short())),
                Some(rules) if rules.authority == Authority::Genesys => {
                    adoption.name_rule(rules, identity.as_ref(), *key, entry)
                }
                Some(rules) => adoption.leaf(rules, identity.as_ref(), *key, entry),
            };
            if let Err(why) = let_in {
                refused.push(format!("{}: {why}", quoted(slot.as_str())));
            }
        }
    }
    let revoked = adoption.revoke(&mut refused);
    let Adoption { planner, certificates, .. } = adoption;
    let set = TrustSet { extra: input.extra.clone(), ..planner.set(&certificates) };
    let mut named = manifest.slots.values().flat_map(|held| held.entries.keys()).peekable();
    let says_so = manifest.deny_all || named.peek().is_some();
    let is_denied = |key| planner.denied.contains_key(key) || manifest.denied.contains_key(key);
    let by_denial = input.giver == Giver::Daemon && says_so && named.all(is_denied);
    if set.is_empty() && !by_denial {
        return Err(Withheld::Nothing(refused));
    }
    Ok(Adopted { set, planner, refused, revoked })
}

fn bounded(manifest: &Manifest) -> Result<(), Withheld> {
    let name = MarkerName {
        store_id: manifest.store.clone(),
        generation: manifest.generation,
        digest_head: manifest.digest.short(),
    };
    if MarkerName::parse(&name.to_common_name()) != Some(name) {
        return Err(Withheld::StoreId);
    }
    let entries: usize = manifest.slots.values().map(|held| held.entries.len().max(1)).fold(0, usize::saturating_add);
    if entries > MOST_ENTRIES {
        return Err(Withheld::TooMany { what: "slots and certificates", most: MOST_ENTRIES });
    }
    Ok(())
}

/// Those that are given, the newest first up to a bound, and our own. A SHA-1 that is not one would be text in a
/// server's configuration; that of a certificate which is here is known better than by anybody's word.
fn denials(input: &Input<'_>) -> BTreeMap<Fingerprint, Denial> {
    let is_sha1 =
        |text: &String| text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut given: Vec<(&Fingerprint, &Denial)> = input.manifest.denied.iter().collect();
    given.sort_by_key(|(_, denial)| std::cmp::Reverse(denial.since));
    let mut denied: BTreeMap<Fingerprint, Denial> =
        given.into_iter().take(MOST_DENIALS).map(|(key, denial)| (*key, denial.clone())).collect();
    for (key, own) in input.denied {
        let given = denied.get(key).cloned();
        let mut denial = own.clone();
        denial.sha1 = denial.sha1.or_else(|| given.as_ref()?.sha1.clone());
        denial.pem_sha1 = denial.pem_sha1.or_else(|| given?.pem_sha1);
        denied.insert(*key, denial);
    }
    for (key, denial) in &mut denied {
        if let Some(certificate) = input.certificates.get(key).or_else(|| input.earlier_certificates.get(key)) {
            denial.sha1 = Some(certificate.facts().sha1.clone());
            denial.pem_sha1 = Some(certificate.pem_sha1());
        }
        denial.sha1 = denial.sha1.take().filter(is_sha1);
        denial.pem_sha1 = denial.pem_sha1.take().filter(is_sha1);
        denial.said = Said::new(&denial.said.by, &denial.said.why);
    }
    denied
}

struct Adoption<'a> {
    input: &'a Input<'a>,
    planner: PlannerState,
    /// Those that verified, with their paths.
    certificates: BTreeMap<Fingerprint, Certificate>,
    /// What verifying all of the giver's entries may cost.
    work: Work<'a>,
}

impl Adoption<'_> {
    /// The names that bind the slot here.
    fn identity(&self, rules: &SlotRules, named: Option<&BTreeSet<String>>) -> Result<Option<Identity>, Withheld> {
        let (region_name, learned) = match &rules.identity {
            IdentityRule::Fixed(identity) => return Ok(Some(identity.clone())),
            IdentityRule::Learn { region_name, learned } => (region_name, learned),
        };
        let names = match (self.input.giver, learned, named) {
            (Giver::Daemon, Some(kept), Some(named)) if kept != named => {
                return Err(Withheld::Identity { slot: rules.slot.clone(), kept: kept.clone(), named: named.clone() });
            }
            (_, Some(kept), _) => Some(kept.clone()),
            (Giver::Daemon, None, Some(named)) => Some(named.clone()),
            (_, None, _) => region_name.clone().map(|name| BTreeSet::from([name])),
        };
        Ok(names.map(Identity::Names))
    }

    fn leaf(
        &mut self,
        rules: &SlotRules,
        identity: Option<&Identity>,
        key: Fingerprint,
        entry: &TrustedEntry,
    ) -> Result<(), String> {
        // The daemon ends an override, by a clock that somebody vouches for: nobody does for ours.
        let ended = |word: &TrustOverride| self.input.giver == Giver::Seed && word.until <= self.input.now;
        let word = entry.word.clone().filter(|word| !ended(word));
        if entry.role == Role::Trusted && word.is_none() {
            return Err(format!("the operator's override for {} has ended", key.short()));
        }
        let known = |key: &Fingerprint| self.input.certificates.get(key).cloned();
        let leaf = known(&key).ok_or_else(|| format!("{} is in none of its files", key.short()))?;
        let chain = entry.chain.iter().filter(|link| **link != key).filter_map(known);
        let given = std::iter::once(leaf).chain(chain).collect();
        let candidate =
            match verify::verify_certificates(given, &rules.anchors, self.input.policy, self.input.now, &mut self.work)
            {
                Verdict::Accepted(candidate) => candidate,
                // Servers refuse it by themselves; the daemon keeps it as the last one. As a new one it would be one of
                // which a list may have forgotten that it was revoked.
                Verdict::Expired(candidate, _) if self.before(&rules.slot, key).is_some() => candidate,
                Verdict::Expired(_, refusal) | Verdict::Refused(refusal) => {
                    let waived = word.is_some_and(|word| word.no_usage) && refusal.breaks(Rule::NoClientAuth);
                    let why = if waived { " Only root's own trust --no-usage can waive that here." } else { "" };
                    return Err(format!("{refusal}{why}"));
                }
            };
        let Some(identity) = identity else {
            return Err(format!(
                "{} cannot be verified without an identity, and a seed teaches none: it enters once the vendor lists \
                 it, or by source.{}.identity",
                key.short(),
                rules.slot.source()
            ));
        };
        let verified = candidate.admit(identity).map_err(|refusal| {
            let waived = word.as_ref().is_some_and(|word| word.any_identity);
            let why = if waived { "; only the configuration here can waive its identity" } else { "" };
            format!("{refusal}{why}")
        })?;
        let chain = verified.issuers().map(|link| self.let_in(link)).collect();
        self.let_in(verified.leaf());
        let seen = TrustedEntry::seen(entry.role, entry.first_seen);
        self.remember(&rules.slot, key, TrustedEntry { chain, word, ..seen });
        if let (IdentityRule::Learn { .. }, Giver::Daemon, Identity::Names(names)) =
            (&rules.identity, self.input.giver, identity)
        {
            self.planner.slots.entry(rules.slot.clone()).or_default().identity = Some(names.clone());
        }
        Ok(())
    }

    fn name_rule(
        &mut self,
        rules: &SlotRules,
        identity: Option<&Identity>,
        key: Fingerprint,
        entry: &TrustedEntry,
    ) -> Result<(), String> {
        let anchor = |key: Fingerprint| rules.anchors.0.iter().find(|anchor| anchor.fingerprint() == key);
        let root = anchor(key).ok_or_else(|| format!("{} is not an anchor here (genesys_anchors)", key.short()))?;
        let names = match identity {
            Some(Identity::Any) => BTreeSet::new(),
            Some(Identity::Names(ours)) => admitted_names(ours, &entry.names, rules.slot.source())?,
            None => return Err("it cannot be verified without an identity".to_owned()),
        };
        // The leaves themselves are not here to be verified: a format that admits them one by one admits none of them.
        let dns_names = match self.input.giver {
            // Not to ask for what the daemon says that no leaf shows would admit by the issuer alone.
            Giver::Daemon => names.clone(),
            Giver::Seed => entry.witnesses.dns_names.intersection(&names).cloned().collect(),
        };
        let witnesses = Witnesses { dns_names, leaves: BTreeSet::new() };
        self.let_in(root);
        // No path but the root itself: it signs a leaf of the region directly.
        let chain = entry.chain.iter().copied().filter(|link| anchor(*link).is_some()).collect();
        let seen = TrustedEntry::seen(entry.role, entry.first_seen);
        self.remember(&rules.slot, key, TrustedEntry { chain, names, witnesses, ..seen });
        Ok(())
    }

    /// Denies what the lists revoke, of what is to enter and of what was adopted before; those that a list names by
    /// their own serial number, to be kept.
    fn revoke(&mut self, refused: &mut Vec<String>) -> BTreeMap<Fingerprint, Denial> {
        let mut kept = BTreeMap::new();
        if self.input.lists.is_empty() {
            return kept;
        }
        let paths = self.paths();
        let issuers: BTreeSet<&Certificate> = paths.iter().flat_map(|(_, chain)| chain).collect();
        let issuers: Vec<Certificate> = issuers.into_iter().cloned().collect();
        // A list is judged as of its own day: who was revoked once, is.
        let skew = self.input.policy.clock_skew;
        let signed =
            self.input.lists.iter().filter_map(|crl| believe(crl, &issuers, skew, crl.facts().this_update).ok());
        let lists = signed.fold(Freshest::default(), |lists, crl| lists.and(Some(crl)));
        for (leaf, chain) in paths {
            let found = revocations(&leaf, &chain, &lists);
            let Some(first) = found.first() else { continue };
            let (key, facts) = (leaf.fingerprint(), leaf.facts());
            let denial = Denial {
                sha1: Some(facts.sha1.clone()),
                pem_sha1: Some(leaf.pem_sha1()),
                until: Some(facts.not_after),
                ..Denial::new(DenialReason::Revoked, first.since)
            };
            if found.iter().any(|revoked| revoked.fingerprint == key) {
                kept.insert(key, denial.clone());
            }
            self.planner.denied.entry(key).or_insert(denial);
            for (slot, held) in &mut self.planner.slots {
                if held.entries.remove(&key).is_some() {
                    refused.push(format!("{}: {first}", quoted(slot.as_str())));
                }
            }
        }
        kept
    }

    /// The leaves that are to enter, and those that were adopted before and verify still, each with its issuers.
    fn paths(&mut self) -> Vec<(Certificate, Vec<Certificate>)> {
        let Adoption { input, planner, certificates, work } = self;
        let pinned = |slot: &SlotId| slot.authority() == Authority::DigiCert;
        let entering = planner.slots.iter().filter(|(slot, _)| pinned(slot)).flat_map(|(_, held)| &held.entries);
        let mut paths: BTreeMap<Fingerprint, (Certificate, Vec<Certificate>)> = entering
            .filter_map(|(key, entry)| {
                let chain = entry.trusted.chain.iter().filter_map(|link| certificates.get(link)).cloned().collect();
                Some((*key, (certificates.get(key)?.clone(), chain)))
            })
            .collect();
        let before = input.earlier.into_iter().flat_map(|earlier| &earlier.slots);
        for (slot, held) in before.filter(|(slot, _)| pinned(slot)) {
            let Some(rules) = input.rules.iter().find(|rules| rules.slot == *slot) else { continue };
            for (key, entry) in held.entries.iter().filter(|(key, _)| !paths.contains_key(*key)).collect::<Vec<_>>() {
                let known = entry.chain.iter().chain([key]).filter_map(|key| input.earlier_certificates.get(key));
                let mut given: Vec<Certificate> = known.cloned().collect();
                // The leaf stands first.
                given.reverse();
                let verdict = verify::verify_certificates(given, &rules.anchors, input.policy, input.now, work);
                let (Verdict::Accepted(candidate) | Verdict::Expired(candidate, _)) = verdict else { continue };
                let Ok(verified) = candidate.admit(&Identity::Any) else { continue };
                if verified.leaf().fingerprint() == *key {
                    paths.insert(*key, (verified.leaf().clone(), verified.issuers().cloned().collect()));
                }
            }
        }
        paths.into_values().collect()
    }

    /// A slot that is no longer configured: what was adopted before stays while the giver has it.
    fn as_before(&mut self, slot: &SlotId, key: Fingerprint, entry: &TrustedEntry) -> Result<(), String> {
        let denied = self.planner.denied.contains_key(&key);
        let before = self.before(slot, key).filter(|_| !denied);
        let (Some(before), Some(certificate)) = (before, self.input.certificates.get(&key)) else {
            return Err("it is not a slot of this configuration, and nothing of it was adopted before".to_owned());
        };
        let trusted = TrustedEntry { role: entry.role, first_seen: entry.first_seen, word: None, ..before.clone() };
        self.let_in(certificate);
        for link in trusted.chain.iter().filter_map(|link| self.input.certificates.get(link)) {
            self.let_in(link);
        }
        self.remember(slot, key, trusted);
        Ok(())
    }

    /// The entry as it was adopted before.
    fn before(&self, slot: &SlotId, key: Fingerprint) -> Option<&TrustedEntry> {
        self.input.earlier?.slots.get(slot)?.entries.get(&key)
    }

    fn let_in(&mut self, certificate: &Certificate) -> Fingerprint {
        let fingerprint = certificate.fingerprint();
        self.certificates.insert(fingerprint, certificate.clone());
        fingerprint
    }

    fn remember(&mut self, slot: &SlotId, key: Fingerprint, trusted: TrustedEntry) {
        let held = self.planner.slots.entry(slot.clone()).or_default();
        held.entries.insert(key, Entry::of(trusted, self.input.manifest.committed));
    }
}

/// The names of a name rule, if all of them are the slot's.
fn admitted_names(ours: &BTreeSet<String>, given: &BTreeSet<String>, source: &str) -> Result<BTreeSet<String>, String> {
    let is_in = |names: &BTreeSet<String>, name: &str| names.iter().any(|one| one.eq_ignore_ascii_case(name));
    if let Some(foreign) = given.iter().find(|name| !is_in(ours, name)) {
        return Err(format!("its name rule admits {:?}, which is not a name of this slot", quoted(foreign)));
    }
    if given.is_empty() {
        return Err(format!(
            "its name rule admits by the issuer alone; where the vendor's leaf has its name in the SAN only, say so \
             here with source.{source}.identity = \"any\""
        ));
    }
    Ok(ours.iter().filter(|name| is_in(given, name)).cloned().collect())
}
