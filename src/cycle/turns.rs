//! Interprets the steps of a target's turn. What to do next is decided in [`crate::trust::turn`]; here it is done.
//!
//! For a privileged target, check, switch and reload are one step, which root's half takes ([`super::apply`]): it is asked,
//! and its outcome awaited.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::evidence::{self, Unwritten};
use super::outcome::{self, Verdict};
use super::report::{Report, TargetReport};
use super::sight;
use crate::clock::Clock;
use crate::exit::Exit;
use crate::settings::resolved::{self, Kind, Reload, Store as StoreSettings, Target};
use crate::store::contents;
use crate::store::privileged::{Asked, Privileged};
use crate::store::read_back::read_back;
use crate::store::{Link, LinkPath, StoreError, generation};
use crate::target::check::{self, Outcome as Checked, View};
use crate::target::nginx::{self, Enforcement};
use crate::target::process::{Environment, LAST_CHANCE};
use crate::target::proof::{self, Patience, Wanted};
use crate::target::reload::{self, Told};
use crate::target::snippet;
use crate::trust::event;
use crate::trust::evidence_record::Happened;
use crate::trust::finding::{Finding, Severity};
use crate::trust::manifest::Manifest;
use crate::trust::render::{Output, envoy};
use crate::trust::set::Authority;
use crate::trust::sight::Sight;
use crate::trust::state::TargetState;
use crate::trust::subject::Subject;
use crate::trust::turn::{Event, Evidence, Outcome, Owed, Proof, Situation, Step, Turn};

/// How often the outcome of root's half is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// After this long root's half is asked to look again, though nothing changed: whether it still answers should be known
/// before it is needed.
const LOOKED_LATELY: Duration = Duration::from_secs(24 * 3_600);

/// How many checks a turn of root's half may take: those of [`crate::trust::turn`] with their comparison, and one that shows
/// what the server's configuration asks.
const MOST_CHECKS: u32 = 6;

/// Of a server that advertises no marker of the store.
const NOT_OURS: &str = "what it shows (its request for client certificates, or its own word) is not of this store";

/// One target, and what it should serve.
pub struct Turns<'a> {
    pub root: &'a Path,
    pub manifest: &'a Manifest,
    pub target: &'a Target,
    pub clock: &'a dyn Clock,
    /// Root's half, where the target is privileged.
    half: Option<Privileged>,
    /// Whether it was asked in this turn.
    asked: AtomicBool,
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
        let half = target.privileged.then(|| Privileged::of(&store.privileged_path, &target.name)).transpose()?;
        Ok(Self { root: &store.path, manifest, target, clock, half, asked: AtomicBool::new(false) })
    }

    fn link(&self) -> Result<LinkPath, StoreError> {
        match &self.half {
            Some(half) => half.link(),
            None => LinkPath::target(self.root, &self.target.name),
        }
    }

    /// Takes the target's turn to its end and keeps what came of it in `state`.
    pub async fn take(&self, state: &mut TargetState, forced: bool, report: &mut Report) {
        let (mut outcome, mut told) = self.steps(state, forced, report).await;
        if let Some(half) = &self.half
            && matches!(outcome, Outcome::Settled(_))
            && let Some(refused) = self.withheld(half)
        {
            // Root's configuration may have been mended since; if so, it has told the server of more.
            let mended = !self.asked.load(Ordering::Relaxed) && {
                let _ = self.ask(half, Asked::ToLook).await;
                self.withheld(half).is_none()
            };
            if mended {
                (outcome, told) = self.steps(state, false, report).await;
            } else {
                outcome = Outcome::Owed(Owed::Withheld(refused));
            }
        }
        self.look_at_the_check(&outcome, state, report).await;
        self.find_limits_of_envoy(report);
        self.find_denials_unknown_to_it(report);
        self.conclude(state, outcome, told, forced, report);
    }

    /// Whether the check sees what it is to judge, once its server is known to use our files; root's half finds that out for
    /// itself, but learns from here that it does.
    async fn look_at_the_check(&self, outcome: &Outcome, state: &mut TargetState, report: &mut Report) {
        let number = self.manifest.generation;
        let is_due =
            |known: Option<&Sight>| sight::is_used(self.target, outcome) && sight::is_due(self.target, known, number);
        let before = state.sight.as_ref().map(|known| (known.check, known.verdict.clone()));
        match (&self.half, self.link()) {
            (Some(half), _) => {
                if is_due(self.last(half).and_then(|last| last.sight).as_ref()) {
                    // Where it does not answer, nothing is known yet.
                    let _ = self.ask(half, Asked::ToSeeTheCheck).await;
                }
                state.sight = self.last(half).and_then(|last| last.sight).or(state.sight.take());
            }
            (None, Ok(link)) if is_due(state.sight.as_ref()) => {
                let generation = (number, &*generation::path(self.root, number));
                sight::look(self.target, &mut state.sight, generation, link.path(), &self.environment()).await;
            }
            _ => {}
        }
        let new = before != state.sight.as_ref().map(|known| (known.check, known.verdict.clone()));
        report.findings.extend(sight::finding(self.target, state.sight.as_ref(), new));
    }

    /// What root's half did not let in of this generation.
    fn withheld(&self, half: &Privileged) -> Option<String> {
        let last = self.last(half)?;
        (!last.refused.is_empty()).then(|| last.refused.join("; "))
    }

    /// What root's half said of this generation.
    fn last(&self, half: &Privileged) -> Option<outcome::Outcome> {
        let of_this = |last: &outcome::Outcome| {
            let standing = last.standing.as_ref();
            standing.is_some_and(|standing| {
                standing.generation == self.manifest.generation && standing.store == self.manifest.store
            })
        };
        outcome::Outcome::last(half).filter(of_this)
    }

    /// Where nothing can prove, root's own word that it told the server of just this is the end of what was owed, whoever
    /// had asked for it.
    fn was_told(&self, state: &TargetState, linked: Option<u64>) -> Option<Evidence> {
        let wanted = self.manifest.generation;
        let last = self.last(self.half.as_ref()?)?;
        let is_this = linked == Some(wanted) && self.target.proof.is_none() && state.acknowledged != Some(wanted);
        match last.verdict {
            Verdict::Told(words) if is_this => {
                Some(Evidence::ReloadedNotProven(format!("no proof is configured; root's half told it: {words}")))
            }
            _ => None,
        }
    }

    async fn steps(&self, state: &TargetState, forced: bool, report: &mut Report) -> (Outcome, bool) {
        let read = self.link().and_then(|link| link.read().map(|found| (link, found)));
        let (link, found) = match read {
            Ok(read) => read,
            // One target's trouble keeps no other from its turn.
            Err(error) => return (Outcome::Owed(Owed::NotSwitched(error.in_short())), false),
        };
        let linked = match found {
            Link::Generation(number) => {
                if state.acknowledged == Some(self.manifest.generation) && number != self.manifest.generation {
                    let text = format!(
                        "The target's link was moved to generation {number:06} by somebody else; it is moved back, and the server told."
                    );
                    report.findings.push(self.found(event::Event::StoreDrift, text));
                }
                Some(number)
            }
            Link::Missing => {
                if state.acknowledged.is_some() {
                    let text = "The target's link was removed by somebody else; it is made anew, and the server told.";
                    report.findings.push(self.found(event::Event::StoreDrift, text));
                }
                None
            }
            Link::Foreign(found) => {
                report.findings.push(self.found(
                    event::Event::StoreDrift,
                    format!("The target's link was not made by trustsync ({found}); it is not followed, and replaced."),
                ));
                None
            }
        };
        if !forced && let Some(evidence) = self.was_told(state, linked) {
            return (Outcome::Settled(evidence), false);
        }
        let (mut turn, mut step) = Turn::begin(self.situation(state, linked, forced));
        let mut told = false;
        let outcome = loop {
            told |= step == Step::Reload;
            let event = match step {
                Step::Finish(outcome) => break outcome,
                Step::ReadBack => outcome_of(read_back(self.root, self.manifest.generation)),
                Step::CheckPrivately(number) => self.check_privately(&link, number).await,
                Step::Check => self.check().await,
                // Root's half does it when it is told to reload.
                Step::Switch(_) if self.half.is_some() => Event::Succeeded,
                Step::Switch(number) => outcome_of(link.switch(number)),
                Step::Reload => match &self.half {
                    Some(half) => match self.told_by_root(half, report).await {
                        Ok(event) => event,
                        Err(owed) => break Outcome::Owed(owed),
                    },
                    None => self.reload(report).await,
                },
                Step::Prove { told } => Event::Proof(self.prove(&link, told, state, report).await),
            };
            step = turn.on(event);
        };
        (outcome, told)
    }

    fn situation(&self, state: &TargetState, linked: Option<u64>, forced: bool) -> Situation {
        Situation {
            wanted: self.manifest.generation,
            linked,
            acknowledged: state.acknowledged,
            told_not_wired: state.told_not_wired,
            checkable: self.half.is_none() && self.target.check.is_some(),
            checkable_privately: !sight::is_blind(self.target, state.sight.as_ref()),
            checkable_in_place: !self.target.kind.reads_at_requests(),
            linked_reads_back: linked
                .filter(|linked| *linked != self.manifest.generation)
                .is_none_or(|old| read_back(self.root, old).is_ok()),
            tellable: self.half.is_some() || self.target.reload != Reload::None,
            provable: self.target.proof.is_some(),
            chain_provable: self.target.proof.as_ref().is_some_and(resolved::Proof::shows_chain),
            allowlist_provable: self.target.proof.as_ref().is_some_and(resolved::Proof::shows_allowlist),
            confirmed: state.confirmed == Some(self.manifest.generation),
            drops_denied: self.drops_denied(linked.into_iter().chain(state.acknowledged)),
            forced,
        }
    }

    /// Whether a generation that the server reads, or is known to serve, trusts a leaf that is denied by now.
    pub fn admits_denied(&self, acknowledged: Option<u64>) -> bool {
        let linked = match self.link().and_then(|link| link.read()) {
            Ok(Link::Generation(number)) => Some(number),
            _ => None,
        };
        self.drops_denied(linked.into_iter().chain(acknowledged))
    }

    /// Whether one of these generations trusts a leaf that is denied by now.
    fn drops_denied(&self, mut old: impl Iterator<Item = u64>) -> bool {
        old.any(|old| {
            let old = contents::manifest_of(self.root, old).ok().flatten();
            old.is_some_and(|old| {
                old.slots.values().any(|slot| slot.entries.keys().any(|key| self.manifest.denied.contains_key(key)))
            })
        })
    }

    fn environment(&self) -> Environment {
        Environment::default()
            .with("TARGET", &self.target.name)
            .with("GENERATION", generation::name(self.manifest.generation))
            .with("STORE", self.root)
            .with("STORE_ID", &self.manifest.store)
            .with("DIRECTORY", self.link_path())
    }

    fn link_path(&self) -> PathBuf {
        self.link().map_or_else(|_| self.root.join("target").join(&self.target.name), |link| link.path().to_owned())
    }

    async fn check_privately(&self, link: &LinkPath, number: u64) -> Event {
        let Some(check) = self.target.server_check() else { return Event::Succeeded };
        if !rustix::process::geteuid().is_root() {
            return Event::NoNamespace("a private mount namespace needs root".to_owned());
        }
        let view = View::Private { new: &generation::path(self.root, number), link: link.path() };
        judged(check::judge(check, view, &self.environment(), self.target.check_timeout).await)
    }

    async fn check(&self) -> Event {
        let Some(check) = self.target.server_check() else { return Event::Succeeded };
        judged(check::judge(check, View::AsItStands, &self.environment(), self.target.check_timeout).await)
    }

    async fn reload(&self, report: &mut Report) -> Event {
        match reload::tell(&self.target.reload, &self.environment(), self.target.reload_timeout).await {
            Ok(told) => {
                let number = self.manifest.generation;
                if let Told::Reloaded { .. } = told {
                    report.findings.push(self.found(event::Event::TargetReloadedInstead, told.to_string()));
                }
                report.noted(self.evidence(Happened::Told, number, &told.to_string()));
                Event::Succeeded
            }
            Err(error) => {
                report.causes.insert(Exit::Owed);
                Event::Failed(error.to_string())
            }
        }
    }

    /// Check, switch and reload by root's half; what it owes, the target owes.
    async fn told_by_root(&self, half: &Privileged, report: &mut Report) -> Result<Event, Owed> {
        let answer = self.ask(half, Asked::ToTell).await.map_err(Owed::Unanswered)?;
        report.findings.extend(answer.findings);
        match answer.verdict {
            Verdict::Told(words) => {
                report.noted(self.evidence(Happened::Told, self.manifest.generation, &words));
                Ok(Event::Succeeded)
            }
            Verdict::Owed(owed) => Err(owed),
            Verdict::Withheld(why) => Err(Owed::Withheld(why)),
        }
    }

    fn found(&self, event: event::Event, text: impl Into<String>) -> Finding {
        Finding::new(event, Subject::target(&self.target.name), text)
    }

    /// Puts what became of this target into evidence.
    fn evidence(&self, event: Happened, generation: u64, detail: &str) -> Result<(), Unwritten> {
        evidence::target(self.root, event, &self.target.name, generation, detail, self.clock.now())
    }

    /// Asks root's half and waits for its answer, for as long as its work can take; why there is none.
    async fn ask(&self, half: &Privileged, asked: Asked) -> Result<outcome::Outcome, String> {
        self.asked.store(true, Ordering::Relaxed);
        let request = half.ask(asked).map_err(|error| half.problem().unwrap_or_else(|| error.to_string()))?;
        let Target { name, check_timeout, reload_timeout, .. } = self.target;
        let unit = format!("trustsync-apply@{name}");
        let taken_within = reload_timeout.saturating_add(*check_timeout);
        // Each program has a last chance to end by itself.
        let checks = check_timeout.saturating_add(LAST_CHANCE).saturating_mul(MOST_CHECKS);
        let done_within = reload_timeout.saturating_add(LAST_CHANCE).saturating_add(checks);
        let asked = Instant::now();
        let mut taken: Option<Instant> = None;
        loop {
            if let Some(answer) = outcome::Outcome::last(half)
                && answer.request.as_ref() == Some(&request.id)
            {
                return Ok(answer);
            }
            if taken.is_none() && !half.waits() {
                taken = Some(Instant::now());
            }
            match taken {
                None if asked.elapsed() >= taken_within => {
                    return Err(format!(
                        "the privileged half did not take the request within {}: is {unit}.path enabled? See `systemctl status {unit}.path`; `sudo trustsync apply {name}` does it now",
                        humantime::format_duration(taken_within)
                    ));
                }
                Some(taken) if taken.elapsed() >= done_within => {
                    return Err(format!(
                        "the privileged half took the request and left no outcome within {}: see `journalctl -u {unit}.service`",
                        humantime::format_duration(done_within)
                    ));
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    /// What the server's configuration says of the allowlist. Of a privileged target only root can read it.
    async fn enforcement(&self, link: &LinkPath, report: &mut Report) -> Option<Enforcement> {
        let check = self.target.check.as_ref()?;
        let Some(half) = &self.half else {
            let limit = self.target.check_timeout;
            return Some(nginx::enforcement(check, link.path(), &self.environment(), limit).await);
        };
        let mut last = self.last(half);
        let is_good = |last: &outcome::Outcome| {
            matches!(last.enforcement, Some(Enforcement::Enforced { .. }))
                && self.clock.now().since(last.time) < LOOKED_LATELY
        };
        if !last.as_ref().is_some_and(is_good) && !self.asked.load(Ordering::Relaxed) {
            if let Err(why) = self.ask(half, Asked::ToLook).await {
                let text = format!("The server serves what it should, but {why}. The next change would not reach it.");
                report.findings.push(self.found(event::Event::TargetHalfSilent, text));
            }
            last = self.last(half);
        }
        last.and_then(|last| last.enforcement)
    }

    async fn prove(&self, link: &LinkPath, told: bool, state: &TargetState, report: &mut Report) -> Proof {
        let Some(ways) = &self.target.proof else { return Proof::Unverifiable("no proof is configured".to_owned()) };
        // Root's half may have let in less than stands in the store.
        let rendered = self.half.as_ref().and_then(|half| Some(self.last(half)?.standing?.digest));
        let wanted = Wanted {
            store_id: self.manifest.store.clone(),
            generation: self.manifest.generation,
            digest_head: rendered.unwrap_or(self.manifest.digest).short(),
            environment: self.environment(),
            directory: link.path().to_owned(),
        };
        let told_by_root = self.asked.load(Ordering::Relaxed);
        let patience = if told || told_by_root { Patience::JustTold } else { Patience::LongRunning };
        let proof = seen(proof::prove(ways, &wanted, patience).await.proof);
        let is_apache = self.target.kind == Kind::Apache;
        let proof = match proof {
            // Its own snippet has it ask everybody, and shows the header to whoever has no certificate.
            Proof::Unverifiable(why) if is_apache && ways.shows_allowlist() && why == proof::NOT_ASKED => {
                Proof::NotWired(format!("{why}, and shows no generation of the allowlist"))
            }
            // Only Apache may advertise other names than those of the authorities that it accepts.
            Proof::Unverifiable(why) if !is_apache && why == proof::OTHER_NAMES => Proof::NotWired(NOT_OURS.to_owned()),
            proof => proof,
        };
        if self.target.kind != Kind::Nginx {
            return proof;
        }
        match proof {
            Proof::Proven | Proof::AllowlistOnly(_) => match self.enforced(link, report).await {
                // The test stands in the configuration now; nginx may have loaded the one before.
                Proof::Proven if !told && matches!(state.owed, Some(Owed::Unproven(Proof::NotEnforced(_)))) => {
                    Proof::NotYet("its configuration asks the allowlist by now, but may not be loaded yet".to_owned())
                }
                Proof::Proven => proof,
                otherwise => otherwise,
            },
            Proof::NotWired(_) | Proof::Unverifiable(_) => self.unseen(proof, link, report).await,
            proof => proof,
        }
    }

    /// Where the wire shows no marker, the configuration says whether our files are used at all.
    async fn unseen(&self, proof: Proof, link: &LinkPath, report: &mut Report) -> Proof {
        let Some(enforcement) = self.enforcement(link, report).await else { return proof };
        match (proof, enforcement) {
            (_, Enforcement::NotEnforced { servers, .. }) => Proof::NotEnforced(servers.join(", ")),
            (Proof::Unverifiable(why), Enforcement::NotIncluded) => {
                Proof::NotWired(format!("{why}, and no server in its configuration names them"))
            }
            (Proof::Unverifiable(why), Enforcement::NotAsked { servers }) => Proof::Unverifiable(format!(
                "{why}; its configuration names this store's files, but has ssl_verify_client off in {}",
                servers.join(", ")
            )),
(Proof::NotWired(_), Enforcement::Enforced { .. }) => Proof::Unverifiable(
                "its configuration names this store's files, but at this address and by this name it advertises none of their names: nginx advertises those of ssl_client_certificate, never of ssl_trusted_certificate; or another server block answers there".to_owned(),
            ),
            (proof, _) => proof,
        }
    }

    /// That the allowlist is loaded is seen on the wire; that it is asked, only in the configuration.
    async fn enforced(&self, link: &LinkPath, report: &mut Report) -> Proof {
        let Some(enforcement) = self.enforcement(link, report).await else { return Proof::Proven };
        match enforcement {
            Enforcement::NotEnforced { servers, .. } => Proof::NotEnforced(servers.join(", ")),
            Enforcement::Enforced { notes } => {
                let note = |note| self.found(event::Event::Enforcement, note);
                report.findings.extend(notes.into_iter().map(note));
                Proof::Proven
            }
            Enforcement::NotIncluded if self.target.privileged => Proof::NotWired(
                "what it serves has the right generation, but no server in its configuration names root's files: it still \
                 reads those of the store, which the daemon can write"
                    .to_owned(),
            ),
            Enforcement::NotIncluded | Enforcement::NotAsked { .. } => {
                let text = "The configuration that the check reads has no server that asks by this target's files, though the running one serves them: was it changed since?";
                report.findings.push(self.found(event::Event::Enforcement, text));
                Proof::Proven
            }
            Enforcement::NotSeen(why) => {
                let text = format!("Whether each server asks the allowlist was not seen: {why}");
                report.findings.push(self.found(event::Event::Enforcement, text));
                Proof::Proven
            }
        }
    }

    fn conclude(&self, state: &mut TargetState, outcome: Outcome, told: bool, forced: bool, report: &mut Report) {
        // What a server answers is kept from here on.
        let outcome = outcome.bounded();
        let now = self.clock.now();
        let wanted = self.manifest.generation;
        let name = &self.target.name;
        let mut line = TargetReport { target: name.clone(), wanted, settled: None, owed: None, told, to_add: None };
        match outcome {
            Outcome::Settled(evidence) => {
                let by_word = matches!(evidence, Evidence::Confirmed(_));
                let was_by_word = matches!(state.evidence, Some(Evidence::Confirmed(_)));
                if state.acknowledged != Some(wanted) || told || by_word != was_by_word {
                    let (event, detail) = match &evidence {
                        Evidence::Proven => (Happened::Proven, "chain and allowlist".to_owned()),
                        Evidence::ChainOnly(why) => (Happened::ChainProven, why.clone()),
                        Evidence::AllowlistOnly(why) => (Happened::AllowlistProven, why.clone()),
                        Evidence::ReloadedNotProven(why) | Evidence::ProvenEarlier(why) => {
                            (Happened::ReloadedNotProven, why.clone())
                        }
                        Evidence::Confirmed(why) => (Happened::Confirmed, why.clone()),
                    };
                    report.noted(self.evidence(event, wanted, &detail));
                }
                self.find_weak_evidence(&evidence, report);
                let seen = matches!(evidence, Evidence::Proven | Evidence::ChainOnly(_) | Evidence::AllowlistOnly(_));
                let proven = seen.then_some(now);
                *state = TargetState {
                    acknowledged: Some(wanted),
                    evidence: Some(evidence.clone()),
                    proven: proven.or(state.proven),
                    // A proof is more than a word, and stands by itself from then on.
                    confirmed: by_word.then_some(wanted),
                    last_turn: Some(now),
                    sight: state.sight.take(),
                    ..TargetState::default()
                };
                line.settled = Some(evidence);
            }
            Outcome::Owed(owed) => {
                let finding = owed.finding(name, wanted);
                if state.owed.as_ref() != Some(&owed) {
                    report.noted(self.evidence(Happened::Owed, wanted, &finding.text));
                }
                report.fail_by(finding);
                let lacks_lines =
                    matches!(owed, Owed::Unproven(Proof::NotWired(_) | Proof::ChainOnly(_) | Proof::NotEnforced(_)));
                // Once a generation, and when asked: with every cycle it would drown the rest.
                let is_news = self.target.reload == Reload::None && state.owed.as_ref() != Some(&owed);
                if lacks_lines && (told || forced || is_news) {
                    line.to_add = self.snippet();
                }
                if let Owed::Unproven(Proof::NotWired(_)) = owed {
                    state.told_not_wired = Some(wanted);
                }
                // What it served once, or by the operator's word, it may serve no more: only a proof, a success or a new
                // word says so again.
                state.acknowledged = state.acknowledged.filter(|acknowledged| *acknowledged != wanted);
                state.confirmed = None;
                state.owed_since.get_or_insert(now);
                state.last_turn = Some(now);
                state.tries = state.tries.saturating_add(1);
                state.owed = Some(owed.clone());
                line.owed = Some(owed);
            }
        }
        report.targets.push(line);
    }

    /// What Envoy cannot do for a name rule.
    fn find_limits_of_envoy(&self, report: &mut Report) {
        let genesys = self.manifest.slots.iter().filter(|(slot, _)| slot.authority() == Authority::Genesys);
        let rules: Vec<_> = genesys.flat_map(|(_, held)| held.entries.values()).collect();
        if !self.target.outputs.contains(&Output::Envoy) || rules.is_empty() {
            return;
        }
        let secret = std::fs::read(self.link_path().join(envoy::WITH_MARKER));
        if secret.is_ok_and(|secret| envoy::admits_nobody(&secret)) {
            let text = "This Envoy refuses every client, though a Genesys name is trusted. It can take no single certificate \
                        out of those whose name it admits: as long as one is denied, it admits those that the vendor lists, \
                        one by one, and of these none is left that is not denied. The first one that is polled gets in at \
                        once; see `trustsync status` for what is denied.";
            report.findings.push(self.found(event::Event::TargetAdmitsNobody, text));
        } else if !self.manifest.denied.is_empty() {
            let text = "Envoy can take no single certificate out of those whose name it admits. As long as one is denied, it \
                        admits those that the vendor lists, one by one: a renewed one gets in only once it was polled.";
            report.findings.push(self.found(event::Event::TargetOneByOne, text));
        } else if rules.iter().any(|rule| rule.witnesses.dns_names.is_empty()) {
            let text = "Envoy sees no common name, and the vendor's certificate has its name in no dNSName (or any name is \
                        allowed): it admits whatever the Genesys root has signed.";
            report.findings.push(self.found(event::Event::TargetIssuerAlone, text));
        }
    }

    /// Whom nginx and Apache cannot refuse, since they ask for other digests than the one that is known.
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
            .filter(|(_, denial)| {
                outputs.contains(&Output::Nginx) && denial.sha1.is_none()
                    || outputs.contains(&Output::Apache) && denial.pem_sha1.is_none()
            })
            .map(|(fingerprint, _)| fingerprint.to_string())
            .collect();
        if has_rules && !unknown.is_empty() {
            let text = format!(
                "It asks for the SHA-1 of a certificate, which is not known here of these denied ones: {}. None of them is \
                 pinned; but if one bears the name of a Genesys slot, it gets in by that until it has been listed once.",
                unknown.join(", ")
            );
            report.findings.push(self.found(event::Event::TargetDenialPartial, text));
        }
    }

    fn find_weak_evidence(&self, evidence: &Evidence, report: &mut Report) {
        use event::Event::*;
        let (severity, event, text) = match evidence {
            Evidence::Proven => return,
            Evidence::ChainOnly(_) if self.target.kind.admits_by_authority_alone() => {
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
                let text = format!("The server was told, and nothing proves that it took the change: {why}.");
                (Severity::Note, TargetNotProven, text)
            }
            Evidence::ReloadedNotProven(why) => {
                let text = format!("The server was told, but nothing can be seen there: {why}.");
                (Severity::Warning, TargetNotProven, text)
            }
            Evidence::Confirmed(why) => {
                let text = format!("By the operator's word the server serves the generation; nothing shows it: {why}.");
                (Severity::Note, TargetConfirmed, text)
            }
            Evidence::ProvenEarlier(why) => {
                let text = format!(
                    "The server was proven earlier and does not answer now: {why}. What it loads at its start is in place."
                );
                (Severity::Warning, TargetUnreachable, text)
            }
        };
        report.findings.push(Finding::graded(severity, event, Subject::target(&self.target.name), text));
    }

    fn snippet(&self) -> Option<String> {
        let lines = snippet::of(self.target.kind, &self.link_path());
        if self.target.marker { lines } else { lines.map(|lines| snippet::without_marker(&lines)) }
    }
}

pub fn outcome_of<E: std::error::Error>(done: Result<(), E>) -> Event {
    done.map_or_else(|error| Event::Failed(error.to_string()), |()| Event::Succeeded)
}

pub fn judged(checked: Checked) -> Event {
    match checked {
        Checked::Passed => Event::Succeeded,
        Checked::Failed { output } => Event::Failed(output),
        Checked::CouldNotRun(why) => Event::NotRun(why),
        Checked::PrivateUnavailable(why) => Event::NoNamespace(why),
    }
}

fn seen(proof: proof::Proof) -> Proof {
    match proof {
        proof::Proof::Proven => Proof::Proven,
        proof::Proof::ChainOnly { reason } | proof::Proof::Lacking { reason } => Proof::ChainOnly(reason),
        proof::Proof::AllowlistOnly { reason } => Proof::AllowlistOnly(reason),
        proof::Proof::Unverifiable { reason } => Proof::Unverifiable(reason),
        proof::Proof::NotWired => Proof::NotWired(NOT_OURS.to_owned()),
        proof::Proof::Unreachable { reason } => Proof::Unreachable(reason),
        proof::Proof::NotYet { reason } => Proof::NotYet(reason),
        proof::Proof::Otherwise { reason } => Proof::Refuted(reason),
        proof::Proof::Kept { reason } => Proof::Refuted(reason),
        proof::Proof::NotEnforced { places } => Proof::NotEnforced(places),
        proof::Proof::Refuted { generation, part } => {
            Proof::Refuted(format!("{part} is of generation {generation:06}"))
        }
    }
}
