//! Adopts another's manifest. Only what our own policy would have let in is believed: a leaf enters if it verifies
//! anew, under a slot that is configured here, with the slot's identity; a name rule if its root is an anchor here and
//! its names are the slot's. A denial is always believed: it can only take away.

use std::collections::{BTreeMap, BTreeSet};

use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::{IdentityRule, SlotRules};
use crate::trust::plan::planner_state::{Entry, PlannerState, TrustedEntry};
use crate::trust::plan::set::{Denial, Role, TrustSet, Witnesses};
use crate::trust::records::manifest::Manifest;
use crate::trust::values::excerpt::{SHOWN, quoted, quoted_list};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::marker_name::MarkerName;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::{self, Identity, Policy, Verdict};

/// More entries and slots, and more denials, than any store of ours has: the work is bounded before it begins.
const MOST_ENTRIES: usize = 500;
const MOST_DENIALS: usize = 10_000;

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
    /// What was denied before: a giver cannot take a denial back.
    pub denied: &'a BTreeMap<Fingerprint, Denial>,
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
        /// Slots and certificates, or denied certificates.
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
    // Those that were kept count too: else each generation could bring as many again.
    if denied.len() > MOST_DENIALS {
        return Err(Withheld::TooMany { what: "denied certificates", most: MOST_DENIALS });
    }
    let planner =
        PlannerState { denied, accepted_issuers: manifest.accepted_issuers.clone(), ..PlannerState::default() };
    let mut adoption = Adoption { input, planner, certificates: BTreeMap::new() };
    let mut refused = Vec::new();
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
                Some(rules) => adoption.leaf(rules, identity.as_ref(), *key, entry, held.entries.len() == 1),
            };
            if let Err(why) = let_in {
                refused.push(format!("{}: {why}", quoted(slot.as_str())));
            }
        }
    }
    let Adoption { planner, certificates, .. } = adoption;
    let set = TrustSet { extra: input.extra.clone(), ..planner.set(&certificates) };
    let mut named = manifest.slots.values().flat_map(|held| held.entries.keys()).peekable();
    let says_so = manifest.deny_all || named.peek().is_some();
    let by_denial = input.giver == Giver::Daemon && says_so && named.all(|key| planner.denied.contains_key(key));
    if set.is_empty() && !by_denial {
        return Err(Withheld::Nothing(refused));
    }
    Ok(Adopted { set, planner, refused })
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
    for (count, most, what) in [
        (entries, MOST_ENTRIES, "slots and certificates"),
        (manifest.denied.len(), MOST_DENIALS, "denied certificates"),
    ] {
        if count > most {
            return Err(Withheld::TooMany { what, most });
        }
    }
    Ok(())
}

/// Those given and those kept. A SHA-1 that is not one would be text in a server's configuration.
fn denials(input: &Input<'_>) -> BTreeMap<Fingerprint, Denial> {
    let is_sha1 =
        |text: &String| text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut denied = input.manifest.denied.clone();
    let is_in_force = |kept: &Denial| kept.until.is_none_or(|until| until >= input.now);
    for (key, kept) in input.denied.iter().filter(|(_, kept)| is_in_force(kept)) {
        let given = denied.get(key);
        let sha1 = kept.sha1.clone().or_else(|| given?.sha1.clone());
        let pem_sha1 = kept.pem_sha1.clone().or_else(|| given?.pem_sha1.clone());
        denied.insert(*key, Denial { sha1, pem_sha1, ..kept.clone() });
    }
    for denial in denied.values_mut() {
        denial.sha1 = denial.sha1.take().filter(is_sha1);
        denial.pem_sha1 = denial.pem_sha1.take().filter(is_sha1);
    }
    denied
}

struct Adoption<'a> {
    input: &'a Input<'a>,
    planner: PlannerState,
    /// Those that verified, with their paths.
    certificates: BTreeMap<Fingerprint, Certificate>,
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
        alone: bool,
    ) -> Result<(), String> {
        let mut word = entry.word.clone().filter(|word| word.until > self.input.now);
        if entry.role == Role::Trusted && word.is_none() {
            // As in the planner: the slot's last entry stays.
            if !alone || self.before(&rules.slot, key).is_none() {
                return Err(format!("the operator's override for {} has ended", key.short()));
            }
            word.clone_from(&entry.word);
        }
        let known = |key: &Fingerprint| self.input.certificates.get(key).cloned();
        let leaf = known(&key).ok_or_else(|| format!("{} is in none of its files", key.short()))?;
        let chain = entry.chain.iter().filter(|link| **link != key).filter_map(known);
        let given = std::iter::once(leaf).chain(chain).collect();
        let candidate = match verify::verify_certificates(given, &rules.anchors, self.input.policy, self.input.now) {
            Verdict::Accepted(candidate) => candidate,
            // Servers refuse it by themselves; the daemon keeps it as the last one.
            Verdict::Expired(candidate, _) if self.input.giver == Giver::Daemon => candidate,
            Verdict::Expired(_, refusal) | Verdict::Refused(refusal) => return Err(refusal.to_string()),
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
        let chain = verified.chain().iter().map(|link| self.let_in(link)).collect();
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
