//! What stands above the leaves that are trusted, or may become so: whose lists are asked for, and by which ways a leaf
//! gets past an issuer that was revoked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::anchors;
use crate::settings::resolved::{Settings, Store as StoreSettings};
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::SlotAnswer;
use crate::trust::plan::planner_state::PlannerState;
use crate::trust::plan::set::TrustSet;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify;
use crate::trust::verify::anchor::Anchors;
use crate::trust::verify::work::Work;

/// A leaf that is trusted, or may become so, and what stands above it on all its known paths.
pub(super) struct Paths {
    pub(super) slots: BTreeSet<SlotId>,
    pub(super) leaf: Certificate,
    pub(super) chain: BTreeSet<Certificate>,
}

impl Paths {
    pub(super) fn chain(&self) -> Vec<Certificate> {
        self.chain.iter().cloned().collect()
    }

    /// The URLs of its lists.
    pub(super) fn urls(&self) -> BTreeSet<String> {
        let mut urls = BTreeSet::new();
        for certificate in std::iter::once(&self.leaf).chain(&self.chain) {
            let facts = certificate.facts();
            if facts.self_issued() {
                continue;
            }
            let http = |url: &&String| url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
            let fetchable: Vec<&String> = facts.crl_urls.iter().filter(http).collect();
            // Where there is none that can be asked, asking says why.
            urls.extend(
                if fetchable.is_empty() { facts.crl_urls.iter().collect() } else { fetchable }.into_iter().cloned(),
            );
        }
        urls
    }
}

/// By what the paths of a leaf are judged anew: what is remembered above it only grows, so some of that may have expired
/// since, or lead to a root that is not an anchor any more. That is not a way past anybody.
pub struct Judging<'a> {
    /// The anchors, and what a path must satisfy.
    pub settings: &'a Settings,
    /// Whose leaves these are.
    pub store: &'a StoreSettings,
    /// `None` while the clock is in doubt, by which nothing ends.
    pub now: Option<Timestamp>,
}

impl Judging<'_> {
    /// What stands on those paths of the leaf that are valid now; none where that cannot be said.
    pub(super) fn ways(&self, path: &Paths, work: &mut Work<'_>) -> Vec<Certificate> {
        let Some(now) = self.now else { return Vec::new() };
        let chain = path.chain();
        let mut ways = BTreeSet::new();
        for slot in &path.slots {
            let anchors = self.anchors(slot).unwrap_or_else(|| {
                // The slot has left the configuration, or its file cannot be read: by the roots that it had.
                Anchors(chain.iter().filter(|issuer| issuer.facts().self_issued()).cloned().collect())
            });
            let valid = verify::valid_paths(&path.leaf, &chain, &anchors, &self.settings.verify, now, work);
            ways.extend(valid.into_iter().flatten());
        }
        ways.into_iter().collect()
    }

    fn anchors(&self, slot: &SlotId) -> Option<Anchors> {
        let (source, _, authority) = self.settings.slots_of(self.store).find(|(_, known, _)| known == slot)?;
        anchors::of(source, authority).ok()
    }
}

/// Every leaf that was listed and accepted, and every pin, with the certificates of all its paths: those that the
/// answers show, and those that are remembered.
pub(super) fn paths(answers: &[SlotAnswer], planner: &PlannerState, set: &TrustSet) -> Vec<Paths> {
    let mut paths: BTreeMap<Fingerprint, Paths> = BTreeMap::new();
    let mut known = |slot: &SlotId, leaf: &Certificate, chain: &mut dyn Iterator<Item = &Certificate>| {
        let of_leaf = paths.entry(leaf.fingerprint()).or_insert_with(|| Paths {
            slots: BTreeSet::new(),
            leaf: leaf.clone(),
            chain: BTreeSet::new(),
        });
        of_leaf.slots.insert(slot.clone());
        of_leaf.chain.extend(chain.cloned());
    };
    for answer in answers {
        for verified in answer.certificates.iter().filter_map(|listed| listed.verdict.accepted()) {
            known(&answer.slot, verified.leaf(), &mut verified.issuers());
        }
    }
    for (slot, held) in &planner.slots {
        for (key, entry) in &held.entries {
            // The entry of a name rule is its root, which has no list above it.
            let Some(pin) = set.pins.get(key) else { continue };
            known(slot, &pin.leaf, &mut entry.trusted.chain.iter().filter_map(|link| set.chain.get(link)));
        }
    }
    paths.into_values().collect()
}

pub(super) fn issuers(paths: &[Paths]) -> Arc<[Certificate]> {
    let distinct: BTreeSet<&Certificate> = paths.iter().flat_map(|path| &path.chain).collect();
    distinct.into_iter().cloned().collect()
}
