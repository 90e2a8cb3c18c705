//! What a cycle came to: one type for the terminal, the log, JSON and the exit code.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::evidence::Unwritten;
use super::{CycleError, Observed};
use crate::exit::Exit;
use crate::settings::resolved::Target;
use crate::store::StoreError;
use crate::store::contents::Contents;
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::plan::Plan;
use crate::trust::plan::difference::Difference;
use crate::trust::records::manifest::Manifest;
use crate::trust::records::state::{Looked, State, TargetState};
use crate::trust::turn::{Evidence, Owed};
use crate::trust::values::excerpt;
use crate::trust::values::timestamp::Timestamp;

/// How much is remembered of why a cycle failed.
const LONGEST_WHY: usize = 1_000;

/// What a cycle came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The newest committed generation; none before the first.
    pub generation: Option<u64>,
    /// Whether this cycle committed it.
    pub committed: bool,
    /// Whether nothing was written and no server reloaded.
    pub rehearsed: bool,
    /// Whether no client at all is admitted.
    pub deny_all: bool,
    /// What changed, or would.
    pub difference: Difference,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Each target's turn; by its name in JSON.
    #[serde(serialize_with = "by_name")]
    pub targets: Vec<TargetReport>,
    /// Why the exit is not 0.
    #[serde(skip)]
    pub causes: BTreeSet<Exit>,
    /// What this cycle looked at.
    #[serde(skip)]
    pub looked: Looked,
    /// Why the disk did not take what this cycle came to; what could be done without it was done.
    #[serde(skip)]
    pub trouble: Option<String>,
    #[serde(skip)]
    pub(super) unwritten: Vec<Unwritten>,
    /// When each source was asked that has answered.
    #[serde(skip)]
    pub(super) observed: BTreeMap<String, Timestamp>,
}

/// How a target's turn ended.
#[derive(Debug, Clone, Serialize)]
pub struct TargetReport {
    /// The target's name.
    #[serde(skip)]
    pub target: String,
    /// The generation that it should serve.
    pub wanted: u64,
    /// By what it was settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Evidence>,
    /// Why it is owed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owed: Option<Owed>,
    /// Whether its server was reloaded in this turn.
    #[serde(rename = "told")]
    pub reloaded: bool,
    /// What the user should add to the server's configuration; shown once a generation, and when asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_add: Option<String>,
}

fn by_name<S: Serializer>(targets: &[TargetReport], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(targets.iter().map(|turn| (&turn.target, turn)))
}

impl Report {
    /// The report of a plan, before anything is done about it.
    #[must_use]
    pub fn of(contents: &Contents, observed: &[Observed], plan: &Plan) -> Self {
        let mut causes: BTreeSet<Exit> = observed.iter().flat_map(Observed::exits).collect();
        if plan.answer_refused {
            causes.insert(Exit::Answer);
        }
        causes.extend(plan.findings.iter().filter_map(Exit::of_finding));
        let mut report = Self::without_poll(contents);
        report.deny_all = contents.manifest.is_some() && plan.set.is_empty();
        report.difference = Difference::between(&contents.set, &plan.set);
        report.findings.extend(plan.findings.iter().cloned());
        report.causes = causes;
        report.looked.sources = observed.iter().map(|said| said.source.clone()).collect();
        let answered = observed.iter().filter(|said| said.has_come());
        report.observed = answered.map(|said| (said.source.clone(), said.asked)).collect();
        report
    }

    /// The report of a command that asks no source.
    #[must_use]
    pub fn without_poll(contents: &Contents) -> Self {
        Self {
            generation: contents.manifest.as_ref().map(|manifest| manifest.generation),
            deny_all: contents.manifest.is_some() && contents.set.is_empty(),
            findings: contents.findings.clone(),
            ..Self::default()
        }
    }

    /// The report of one target's turn, while others take theirs at the same time.
    pub(super) fn part(&self) -> Self {
        Self {
            findings: Vec::new(),
            targets: Vec::new(),
            causes: BTreeSet::new(),
            looked: Looked::default(),
            unwritten: Vec::new(),
            ..self.clone()
        }
    }

    /// Takes over what a turn came to.
    pub(super) fn absorb(&mut self, part: Self) {
        self.findings.extend(part.findings);
        self.targets.extend(part.targets);
        self.causes.extend(part.causes);
        self.unwritten.extend(part.unwritten);
    }

    /// Keeps a line of evidence that the disk did not take for a later cycle.
    pub(super) fn noted(&mut self, written: Result<(), Unwritten>) {
        self.unwritten.extend(written.err());
    }

    /// Adds a finding that makes the command fail.
    pub(super) fn fail_by(&mut self, finding: Finding) {
        self.causes.extend(Exit::of_finding(&finding));
        self.findings.push(finding);
    }

    /// A target's link is not one that can be switched; the others take their turns.
    pub(super) fn not_switched(&mut self, target: &Target, state: &mut TargetState, wanted: u64, error: &StoreError) {
        let owed = Owed::NotSwitched(error.in_short()).bounded();
        self.fail_by(owed.finding(&target.name, wanted));
        state.owed = Some(owed.clone());
        let (target, settled, reloaded, to_add) = (target.name.clone(), None, false, None);
        self.targets.push(TargetReport { target, wanted, settled, owed: Some(owed), reloaded, to_add });
    }

    /// The set that was planned was not published to the end: the disk may refuse before `current` moves, or after.
    pub(super) fn not_committed(&mut self, store: &str, error: &CycleError) {
        self.difference = Difference::default();
        let text = format!("Publishing the next generation did not come to its end: {error}");
        self.findings.push(Finding::new(Event::GenerationNotWritten, Subject::store(store), text));
        self.causes.insert(error.exit());
        self.trouble = Some(error.to_string());
    }

    /// The state could not be saved.
    pub(super) fn not_saved(&mut self, store: &str, why: &str) -> Finding {
        let text = format!(
            "The outcome could not be saved: {why}. What is published stands, and the targets' turns were taken; \
             but the store's records are those of before, and the next cycle begins from them."
        );
        let finding = Finding::new(Event::StateNotSaved, Subject::store(store), text);
        self.fail_by(finding.clone());
        self.trouble = Some(why.to_owned());
        finding
    }

    pub(super) fn committed(&mut self, manifest: &Manifest, difference: Difference) {
        self.generation = Some(manifest.generation);
        self.committed = true;
        self.deny_all = manifest.deny_all;
        self.difference = difference;
    }

    /// The cycle came after one that planted a seed: what that one did is reported with it.
    pub(super) fn follows(&mut self, planted: Self) {
        if planted.committed && !self.committed {
            (self.committed, self.difference) = (true, planted.difference);
        }
        let is_of_the_seed = |event| matches!(event, Event::SeedAdopted | Event::SeedRefused | Event::SeedUnusable);
        let seeds = planted.findings.into_iter().filter(|finding| is_of_the_seed(finding.event));
        let seeds: Vec<Finding> = seeds.filter(|seed| !self.findings.contains(seed)).collect();
        self.findings.splice(0..0, seeds);
    }

    /// The same cycle went on: what it did later is reported with what it did before.
    pub(super) fn continues(&mut self, later: Self) {
        self.findings
            .extend(later.findings.into_iter().filter(|finding| !self.findings.contains(finding)).collect::<Vec<_>>());
        self.causes.extend(later.causes);
        self.trouble = later.trouble.or(self.trouble.take());
        if later.committed {
            self.committed = true;
            (self.generation, self.deny_all) = (later.generation, later.deny_all);
            self.difference.changes.extend(later.difference.changes);
        }
        for mut target in later.targets {
            let before = self.targets.iter().position(|before| before.target == target.target);
            match before.and_then(|at| self.targets.get_mut(at)) {
                Some(before) => {
                    target.reloaded |= before.reloaded;
                    *before = target;
                }
                None => self.targets.push(target),
            }
        }
    }

    pub(super) fn finish(&mut self, store: &str, state: &State) {
        if self.generation.is_none() && !state.planner.slots.is_empty() {
            let text = "Nothing has been published yet: the store waits for the first valid current certificate. What \
                        the servers run with now stays.";
            self.findings.push(Finding::new(Event::StoreEmpty, Subject::store(store), text));
        }
    }

    /// What the exit is by, in the words of the finding that leads to it; none where it is 0.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let exit = self.exit(false);
        if exit == Exit::Done {
            return None;
        }
        let leads = |finding: &&Finding| Exit::of_finding(finding) == Some(exit);
        let of_exit = self.findings.iter().find(leads);
        let worst = of_exit.or_else(|| self.findings.iter().max_by_key(|finding| finding.severity));
        worst.map(|finding| excerpt::beginning(&finding.text, LONGEST_WHY))
    }

    /// The exit code. `detailed`: a change has one of its own.
    #[must_use]
    pub fn exit(&self, detailed: bool) -> Exit {
        match Exit::of(&self.causes) {
            Exit::Done if detailed && (self.committed || (self.rehearsed && !self.difference.is_empty())) => {
                Exit::Changed
            }
            exit => exit,
        }
    }
}
