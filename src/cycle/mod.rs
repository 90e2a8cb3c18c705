//! The one path: observe, verify, plan, publish, take each target's turn. The one-shot, the demo and every later
//! feature are this cycle; what differs is the settings and the clock that it is handed.
//!
//! ```text
//!  observe, judge, CRLs (no lock) ─▶ lock ─▶ contents ─▶ interpret ─▶ revocations ─▶ plan ─▶ commit ─▶ turns ─▶ state
//! ```
//! The network is asked, and each certificate judged, before the lock is taken: neither a slow vendor nor one that lists
//! what is hard to judge keeps an operator waiting.

mod anchors;
mod canary;
mod commit;
mod due;
mod evidence;
mod foreseen;
mod housekeeping;
mod look;
mod observe;
mod overrides;
mod paths;
pub mod privileged;
mod probe;
mod reach;
mod report;
mod revocation;
pub mod seed;
mod session;
mod standing_check;
mod steps;
mod turns;
mod under_way;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use crate::clock::Clock;
use crate::settings::resolved::{CrlPolicy, Settings, Store as StoreSettings, Target};
use crate::store::contents::{self, Contents, ContentsError};
use crate::store::{Link, LinkPath, LockError, Store, StoreError};
use crate::trust::plan::clock_doubt::{self, KnownTimes};
use crate::trust::plan::difference::Difference;
use crate::trust::plan::planner_state::PlannerState;
use crate::trust::plan::set::TrustSet;
use crate::trust::plan::{self, Plan};
use crate::trust::records::state::State;
use crate::trust::values::slot::SlotId;

pub use anchors::{AnchorsError, of as anchors_of};
pub use due::{PollDue, StateStamp, is_empty, state_stamp, turns_due};
pub use foreseen::would_refuse;
pub use look::{meant, summary, unwritable_now};
pub use observe::{Clients, Observed, identity_rule, pin_line};
pub use overrides::{Accepted, KnownCertificate, Waived, check_leaf, known_certificate, known_fingerprints, leaves_in};
use paths::Judging;
pub use probe::{Probe, probe};
pub use reach::out_of_reach;
pub use report::{Report, TargetReport};
pub use revocation::{Fetching, Lists};
pub use session::{Closed, Session, Unsaved};

use crate::exit::Exit;

/// How long one cycle by itself waits for revocation lists in all.
pub const FOR_LISTS: Duration = Duration::from_secs(10);

/// How a cycle is run.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// How long asking the sources may take in all.
    pub deadline: Duration,
    /// How long to wait for another writer.
    pub lock_timeout: Duration,
    /// The command, as the lock's holder is named to others.
    pub command: &'a str,
}

/// Why a cycle could not be run. What is published stays.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// An anchor's file cannot be used.
    #[error(transparent)]
    Anchors(#[from] AnchorsError),
    /// Another writer holds the lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's records cannot be used.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// The generation's marker could not be minted.
    #[error("the generation marker could not be minted: {0}. Nothing was published; what servers read stays.")]
    Marker(String),
}

impl CycleError {
    /// The exit code it ends in.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Anchors(_) => Exit::Configuration,
            Self::Lock(LockError::Held { .. }) => Exit::Locked,
            Self::Lock(LockError::Store(_)) | Self::Store(_) | Self::Contents(_) => Exit::Store,
            Self::Marker(_) => Exit::Unexpected,
        }
    }
}

/// What the sources answered, judged before the lock is taken, and the revocation lists for one store.
pub struct Answers {
    observed: Vec<Observed>,
    lists: Lists,
}

/// Which targets take their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// Every one: what a poll does.
    All,
    /// Those whose next try or next proof is due, and all of them after a commit: what the time between polls is for.
    Due,
    /// None: more is to be committed first, and one turn does for all of it.
    Later,
}

/// The link that the server of the store's target of this name reads by.
pub fn link_of(store: &StoreSettings, name: &str) -> Result<LinkPath, StoreError> {
    match store.targets.iter().find(|target| target.name == name) {
        Some(target) => turns::link_of(store, target),
        None => LinkPath::target(&store.path, name),
    }
}

/// Runs one cycle for one store.
pub async fn run(
    settings: &Settings,
    store: &StoreSettings,
    clients: &mut Clients,
    clock: &dyn Clock,
    options: &Options<'_>,
) -> Result<Report, CycleError> {
    // The vendor may be down, and that takes its time to be known.
    let planted = if store.seed.is_some() && is_empty(store) {
        let session = Session::open(store, clock, options)?;
        Some(act(settings, session, &unasked(settings, store, clock)?, Turns::All).await?.0)
    } else {
        None
    };
    let observed = observe::ask(settings, &store.sources, clients, clock, options.deadline).await;
    let ends = Instant::now().checked_add(FOR_LISTS).unwrap_or_else(Instant::now);
    let (answers, fetching) = gather(settings, store, clients, observed, clock, FOR_LISTS).await?;
    let mut session = Session::open(store, clock, options)?;
    session.contents.state.minder.note_one_shot();
    let (mut report, _) = act(settings, session, &answers, Turns::All).await?;
    if let Some(fetching) = fetching {
        // What is trusted has had its turn. Another writer takes up the lists as well: they are kept.
        let answers = of_lists(fetching.finish(ends).await);
        match Session::open(store, clock, options) {
            Ok(session) => report.continues(act(settings, session, &answers, Turns::Due).await?.0),
            Err(CycleError::Lock(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(planted) = planted {
        report.follows(planted);
    }
    Ok(report)
}

/// Asks one source. No lock is needed, and no store is touched.
pub async fn ask(
    settings: &Settings,
    source: &str,
    clients: &mut Clients,
    clock: &dyn Clock,
    deadline: Duration,
) -> Vec<Observed> {
    observe::ask(settings, &[source.to_owned()].into(), clients, clock, deadline).await
}

/// Adds the revocation lists that the answers and the store's certificates name; what is due is fetched, for at most
/// `limit`. What a slow server keeps from coming in time is still under way then: it is for an act of its own.
pub async fn gather(
    settings: &Settings,
    store: &StoreSettings,
    clients: &mut Clients,
    observed: Vec<Observed>,
    clock: &dyn Clock,
    limit: Duration,
) -> Result<(Answers, Option<Fetching>), CycleError> {
    if settings.crl.policy == CrlPolicy::Off {
        // Nothing of the store is needed before the lock.
        return Ok((Answers { observed, lists: Lists::not_wanted() }, None));
    }
    let contents = read(store)?;
    let interpreted = observe::assess(settings, &observed, &contents.state.planner)?;
    let asked = revocation::Asked { contents: &contents, answers: &interpreted.answers, observed: &observed };
    let (lists, fetching) = revocation::gather(settings, store, &asked, clock, clients, limit).await;
    Ok((Answers { observed, lists }, fetching))
}

/// The lists by themselves, which came after the answers were acted on.
#[must_use]
pub fn of_lists(lists: Lists) -> Answers {
    Answers { observed: Vec::new(), lists }
}

/// The answers by themselves, where the lists cannot be kept: a broken cache must not keep the vendor's next
/// certificate out.
#[must_use]
pub fn without_lists(store: &StoreSettings, observed: Vec<Observed>, why: &CycleError) -> Answers {
    Answers { observed, lists: Lists::unavailable(&store.name, why) }
}

/// No source was asked: for what is owed, drifted or due between polls. The lists are those that the store keeps.
pub fn unasked(settings: &Settings, store: &StoreSettings, clock: &dyn Clock) -> Result<Answers, CycleError> {
    Ok(unasked_of(settings, store, &read(store)?, clock))
}

fn unasked_of(settings: &Settings, store: &StoreSettings, contents: &Contents, clock: &dyn Clock) -> Answers {
    let asked = revocation::Asked { contents, answers: &[], observed: &[] };
    of_lists(revocation::kept(settings, store, &asked, clock))
}

/// The part of the cycle under the lock: judges, plans, publishes, takes turns.
pub async fn act(
    settings: &Settings,
    mut session: Session<'_>,
    answers: &Answers,
    turns: Turns,
) -> Result<(Report, Closed), CycleError> {
    let span = tracing::info_span!("store", store = session.store.name);
    let acted = async move {
        let unseeded = session.contents.set.clone();
        let mut seeded = Vec::new();
        if session.contents.manifest.is_none()
            && session.contents.state.generation == 0
            && let Some(seed) = &session.store.seed
        {
            seeded = session.plant(settings, seed)?;
        }
        let plan = session.plan(settings, answers)?;
        let mut report = Report::of(&session.contents, &answers.observed, &plan);
        report.looked.lists = answers.lists.were_asked_for();
        let sources = session.contents.state.sources.clone();
        session.note_sources(settings, &plan, &answers.observed);
        if session.would_lose_by_damage(&plan) {
            report.deny_all = session.contents.manifest.as_ref().is_some_and(|manifest| manifest.deny_all);
            session.remember(&plan);
        } else if let Err(error) = session.adopt(&plan, "cycle", &mut report) {
            // What was owed before is owed still; and the sources are asked again soon, as if they had not answered.
            report.not_committed(&session.store.name, &error);
            session.contents.state.sources = sources;
            session.remember_uncommitted(&plan, &answers.observed);
        }
        if let Some(manifest) = session.contents.manifest.as_ref().filter(|_| !seeded.is_empty()) {
            report.committed(manifest, Difference::between(&unseeded, &session.contents.set));
        }
        report.findings.splice(0..0, seeded);
        session.take_turns_that(turns, &settings.schedule, &mut report).await;
        let closed = session.close(&mut report);
        Ok((report, closed))
    };
    acted.instrument(span).await
}

/// What a cycle would do: asks the sources, reads the store, writes nothing and reloads no server.
pub async fn rehearse(
    settings: &Settings,
    store: &StoreSettings,
    clients: &mut Clients,
    clock: &dyn Clock,
    options: &Options<'_>,
) -> Result<Report, CycleError> {
    let observed = observe::ask(settings, &store.sources, clients, clock, options.deadline).await;
    let contents = read(store)?;
    let interpreted = observe::assess(settings, &observed, &contents.state.planner)?;
    let asked = revocation::Asked { contents: &contents, answers: &interpreted.answers, observed: &observed };
    let lists = revocation::kept(settings, store, &asked, clock);
    let known = (&contents.state.planner, &contents.set);
    let answers = Answers { observed, lists };
    let plan = plan_with(settings, store, known, &answers, contents.state.known_times(), clock)?;
    let mut report = Report::of(&contents, &answers.observed, &plan);
    report.rehearsed = true;
    Ok(report)
}

/// Reads a store without the lock and without writing; an empty one where there is none yet.
pub fn read(store: &StoreSettings) -> Result<Contents, ContentsError> {
    match Store::find(&store.path)? {
        Some(opened) => contents::read(opened.root(), &store.name, String::new),
        None => Ok(Contents::unborn()),
    }
}

fn plan_with(
    settings: &Settings,
    store: &StoreSettings,
    (remembered, committed): (&PlannerState, &TrustSet),
    Answers { observed, lists }: &Answers,
    times: KnownTimes,
    clock: &dyn Clock,
) -> Result<Plan, CycleError> {
    let now = clock.now();
    let times = observe::known_times(times, observed);
    let (clock_doubted, doubt) = clock_doubt::doubt(now, clock.earliest(), times, &store.name);
    let extra = anchors::extra(store)?;
    let mut interpreted = observe::assess(settings, observed, remembered)?;
    let mut planner = remembered.clone();
    interpreted.findings.extend(doubt);
    if !clock_doubted {
        revocation::forget_expired(&mut planner, now);
    }
    let remembered = Judging { settings, store, now: (!clock_doubted).then_some(now) };
    revocation::act(lists, settings.crl.policy, &remembered, &mut planner, committed, &mut interpreted);
    let configured: BTreeSet<SlotId> = settings.slots_of(store).map(|(_, slot, _)| slot).collect();
    let policy = plan::Policy { grace: store.grace, ..settings.plan.clone() };
    let mut plan = plan::plan(&plan::Input {
        planner: &planner,
        committed,
        configured: &configured,
        answers: &interpreted.answers,
        extra_anchors: &extra,
        policy: &policy,
        now,
        clock_doubted,
    });
    plan.findings.splice(0..0, interpreted.findings);
    Ok(plan)
}

/// Whether what readers follow is not as the store's records have it: a changed generation, a moved link.
pub fn has_drifted(store: &StoreSettings) -> Result<bool, ContentsError> {
    let contents = read(store)?;
    let misplaced = |target| is_misplaced(store, &contents.state, target);
    Ok(contents.drifted || store.targets.iter().any(misplaced))
}

/// Whether a target's link names another generation than the one that its server is known to have taken from there.
fn is_misplaced(store: &StoreSettings, state: &State, target: &Target) -> bool {
    let known = state.targets.get(&target.name).and_then(|known| known.acknowledged);
    let settled = known.filter(|known| *known == state.generation);
    let link = || turns::link_of(store, target).and_then(|link| link.read());
    settled.is_some_and(|settled| link().is_ok_and(|link| link != Link::Generation(settled)))
}

/// What of the configuration cannot be used outside its file: HTTPS roots and anchors.
#[must_use]
pub fn outside_problems(settings: &Settings) -> Vec<String> {
    let mut problems = Clients::problems(settings);
    problems.extend(anchors::problems(settings));
    problems
}
