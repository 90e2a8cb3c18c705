//! Revocation in the cycle: which lists are asked for, and what follows from them.
//!
//! The lists are fetched before the lock is taken, for the distribution points of every path that is or may become
//! trusted. Under the lock they act before anything is planned: what is revoked is *denied*, and the planner takes it
//! out at once, hold or not. A denial is remembered until the leaf's expiry, so that a list that is later blocked,
//! replaced or stale lifts nothing. One that follows from an issuer's revocation remembers that issuer instead, and is
//! lifted by an answer that shows a path past it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Clients, CycleError, Observed, housekeeping};
use crate::clock::Clock;
use crate::crl_fetch::{self, Access, Cache, Fetcher, Trouble};
use crate::http_client::{Limits, OutboundError};
use crate::settings::resolved::{CrlPolicy, Settings, Store as StoreSettings};
use crate::store::contents::Contents;
use crate::store::{Store, StoreError};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::{Interpretation, SlotAnswer, SlotVerdict};
use crate::trust::plan::planner_state::PlannerState;
use crate::trust::plan::set::{Denial, DenialReason, TrustSet};
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::crl::{Freshest, Revocation, VerifiedCrl, past_revoked};
use crate::trust::verify::refusal::Refusal;

/// How long one distribution point may take with all attempts.
const ONE_LIST: Duration = Duration::from_secs(30);
/// More distribution points than two authorities' paths have; a certificate must not make us ask the whole world.
const MOST_LISTS: usize = 32;

/// The lists in force, and what was found while asking for them.
#[derive(Debug, Default)]
pub struct Lists {
    crls: Freshest,
    findings: Vec<Finding>,
    asked_for: bool,
}

impl Lists {
    /// What is gathered where no list counts (`crl.policy = "off"`).
    pub fn not_wanted() -> Self {
        Self { asked_for: true, ..Self::default() }
    }

    /// None, for this reason.
    pub fn unavailable(store: &str, why: &CycleError) -> Self {
        let text = format!("No revocation list could be looked at: {why} What is trusted stays.");
        let findings = vec![Finding::new(Event::CrlUnavailable, Subject::store(store), text)];
        Self { findings, asked_for: true, ..Self::default() }
    }

    /// Whether lists were asked for, and not only taken from what is kept.
    pub fn were_asked_for(&self) -> bool {
        self.asked_for
    }
}

/// A leaf that is trusted, or may become so, and what stands above it on all its known paths.
struct Paths {
    slots: BTreeSet<SlotId>,
    leaf: Certificate,
    chain: BTreeSet<Certificate>,
}

impl Paths {
    fn chain(&self) -> Vec<Certificate> {
        self.chain.iter().cloned().collect()
    }
}

/// For what lists are asked: what the store has, and the slots' answers. It is read before the lock is taken: what the
/// store has may change until then, and a list is missing until the next cycle.
pub struct Asked<'a> {
    /// What the store has.
    pub contents: &'a Contents,
    /// The answers of the slots.
    pub answers: &'a [SlotAnswer],
    /// What each source said, to see whether one was silent.
    pub observed: &'a [Observed],
}

/// The lists of everything that the sources said and the store has. With `fetch` (the clients, and how long it may
/// take), what is due is fetched; without, no server is asked and nothing is written.
// Long because each step may end it, with what was found until then.
pub async fn gather(
    settings: &Settings,
    store: &StoreSettings,
    asked: &Asked<'_>,
    clock: &dyn Clock,
    fetch: Option<(&mut Clients, Duration)>,
) -> Lists {
    let mut lists = Lists { asked_for: fetch.is_some(), ..Lists::default() };
    if settings.crl.policy == CrlPolicy::Off {
        return lists;
    }
    let now = clock.now();
    let paths = paths(asked.answers, &asked.contents.state.planner, &asked.contents.set);
    let urls = distribution_points(&store.name, &paths, &mut lists.findings);
    if urls.is_empty() {
        return lists;
    }
    let mut unkept = Vec::new();
    let cache = if fetch.is_some() {
        let opened = Store::open(&store.path).and_then(|opened| Cache::open(opened.root()));
        opened.unwrap_or_else(|error| {
            unkept.push(error);
            Cache::for_reading(&store.path)
        })
    } else {
        Cache::for_reading(&store.path)
    };
    let issuers = issuers(&paths);
    let mut fetch = fetch.map(|(clients, deadline)| (clients, Instant::now().checked_add(deadline)));
    for url in &urls {
        let kept = crl_fetch::look_up(&cache, url, &issuers, settings.verify.clock_skew, now);
        let obtained = match &mut fetch {
            Some((clients, ends)) if kept.is_due => {
                let fetcher = match fetcher(settings, store, clients) {
                    Ok(fetcher) => fetcher,
                    Err(error) => {
                        let text = format!("No CRL can be fetched: {error}. What is trusted stays.");
                        lists.findings.push(Finding::new(Event::CrlUnavailable, Subject::store(&store.name), text));
                        return lists;
                    }
                };
                let left = ends.map_or(ONE_LIST, |ends| ends.saturating_duration_since(Instant::now()).min(ONE_LIST));
                crl_fetch::obtain(fetcher, &cache, url, kept, left).await
            }
            _ => kept.as_it_is(),
        };
        unkept.extend(obtained.unkept);
        lists.findings.extend(obtained.trouble.map(|trouble| not_fetched(url, &trouble, obtained.crl.as_ref())));
        lists.crls = std::mem::take(&mut lists.crls).and(obtained.crl);
    }
    // While a source is silent, it is unknown which of its lists will be needed again.
    if fetch.is_some() && asked.observed.iter().all(|said| said.failures().next().is_none()) {
        unkept.extend(cache.retain(&urls));
    }
    lists.findings.extend(housekeeping::finding(
        Event::CrlNotKept,
        Subject::store(&store.name),
        "What is kept of revocation lists could not be read or brought up to date",
        "What is in force is used all the same, and is fetched again in the next cycle; what was found revoked stays \
         out",
        unkept.iter().map(StoreError::in_short),
    ));
    lists
}

/// A distribution point gave no list that is used; `kept` is the one in force all the same.
fn not_fetched(url: &str, trouble: &Trouble, kept: Option<&VerifiedCrl>) -> Finding {
    let (event, text) = match kept {
        Some(crl) => {
            let end = crl.next_update();
            (Event::CrlNotRefreshed, format!("{trouble}. The kept list stays in use; it is in force until {end}."))
        }
        None => {
            let text = format!(
                "{trouble}. Whether its issuer has revoked something of ours since is unknown. What is trusted stays, \
                 and what was found revoked stays out."
            );
            (Event::CrlUnavailable, text)
        }
    };
    Finding::new(event, Subject::RevocationList(quoted(url)), text)
}

/// The client for this store's lists, built when the first one is due.
fn fetcher<'a>(
    settings: &Settings,
    store: &StoreSettings,
    clients: &'a mut Clients,
) -> Result<&'a Fetcher, OutboundError> {
    match clients.lists.entry(store.name.clone()) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(place) => Ok(place.insert(Fetcher::new(access(settings, store))?)),
    }
}

/// Every leaf that was listed and accepted, and every pin, with the certificates of all its paths: those that the
/// answers show, and those that are remembered.
fn paths(answers: &[SlotAnswer], planner: &PlannerState, set: &TrustSet) -> Vec<Paths> {
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

fn issuers(paths: &[Paths]) -> Vec<Certificate> {
    let distinct: BTreeSet<&Certificate> = paths.iter().flat_map(|path| &path.chain).collect();
    distinct.into_iter().cloned().collect()
}

/// The URLs that the certificates name, each once: of one that has http and others, those that can be asked.
fn distribution_points(store: &str, paths: &[Paths], findings: &mut Vec<Finding>) -> BTreeSet<String> {
    let mut urls = BTreeSet::new();
    for path in paths {
        for certificate in std::iter::once(&path.leaf).chain(&path.chain) {
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
    }
    if urls.len() > MOST_LISTS {
        let text = format!(
            "The certificates name {} distribution points of CRLs; only the first {MOST_LISTS} are asked.",
            urls.len()
        );
        findings.push(Finding::new(Event::TooManyCrls, Subject::store(store), text));
        urls = urls.into_iter().take(MOST_LISTS).collect();
    }
    urls
}

/// By the same way as the sources of the store are asked.
fn access(settings: &Settings, store: &StoreSettings) -> Access {
    Access {
        allow_private: settings.crl.allow_private,
        proxy: settings.sources_of(store).find_map(|source| source.proxy.clone()),
        ca_file: settings.sources_of(store).find_map(|source| source.ca_file.clone()),
        limits: Limits::default(),
    }
}

/// Forgets revocations of leaves that have expired since: servers refuse those by themselves.
pub fn forget_expired(planner: &mut PlannerState, now: Timestamp) {
    planner
        .denied
        .retain(|_, denial| denial.reason != DenialReason::Revoked || denial.until.is_none_or(|until| until >= now));
}

/// Denies what the lists revoke, and under `hard` refuses what is new and has no list that speaks for it.
pub fn act(
    lists: &Lists,
    policy: CrlPolicy,
    planner: &mut PlannerState,
    set: &TrustSet,
    interpreted: &mut Interpretation,
) {
    if policy == CrlPolicy::Off {
        return;
    }
    interpreted.findings.extend(lists.findings.iter().cloned());
    for path in paths(&interpreted.answers, planner, set) {
        let findings = judge(&path, &lists.crls, &mut planner.denied);
        interpreted.findings.extend(findings);
    }
    if policy == CrlPolicy::Hard {
        refuse_unknown(lists, planner, &mut interpreted.answers);
    }
}

/// Denies a leaf that is revoked itself, for good, or each of whose known paths leads through a revoked issuer, as long
/// as that is so; lifts what followed from an issuer's revocation once there is a path past it.
fn judge(path: &Paths, crls: &Freshest, denied: &mut BTreeMap<Fingerprint, Denial>) -> Vec<Finding> {
    let facts = path.leaf.facts();
    let before = denied.get(&facts.fingerprint).and_then(Denial::by_a_ca);
    let remembered = before.map(|denial| denial.issuers.clone()).unwrap_or_default();
    let found = match past_revoked(&path.leaf, &path.chain(), crls, &remembered) {
        Ok(()) if remembered.is_empty() => return Vec::new(),
        Ok(()) => {
            lift(denied, facts.fingerprint);
            return path.slots.iter().map(|slot| lifted(slot, &path.leaf)).collect();
        }
        Err(found) => found,
    };
    let Some(first) = found.first() else { return Vec::new() };
    let revoked_now: BTreeSet<Fingerprint> = found.iter().map(|revoked| revoked.fingerprint).collect();
    let itself = revoked_now.contains(&facts.fingerprint);
    let revocation = || Denial {
        until: Some(facts.not_after),
        issuers: revoked_now.clone(),
        ..Denial::new(DenialReason::Revoked, first.since)
    };
    let denial = denied.entry(facts.fingerprint).or_insert_with(revocation);
    // One that was denied before it was known here, or by a version that asked for less, is made whole.
    denial.sha1.get_or_insert_with(|| facts.sha1.clone());
    denial.pem_sha1.get_or_insert_with(|| path.leaf.pem_sha1());
    let by_ca = denial.revoke(revocation);
    if itself {
        by_ca.issuers.clear();
    } else if !by_ca.issuers.is_empty() {
        by_ca.issuers.extend(revoked_now);
    }
    path.slots.iter().map(|slot| revoked(slot, &path.leaf, &found, itself)).collect()
}

/// Lifts what followed from the revocation of issuers; the operator's own denial stays.
fn lift(denied: &mut BTreeMap<Fingerprint, Denial>, leaf: Fingerprint) {
    match denied.get_mut(&leaf) {
        Some(denial) if denial.reason == DenialReason::Distrusted => denial.revocation = None,
        _ => drop(denied.remove(&leaf)),
    }
}

fn revoked(slot: &SlotId, leaf: &Certificate, found: &[Revocation], itself: bool) -> Finding {
    let facts = leaf.facts();
    let why: Vec<String> = found.iter().map(ToString::to_string).collect();
    let (how, until) = if itself {
        ("", format!("denied until its expiry on {}, whatever becomes of the list", facts.not_after))
    } else {
        let until = "denied while each of its known paths leads through a revoked issuer, whatever becomes of the list";
        (", and with it every leaf that has no other path", until.to_owned())
    };
    let text = format!(
        "{}{how}. The leaf {} (sha256 {}) is {until}. Calls with it fail from now on: ask the vendor for its next \
         certificate.",
        why.join("; "),
        quoted(&facts.subject),
        facts.fingerprint,
    );
    Finding::new(Event::CertificateRevoked, slot, text)
}

fn lifted(slot: &SlotId, leaf: &Certificate) -> Finding {
    let facts = leaf.facts();
    let text = format!(
        "The leaf {} (sha256 {}) was denied because an issuer was revoked. The vendor lists it with a path that leads \
         through no revoked certificate: the denial is lifted, and it may enter.",
        quoted(&facts.subject),
        facts.fingerprint
    );
    Finding::new(Event::RevocationLifted, slot, text)
}

/// What is trusted already stays; what is new needs a list for itself and for each of its issuers.
fn refuse_unknown(lists: &Lists, planner: &PlannerState, answers: &mut [SlotAnswer]) {
    for answer in answers {
        let known = planner.slots.get(&answer.slot).map(|held| &held.entries);
        for listed in &mut answer.certificates {
            let SlotVerdict::Accepted(verified) = &listed.verdict else { continue };
            let trusted = |key| known.is_some_and(|known| known.contains_key(&key));
            let is_trusted = trusted(verified.leaf().fingerprint())
                || verified.chain().last().is_some_and(|root| trusted(root.fingerprint()));
            // One path that the lists speak for is enough: servers need no more.
            let uncovered = verified.paths().iter().map(|path| lists.crls.uncovered(verified.leaf(), path));
            let uncovered = uncovered.min_by_key(Vec::len).unwrap_or_default();
            if !is_trusted && let Some(refusal) = Refusal::of_unknown_revocation(verified.leaf(), &uncovered) {
                listed.verdict = SlotVerdict::Refused(refusal);
            }
        }
    }
}
