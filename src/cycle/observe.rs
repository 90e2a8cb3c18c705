//! Asks the sources, and turns their answers into those of the slots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use super::{AnchorsError, CycleError, anchors};
use crate::clock::Clock;
use crate::crl_fetch::Fetcher;
use crate::exit::Exit;
use crate::genesys::{Client, ClientError, FailureClass, FetchError, Fetched, Listing};
use crate::http_client::Limits;
use crate::settings::resolved::{IdentitySetting, Settings, Source};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::plan::clock_doubt::{CLOCKS_AGREE_WITHIN, KnownTimes};
use crate::trust::plan::observation::{
    self, IdentityRule, Interpretation, Judged, ListedEntity, Poll, SlotAnchors, SlotRules,
};
use crate::trust::plan::planner_state::PlannerState;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::{Timestamp, span};
use crate::trust::verify::work::Work;
use crate::trust::verify::{self, Identity};

/// An answer is judged within the deadline that its source had; one that came at the last moment gets this long. It is
/// more than the work on any answer takes.
const LEAST_TO_JUDGE: Duration = Duration::from_secs(1);

/// A client for each source, which keeps tokens and connections from cycle to cycle; and for each store, once a
/// revocation list is due, one for lists.
#[derive(Default)]
pub struct Clients {
    sources: BTreeMap<String, Client>,
    /// The clients for revocation lists, by store.
    pub(super) lists: BTreeMap<String, Fetcher>,
}

impl Clients {
    /// A client for every source of the settings. Nothing is asked yet.
    pub fn of(settings: &Settings) -> Result<Self, ClientError> {
        let client = |source: &Source| Ok((source.name.clone(), Client::new(source, Limits::default())?));
        let sources = settings.sources.values().map(client).collect::<Result<_, _>>()?;
        Ok(Self { sources, lists: BTreeMap::new() })
    }

    /// The client of one source, to be used apart from the others.
    #[must_use]
    pub fn split_off(&mut self, source: &str) -> Self {
        Self { sources: self.sources.remove_entry(source).into_iter().collect(), lists: BTreeMap::new() }
    }

    /// Every source whose client cannot be built, and why.
    #[must_use]
    pub fn problems(settings: &Settings) -> Vec<String> {
        let client = |source: &Source| Client::new(source, Limits::default()).err();
        settings.sources.values().filter_map(client).map(|error| error.to_string()).collect()
    }
}

/// What one source answered in this cycle.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The source's name.
    pub source: String,
    /// Its answer, or why there is none.
    pub answer: Result<Fetched, FetchError>,
    /// When it was asked.
    pub asked: Timestamp,
    /// What its slots' anchors and the policy say of the answer; `None` where none came.
    pub judged: Option<Result<Arc<Judged>, AnchorsError>>,
}

impl Observed {
    /// An answer that came at this time, and was not judged yet.
    fn heard(source: &str, answer: Result<Fetched, FetchError>, asked: Timestamp) -> Self {
        Self { source: source.to_owned(), answer, asked, judged: None }
    }

    /// Whether one of its listings came at least.
    #[must_use]
    pub fn has_come(&self) -> bool {
        self.answer.as_ref().is_ok_and(|fetched| fetched.unfiltered.is_ok() || fetched.upcoming.is_ok())
    }

    /// The failures of this source: one for all, or one for a listing.
    pub fn failures(&self) -> impl Iterator<Item = &FetchError> {
        let (whole, listings) = match &self.answer {
            Err(error) => (Some(error), [None, None]),
            Ok(fetched) => (None, [fetched.unfiltered.as_ref().err(), fetched.upcoming.as_ref().err()]),
        };
        whole.into_iter().chain(listings.into_iter().flatten())
    }

    /// Whether the vendor's clock agreed with ours when it was asked; `None` where no answer has a usable `Date`.
    pub fn clock_agrees(&self) -> Option<bool> {
        self.answer.as_ref().ok()?.date.map(|date| self.is_fresh(date))
    }

    fn is_fresh(&self, date: Timestamp) -> bool {
        date.since(self.asked).max(self.asked.since(date)) <= CLOCKS_AGREE_WITHIN
    }

    /// Verifies what it lists.
    fn judge(
        &self,
        slots: &[SlotAnchors],
        policy: &verify::Policy,
        now: Timestamp,
        work: &mut Work<'_>,
    ) -> Option<Judged> {
        let fetched = self.answer.as_ref().ok()?;
        let poll = Poll {
            unfiltered: fetched.unfiltered.as_ref().ok().map(entities),
            upcoming: fetched.upcoming.as_ref().ok().map(entities),
            is_fresh: stale(self).is_none(),
            incomplete: incomplete(self).is_some(),
        };
        Some(observation::judge(&self.source, &poll, slots, policy, now, work))
    }

    /// The exit codes that its failures lead to.
    pub fn exits(&self) -> impl Iterator<Item = Exit> {
        self.failures().filter_map(|error| event_of(error).facts().failure).map(Exit::from)
    }
}

/// Asks these sources, all at once, so that a slow one delays no other.
pub async fn ask(
    settings: &Settings,
    sources: &BTreeSet<String>,
    clients: &mut Clients,
    clock: &dyn Clock,
    deadline: Duration,
) -> Vec<Observed> {
    let mut asking = JoinSet::new();
    let now = clock.now();
    for source in sources.iter().filter(|source| settings.sources.contains_key(*source)) {
        let Some(mut client) = clients.sources.remove(source) else { continue };
        let Some(configured) = settings.sources.get(source).cloned() else { continue };
        let policy = settings.verify.clone();
        let span = tracing::info_span!("source", source);
        let asked = async move {
            let begun = Instant::now();
            let answer = client.fetch(now, deadline).await;
            let said = Observed::heard(&configured.name, answer, now);
            let left = deadline.saturating_sub(begun.elapsed());
            (configured.name.clone(), client, judge(said, configured, policy, now, left.max(LEAST_TO_JUDGE)).await)
        };
        asking.spawn(asked.instrument(span));
    }
    let mut observed = Vec::new();
    while let Some(done) = asking.join_next().await {
        // A task that panicked would be a fault of ours; its source is then silent, and contributes what it had.
        let Ok((source, client, said)) = done else { continue };
        clients.sources.insert(source, client);
        observed.extend(said.ok());
    }
    observed.sort_by(|one, other| one.source.cmp(&other.source));
    observed
}

/// Judges an answer, apart from the task that waits for it: whoever can make the vendor's endpoint list what they like
/// must not hold up the daemon. What is not judged within the time is refused.
async fn judge(
    said: Observed,
    source: Source,
    policy: verify::Policy,
    now: Timestamp,
    within: Duration,
) -> Result<Observed, JoinError> {
    if !said.has_come() {
        return Ok(said);
    }
    let slots: Result<Vec<SlotAnchors>, AnchorsError> = source
        .slots()
        .map(|(slot, authority)| Ok(SlotAnchors { anchors: anchors::of(&source, authority)?, slot, authority }))
        .collect();
    let slots = match slots {
        Ok(slots) => slots,
        Err(error) => return Ok(Observed { judged: Some(Err(error)), ..said }),
    };
    let ends = Instant::now().checked_add(within);
    // Gone as soon as nobody waits for the verdict, such as at the daemon's end.
    let waits = Arc::new(());
    let waiting = Arc::downgrade(&waits);
    let judging = tokio::task::spawn_blocking(move || {
        let is_over = || waiting.strong_count() == 0 || ends.is_some_and(|ends| ends <= Instant::now());
        let judged = said.judge(&slots, &policy, now, &mut Work::until(&is_over));
        Observed { judged: judged.map(|judged| Ok(Arc::new(judged))), ..said }
    });
    let judged = judging.await;
    drop(waits);
    judged
}

/// What the sources said, by what is remembered; a source that failed is silent.
pub fn assess(
    settings: &Settings,
    observed: &[Observed],
    planner: &PlannerState,
) -> Result<Interpretation, CycleError> {
    let mut interpreted = Interpretation { answers: Vec::new(), findings: Vec::new() };
    for said in observed {
        let Some(source) = settings.sources.get(&said.source) else { continue };
        interpreted.findings.extend(failed(said));
        let Some(judged) = &said.judged else { continue };
        let judged = judged.as_ref().map_err(Clone::clone)?;
        interpreted.findings.extend(stale(said));
        interpreted.findings.extend(incomplete(said));
        let rule_of = |slot: &SlotId| identity_rule(source, slot, slot.authority(), planner);
        let one = judged.interpret(rule_of);
        interpreted.answers.extend(one.answers);
        interpreted.findings.extend(one.findings);
    }
    Ok(interpreted)
}

fn event_of(error: &FetchError) -> Event {
    match error.class() {
        FailureClass::Unreachable => Event::SourceUnreachable,
        FailureClass::RefusedUs => Event::SourceRefusedUs,
        FailureClass::AnswerRefused => Event::AnswerRefused,
        FailureClass::Misconfigured => Event::SourceMisconfigured,
    }
}

/// What failed, and what it means. Two listings that failed alike are one failure, reported once.
fn failed(said: &Observed) -> Vec<Finding> {
    let failures: Vec<&FetchError> = said.failures().collect();
    let meaning = if said.has_come() {
        "The other listing counts: what it adds enters, and nothing leaves by this answer"
    } else {
        "Trust is unchanged"
    };
    let finding = |error: &FetchError, alike: &str| {
        Finding::new(event_of(error), Subject::source(&said.source), format!("{error}.{alike} {meaning}."))
    };
    match failures.as_slice() {
        [one, other] if one.is_like(other) => {
            vec![finding(one, " The listing of upcoming certificates failed alike.")]
        }
        failures => failures.iter().map(|error| finding(error, "")).collect(),
    }
}

/// What is to be said where not each answer was made just now, by its `Date`, or nobody can say.
fn stale(said: &Observed) -> Option<Finding> {
    let fetched = said.answer.as_ref().ok()?;
    let dates = || fetched.listings().flat_map(|listing| &listing.dates).copied();
    let (event, text) = match fetched.date {
        Some(date) if !said.is_fresh(date) => {
            let text = format!(
                "The vendor's clock says {date}, this machine's {}: nothing is removed until they agree within {}. \
                 Look at this machine's time synchronisation.",
                said.asked,
                span(CLOCKS_AGREE_WITHIN)
            );
            (Event::ClocksDisagree, text)
        }
        Some(latest) => match dates().flatten().find(|date| !said.is_fresh(*date)) {
            Some(date) => {
                let text = format!(
                    "One of the vendor's answers is of {date}, another of {latest}: a cache on the way seems to have \
                     kept the older one. What it lists enters, and nothing is removed by it."
                );
                (Event::AnswerStale, text)
            }
            None if dates().any(|date| date.is_none()) => {
                let text = "One of the vendor's answers has no usable Date: nothing is removed by it.";
                (Event::VendorClockUnknown, text.to_owned())
            }
            None => return None,
        },
        None => (Event::VendorClockUnknown, "The answer has no usable Date: nothing is removed by it.".to_owned()),
    };
    Some(Finding::new(event, Subject::source(&said.source), text))
}

/// What is to be said where a listing is visibly incomplete.
fn incomplete(said: &Observed) -> Option<Finding> {
    let fetched = said.answer.as_ref().ok()?;
    let listings = [("", &fetched.unfiltered), (" of upcoming certificates", &fetched.upcoming)];
    let signs: Vec<String> = listings
        .into_iter()
        .filter_map(|(which, listing)| {
            let sign = listing.as_ref().ok()?.incomplete.as_ref()?;
            Some(format!("The vendor's listing{which} is visibly incomplete: {sign}."))
        })
        .collect();
    if signs.is_empty() {
        return None;
    }
    let text = format!("{} What it lists enters, and nothing is removed by it.", signs.join(" "));
    Some(Finding::new(Event::ListingIncomplete, Subject::source(&said.source), text))
}

/// What is known of earlier times, with what these answers say.
pub fn known_times(before: KnownTimes, observed: &[Observed]) -> KnownTimes {
    let agreeing = observed.iter().filter(|said| said.clock_agrees() == Some(true));
    let disagreeing = observed.iter().any(|said| said.clock_agrees() == Some(false));
    match agreeing.map(|said| said.asked).max() {
        // Of two vendors' clocks that contradict each other, the one that agrees with ours is right.
        Some(asked) => KnownTimes { agreed: before.agreed.max(Some(asked)), disagrees: false, ..before },
        None => KnownTimes { disagrees: before.disagrees || disagreeing, ..before },
    }
}

fn entities(listing: &Listing) -> Vec<ListedEntity<'_>> {
    let listed = listing.entities.iter();
    listed
        .map(|entity| ListedEntity {
            authority: entity.signing_authority.as_deref(),
            certificate: entity.certificate.as_deref(),
            status: entity.status.as_deref(),
            kind: entity.kind.as_deref(),
        })
        .collect()
}

/// The rules by which a slot's certificates are judged.
pub fn rules(
    source: &Source,
    slot: SlotId,
    authority: Authority,
    planner: &PlannerState,
) -> Result<SlotRules, CycleError> {
    let identity = identity_rule(source, &slot, authority, planner);
    Ok(SlotRules { anchors: anchors::of(source, authority)?, slot, authority, identity })
}

/// The names that a slot's leaves must carry, or how they are learned.
#[must_use]
pub fn identity_rule(source: &Source, slot: &SlotId, authority: Authority, planner: &PlannerState) -> IdentityRule {
    match (&source.identity, authority, &source.region_name) {
        (IdentitySetting::Any, ..) => IdentityRule::Fixed(Identity::Any),
        (IdentitySetting::Names(names), ..) => IdentityRule::Fixed(Identity::Names(names.clone())),
        // Never learned for Genesys: the table has the name, or the settings were refused.
        (IdentitySetting::Learn, Authority::Genesys, Some(name)) => {
            IdentityRule::Fixed(Identity::Names([name.clone()].into()))
        }
        (IdentitySetting::Learn, _, region_name) => {
            let learned = planner.slots.get(slot).and_then(|held| held.identity.clone());
            IdentityRule::Learn { region_name: region_name.clone(), learned }
        }
    }
}

/// The line of the configuration that pins these names.
#[must_use]
pub fn pin_line<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{}\"", quoted(name))).collect();
    format!("identity = [{}]", names.join(", "))
}
