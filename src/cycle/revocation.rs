//! Revocation in the cycle: which lists are asked for, and what follows from them.
//!
//! The lists are fetched before the lock is taken, for the distribution points of every path that is or may become
//! trusted. Under the lock they act before anything is planned: what is revoked is *denied*, and the planner takes it
//! out at once, hold or not. A denial is remembered until the leaf's expiry, so that a list that is later blocked,
//! replaced or stale lifts nothing. One that follows from an issuer's revocation remembers that issuer instead, and is
//! lifted by an answer that shows a path past it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::paths::{Judging, Paths, issuers, paths};
use super::{Clients, CycleError, Observed, housekeeping};
use crate::clock::Clock;
use crate::crl_fetch::{self, Access, Cache, Fetcher, LEFT_ALONE, LookedUp, Obtained, Trouble};
use crate::http_client::{Limits, OutboundError};
use crate::settings::resolved::{CrlPolicy, Settings, Store as StoreSettings};
use crate::store::contents::Contents;
use crate::store::{Store, StoreError};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;
use crate::trust::event::subject::Subject;
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::{Interpretation, SlotAnswer, SlotVerdict};
use crate::trust::plan::planner_state::{self, PlannerState};
use crate::trust::plan::set::{Denial, DenialReason, TrustSet};
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::Verified;
use crate::trust::verify::crl::{Freshest, Revocation, VerifiedCrl, past_revoked};
use crate::trust::verify::refusal::Refusal;
use crate::trust::verify::work::Work;

/// How long one distribution point may take with all attempts.
const ONE_LIST: Duration = Duration::from_secs(30);
/// How long a cycle waits for lists that concern what is trusted already: as long as a server takes that answers.
const MOMENT: Duration = Duration::from_secs(1);
/// How long a leaf that is new to its slot waits for its lists under `soft`.
const FOR_NEW_LEAVES: Duration = Duration::from_secs(5);
/// More distribution points than two authorities' paths have; a certificate must not make us ask the whole world.
const MOST_LISTS: usize = 32;

/// The lists in force, and what was found while asking for them.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    crls: Freshest,
    findings: Vec<Finding>,
    /// The distribution points that gave no list in force, of which a finding tells.
    without_list: BTreeSet<String>,
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

    /// Takes what came of a distribution point.
    fn take(&mut self, url: &str, obtained: &Obtained) {
        let trouble = obtained.trouble.as_ref();
        self.findings.extend(trouble.map(|trouble| not_fetched(url, trouble, obtained.crl.as_ref())));
        if trouble.is_some() && obtained.crl.is_none() {
            self.without_list.insert(url.to_owned());
        }
        self.crls = std::mem::take(&mut self.crls).and(obtained.lists());
    }
}

/// What came of a host's distribution point.
struct Come {
    host: String,
    url: String,
    obtained: Obtained,
}

/// Lists that are still under way when a cycle acts by those that it has.
pub struct Fetching {
    /// What has come so far.
    lists: Lists,
    /// A task a host, so that one that is silent delays no other.
    hosts: JoinSet<()>,
    /// What they say of each list, as it comes.
    coming: mpsc::UnboundedReceiver<Come>,
    /// What each host was asked for that has not come yet.
    waiting: BTreeMap<String, Vec<LookedUp>>,
    silent: BTreeMap<String, Timestamp>,
    unkept: Vec<Arc<StoreError>>,
    cache: Cache,
    /// The lists that are still wanted, where all of them are known.
    wanted: Option<BTreeSet<String>>,
    store: String,
    now: Timestamp,
}

impl Fetching {
    /// Takes in what comes until then; whether all of it came.
    async fn wait(&mut self, until: Instant) -> bool {
        while !self.waiting.is_empty() {
            match timeout_at(until, self.coming.recv()).await {
                Ok(Some(come)) => self.take(&come),
                // A task that panicked would be a fault of ours; its host is then taken for silent.
                Ok(None) | Err(_) => break,
            }
        }
        self.waiting.is_empty()
    }

    fn take(&mut self, Come { host, url, obtained }: &Come) {
        if let Some(waiting) = self.waiting.get_mut(host) {
            waiting.retain(|asked| asked.url() != url);
            if waiting.is_empty() {
                self.waiting.remove(host);
            }
        }
        // After one that it does not answer, a host is asked no more: its last one says whether it is silent.
        if obtained.was_silent() {
            self.silent.insert(host.clone(), self.now);
        } else {
            self.silent.remove(host);
        }
        self.unkept.extend(obtained.unkept.clone());
        self.lists.take(url, obtained);
    }

    /// All lists, as far as they have come by then. A host that has not answered is left alone for a while.
    pub async fn finish(mut self, until: Instant) -> Lists {
        self.wait(until).await;
        self.hosts.abort_all();
        for (host, asked) in std::mem::take(&mut self.waiting) {
            for kept in asked {
                let url = kept.url().to_owned();
                self.take(&Come { host: host.clone(), url, obtained: kept.of_silent_host(self.now) });
            }
        }
        if self.silent != self.cache.silent() {
            self.unkept.extend(self.cache.keep_silent(&self.silent).err().map(Arc::new));
        }
        if let Some(urls) = &self.wanted {
            self.unkept.extend(self.cache.retain(urls).into_iter().map(Arc::new));
        }
        self.lists.findings.extend(housekeeping::finding(
            Event::CrlNotKept,
            Subject::store(&self.store),
            "What is kept of revocation lists could not be read or brought up to date",
            "What is in force is used all the same, and is fetched again in the next cycle; what was found revoked \
             stays out",
            self.unkept.iter().map(|error| error.in_short()),
        ));
        self.lists.asked_for = true;
        self.lists
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

/// The lists of everything that the sources said and the store has, as the store keeps them: no server is asked and
/// nothing is written.
pub fn kept(settings: &Settings, store: &StoreSettings, asked: &Asked<'_>, clock: &dyn Clock) -> Lists {
    let mut lists = Lists::default();
    if settings.crl.policy == CrlPolicy::Off {
        return lists;
    }
    let cache = Cache::for_reading(&store.path);
    let paths = paths(asked.answers, &asked.contents.state.planner, &asked.contents.set);
    let issuers = issuers(&paths);
    for url in distribution_points(&store.name, &paths, &mut lists.findings) {
        let kept = crl_fetch::look_up(&cache, &url, &issuers, settings.verify.clock_skew, clock.now());
        lists.take(&url, &kept.as_it_is());
    }
    lists
}

/// The same, with what is due fetched for at most `limit`. What is trusted already does not wait for servers that are
/// slow: the lists are those that came in a moment, and what is still under way comes later. A leaf that is new waits
/// longer; under `hard`, as long as there is time.
// Long because each step may end it, with what was found until then.
pub async fn gather(
    settings: &Settings,
    store: &StoreSettings,
    asked: &Asked<'_>,
    clock: &dyn Clock,
    clients: &mut Clients,
    limit: Duration,
) -> (Lists, Option<Fetching>) {
    let mut lists = Lists { asked_for: true, ..Lists::default() };
    if settings.crl.policy == CrlPolicy::Off {
        return (lists, None);
    }
    let (now, began) = (clock.now(), Instant::now());
    let paths = paths(asked.answers, &asked.contents.state.planner, &asked.contents.set);
    let urls = distribution_points(&store.name, &paths, &mut lists.findings);
    if urls.is_empty() {
        return (lists, None);
    }
    let opened = Store::open(&store.path).and_then(|opened| Cache::open(opened.root()));
    let mut unkept = Vec::new();
    let cache = opened.unwrap_or_else(|error| {
        unkept.push(Arc::new(error));
        Cache::for_reading(&store.path)
    });
    let is_new = may_become_new(asked, now);
    let patience = match (is_new, settings.crl.policy) {
        (true, CrlPolicy::Hard) => limit,
        (true, _) => FOR_NEW_LEAVES.min(limit),
        (false, _) => MOMENT.min(limit),
    };
    let mut silent = cache.silent();
    silent.retain(|_, since| *since <= now && now.since(*since) < LEFT_ALONE);
    let issuers = issuers(&paths);
    let mut due: BTreeMap<String, Vec<LookedUp>> = BTreeMap::new();
    for url in &urls {
        let kept = crl_fetch::look_up(&cache, url, &issuers, settings.verify.clock_skew, now);
        let host = crl_fetch::host_of(url);
        match silent.get(&host) {
            _ if !kept.is_due => lists.take(url, &kept.as_it_is()),
            // What only waits for this list is worth another question.
            Some(since) if !(is_new && settings.crl.policy == CrlPolicy::Hard) => {
                lists.take(url, &kept.of_silent_host(*since));
            }
            _ => due.entry(host).or_default().push(kept),
        }
    }
    let mut hosts = JoinSet::new();
    let (come, coming) = mpsc::unbounded_channel();
    if !due.is_empty() {
        let fetcher = match fetcher(settings, store, clients) {
            Ok(fetcher) => fetcher,
            Err(error) => {
                let text = format!("No CRL can be fetched: {error}. What is kept counts, and what is trusted stays.");
                for kept in due.into_values().flatten() {
                    lists.crls = lists.crls.and(kept.as_it_is().lists());
                }
                lists.findings.push(Finding::new(Event::CrlUnavailable, Subject::store(&store.name), text));
                return (lists, None);
            }
        };
        for (host, asked) in due.clone() {
            let by = (fetcher.clone(), cache.clone());
            hosts.spawn(ask_host(by, host, asked, now, come.clone()).in_current_span());
        }
    }
    drop(come);
    // While a source is silent, it is unknown which of its lists will be needed again.
    let all_spoke = asked.observed.iter().all(|said| said.failures().next().is_none());
    // That of a leaf that is denied is kept until its expiry: root's half checks it for itself, whenever that may be.
    let of_denied = asked.contents.state.planner.denied.values().filter_map(Denial::by_a_ca);
    let wanted = all_spoke.then(|| urls.into_iter().chain(of_denied.flat_map(|denial| denial.lists.clone())).collect());
    let store = store.name.clone();
    let mut fetching = Fetching { lists, hosts, coming, waiting: due, silent, unkept, cache, wanted, store, now };
    let until = |wait| began.checked_add(wait).unwrap_or(began);
    if fetching.wait(until(patience)).await || patience == limit {
        return (fetching.finish(Instant::now()).await, None);
    }
    let mut so_far = fetching.lists.clone();
    for kept in fetching.waiting.values().flatten() {
        so_far.crls = so_far.crls.and(kept.clone().as_it_is().lists());
    }
    so_far.asked_for = false;
    (so_far, Some(fetching))
}

/// Whether a leaf is listed that is not trusted yet, and that neither a denial nor a hold keeps out whatever a list says.
fn may_become_new(asked: &Asked<'_>, now: Timestamp) -> bool {
    let PlannerState { slots, denied, hold, .. } = &asked.contents.state.planner;
    if hold.as_ref().is_some_and(|hold| hold.until > now) {
        return false;
    }
    asked.answers.iter().any(|answer| {
        let known = slots.get(&answer.slot).map(|held| &held.entries);
        let is_new = |leaf: &Verified| {
            let is_denied = |one: &Certificate| denied.contains_key(&one.fingerprint());
            // A name rule is denied by its root.
            let is_rule_denied = answer.authority == Authority::Genesys && leaf.chain().last().is_some_and(is_denied);
            !is_trusted(known, leaf) && !is_denied(leaf.leaf()) && !is_rule_denied
        };
        answer.certificates.iter().filter_map(|listed| listed.verdict.accepted()).any(is_new)
    })
}

/// Asks a host for its lists, one after the other; after one that it does not answer, for no more.
async fn ask_host(
    (fetcher, cache): (Fetcher, Cache),
    host: String,
    asked: Vec<LookedUp>,
    now: Timestamp,
    come: mpsc::UnboundedSender<Come>,
) {
    let mut is_silent = false;
    for kept in asked {
        let url = kept.url().to_owned();
        let obtained = if is_silent {
            kept.of_silent_host(now)
        } else {
            crl_fetch::obtain(&fetcher, &cache, kept, ONE_LIST).await
        };
        is_silent = obtained.was_silent();
        if come.send(Come { host: host.clone(), url, obtained }).is_err() {
            return;
        }
    }
}

/// A distribution point gave no list that is used; `kept` is the one in force all the same.
fn not_fetched(url: &str, trouble: &Trouble, kept: Option<&VerifiedCrl>) -> Finding {
    let (event, text) = match kept {
        Some(crl) => {
            let end = crl.in_force_until().map_or_else(String::new, |end| format!("; it is in force until {end}"));
            (Event::CrlNotRefreshed, format!("{trouble}. The kept list stays in use{end}."))
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

/// The URLs that the certificates name, each once: of one that has http and others, those that can be asked.
fn distribution_points(store: &str, paths: &[Paths], findings: &mut Vec<Finding>) -> BTreeSet<String> {
    let mut urls = BTreeSet::new();
    for path in paths {
        urls.extend(path.urls());
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
    remembered: &Judging<'_>,
    planner: &mut PlannerState,
    set: &TrustSet,
    interpreted: &mut Interpretation,
) {
    if policy == CrlPolicy::Off {
        return;
    }
    interpreted.findings.extend(lists.findings.iter().cloned());
    let mut work = Work::default();
    for path in paths(&interpreted.answers, planner, set) {
        let findings = judge(&path, &lists.crls, &mut planner.denied, || remembered.ways(&path, &mut work));
        interpreted.findings.extend(findings);
    }
    if policy == CrlPolicy::Hard {
        refuse_unknown(lists, planner, &mut interpreted.answers);
    }
    interpreted.findings.extend(unknown(lists, planner, set, &interpreted.answers));
}

/// What is trusted, or enters, without a list that speaks for it: a list came, but for others, or none is named.
fn unknown(lists: &Lists, planner: &PlannerState, set: &TrustSet, answers: &[SlotAnswer]) -> Vec<Finding> {
    let is_of_store = |finding: &Finding| matches!(finding.subject, Subject::Store(_));
    if !lists.asked_for || lists.findings.iter().any(is_of_store) {
        return Vec::new();
    }
    let mut said = BTreeSet::new();
    let mut findings = Vec::new();
    for path in paths(answers, planner, set) {
        if planner.denied.contains_key(&path.leaf.fingerprint()) {
            continue;
        }
        for certificate in lists.crls.uncovered(&path.leaf, &path.chain()) {
            let facts = certificate.facts();
            let is_told = facts.crl_urls.iter().any(|url| lists.without_list.contains(url));
            if is_told {
                continue;
            }
            let (severity, why) = match facts.crl_urls.first() {
                Some(url) => (Severity::Warning, format!("what lies at {} speaks for others", quoted(url))),
                None => (Severity::Note, "it names no list".to_owned()),
            };
            let text = format!(
                "No revocation list in force speaks for {} (sha256 {}): {why}. Whether it was revoked is unknown; what is \
                 trusted stays, and so does what was found revoked before.",
                quoted(&facts.subject),
                facts.fingerprint
            );
            for slot in path.slots.iter().filter(|slot| said.insert(((*slot).clone(), facts.fingerprint))) {
                findings.push(Finding::graded(severity, Event::RevocationUnknown, slot, text.clone()));
            }
        }
    }
    findings
}

/// Denies a leaf that is revoked itself, for good, or each of whose known paths leads through a revoked issuer, as long
/// as that is so; lifts what followed from an issuer's revocation once there is a path past it.
fn judge(
    path: &Paths,
    crls: &Freshest,
    denied: &mut BTreeMap<Fingerprint, Denial>,
    ways: impl FnOnce() -> Vec<Certificate>,
) -> Vec<Finding> {
    let facts = path.leaf.facts();
    let before = denied.get(&facts.fingerprint).and_then(Denial::by_a_ca);
    let remembered = before.map(|denial| denial.issuers.clone()).unwrap_or_default();
    let found = match past_revoked(&path.leaf, &path.chain(), ways, crls, &remembered) {
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
        lists: path.urls().into_iter().take(MOST_LISTS).collect(),
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
            let is_trusted = is_trusted(known, verified);
            let uncovered = lists.crls.uncovered_at_best(verified.leaf(), verified.paths());
            if !is_trusted && let Some(refusal) = Refusal::of_unknown_revocation(verified.leaf(), &uncovered) {
                listed.verdict = SlotVerdict::Refused(refusal);
            }
        }
    }
}

/// Whether a slot trusts a leaf already, or the root of its name rule.
fn is_trusted(known: Option<&BTreeMap<Fingerprint, planner_state::Entry>>, verified: &Verified) -> bool {
    let trusted = |certificate: &Certificate| known.is_some_and(|known| known.contains_key(&certificate.fingerprint()));
    trusted(verified.leaf()) || verified.chain().last().is_some_and(trusted)
}
