//! The privileged helper's part of a turn: the cycle with another store as its source, no network, and files that are
//! root's. The daemon proves what came of it.
//!
//! ```text
//!  request consumed ─▶ lock ─▶ adopt the daemon's store ─▶ render, under its number ─▶ read back · check · switch · reload
//!  whatever it is                bounded, verified anew                                  ─▶ outcome, for the daemon
//! ```
//! Where nothing can be adopted, what root itself denies leaves root's own files all the same: they are rendered again
//! under their own number, without it. Nothing enters by this way.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::Instrument;

use super::answer::{ApplyOutcome, Rendered, Verdict};
use super::folder::{Privileged, Request};
use super::state::{State, StateError};
use crate::clock::Clock;
use crate::cycle::steps::{self, Hand, Server, trusts_denied};
use crate::cycle::{CycleError, anchors, canary, commit, housekeeping, observe, standing_check};
use crate::exit::Exit;
use crate::settings::resolved::{Addressee, CrlPolicy, Reload, Settings, Store as StoreSettings, Target};
use crate::store::adopt::{self, AdoptError};
use crate::store::ownership::{self, NotRoots};
use crate::store::{Link, Lock, LockError, StoreError, Swept, contents, generation, sweep_in};
use crate::targets::enforcement;
use crate::targets::process::Environment;
use crate::targets::read_back::read_back;
use crate::trust::event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::SlotRules;
use crate::trust::plan::planner_state::{PlannerState, SlotState};
use crate::trust::records::adopt::{Adopted, Giver, Input, Withheld, adopt};
use crate::trust::records::manifest::Manifest;
use crate::trust::render::{Content, Label};
use crate::trust::turn;
use crate::trust::turn::{Event, Owed, Proof, Situation};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;
use crate::trust::verify::crl::Crl;

/// How many generations stay, besides those that are named.
const KEPT: usize = 3;

/// What no server may read, and we do: the certificates of what was adopted before.
const KEPT_FOR_US: [&str; 2] = ["leaves.pem", "chain.pem"];

/// The privileged helper of one target.
pub struct Apply<'a> {
    /// Root's own configuration.
    pub settings: &'a Settings,
    /// Whose store is adopted.
    pub store: &'a StoreSettings,
    /// The target for which.
    pub target: &'a Target,
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// How long to wait for another one.
    pub lock_timeout: Duration,
    /// Whether what the daemon has said before is let go of first: its store was made anew on purpose.
    pub reset: bool,
}

/// Why the privileged helper took no turn. What is in place stays.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It acts by what others may change.
    #[error("root acts by what root alone can change: {0}")]
    Ownership(#[from] NotRoots),
    /// An anchor's file, or the marker.
    #[error(transparent)]
    Cycle(#[from] CycleError),
    /// Another one is at it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Root's own files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was remembered of earlier turns.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store cannot be read.
    #[error("the daemon's store was not adopted: {0}")]
    Unreadable(#[from] AdoptError),
    /// Nothing of it may be rendered.
    #[error("the daemon's store was not adopted: {0}")]
    Withheld(#[from] Withheld),
    /// It is another store, or goes backward.
    #[error(
        "the daemon's store {what}. If it was made anew on purpose: trustsync apply {target} --reset (what root itself \
         denied or verified as revoked stays denied)"
    )]
    NotTheSame {
        /// Compared with what was adopted before.
        what: String,
        /// For which target.
        target: String,
    },
}

impl ApplyError {
    /// The exit code that it ends in.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Ownership(_) => Exit::Configuration,
            Self::Cycle(error) => error.exit(),
            Self::Lock(LockError::Held { .. }) => Exit::Locked,
            Self::Lock(_) | Self::Store(_) | Self::State(_) => Exit::Store,
            Self::Unreadable(AdoptError::Nothing(_) | AdoptError::Io { .. }) => Exit::Source,
            Self::Unreadable(_) | Self::Withheld(_) | Self::NotTheSame { .. } => Exit::Answer,
        }
    }
}

impl Apply<'_> {
    /// Does what was asked for and leaves an outcome, whatever comes of it. `request` was consumed before.
    pub async fn answer(&self, request: Option<&Request>) -> (ApplyOutcome, Exit) {
        let span = tracing::info_span!("apply", target = self.target.name);
        let files = match Privileged::of(&self.store.privileged_path, &self.target.name) {
            Ok(files) => files,
            Err(error) => return self.without(request, &error.into()),
        };
        let (mut outcome, mut exit) =
            self.work(&files, request).instrument(span).await.unwrap_or_else(|error| self.without(request, &error));
        outcome.findings.extend(self.not_cleared(&files.clear()));
        let mut outcome = outcome.bounded();
        if outcome.rendered.is_none() {
            outcome.rendered = ApplyOutcome::last(&files).and_then(|last| last.rendered);
        }
        if let Err(error) = files.conclude(&outcome.to_bytes()) {
            outcome.findings.push(self.finding(event::Event::OutcomeNotWritten, error.to_string()));
            exit = Exit::Store;
        }
        (outcome, exit)
    }

    fn not_cleared(&self, uncleared: &[StoreError]) -> Option<Finding> {
        housekeeping::finding(
            event::Event::ApplyNotSwept,
            Subject::target(&self.target.name),
            "What was left as a request was taken away, but could not be removed",
            "Nothing reads it; the next turn tries again",
            uncleared.iter().map(StoreError::in_short),
        )
    }

    fn finding(&self, event: event::Event, text: String) -> Finding {
        Finding::new(event, Subject::target(&self.target.name), text)
    }

    fn without(&self, request: Option<&Request>, error: &ApplyError) -> (ApplyOutcome, Exit) {
        let outcome = ApplyOutcome::new(request, self.clock.now(), Verdict::Withheld(error.to_string()));
        (outcome, error.exit())
    }

    // Long because it is the helper's whole turn, in its order: adopt, remember, render, take the steps, report.
    async fn work(&self, files: &Privileged, request: Option<&Request>) -> Result<(ApplyOutcome, Exit), ApplyError> {
        let now = self.clock.now();
        files.prepare(std::fs::metadata(&self.store.path).map_or(0, |found| found.gid()))?;
        self.check_ownership()?;
        let _lock = Lock::acquire_at(files.lock(), "trustsync apply", now, self.lock_timeout)?;
        let mut state = State::read(&files.state())?;
        if self.reset {
            state.let_go();
        }
        let link = files.link()?;
        let (linked, foreign) = match link.read()? {
            Link::Generation(number) => (Some(number), None),
            Link::Missing => (None, None),
            Link::Foreign(found) => (None, Some(found)),
        };
        let earlier = linked.and_then(|linked| Earlier::read(&files.generations(), linked)).unwrap_or_default();
        let (given, adopted, withheld) = match self.adopt_store(&mut state, &earlier) {
            Ok((given, adopted)) => (given, adopted, None),
            Err(error) => {
                // What a reset lets go of stays until a store was adopted.
                state = State::read(&files.state())?;
                let Some((given, adopted)) = self.without_denied(&state, earlier) else { return Err(error) };
                (given, adopted, Some(error))
            }
        };
        let number = given.generation;
        // What is remembered protects the next turn. This one does not wait for it: a denied leaf may still be
        // admitted.
        let mut unsaved = state.write(&files.state()).err();

        let outputs = self.store.outputs();
        let content = Content::of(&adopted.set, &adopted.planner, &outputs);
        let old = linked.into_iter().chain(state.reloaded.map(|(number, _)| number));
        // Before what is linked may be exchanged.
        let drops_denied = trusts_denied(&files.generations(), old, &adopted.planner.denied);
        let rendered = self.render(files, &content, &given)?;
        let environment = self.environment(number, &given.store);
        // Of these very files: an apply that died after it had exchanged them has reloaded nothing.
        let acknowledged = state.reloaded.filter(|(_, digest)| *digest == rendered).map(|(number, _)| number);
        let server = Server {
            kinds: self.store.kinds,
            target: self.target,
            link: files.link()?,
            generations: files.generations(),
            environment: environment.clone(),
        };
        let forced = request.is_none_or(|request| request.reload);
        let begin = server.situation(number, linked, acknowledged, state.canary.as_ref(), forced);
        let (verdict, reloaded) = ByRoot::take(server, Situation { drops_denied, ..begin }).await;
        let mut outcome = ApplyOutcome::new(request, now, verdict);
        if !reloaded && matches!(outcome.verdict, Verdict::Reloaded(_)) {
            let known = ApplyOutcome::last(files).and_then(|last| last.standing_check);
            outcome.standing_check = standing_check::make(self.target, known.as_ref(), &environment, now).await;
        }
        if matches!(outcome.verdict, Verdict::Reloaded(_)) {
            state.reloaded = Some((number, rendered));
            unsaved = state.write(&files.state()).err();
        }
        if link.read().is_ok_and(|found| found == Link::Generation(number)) {
            outcome.rendered = Some(Rendered { store: given.store, generation: number, digest: rendered });
        }
        if let (Some(configuration), Some(argv)) = (self.target.kind.configuration, &self.target.check) {
            let (link, limit) = (link.path(), self.target.check_timeout);
            outcome.enforcement = Some(enforcement::read(configuration, argv, link, &environment, limit).await);
        }
        let is_used = request.is_some_and(|request| request.used) && matches!(outcome.verdict, Verdict::Reloaded(_));
        if is_used && canary::is_due(self.target, state.canary.as_ref(), number) {
            let generation = (number, &*link.generation(number));
            canary::run(self.target, &mut state.canary, generation, link.path(), &environment).await;
            unsaved = state.write(&files.state()).err();
        }
        outcome.canary.clone_from(&state.canary);
        outcome.refused = adopted.refused;
        let named = [linked, Some(number), state.reloaded.map(|(number, _)| number)];
        outcome.findings.extend(self.findings(foreign, &self.sweep(files, &named), unsaved.as_ref()));
        if let Some(error) = withheld {
            let owed = if let Verdict::Owed(owed) = &outcome.verdict { Some(owed) } else { None };
            outcome.findings.extend(owed.map(|owed| owed.finding(&self.target.name, number)));
            let exit = if unsaved.is_some() { Exit::Store } else { error.exit() };
            let what = "What root itself denies was taken out all the same";
            outcome.verdict = Verdict::Withheld(format!("{error}. {what}"));
            return Ok((outcome, exit));
        }
        let exit = match &outcome.verdict {
            _ if unsaved.is_some() => Exit::Store,
            Verdict::Owed(owed) => owed.event().facts().failure.map_or(Exit::Owed, Exit::from),
            Verdict::Reloaded(_) | Verdict::Withheld(_) if !outcome.refused.is_empty() => Exit::Answer,
            Verdict::Reloaded(_) | Verdict::Withheld(_) => Exit::Done,
        };
        Ok((outcome, exit))
    }

    /// The daemon's set, as far as root's own policy lets it in; what it says of identities is remembered, and what
    /// root has found revoked by itself.
    fn adopt_store(&self, state: &mut State, earlier: &Earlier) -> Result<(Manifest, Adopted), ApplyError> {
        let given = adopt::store(&self.store.path)?;
        check_same(state, &given.manifest, &self.target.name)?;
        if state.store.is_none() {
            state.remember(earlier.manifest.as_ref());
        }
        let lists =
            if self.settings.crl.policy == CrlPolicy::Off { Vec::new() } else { adopt::lists(&self.store.path) };
        // One that cannot be read revokes nobody.
        let lists: Vec<Crl> = lists.into_iter().filter_map(|list| Crl::read(list).ok()).collect();
        let mut policy = self.settings.verify.clone();
        policy.usage_waived = state.usage_waived(earlier.manifest.as_ref(), self.clock.now());
        let adopted = adopt(&Input {
            giver: Giver::Daemon,
            manifest: &given.manifest,
            certificates: &given.certificates,
            rules: &self.rules(state)?,
            earlier: earlier.manifest.as_ref(),
            earlier_certificates: &earlier.certificates,
            denied: &state.denied(),
            lists: &lists,
            extra: &anchors::extra(self.store).map_err(CycleError::from)?,
            policy: &policy,
            now: self.clock.now(),
        })?;
        state.store = Some(given.manifest.store.clone());
        state.generation = given.manifest.generation;
        state.identities.extend(adopted.identities());
        state.keep_revoked(&adopted.revoked, self.clock.now());
        Ok((given.manifest, adopted))
    }

    /// Root's own last generation without what root itself denies, if that has not left it yet, or if the server was
    /// not reloaded since. Nothing is verified anew, and so nothing else leaves.
    fn without_denied(&self, state: &State, earlier: Earlier) -> Option<(Manifest, Adopted)> {
        let (manifest, denied) = (earlier.manifest?, state.denied());
        let is_whole = denied.keys().all(|key| manifest.denied.contains_key(key));
        if denied.is_empty() || (is_whole && state.reloaded == Some((manifest.generation, manifest.digest))) {
            return None;
        }
        let adopted = adopt(&Input {
            giver: Giver::Daemon,
            manifest: &manifest,
            certificates: &earlier.certificates,
            // Without a rule, a slot keeps what it has.
            rules: &[],
            earlier: Some(&manifest),
            earlier_certificates: &earlier.certificates,
            denied: &denied,
            lists: &[],
            extra: &manifest
                .extra
                .iter()
                .filter_map(|key| Some((*key, earlier.certificates.get(key)?.clone())))
                .collect(),
            policy: &self.settings.verify,
            now: self.clock.now(),
        });
        let mut adopted = adopted.ok()?;
        // As far as a file of root's own is damaged, more would leave than root denies.
        let stays =
            |slot: &SlotId, key| adopted.planner.slots.get(slot).is_some_and(|held| held.entries.contains_key(key));
        let mut entries =
            manifest.slots.iter().flat_map(|(slot, held)| held.entries.keys().map(move |key| (slot, key)));
        if !entries.all(|(slot, key)| denied.contains_key(key) || stays(slot, key)) {
            return None;
        }
        for (slot, held) in &manifest.slots {
            adopted.planner.slots.entry(slot.clone()).or_default().identity.clone_from(&held.identity);
        }
        // What is left out here was not offered by anybody.
        adopted.refused.clear();
        Some((manifest, adopted))
    }

    /// What is to be reported besides the verdict: a `foreign` link that was replaced, and what the disk refused.
    fn findings(&self, foreign: Option<String>, unswept: &[StoreError], unsaved: Option<&StoreError>) -> Vec<Finding> {
        let foreign = foreign.map(|found| {
            let text =
                format!("The target's link was not made by trustsync ({found}); it was not followed, and replaced.");
            self.finding(event::Event::StoreDrift, text)
        });
        let unswept = housekeeping::finding(
            event::Event::ApplyNotSwept,
            Subject::target(&self.target.name),
            "What a crash left of root's files, or what is older than is kept, could not be removed",
            "No server reads it; the next turn tries again",
            unswept.iter().map(StoreError::in_short),
        );
        let unsaved = unsaved.map(|error| {
            let text = format!(
                "What the privileged helper remembers (revocations, identities, what the server loaded last) could not be \
                 saved: {}. This turn was taken all the same; the next one begins from what was saved before.",
                error.in_short()
            );
            self.finding(event::Event::ApplyNotSaved, text)
        });
        foreign.into_iter().chain(unswept).chain(unsaved).collect()
    }

    /// What is run, whom it signals, by whom it is believed: all of it must be root's.
    fn check_ownership(&self) -> Result<(), ApplyError> {
        let sources = self.settings.sources_of(self.store);
        let anchors = sources.flat_map(|source| source.digicert_anchors.iter().chain(&source.genesys_anchors));
        let mut paths: Vec<PathBuf> = anchors.chain(&self.store.extra_anchors).cloned().collect();
        let program = |argv: &[String]| argv.first().filter(|name| name.contains('/')).map(PathBuf::from);
        paths.extend(self.target.check.as_deref().and_then(program));
        for reload in self.target.reload.ways() {
            match reload {
                Reload::Command(argv) => paths.extend(program(argv)),
                // The file may be missing while the server is down; who may make it, counts.
                Reload::Signal { to: Addressee::Pidfile { pidfile, .. }, .. } => {
                    paths.extend(pidfile.parent().map(Path::to_owned));
                }
                // The server's own user may have made its socket, and anyone who may write in its folder may put
                // another one there. It is given only what is public, and what it says is bounded (see `OwnReload`).
                Reload::Own { .. } => {}
                Reload::Signal { .. } | Reload::Systemd { .. } | Reload::Http(_) | Reload::None => {}
            }
        }
        for path in paths {
            ownership::roots_alone(&path)?;
        }
        Ok(())
    }

    /// The rules of each configured slot; the identity that was kept counts as learned.
    fn rules(&self, state: &State) -> Result<Vec<SlotRules>, CycleError> {
        let kept = |(slot, names): (&SlotId, &BTreeSet<String>)| {
            (slot.clone(), SlotState { identity: Some(names.clone()), ..SlotState::default() })
        };
        let planner = PlannerState { slots: state.identities.iter().map(kept).collect(), ..PlannerState::default() };
        let slots = self.settings.slots_of(self.store);
        slots.map(|(source, slot, authority)| observe::rules(source, slot, authority, &planner)).collect()
    }

    /// Writes the generation, unless it is there already.
    fn render(&self, files: &Privileged, content: &Content<'_>, given: &Manifest) -> Result<Fingerprint, ApplyError> {
        let (number, digest) = (given.generation, content.digest());
        let generations = files.generations();
        let rendered = contents::manifest_in(&generations, number).ok().flatten();
        let is_there = rendered.is_some_and(|rendered| rendered.digest == digest && rendered.store == given.store);
        if is_there && read_back(self.store.kinds, &generations, number).is_ok() {
            return Ok(digest);
        }
        let marker = commit::marker(&given.store, number, digest)?;
        let label = Label {
            store: &given.store,
            generation: number,
            committed: given.committed,
            cause: "adopted",
            marker: &marker,
        };
        let reads = |path: &str| self.target.kind.reads(path) || KEPT_FOR_US.contains(&path);
        let files = content.render_those(&label, reads);
        if std::fs::symlink_metadata(generations.join(generation::name(number))).is_ok() {
            generation::exchange_in(&generations, number, &files)?;
        } else {
            generation::write_in(&generations, number, &files)?;
        }
        Ok(digest)
    }

    fn environment(&self, number: u64, store_id: &str) -> Environment {
        let root = &self.store.privileged_path;
        steps::environment(self.target, number, root, store_id, &root.join(&self.target.name))
    }

    /// Removes what nothing names any more. What could not be removed.
    fn sweep(&self, files: &Privileged, named: &[Option<u64>]) -> Vec<StoreError> {
        let generations = files.generations();
        let mut swept = Swept::default();
        sweep_in(&generations, &mut swept);
        let rendered = match swept.tried(files.link().and_then(|link| link.read())) {
            Some(Link::Generation(number)) => Some(number),
            Some(_) => None,
            // It is unknown which one is named.
            None => return swept.failures,
        };
        let found = swept.tried(generation::list_in(&generations)).unwrap_or_default();
        let newest: BTreeSet<u64> = found.iter().rev().take(KEPT).copied().collect();
        for number in found {
            let is_named = Some(number) == rendered || named.contains(&Some(number));
            if !is_named && !newest.contains(&number) {
                swept.tried(generation::remove_in(&generations, number));
            }
        }
        swept.failures
    }
}

/// Root's own last generation.
#[derive(Default)]
struct Earlier {
    manifest: Option<Manifest>,
    certificates: BTreeMap<Fingerprint, Certificate>,
}

impl Earlier {
    fn read(generations: &Path, number: u64) -> Option<Self> {
        let manifest = contents::manifest_in(generations, number).ok().flatten();
        Some(Self { manifest, certificates: contents::certificates_in(generations, number).ok()? })
    }
}

/// Whether the daemon's store is the one that was adopted before, and has not gone backward.
fn check_same(state: &State, given: &Manifest, target: &str) -> Result<(), ApplyError> {
    let what = match &state.store {
        Some(had) if *had != given.store => {
            let given: String = given.store.chars().take(64).collect();
            format!("is another one ({given}) than before ({had})")
        }
        _ if given.generation < state.generation => format!(
            "has generation {:06}, and {:06} was adopted before: an earlier one may not bring back what has left",
            given.generation, state.generation
        ),
        _ => return Ok(()),
    };
    Err(ApplyError::NotTheSame { what, target: target.to_owned() })
}

/// Root takes each step itself, up to the reload.
struct ByRoot<'a> {
    server: Server<'a>,
    /// How the server was reloaded.
    how: String,
}

impl<'a> ByRoot<'a> {
    /// The second value is whether the server was reloaded.
    async fn take(server: Server<'a>, situation: Situation) -> (Verdict, bool) {
        let mut hand = Self { server, how: "as it stands".to_owned() };
        match steps::take(situation, &mut hand).await {
            (turn::TurnOutcome::Settled(_), reloaded) => (Verdict::Reloaded(hand.how), reloaded),
            (turn::TurnOutcome::Owed(owed), reloaded) => (Verdict::Owed(owed), reloaded),
        }
    }
}

impl Hand for ByRoot<'_> {
    fn server(&self) -> &Server<'_> {
        &self.server
    }

    async fn reload(&mut self) -> Result<Event, Owed> {
        match self.server.reload().await {
            Ok(how) => {
                self.how = how.to_string();
                Ok(Event::Succeeded)
            }
            Err(error) => Ok(Event::Failed(error.to_string())),
        }
    }

    async fn prove(&mut self, _reloaded: bool) -> Event {
        Event::Proof(Proof::Unverifiable("the daemon proves".to_owned()))
    }
}

impl ApplyOutcome {
    /// In a line.
    #[must_use]
    pub fn line(&self, target: &str) -> String {
        let generation = self
            .rendered
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |rendered| format!("{:06}", rendered.generation));
        let what = match &self.verdict {
            Verdict::Reloaded(words) => format!("told ({words}); generation {generation} is in place"),
            Verdict::Owed(owed) => format!("OWED: {owed}; generation {generation} is in place"),
            Verdict::Withheld(why) => format!("NOT ADOPTED: {why}; generation {generation} stays in place"),
        };
        let refused: String = self.refused.iter().map(|why| format!("  not let in: {why}\n")).collect();
        format!("target {target}: {what}\n{refused}")
    }

    /// What should reach the log.
    #[must_use]
    pub fn found(&self, target: &str) -> Vec<Finding> {
        let mut found = self.findings.clone();
        let generation = self.rendered.as_ref().map_or(0, |rendered| rendered.generation);
        match &self.verdict {
            Verdict::Reloaded(_) => {}
            Verdict::Owed(owed) => found.push(owed.finding(target, generation)),
            Verdict::Withheld(why) => {
                let text = format!("{why}. Generation {generation:06} stays in place (000000: none).");
                found.push(Finding::new(event::Event::TargetWithheld, Subject::target(target), text));
            }
        }
        let refused = |why: &String| {
            Finding::new(event::Event::AdoptionRefused, Subject::target(target), format!("Not let in: {why}."))
        };
        found.extend(self.refused.iter().map(refused));
        found
    }
}
