//! A store under its lock, for the length of one cycle or command: opened, planned for, published into, its targets'
//! turns taken, tidied, saved.

use std::collections::{BTreeMap, BTreeSet};

use tracing::Instrument;

use super::under_way::UnderWay;
use super::{
    Answers, CycleError, Observed, Options, Report, StateStamp, Turns, commit, due, evidence, housekeeping,
    is_misplaced, plan_with, state_stamp, turns,
};
use crate::clock::Clock;
use crate::exit::Exit;
use crate::genesys::FetchError;
use crate::jitter;
use crate::settings::resolved::{OnDrift, Settings, Store as StoreSettings, Target, TurnOrder};
use crate::store::contents::{self, Contents};
use crate::store::{self, Lock, Store, StoreError, file};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::plan::Plan;
use crate::trust::plan::difference::Difference;
use crate::trust::plan::schedule::{Polled, Schedule};
use crate::trust::records::manifest::Manifest;
use crate::trust::records::state::{LastCycle, State};
use crate::trust::records::summary::StoreSummary;
use crate::trust::render::Content;
use crate::trust::values::said::Said;

/// A state that the disk did not take, for a process that goes on: else it would do again what it has done.
#[derive(Debug, Clone)]
pub struct Unsaved {
    state: State,
    /// The state on disk that it was to replace.
    replaces: Option<StateStamp>,
}

/// What a cycle leaves behind.
#[derive(Debug)]
pub struct Closed {
    /// The store's summary.
    pub summary: StoreSummary,
    /// Its state, where the disk did not take it.
    pub unsaved: Option<Unsaved>,
}

/// A store under the lock, for the length of one cycle or command.
pub struct Session<'a> {
    pub(super) store: &'a StoreSettings,
    pub(super) clock: &'a dyn Clock,
    pub(super) opened: Store,
    /// What it holds.
    pub contents: Contents,
    /// Who typed the command, and why; empty where nobody did.
    pub said: Said,
    /// Why the state on disk is not as it is here.
    unsaved: Option<StoreError>,
    /// Lines of evidence that the disk did not take in this session.
    pub(super) unwritten: Vec<evidence::Unwritten>,
    _lock: Lock,
}

impl<'a> Session<'a> {
    /// Creates what is missing, takes the lock, reads, sweeps what a crash left.
    pub fn open(store: &'a StoreSettings, clock: &'a dyn Clock, options: &Options<'_>) -> Result<Self, CycleError> {
        Self::reopen(store, clock, options, None)
    }

    /// As [`Session::open`], with the state that the disk did not take from this process, unless somebody wrote one
    /// since.
    pub fn reopen(
        store: &'a StoreSettings,
        clock: &'a dyn Clock,
        options: &Options<'_>,
        unsaved: Option<&Unsaved>,
    ) -> Result<Self, CycleError> {
        let opened = Store::open(&store.path)?;
        let lock = Lock::acquire(opened.root(), options.command, clock.now(), options.lock_timeout)?;
        let mut contents = contents::read(opened.root(), &store.name, commit::draw_store_id)?;
        if let Some(unsaved) = unsaved.filter(|unsaved| unsaved.replaces == state_stamp(store)) {
            contents.resume(unsaved.state.clone());
        }
        let failures = commit::sweep_leftovers(opened.root(), contents.newest_committed);
        contents.findings.extend(Self::not_swept(store, &failures));
        let (unsaved, unwritten) = (None, Vec::new());
        let said = Said::default();
        let mut session = Self { store, clock, opened, contents, said, unsaved, unwritten, _lock: lock };
        session.settle_the_records();
        Ok(session)
    }

    fn not_swept(store: &StoreSettings, failures: &[StoreError]) -> Option<Finding> {
        let what = "What a crash left, or what is older than `keep` asks for, could not be removed";
        let means = "No server reads it; the next cycle tries again";
        housekeeping::finding(
            Event::StoreNotSwept,
            Subject::store(&store.name),
            what,
            means,
            failures.iter().map(StoreError::in_short),
        )
    }

    /// The state is there before the first generation, so that a missing one means a loss and not a crash; a commit
    /// whose writer died before it was in evidence is put there now, and so is what the disk did not take before.
    fn settle_the_records(&mut self) {
        let root = self.opened.root();
        let waits = !self.contents.state.evidence_backlog.is_empty();
        let mut failures = Vec::new();
        let now = self.clock.now();
        failures.extend(evidence::append_backlog(root, &mut self.contents.state.evidence_backlog, now).err());
        if !self.contents.state_is_current {
            match self.missing_commit() {
                Ok(None) => {}
                Ok(Some((manifest, difference))) => {
                    let written = evidence::committed(root, &manifest, &difference, &BTreeMap::new());
                    self.unwritten.extend(written.err());
                }
                Err(error) => failures.push(error),
            }
        }
        let reasons = failures.iter().map(StoreError::in_short);
        self.contents.findings.extend(Self::not_in_evidence(self.store, reasons));
        if waits || !self.contents.state_is_current {
            self.save();
        }
    }

    /// The commit of the newest generation with what it changed, where it is not in evidence.
    fn missing_commit(&self) -> Result<Option<(Manifest, Difference)>, StoreError> {
        let root = self.opened.root();
        let Some(manifest) = &self.contents.manifest else { return Ok(None) };
        let waits = evidence::waits_with_commit(&self.contents.state.evidence_backlog, manifest.generation);
        if waits || evidence::has_committed(root, manifest.generation)? {
            return Ok(None);
        }
        let before = contents::before(root, manifest.generation)?;
        Ok(Some((manifest.clone(), Difference::between(&before, &self.contents.set))))
    }

    fn not_in_evidence(store: &StoreSettings, reasons: impl IntoIterator<Item = String>) -> Option<Finding> {
        let what = "The evidence could not be brought up to date";
        let means = "What it lacks is kept in the state, and the next cycle tries again; trust is not concerned";
        housekeeping::finding(Event::EvidenceNotWritten, Subject::store(&store.name), what, means, reasons)
    }

    pub(super) fn plan(&self, settings: &Settings, answers: &Answers) -> Result<Plan, CycleError> {
        let known = (&self.contents.state.planner, &self.contents.set);
        let times = self.contents.state.known_times();
        plan_with(settings, self.store, known, answers, times, self.clock)
    }

    /// Whether the plan lacks certificates only because the disk lost them, and no clean answer said what becomes of
    /// them: what servers have loaded is better than that.
    pub(super) fn would_lose_by_damage(&self, plan: &Plan) -> bool {
        let answered = |slot| plan.planner.slots.get(slot).is_some_and(|held| held.last_clean.is_some());
        self.contents.lost.iter().any(|slot| !answered(slot))
    }

    /// Makes a plan real: a new generation where the set (or its form, or what is on the disk) differs, and the
    /// planner's state.
    pub fn adopt(&mut self, plan: &Plan, cause: &str, report: &mut Report) -> Result<(), CycleError> {
        let outputs = self.store.outputs();
        let content = Content::of(&plan.set, &plan.planner, &outputs);
        let published = self.contents.manifest.as_ref().map(|manifest| manifest.digest);
        // An empty store stays empty until something may enter; one that was emptied by denial says so.
        let nothing_yet = published.is_none() && plan.set.is_empty();
        let repair = self.contents.drifted && self.store.on_drift == OnDrift::Repair;
        if !nothing_yet && (published != Some(content.digest()) || repair) {
            let cause = format!("{cause}{}", self.said.suffix());
            let manifest = commit::commit(self.opened.root(), &self.contents, &content, &cause, self.clock.now())?;
            report.committed(&manifest, Difference::between(&self.contents.set, &plan.set));
            self.contents.state.unfaithful = None;
            let differences = contents::differences(self.opened.root(), &manifest);
            if !differences.is_empty() {
                self.contents.state.unfaithful = Some(manifest.generation);
                report.findings.push(contents::unfaithful(&self.store.name, &manifest, &differences));
            }
            self.contents.manifest = Some(manifest);
            self.contents.set = plan.set.clone();
            self.contents.drifted = false;
        }
        if let Some(manifest) = self.contents.manifest.as_ref().filter(|_| report.committed) {
            let written = evidence::committed(self.opened.root(), manifest, &report.difference, &report.observed);
            report.noted(written);
        }
        self.remember(plan);
        Ok(())
    }

    /// Notes how the sources did, and when each is asked next. It is written with whatever the cycle writes next.
    pub(super) fn note_sources(&mut self, settings: &Settings, plan: &Plan, observed: &[Observed]) {
        let now = self.clock.now();
        let known = &mut self.contents.state.sources;
        known.retain(|name, _| self.store.sources.contains(name));
        for said in observed {
            let source = known.entry(said.source.clone()).or_default();
            source.last_attempt = Some(said.asked);
            if let Some(agrees) = said.clock_agrees() {
                source.clock_disagrees = !agrees;
                if agrees {
                    source.clock_agreed = Some(said.asked);
                }
            }
            let errors: Vec<String> = said.failures().map(ToString::to_string).collect();
            let polled = if errors.is_empty() {
                let first = source.last_success.is_none();
                source.last_success = Some(said.asked);
                source.failures = 0;
                source.last_error = None;
                Polled::Successfully { first, in_window: plan.in_window(&said.source, settings.plan.window, now) }
            } else {
                source.failures = source.failures.saturating_add(1);
                source.last_error = Some(errors.join("; "));
                let retry_after = said.failures().filter_map(FetchError::retry_after).max();
                Polled::Failed { failures: source.failures, retry_after }
            };
            source.next_due = Some(said.asked.plus(settings.schedule.wait_after(polled, jitter::draw())));
        }
    }

    /// Keeps what the plan remembers.
    pub(super) fn remember(&mut self, plan: &Plan) {
        self.contents.state.planner = plan.planner.clone();
        if let Some(manifest) = &self.contents.manifest {
            self.contents.state.generation = self.contents.state.generation.max(manifest.generation);
        }
        self.save();
    }

    /// What the vendor lists is remembered though it could not be published: it is missing until that is done, and its
    /// sources are asked at once.
    pub(super) fn remember_uncommitted(&mut self, plan: &Plan, observed: &[Observed]) {
        let state = &mut self.contents.state;
        for (slot, known) in &mut state.planner.slots {
            if let Some(planned) = plan.planner.slots.get(slot) {
                known.listed.clone_from(&planned.listed);
            }
        }
        for said in observed {
            if let Some(source) = state.sources.get_mut(&said.source) {
                source.next_due = None;
            }
        }
    }

    /// Takes every target's turn.
    pub async fn take_turns(&mut self, report: &mut Report) {
        self.take_turns_that(Turns::All, &Schedule::default(), report).await;
    }

    pub(super) async fn take_turns_that(&mut self, turns: Turns, schedule: &Schedule, report: &mut Report) {
        let now = self.clock.now();
        let is_due = |target: &&Target| {
            due::turn_due(&self.contents.state, target, schedule, now) <= now
                || is_misplaced(self.store, &self.contents.state, target)
        };
        let takes = |target: &&Target| match turns {
            Turns::All => true,
            Turns::Due => report.committed || is_due(target),
            Turns::Later => false,
        };
        let mut targets: Vec<&Target> = self.store.targets.iter().filter(takes).collect();
        match self.store.turns {
            TurnOrder::Parallel => self.take_turns_of(&targets, false, report).await,
            TurnOrder::Ordered => {
                // Who still admits a denied leaf does not wait for who does not.
                targets.sort_by_cached_key(|target| !self.admits_denied(target));
                for target in targets {
                    self.take_turns_of(&[target], false, report).await;
                }
            }
        }
        self.say_what_is_out_of_reach(turns, report).await;
        self.contents.state.targets.retain(|name, _| self.store.targets.iter().any(|target| target.name == *name));
    }

    /// Whether a target's server may still admit a leaf that is denied by now.
    fn admits_denied(&self, target: &Target) -> bool {
        let Some(manifest) = &self.contents.manifest else { return false };
        let state = self.contents.state.targets.get(&target.name);
        turns::Turns::of(self.store, manifest, target, self.clock)
            .is_ok_and(|turn| turn.admits_denied(state.and_then(|state| state.acknowledged)))
    }

    /// Takes the turn of the target of this name from the beginning: check, reload, prove.
    pub async fn take_turn_again(&mut self, name: &str, report: &mut Report) {
        for target in self.store.targets.iter().filter(|target| target.name == name) {
            self.take_turns_of(&[target], true, report).await;
        }
    }

    /// Takes the operator's confirmation that the server of this target serves the newest generation, and its turn, in
    /// which a proof may say otherwise.
    pub async fn confirm(&mut self, name: &str, report: &mut Report) {
        let wanted = self.contents.manifest.as_ref().map(|manifest| manifest.generation);
        for target in self.store.targets.iter().filter(|target| target.name == name) {
            self.note_override(&format!("confirm {name}"));
            self.contents.state.targets.entry(name.to_owned()).or_default().confirmed = wanted;
            self.take_turns_of(&[target], false, report).await;
        }
    }

    /// Puts the operator's override into evidence.
    pub fn note_override(&mut self, word: &str) {
        self.unwritten.extend(evidence::word(self.opened.root(), word, &self.said, self.clock.now()).err());
    }

    /// Takes the turns of these targets at the same time. Whatever comes of one, the others come to their end.
    async fn take_turns_of(&mut self, targets: &[&Target], forced: bool, report: &mut Report) {
        let Some(manifest) = self.contents.manifest.clone() else { return };
        let (store, clock) = (self.store, self.clock);
        let mut under_way = UnderWay::default();
        for (place, target) in targets.iter().copied().enumerate() {
            let known = self.contents.state.targets.get(&target.name).cloned();
            let mut state = known.unwrap_or_default();
            let (mut part, manifest) = (report.part(), &manifest);
            let span = tracing::info_span!("target", target = target.name, generation = manifest.generation);
            let turn = async move {
                match turns::Turns::of(store, manifest, target, clock) {
                    Ok(turn) => turn.take(&mut state, forced, &mut part).await,
                    Err(error) => part.not_switched(target, &mut state, manifest.generation, &error),
                }
                (place, target, state, part)
            };
            under_way.begin(turn.instrument(span));
        }
        let mut parts = BTreeMap::new();
        while let Some((place, target, state, part)) = under_way.next().await {
            parts.insert(place, part);
            report.looked.targets.insert(target.name.clone());
            self.contents.state.targets.insert(target.name.clone(), state);
            // What one target came to must not be lost to a crash in another one's turn.
            self.save();
        }
        // As they are configured, not as they came to their end.
        parts.into_values().for_each(|part| report.absorb(part));
    }

    /// Tidies, writes the alarms of a whole cycle and the state, and lets go of the lock.
    pub fn close(mut self, report: &mut Report) -> Closed {
        self.tidy(report);
        report.finish(&self.store.name, &self.contents.state);
        self.contents.state.raise(&report.findings, &report.looked, self.clock.now());
        self.note_outcome(report);
        self.save();
        self.note_unsaved(report);
        let summary = StoreSummary::of(&self.store.name, &self.contents.state, &self.contents.set)
            .publishing(self.contents.manifest.as_ref());
        let unsaved =
            self.unsaved.is_some().then(|| Unsaved { replaces: state_stamp(self.store), state: self.contents.state });
        Closed { summary, unsaved }
    }

    /// Remembers how a cycle ended, where it asked a source or failed: else nothing would be written but a time.
    fn note_outcome(&mut self, report: &Report) {
        let exit = report.exit(false);
        let known = &mut self.contents.state.last_cycle;
        // What the vendor said, only the next poll can say otherwise.
        let of_ours = [Exit::Store, Exit::Owed, Exit::Check].map(|exit| exit as u8);
        let is_over = known.as_ref().is_some_and(|last| of_ours.contains(&last.exit));
        if exit != Exit::Done || is_over || !report.looked.sources.is_empty() {
            let ended = self.clock.now();
            *known = Some(LastCycle { ended, exit: exit as u8, why: report.why() });
        }
    }

    /// Tidies, and writes the state after a command that was not a whole cycle: what it found is added to the alarms
    /// that stand.
    pub fn close_between(mut self, report: &mut Report) {
        self.tidy(report);
        for target in report.targets.iter().filter(|target| target.owed.is_none()) {
            self.contents.state.settled(&target.target);
        }
        self.contents.state.raise_besides(&report.findings, self.clock.now());
        self.save();
        self.note_unsaved(report);
    }

    /// What can wait until every target has had its turn.
    fn tidy(&mut self, report: &mut Report) {
        let failed_before =
            self.contents.state.alarms.values().any(|alarm| alarm.finding.event == Event::StoreNotSwept);
        let newest = self.contents.manifest.as_ref().map(|manifest| manifest.generation);
        if let Some(newest) = newest.filter(|_| report.committed || failed_before) {
            let loaded = self.contents.state.targets.values().filter_map(|target| target.acknowledged).collect();
            let failures = commit::sweep_old(self.opened.root(), self.store.keep, newest, loaded);
            // It tried all that the first sweep did.
            report.findings.retain(|finding| finding.event != Event::StoreNotSwept);
            report.findings.extend(Self::not_swept(self.store, &failures));
        }
        let mut reasons = BTreeSet::new();
        let unwritten = self.unwritten.drain(..).chain(report.unwritten.drain(..));
        for evidence::Unwritten { line, why } in unwritten {
            self.contents.state.evidence_backlog.push(line);
            reasons.insert(why);
        }
        let reported_already = report.findings.iter().any(|finding| finding.event == Event::EvidenceNotWritten);
        if !reported_already {
            report.findings.extend(Self::not_in_evidence(self.store, reasons));
        }
    }

    /// Where the state could not be saved, the report says so, and the state that a process goes on with.
    fn note_unsaved(&mut self, report: &mut Report) {
        if let Some(error) = &self.unsaved {
            let finding = report.not_saved(&self.store.name, &error.in_short());
            self.contents.state.raise_besides(&[finding], self.clock.now());
        }
    }

    pub(super) fn save(&mut self) {
        let bytes = self.contents.state.to_bytes();
        self.unsaved = file::replace(&self.opened.root().join(store::contents::STATE), &bytes).err();
    }
}
