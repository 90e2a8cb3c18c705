//! A target's turn as the daemon takes it, and what is kept and reported of it. [`super::steps`] interprets it.
//!
//! For a privileged target, check, switch and reload are one step, which the privileged helper takes
//! ([`super::privileged`]): it is asked, and its outcome awaited.

mod hand;

use std::path::PathBuf;
use std::time::Duration;

use super::canary;
use super::evidence::{self, Unwritten};
use super::privileged::answer::{ApplyOutcome, Verdict};
use super::privileged::ask::PrivilegedHelper;
use super::report::{Report, TargetReport};
use super::standing_check;
use super::steps::{self, Server};
use crate::clock::Clock;
use crate::cycle::privileged::folder::{Privileged, Purpose};
use crate::settings::resolved::{ProofMethods, Store as StoreSettings, Target};
use crate::store::{Link, LinkPath, StoreError, generation};
use crate::targets::enforcement::{self, Configuration, Enforcement};
use crate::targets::kind::Kind;
use crate::targets::process::Environment;
use crate::targets::proof::{self, Patience, Wanted};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;
use crate::trust::event::subject::Subject;
use crate::trust::plan::schedule::reload_is_due;
use crate::trust::records::evidence_record::Happened;
use crate::trust::records::manifest::Manifest;
use crate::trust::records::state::{StandingCheck, TargetState, Wired};
use crate::trust::turn::canary::CheckCanary;
use crate::trust::turn::{self, Evidence, Owed, Proof, Situation, TurnOutcome};
use crate::trust::values::slot::Authority;

/// After this long the privileged helper is asked to look again, though nothing changed: whether it still answers
/// should be known before it is needed.
const LOOKED_LATELY: Duration = Duration::from_secs(24 * 3_600);

/// One target, and what it should serve.
pub struct Turns<'a> {
    store: &'a StoreSettings,
    pub manifest: &'a Manifest,
    pub target: &'a Target,
    pub clock: &'a dyn Clock,
    /// The privileged helper, where the target is privileged.
    pub(super) helper: Option<PrivilegedHelper<'a>>,
}

/// As it is remembered.
fn name_of(link: &LinkPath) -> String {
    link.path().display().to_string()
}

/// What a proof means of a server that was last seen to read by another link than its files are given by now.
fn by_the_new_link(proof: Proof, before: &Wired, link: &LinkPath, wanted: &Wanted, kind: Kind) -> Proof {
    let (old, new) = (&before.link, link.path().display());
    match proof {
        Proof::Refuted(why) => Proof::NotWired(format!(
            "it reads by {old}, as it did before the target was given another link ({why}); its configuration has to name \
             {new}"
        )),
        Proof::Proven | Proof::ChainOnly(_) | Proof::AllowlistOnly(_) | Proof::AllowlistUnseen(_)
            if before.generation == wanted.generation && kind.configuration.is_none() =>
        {
            Proof::Unverifiable(format!(
                "it serves the generation, but that one stands at {old} too, by which it read before the target was given \
                 another link: whether its configuration names {new} by now shows with the next generation"
            ))
        }
        proof => proof,
    }
}

/// The link that a target's server reads by.
pub fn link_of(store: &StoreSettings, target: &Target) -> Result<LinkPath, StoreError> {
    if target.privileged {
        Privileged::of(&store.privileged_path, &target.name)?.link()
    } else {
        LinkPath::target(&store.path, &target.name)
    }
}

impl<'a> Turns<'a> {
    /// The turn of a target of this store.
    pub fn of(
        store: &'a StoreSettings,
        manifest: &'a Manifest,
        target: &'a Target,
        clock: &'a dyn Clock,
    ) -> Result<Self, StoreError> {
        let helper = target.privileged.then(|| PrivilegedHelper::of(store, target, manifest)).transpose()?;
        Ok(Self { store, manifest, target, clock, helper })
    }

    fn link(&self) -> Result<LinkPath, StoreError> {
        link_of(self.store, self.target)
    }

    /// Takes the target's turn to its end and keeps its outcome in `state`.
    pub async fn take(&self, state: &mut TargetState, forced: bool, report: &mut Report) {
        let (mut outcome, mut reloaded) = self.steps(state, forced, report).await;
        if let Some(helper) = &self.helper
            && matches!(outcome, TurnOutcome::Settled(_))
            && let Some(refused) = helper.withheld()
        {
            // Root's configuration may have been mended since; if so, the server was reloaded for more.
            let mended = !helper.was_asked() && {
                let _ = helper.ask(Purpose::ToFollow).await;
                helper.withheld().is_none()
            };
            if mended {
                (outcome, reloaded) = self.steps(state, false, report).await;
            } else {
                outcome = TurnOutcome::Owed(Owed::Withheld(refused));
            }
        }
        self.run_canary(&outcome, state, report).await;
        self.check_what_stands(&outcome, reloaded, state, report).await;
        self.find_limits(report);
        self.find_denials_unknown_to_it(report);
        state.link = self.link().ok().map(|link| name_of(&link)).or(state.link.take());
        self.conclude(state, outcome, reloaded, forced, report);
    }

    /// Whether the check notices a broken file, once its server is known to use our files; the privileged helper finds
    /// that out for itself, but learns from here that it does.
    async fn run_canary(&self, outcome: &TurnOutcome, state: &mut TargetState, report: &mut Report) {
        let number = self.manifest.generation;
        let is_due = |known: Option<&CheckCanary>| {
            canary::is_used(self.target, outcome) && canary::is_due(self.target, known, number)
        };
        let before = state.canary.as_ref().map(|known| (known.check, known.verdict.clone()));
        match (&self.helper, self.link()) {
            (Some(helper), _) => {
                if is_due(helper.last().and_then(|last| last.canary).as_ref()) {
                    // Where it does not answer, nothing is known yet.
                    let _ = helper.ask(Purpose::ToTryCheck).await;
                }
                state.canary = helper.last().and_then(|last| last.canary).or(state.canary.take());
            }
            (None, Ok(link)) if is_due(state.canary.as_ref()) => {
                let generation = (number, &*generation::path(&self.store.path, number));
                canary::run(self.target, &mut state.canary, generation, link.path(), &self.environment()).await;
            }
            _ => {}
        }
        let new = before != state.canary.as_ref().map(|known| (known.check, known.verdict.clone()));
        report.findings.extend(canary::finding(self.target, state.canary.as_ref(), new));
    }

    /// Whether a server that owes nothing could start again. The privileged helper looks when it takes a turn: root is
    /// not woken for it.
    async fn check_what_stands(
        &self,
        outcome: &TurnOutcome,
        reloaded: bool,
        state: &mut TargetState,
        report: &mut Report,
    ) {
        let now = self.clock.now();
        match (outcome, &self.helper) {
            (TurnOutcome::Owed(_), _) => state.standing_check = None,
            (TurnOutcome::Settled(_), Some(helper)) => {
                state.standing_check = helper.last().and_then(|last| last.standing_check)
            }
            // No server is reloaded whose check fails.
            (TurnOutcome::Settled(_), None) if reloaded => {
                state.standing_check = Some(StandingCheck { at: now, failed: None });
            }
            (TurnOutcome::Settled(_), None) if StandingCheck::is_due(state.standing_check.as_ref(), now) => {
                state.standing_check =
                    standing_check::make(self.target, state.standing_check.as_ref(), &self.environment(), now).await;
            }
            (TurnOutcome::Settled(_), None) => {}
        }
        report.findings.extend(standing_check::finding(self.target, state.standing_check.as_ref()));
    }

    /// Where nothing can prove, the helper's answer that it reloaded the server for just this ends what was owed,
    /// whichever process had asked for it.
    fn was_reloaded(&self, state: &TargetState, linked: Option<u64>) -> Option<Evidence> {
        let wanted = self.manifest.generation;
        let last = self.helper.as_ref()?.last()?;
        let is_this = linked == Some(wanted) && self.target.proof.is_none() && state.acknowledged != Some(wanted);
        match last.verdict {
            Verdict::Reloaded(words) if is_this => Some(Evidence::ReloadedNotProven(format!(
                "no proof is configured; the privileged helper reloaded it: {words}"
            ))),
            _ => None,
        }
    }

    async fn steps(&self, state: &TargetState, forced: bool, report: &mut Report) -> (TurnOutcome, bool) {
        let read = self.link().and_then(|link| link.read().map(|found| (link, found)));
        let (link, found) = match read {
            Ok(read) => read,
            // One target's trouble keeps no other from its turn.
            Err(error) => return (TurnOutcome::Owed(Owed::NotSwitched(error.in_short())), false),
        };
        let wanted = self.manifest.generation;
        // What is remembered is of the link that was used then.
        let is_the_same = state.link.as_ref().is_none_or(|known| *known == name_of(&link));
        let drifted = match &found {
            Link::Generation(_) | Link::Missing if !is_the_same => None,
            Link::Generation(number) if state.acknowledged == Some(wanted) && *number != wanted => Some(format!(
                "was moved to generation {number:06} by somebody else; it is moved back, and the server reloaded"
            )),
            Link::Missing if state.acknowledged.is_some() => {
                Some("was removed by somebody else; it is made anew, and the server reloaded".to_owned())
            }
            Link::Foreign(found) => {
                Some(format!("was not made by trustsync ({found}); it is not followed, and replaced"))
            }
            Link::Generation(_) | Link::Missing => None,
        };
        let drifted = drifted.map(|how| self.finding(Event::StoreDrift, format!("The target's link {how}.")));
        report.findings.extend(drifted);
        let linked = if let Link::Generation(number) = found { Some(number) } else { None };
        if !forced && let Some(evidence) = self.was_reloaded(state, linked) {
            return (TurnOutcome::Settled(evidence), false);
        }
        let server = Server {
            kinds: self.store.kinds,
            target: self.target,
            link,
            generations: self.store.path.join(generation::DIRECTORY),
            environment: self.environment(),
        };
        let proof = self.target.proof.as_ref();
        let begin = server.situation(wanted, linked, state.acknowledged, state.canary.as_ref(), forced);
        let situation = Situation {
            reloaded: state.reloaded,
            // Elsewhere the server itself says whether it asks.
            unenforced: state.unenforced && self.target.kind.configuration.is_some(),
            reload_again: reload_is_due(state.reloads, state.last_reload, self.clock.now()),
            checkable: self.helper.is_none() && begin.checkable,
            can_be_reloaded: self.helper.is_some() || begin.can_be_reloaded,
            provable: proof.is_some(),
            chain_provable: proof.is_some_and(ProofMethods::shows_chain),
            allowlist_provable: proof.is_some_and(ProofMethods::shows_allowlist),
            confirmed: state.confirmed == Some(wanted),
            drops_denied: self.drops_denied(linked, state.acknowledged),
            ..begin
        };
        steps::take(situation, &mut hand::Daemon { turns: self, server, state, report }).await
    }

    /// Whether a generation that the server reads, or is known to serve, trusts a leaf that is denied by now.
    pub fn admits_denied(&self, acknowledged: Option<u64>) -> bool {
        let linked = match self.link().and_then(|link| link.read()) {
            Ok(Link::Generation(number)) => Some(number),
            _ => None,
        };
        self.drops_denied(linked, acknowledged)
    }

    fn drops_denied(&self, linked: Option<u64>, acknowledged: Option<u64>) -> bool {
        let generations = self.store.path.join(generation::DIRECTORY);
        steps::trusts_denied(&generations, linked.into_iter().chain(acknowledged), &self.manifest.denied)
    }

    pub(super) fn finding(&self, event: Event, text: impl Into<String>) -> Finding {
        Finding::new(event, Subject::target(&self.target.name), text)
    }

    fn environment(&self) -> Environment {
        steps::environment(
            self.target,
            self.manifest.generation,
            &self.store.path,
            &self.manifest.store,
            &self.link_path(),
        )
    }

    fn link_path(&self) -> PathBuf {
        self.store.link_path(self.target)
    }

    /// Puts what became of this target into evidence.
    pub(super) fn evidence(&self, event: Happened, generation: u64, detail: &str) -> Result<(), Unwritten> {
        evidence::target(&self.store.path, event, &self.target.name, generation, detail, self.clock.now())
    }

    /// What the server's configuration says of the allowlist. Of a privileged target only root can read it.
    async fn enforcement(
        &self,
        configuration: &dyn Configuration,
        link: &LinkPath,
        report: &mut Report,
    ) -> Option<Enforcement> {
        let check = self.target.check.as_ref()?;
        let Some(helper) = &self.helper else {
            let limit = self.target.check_timeout;
            return Some(enforcement::read(configuration, check, link.path(), &self.environment(), limit).await);
        };
        let mut last = helper.last();
        let is_good = |last: &ApplyOutcome| {
            matches!(last.enforcement, Some(Enforcement::Enforced { .. }))
                && self.clock.now().since(last.time) < LOOKED_LATELY
        };
        if !last.as_ref().is_some_and(is_good) && !helper.was_asked() {
            if let Err(why) = helper.ask(Purpose::ToFollow).await {
                let text = format!("The server serves what it should, but {why}. The next change would not reach it.");
                report.findings.push(self.finding(Event::TargetHalfSilent, text));
            }
            last = helper.last();
        }
        last.and_then(|last| last.enforcement)
    }

    pub(super) async fn prove(
        &self,
        link: &LinkPath,
        reloaded: bool,
        state: &TargetState,
        report: &mut Report,
    ) -> turn::Event {
        let seen = turn::Event::Proof;
        let Some(ways) = &self.target.proof else {
            return seen(Proof::Unverifiable("no proof is configured".to_owned()));
        };
        // The privileged helper may have let in less than stands in the store.
        let rendered = self.helper.as_ref().and_then(|helper| Some(helper.last()?.rendered?.digest));
        let wanted = Wanted {
            store_id: self.manifest.store.clone(),
            generation: self.manifest.generation,
            digest_head: rendered.unwrap_or(self.manifest.digest).short(),
            environment: self.environment(),
            directory: link.path().to_owned(),
        };
        let reloaded_by_root = self.helper.as_ref().is_some_and(PrivilegedHelper::was_asked);
        let patience = if reloaded || reloaded_by_root { Patience::JustReloaded } else { Patience::LongRunning };
        let kind = self.target.kind;
        let proof = proof::prove(kind, ways, &wanted, patience).await.proof;
        let proof = match state.moved_from(&name_of(link)) {
            Some(before) => by_the_new_link(proof, before, link, &wanted, kind),
            None => proof,
        };
        let Some(configuration) = kind.configuration else { return seen(proof) };
        match proof {
            Proof::Proven | Proof::AllowlistOnly(_) => match self.enforced(configuration, link, report).await {
                Proof::Proven => seen(proof),
                otherwise => seen(otherwise),
            },
            Proof::NotWired(_) | Proof::Unverifiable(_) => self.unseen(proof, configuration, link, report).await,
            proof => seen(proof),
        }
    }

    /// Where the wire shows no marker, the configuration says whether our files are used at all.
    async fn unseen(
        &self,
        proof: Proof,
        configuration: &dyn Configuration,
        link: &LinkPath,
        report: &mut Report,
    ) -> turn::Event {
        let seen = turn::Event::Proof;
        let Some(enforcement) = self.enforcement(configuration, link, report).await else { return seen(proof) };
        seen(match (proof, enforcement) {
            (_, Enforcement::NotEnforced { servers, .. }) => Proof::NotEnforced(servers.join(", ")),
            (Proof::Unverifiable(why), Enforcement::NotIncluded) => {
                Proof::NotWired(format!("{why}, and no server in its configuration names them"))
            }
            (Proof::Unverifiable(why), Enforcement::NotAsked { servers }) => Proof::Unverifiable(format!(
                "{why}; its configuration names this store's files, but has {} in {}",
                configuration.does_not_ask(),
                servers.join(", ")
            )),
            (proof @ Proof::Unverifiable(_), Enforcement::Enforced { .. }) => return turn::Event::NotLoaded(proof),
            (Proof::NotWired(_), Enforcement::Enforced { .. }) => {
                return turn::Event::NotLoaded(Proof::Unverifiable(format!(
                    "its configuration names this store's files, but at this address and by this name it advertises \
                     none of their names: {}",
                    configuration.advertises()
                )));
            }
            (proof, _) => proof,
        })
    }

    /// That the allowlist is loaded is seen on the wire; that it is asked, only in the configuration.
    async fn enforced(&self, configuration: &dyn Configuration, link: &LinkPath, report: &mut Report) -> Proof {
        let Some(enforcement) = self.enforcement(configuration, link, report).await else { return Proof::Proven };
        match enforcement {
            Enforcement::NotEnforced { servers, .. } => Proof::NotEnforced(servers.join(", ")),
            Enforcement::Enforced { notes } => {
                let note = |note| Finding::new(Event::Enforcement, Subject::target(&self.target.name), note);
                report.findings.extend(notes.into_iter().map(note));
                Proof::Proven
            }
            Enforcement::NotIncluded if self.target.privileged => Proof::NotWired(
                "what it serves has the right generation, but no server in its configuration names root's files: it \
                 still reads those of the store, which the daemon can write"
                    .to_owned(),
            ),
            Enforcement::NotIncluded | Enforcement::NotAsked { .. } => {
                let text = "The configuration that the check reads has no server that asks by this target's files, \
                            though the running one serves them: was it changed since?";
                report.findings.push(self.finding(Event::Enforcement, text));
                Proof::Proven
            }
            Enforcement::NotSeen(why) => {
                let text = format!("Whether each server asks the allowlist was not seen: {why}");
                report.findings.push(self.finding(Event::Enforcement, text));
                Proof::Proven
            }
        }
    }

    /// Keeps and reports the outcome of the turn.
    fn conclude(
        &self,
        state: &mut TargetState,
        outcome: TurnOutcome,
        reloaded: bool,
        forced: bool,
        report: &mut Report,
    ) {
        let (target, wanted) = (self.target.name.clone(), self.manifest.generation);
        if reloaded {
            state.reload(self.clock.now());
        }
        let mut line = TargetReport { target, wanted, settled: None, owed: None, reloaded, to_add: None };
        // What a server answers is kept from here on.
        match outcome.bounded() {
            TurnOutcome::Settled(evidence) => {
                self.settle(state, &evidence, reloaded, report);
                line.settled = Some(evidence);
            }
            TurnOutcome::Owed(owed) => {
                let lacks_lines =
                    matches!(owed, Owed::Unproven(Proof::NotWired(_) | Proof::ChainOnly(_) | Proof::NotEnforced(_)));
                // Once a generation, and when asked: with every cycle it would drown the rest.
                let is_news = state.owed.as_ref() != Some(&owed);
                if lacks_lines && (reloaded || forced || is_news) {
                    line.to_add = self.target.kind.snippet(self.target.marker, &self.link_path());
                }
                self.owe(state, &owed, report);
                line.owed = Some(owed);
            }
        }
        report.targets.push(line);
    }

    fn settle(&self, state: &mut TargetState, evidence: &Evidence, reloaded: bool, report: &mut Report) {
        let (now, wanted) = (self.clock.now(), self.manifest.generation);
        let confirmed = matches!(evidence, Evidence::Confirmed(_));
        let was_confirmed = matches!(state.evidence, Some(Evidence::Confirmed(_)));
        if state.acknowledged != Some(wanted) || reloaded || confirmed != was_confirmed {
            let (event, detail) = match evidence {
                Evidence::Proven => (Happened::Proven, "chain and allowlist"),
                Evidence::ChainOnly(why) => (Happened::ChainProven, &**why),
                Evidence::AllowlistOnly(why) => (Happened::AllowlistProven, &**why),
                Evidence::ReloadedNotProven(why) | Evidence::ProvenEarlier(why) => {
                    (Happened::ReloadedNotProven, &**why)
                }
                Evidence::Confirmed(why) => (Happened::Confirmed, &**why),
            };
            report.noted(self.evidence(event, wanted, detail));
        }
        self.find_weak_evidence(evidence, report);
        state.settle(wanted, evidence, now);
    }

    fn owe(&self, state: &mut TargetState, owed: &Owed, report: &mut Report) {
        let (now, wanted) = (self.clock.now(), self.manifest.generation);
        let finding = owed.finding(&self.target.name, wanted);
        if state.owed.as_ref() != Some(owed) {
            report.noted(self.evidence(Happened::Owed, wanted, &finding.text));
        }
        report.fail_by(finding);
        state.owe(wanted, owed, now);
    }

    /// What the formats of its files cannot express of this generation.
    fn find_limits(&self, report: &mut Report) {
        let read = |path: &str| std::fs::read(self.link_path().join(path)).ok();
        let name = &self.target.name;
        report.findings.extend(self.target.outputs.iter().flat_map(|output| output.limits(name, self.manifest, &read)));
    }

    /// Whom its files cannot refuse, since they ask for other digests than the one that is known.
    fn find_denials_unknown_to_it(&self, report: &mut Report) {
        let has_rules = self
            .manifest
            .slots
            .iter()
            .any(|(slot, held)| slot.authority() == Authority::Genesys && !held.entries.is_empty());
        let outputs = &self.target.outputs;
        let unknown: Vec<String> = self
            .manifest
            .denied
            .iter()
            .filter(|(_, denial)| outputs.iter().any(|output| !output.can_name(denial)))
            .map(|(fingerprint, _)| fingerprint.to_string())
            .collect();
        if has_rules && !unknown.is_empty() {
            let text = format!(
                "It asks for the SHA-1 of a certificate, which is not known here of these denied ones: {}. None of \
                 them is pinned; but if one has the name of a Genesys slot, it gets in by that until it has been \
                 listed once.",
                unknown.join(", ")
            );
            report.findings.push(self.finding(Event::TargetDenialPartial, text));
        }
    }

    fn find_weak_evidence(&self, evidence: &Evidence, report: &mut Report) {
        use Event::*;
        let (severity, event, text) = match evidence {
            Evidence::Proven => return,
            Evidence::ChainOnly(_) if self.target.kind.admits_by_authority_alone => {
                let limits = self.target.ca_only().unwrap_or_default();
                (Severity::Note, TargetCaOnly, format!("The chain is proven. {limits}."))
            }
            Evidence::ChainOnly(why) => {
                let text = format!("The chain is proven; that the allowlist is loaded cannot be seen: {why}.");
                (Severity::Warning, TargetChainOnly, text)
            }
            // By the operator's own choice.
            Evidence::AllowlistOnly(why) => {
                let text = format!("The allowlist is proven; the chain cannot be seen: {why}.");
                (Severity::Note, TargetAllowlistOnly, text)
            }
            Evidence::ReloadedNotProven(why) if self.target.proof.is_none() => {
                let text = format!("The server was reloaded, and nothing proves that it took the change: {why}.");
                (Severity::Note, TargetNotProven, text)
            }
            Evidence::ReloadedNotProven(why) => {
                let text = format!("The server was reloaded, but nothing can be seen there: {why}.");
                (Severity::Warning, TargetNotProven, text)
            }
            Evidence::Confirmed(why) => {
                let text = format!(
                    "The operator confirmed that the server serves the generation; nothing shows it: \
                                    {why}."
                );
                (Severity::Note, TargetConfirmed, text)
            }
            Evidence::ProvenEarlier(why) => {
                let text = format!(
                    "The server was proven earlier and does not answer now: {why}. What it loads at its start is in \
                     place."
                );
                (Severity::Warning, TargetUnreachable, text)
            }
        };
        report.findings.push(Finding::graded(severity, event, Subject::target(&self.target.name), text));
    }
}
