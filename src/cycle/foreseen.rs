//! What a configuration would refuse of what a store holds: seen before the first cycle by it, not in that cycle.

use super::{observe, read};
use crate::clock::Clock;
use crate::settings::resolved::{Settings, Store as StoreSettings};
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::{IdentityRule, SlotRules};
use crate::trust::plan::planner_state::TrustedEntry;
use crate::trust::plan::set::TrustSet;
use crate::trust::values::excerpt::{SHOWN, quoted_list};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::Authority;
use crate::trust::values::timestamp::span;
use crate::trust::verify::work::Work;
use crate::trust::verify::{self, Identity, Verdict};

/// In a sentence each; none where the store holds nothing yet.
#[must_use]
pub fn would_refuse(settings: &Settings, store: &StoreSettings, clock: &dyn Clock) -> Vec<String> {
    let name = &store.name;
    let contents = match read(store) {
        Ok(contents) => contents,
        Err(error) => return vec![format!("store.{name} could not be compared with this configuration: {error}")],
    };
    let mut found = Vec::new();
    let mut configured = Vec::new();
    for (source, slot, authority) in settings.slots_of(store) {
        configured.push(slot.clone());
        // Anchors that cannot be read are a problem of their own.
        let Ok(rules) = observe::rules(source, slot, authority, &contents.state.planner) else { continue };
        let held = contents.state.planner.slots.get(&rules.slot).into_iter().flat_map(|held| &held.entries);
        let refused = held.filter_map(|(key, entry)| {
            let entry = &entry.trusted;
            match authority {
                Authority::DigiCert => leaf(settings, &rules, &contents.set, (*key, entry), clock),
                Authority::Genesys => name_rule(&rules, *key, entry),
            }
        });
        found.extend(refused.map(|why| {
            let slot = &rules.slot;
            format!("store.{name} holds, for {slot}, what this configuration refuses as soon as it is in force: {why}")
        }));
    }
    for (slot, held) in contents.state.planner.slots.iter().filter(|(slot, _)| !configured.contains(slot)) {
        if !held.entries.is_empty() {
            let (count, grace) = (held.entries.len(), span(store.grace));
            found.push(format!(
                "store.{name} holds {count} certificate(s) of {slot}, which this configuration does not have: they \
                 leave after the grace of {grace}"
            ));
        }
    }
    found
}

fn leaf(
    settings: &Settings,
    rules: &SlotRules,
    set: &TrustSet,
    (key, entry): (Fingerprint, &TrustedEntry),
    clock: &dyn Clock,
) -> Option<String> {
    let leaf = &set.pins.get(&key)?.leaf;
    let chain = entry.chain.iter().filter_map(|link| set.chain.get(link));
    let given: Vec<Certificate> = std::iter::once(leaf).chain(chain).cloned().collect();
    let mut policy = settings.verify.clone();
    policy.usage_waived.extend(entry.word.as_ref().filter(|word| word.no_usage).map(|_| key));
    let candidate = match verify::verify_certificates(given, &rules.anchors, &policy, clock.now(), &mut Work::default())
    {
        Verdict::Accepted(candidate) => candidate,
        // That is not a fault of the configuration.
        Verdict::Expired(..) => return None,
        Verdict::Refused(refusal) => return Some(refusal.to_string()),
    };
    let names = match &rules.identity {
        _ if entry.word.as_ref().is_some_and(|word| word.any_identity) => return None,
        IdentityRule::Fixed(Identity::Any) => return None,
        IdentityRule::Fixed(Identity::Names(names)) => names.clone(),
        IdentityRule::Learn { region_name, learned } => {
            learned.clone().or_else(|| Some([region_name.clone()?].into()))?
        }
    };
    candidate.admit(&Identity::Names(names)).err().map(|refusal| refusal.to_string())
}

fn name_rule(rules: &SlotRules, key: Fingerprint, entry: &TrustedEntry) -> Option<String> {
    if !rules.anchors.0.iter().any(|anchor| anchor.fingerprint() == key) {
        return Some(format!(
            "the root with the sha256 {key} is not among genesys_anchors: what it signs is not let in anew. Add its \
             file, unless you mean to give that root up"
        ));
    }
    let IdentityRule::Fixed(Identity::Names(ours)) = &rules.identity else { return None };
    let is_ours = |name: &String| ours.iter().any(|our| our.eq_ignore_ascii_case(name));
    (!entry.names.is_empty() && !entry.names.iter().any(is_ours)).then(|| {
        let (held, ours) = (quoted_list(&entry.names, SHOWN), quoted_list(ours, SHOWN));
        format!("it admits {held}, and identity says {ours}")
    })
}
