//! Adopts what another's manifest says: nothing of it is believed but what our own policy would have let in. A leaf enters
//! if it verifies anew, under a slot that is configured here, with the slot's identity; a name rule if its root is an
//! anchor here and its names are the slot's. A denial is always believed: it can only take away.

use std::collections::{BTreeMap, BTreeSet};

use crate::trust::certificate::Certificate;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::manifest::{Manifest, ManifestEntry};
use crate::trust::marker_name::MarkerName;
use crate::trust::observation::{IdentityRule, SlotRules};
use crate::trust::planner_state::{Entry, PlannerState, SlotState};
use crate::trust::refusal::quoted;
use crate::trust::set::{Authority, Denial, Role, SlotId, TrustSet, Witnesses};
use crate::trust::timestamp::Timestamp;
use crate::trust::verify::{self, Candidate, Identity, Policy, Verdict};

/// More entries, slots or denials than any store of ours comes to; what is judged is bounded before it is judged.
const MOST_ENTRIES: usize = 500;
const MOST_DENIALS: usize = 10_000;

/// Whose generation is adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Giver {
    /// The store of the daemon that polls for us: its first word on an identity is kept, and what has expired stays, as
    /// the last leaf does.
    Daemon,
    /// A copy from another day and place: only what is valid enters, and no identity is learned.
    Seed,
}

/// What is judged, and by what.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// Whose it is.
    pub giver: Giver,
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The certificates that stand beside it.
    pub certificates: &'a BTreeMap<Fingerprint, Certificate>,
    /// Of every slot that is configured here; an identity that was kept counts as learned.
    pub rules: &'a [SlotRules],
    /// What was adopted before: a slot that is configured no longer keeps what it had, while the giver retires it.
    pub earlier: Option<&'a Manifest>,
    /// What was denied before: nobody takes a denial back.
    pub denied: &'a BTreeMap<Fingerprint, Denial>,
    /// The roots of other clients, configured here.
    pub extra: &'a BTreeMap<Fingerprint, Certificate>,
    /// The policy.
    pub policy: &'a Policy,
    /// The present moment.
    pub now: Timestamp,
}

/// What may be rendered.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// Whom to trust.
    pub set: TrustSet,
    /// What is remembered of it.
    pub planner: PlannerState,
    /// The identities by which leaves of a daemon's slots entered, where the configuration leaves them to be learned.
    pub identities: BTreeMap<SlotId, BTreeSet<String>>,
    /// What was not let in, and why.
    pub refused: Vec<String>,
}

/// Nothing of it may be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// Its store's id cannot stand in a marker.
    #[error("its manifest has no usable store id")]
    StoreId,
    /// More than is judged.
    #[error("its manifest has more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most.
        most: usize,
    },
    /// Another identity than the first one.
    #[error(
        "its manifest names another identity for {slot} ({}) than the one that was kept from the first time ({}): if the vendor \
         changed it, set source.{}.identity", list(.named), list(.kept), .slot.source()
    )]
    Identity {
        /// The slot.
        slot: SlotId,
        /// The one kept.
        kept: BTreeSet<String>,
        /// The one named.
        named: BTreeSet<String>,
    },
    /// Nothing of it verifies, and it does not say that nobody is to be admitted.
    #[error("nothing that it trusts may be trusted here{}", .0.iter().map(|why| format!("; {why}")).collect::<String>())]
    Nothing(Vec<String>),
}

/// Judges it.
pub fn adopt(input: &Input<'_>) -> Result<Adopted, Withheld> {
    let manifest = input.manifest;
    bounded(manifest)?;
    let denied = denials(input);
    // Those that were kept count too: else each generation could bring as many again.
    if denied.len() > MOST_DENIALS {
        return Err(Withheld::TooMany { what: "denied certificates", most: MOST_DENIALS });
    }
    let mut judge = Judge {
        input,
        denied,
        set: TrustSet::default(),
        planner: PlannerState::default(),
        identities: BTreeMap::new(),
        refused: Vec::new(),
    };
    for (slot, held) in &manifest.slots {
        let rules = input.rules.iter().find(|rules| rules.slot == *slot);
        let identity = match rules {
            Some(rules) => judge.identity(rules, held.identity.as_ref())?,
            None => None,
        };
        for (key, entry) in held.entries.iter().filter(|(key, _)| !manifest.denied.contains_key(*key)) {
            let let_in = match rules {
                Some(rules) if rules.authority == Authority::Genesys => {
                    judge.name_rule(rules, identity.as_ref(), *key, entry)
                }
                Some(rules) => judge.leaf(rules, identity.as_ref(), *key, entry, held.entries.len() == 1),
                None => judge.as_before(slot, *key, entry),
            };
            if let Err(why) = let_in {
                judge.refused.push(format!("{}: {why}", quoted(slot.as_str())));
            }
        }
    }
    judge.conclude()
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

/// Those given and those kept. A SHA-1 that is none would be text in a server's configuration.
fn denials(input: &Input<'_>) -> BTreeMap<Fingerprint, Denial> {
    let is_sha1 =
        |text: &String| text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut denied = input.manifest.denied.clone();
    for (key, kept) in input.denied {
        let over = kept.until.is_some_and(|until| until < input.now);
        if !over {
            let given = denied.get(key);
            let sha1 = kept.sha1.clone().or_else(|| given?.sha1.clone());
            let pem_sha1 = kept.pem_sha1.clone().or_else(|| given?.pem_sha1.clone());
            denied.insert(*key, Denial { sha1, pem_sha1, ..kept.clone() });
        }
    }
    for denial in denied.values_mut() {
        denial.sha1 = denial.sha1.take().filter(is_sha1);
        denial.pem_sha1 = denial.pem_sha1.take().filter(is_sha1);
    }
    denied
}

struct Judge<'a> {
    input: &'a Input<'a>,
    denied: BTreeMap<Fingerprint, Denial>,
    set: TrustSet,
    planner: PlannerState,
    identities: BTreeMap<SlotId, BTreeSet<String>>,
    refused: Vec<String>,
}

impl Judge<'_> {
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
        entry: &ManifestEntry,
        alone: bool,
    ) -> Result<(), String> {
        if self.denied.contains_key(&key) {
            return Err(format!("{} is denied here", key.short()));
        }
        let mut word = entry.word.filter(|word| word.until > self.input.now);
        if entry.role == Role::Trusted && word.is_none() {
            // As the planner has it: the slot's last entry stays.
            if !(alone && self.had(&rules.slot, key)) {
                return Err(format!("the operator's word for {} has ended", key.short()));
            }
            word = entry.word;
        }
        let known = |key: &Fingerprint| self.input.certificates.get(key).cloned();
        let leaf = known(&key).ok_or_else(|| format!("{} stands in none of its files", key.short()))?;
        let given: Vec<Certificate> =
            std::iter::once(leaf).chain(entry.chain.iter().filter(|link| **link != key).filter_map(known)).collect();
        let candidate = self.candidate(given, rules)?;
        let Some(identity) = identity else {
            return Err(format!(
                "{} has no identity to be judged by: none is learned from a seed; it enters once the vendor lists it, or by \
                 source.{}.identity",
                key.short(),
                rules.slot.source()
            ));
        };
        let verified = candidate.admit(identity).map_err(|refusal| {
            let waived = word.is_some_and(|word| word.any_identity);
            let why =
                if waived { "; that its identity was waived is not believed: only the configuration can" } else { "" };
            format!("{refusal}{why}")
        })?;
        let leaf = verified.leaf();
        let chain: BTreeSet<Fingerprint> = verified.chain().iter().map(Certificate::fingerprint).collect();
        self.set.chain.extend(verified.chain().iter().map(|link| (link.fingerprint(), link.clone())));
        self.set.pin(&rules.slot, leaf, entry.role);
        self.remember(&rules.slot, key, Entry { chain, word, ..Entry::seen(entry.role, entry.first_seen) });
        if let (IdentityRule::Learn { .. }, Giver::Daemon, Identity::Names(names)) =
            (&rules.identity, self.input.giver, identity)
        {
            self.identities.insert(rules.slot.clone(), names.clone());
        }
        Ok(())
    }

    fn candidate(&self, given: Vec<Certificate>, rules: &SlotRules) -> Result<Candidate, String> {
        match verify::judge_certificates(given, &rules.anchors, self.input.policy, self.input.now) {
            Verdict::Accepted(candidate) => Ok(candidate),
            // Servers refuse it by themselves; the daemon keeps it as the last one.
            Verdict::Expired(candidate, _) if self.input.giver == Giver::Daemon => Ok(candidate),
            Verdict::Expired(_, refusal) | Verdict::Refused(refusal) => Err(refusal.to_string()),
        }
    }

    fn name_rule(
        &mut self,
        rules: &SlotRules,
        identity: Option<&Identity>,
        key: Fingerprint,
        entry: &ManifestEntry,
    ) -> Result<(), String> {
        if self.denied.contains_key(&key) {
            return Err(format!("{} is denied here", key.short()));
        }
        let root = rules.anchors.0.iter().find(|anchor| anchor.fingerprint() == key);
        let root = root.ok_or_else(|| format!("{} is no anchor here (genesys_anchors)", key.short()))?.clone();
        let names: BTreeSet<String> = match identity {
            Some(Identity::Any) => BTreeSet::new(),
            Some(Identity::Names(ours)) => {
                let named = |name: &&String| entry.names.iter().any(|given| given.eq_ignore_ascii_case(name));
                let foreign =
                    entry.names.iter().find(|given| !ours.iter().any(|name| name.eq_ignore_ascii_case(given)));
                if let Some(foreign) = foreign {
                    return Err(format!("its name rule admits {:?}, which is no name of this slot", quoted(foreign)));
                }
                if entry.names.is_empty() {
                    return Err(format!(
                        "its name rule admits by the issuer alone; where the vendor's leaf has its name in the SAN only, say so \
                         here with source.{}.identity = \"any\"",
                        rules.slot.source()
                    ));
                }
                ours.iter().filter(named).cloned().collect()
            }
            None => return Err("it has no identity to be judged by".to_owned()),
        };
        // The leaves themselves are not at hand to be judged: whoever admits these one by one admits none of them.
        let dns_names = match self.input.giver {
            // Not asking for what the daemon says that no leaf shows would admit by the issuer alone.
            Giver::Daemon => names.clone(),
            Giver::Seed => entry.witnesses.dns_names.iter().filter(|name| names.contains(*name)).cloned().collect(),
        };
        let witnesses = Witnesses { dns_names, leaves: BTreeSet::new() };
        self.set.chain.insert(key, root.clone());
        self.set.admit_by_name(&rules.slot, &root, &names, &witnesses);
        // No path but the root itself: a leaf of the region is signed by it directly.
        let chain =
            entry.chain.iter().filter(|link| rules.anchors.0.iter().any(|anchor| anchor.fingerprint() == **link));
        let chain: BTreeSet<Fingerprint> = chain.copied().collect();
        self.remember(&rules.slot, key, Entry { chain, names, witnesses, ..Entry::seen(entry.role, entry.first_seen) });
        Ok(())
    }

    /// A slot that the configuration has no longer: what was adopted before stays while the giver has it.
    fn as_before(&mut self, slot: &SlotId, key: Fingerprint, entry: &ManifestEntry) -> Result<(), String> {
        let unknown = || "it is no slot of this configuration, and nothing of it was adopted before".to_owned();
        let before = self.input.earlier.and_then(|earlier| earlier.slots.get(slot)?.entries.get(&key).cloned());
        let before = before.filter(|_| !self.denied.contains_key(&key)).ok_or_else(unknown)?;
        let certificate = self.input.certificates.get(&key).cloned().ok_or_else(unknown)?;
        for link in &before.chain {
            if let Some(certificate) = self.input.certificates.get(link) {
                self.set.chain.insert(*link, certificate.clone());
            }
        }
        match slot.authority() {
            Authority::DigiCert => self.set.pin(slot, &certificate, entry.role),
            Authority::Genesys => {
                self.set.chain.insert(key, certificate.clone());
                self.set.admit_by_name(slot, &certificate, &before.names, &before.witnesses);
            }
        }
        let ManifestEntry { chain, names, witnesses, .. } = before;
        self.remember(slot, key, Entry { chain, names, witnesses, ..Entry::seen(entry.role, entry.first_seen) });
        Ok(())
    }

    fn had(&self, slot: &SlotId, key: Fingerprint) -> bool {
        self.input
            .earlier
            .and_then(|earlier| earlier.slots.get(slot))
            .is_some_and(|held| held.entries.contains_key(&key))
    }

    fn remember(&mut self, slot: &SlotId, key: Fingerprint, entry: Entry) {
        let held: &mut SlotState = self.planner.slots.entry(slot.clone()).or_default();
        held.entries.insert(key, Entry { last_seen: self.input.manifest.committed, ..entry });
    }

    fn conclude(mut self) -> Result<Adopted, Withheld> {
        let manifest = self.input.manifest;
        let mut named = manifest.slots.values().flat_map(|held| held.entries.keys()).peekable();
        let says_so = manifest.deny_all || named.peek().is_some();
        let by_denial = self.input.giver == Giver::Daemon && says_so && named.all(|key| self.denied.contains_key(key));
        if self.set.is_empty() && !by_denial {
            return Err(Withheld::Nothing(self.refused));
        }
        self.set.denied.clone_from(&self.denied);
        self.set.extra.clone_from(self.input.extra);
        self.planner.denied = self.denied;
        self.planner.accepted_issuers.clone_from(&manifest.accepted_issuers);
        for (slot, names) in &self.identities {
            if let Some(held) = self.planner.slots.get_mut(slot) {
                held.identity = Some(names.clone());
            }
        }
        let Self { set, planner, identities, refused, .. } = self;
        Ok(Adopted { set, planner, identities, refused })
    }
}

fn list(names: &BTreeSet<String>) -> String {
    let names: Vec<String> = names.iter().take(8).map(|name| format!("\"{}\"", quoted(name))).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
