//! Interprets the steps of a target's turn. What to do next is decided in [`crate::trust::turn`]; here it is done.

use std::path::{Path, PathBuf};

use super::report::{Report, TargetReport};
use super::{CycleError, evidence};
use crate::clock::Clock;
use crate::exit::Exit;
use crate::settings::resolved::{GenerationEvidence, Kind, Reload, Target};
use crate::store::contents;
use crate::store::read_back::read_back;
use crate::store::{Link, LinkPath, generation};
use crate::target::check::{self, Outcome as Checked};
use crate::target::nginx::{self, Enforcement};
use crate::target::process::Environment;
use crate::target::proof::{self, Patience, Wanted};
use crate::target::reload;
use crate::trust::finding::Finding;
use crate::trust::manifest::Manifest;
use crate::trust::state::TargetState;
use crate::trust::turn::{Event, Evidence, Outcome, Owed, Proof, Situation, Step, Turn};

/// One target, and what it should serve.
pub struct Turns<'a> {
    pub root: &'a Path,
    pub manifest: &'a Manifest,
    pub target: &'a Target,
    pub clock: &'a dyn Clock,
}

impl Turns<'_> {
    /// Takes the target's turn to its end and keeps what came of it in `state`.
    pub async fn take(&self, state: &mut TargetState, forced: bool, report: &mut Report) -> Result<(), CycleError> {
        let link = LinkPath::target(self.root, &self.target.name)?;
        let linked = match link.read()? {
            Link::Generation(number) => {
                if state.acknowledged == Some(self.manifest.generation) && number != self.manifest.generation {
                    let text = format!(
                        "The target's link was moved to generation {number:06} by somebody else; it is moved back, and the server told."
                    );
                    report.findings.push(Finding::warning("store_drift", &self.target.name, text));
                }
                Some(number)
            }
            Link::Missing => {
                if state.acknowledged.is_some() {
                    let text = "The target's link was removed by somebody else; it is made anew, and the server told.";
                    report.findings.push(Finding::warning("store_drift", &self.target.name, text));
                }
                None
            }
            Link::Foreign(found) => {
                report.findings.push(Finding::warning(
                    "store_drift",
                    &self.target.name,
                    format!("The target's link was not made by trustsync ({found}); it is not followed, and replaced."),
                ));
                None
            }
        };
        let (mut turn, mut step) = Turn::begin(self.situation(state, linked, forced));
        let mut told = false;
        let outcome = loop {
            told |= step == Step::Reload;
            let event = match step {
                Step::Finish(outcome) => break outcome,
                Step::ReadBack => outcome_of(read_back(self.root, self.manifest.generation)),
                Step::CheckPrivately(number) => self.check_privately(&link, number).await,
                Step::Check => self.check().await,
                Step::Switch(number) => outcome_of(link.switch(number)),
                Step::Reload => self.reload(report).await?,
                Step::Prove { told } => Event::Proof(self.prove(&link, told, state, report).await),
            };
            step = turn.on(event);
        };
        self.conclude(state, outcome, told, forced, report)
    }

    fn situation(&self, state: &TargetState, linked: Option<u64>, forced: bool) -> Situation {
        Situation {
            wanted: self.manifest.generation,
            linked,
            acknowledged: state.acknowledged,
            told_not_wired: state.told_not_wired,
            checkable: self.target.check.is_some(),
            tellable: self.target.reload != Reload::None,
            provable: self.target.proof.is_some(),
            allowlist_provable: self
                .target
                .proof
                .as_ref()
                .is_some_and(|proof| proof.generation == GenerationEvidence::Header),
            confirmed: state.confirmed == Some(self.manifest.generation),
            drops_denied: linked.into_iter().chain(state.acknowledged).any(|old| self.drops_denied(old)),
            forced,
        }
    }

    /// Whether this generation trusts a leaf that is denied by now.
    fn drops_denied(&self, old: u64) -> bool {
        let old = contents::manifest_of(self.root, old).ok().flatten();
        old.is_some_and(|old| {
            old.slots.values().any(|slot| slot.entries.keys().any(|key| self.manifest.denied.contains_key(key)))
        })
    }

    fn environment(&self) -> Environment {
        Environment::default()
            .with("TARGET", &self.target.name)
            .with("GENERATION", generation::name(self.manifest.generation))
            .with("STORE", self.root)
            .with("DIRECTORY", self.link_path())
    }

    fn link_path(&self) -> PathBuf {
        self.root.join("target").join(&self.target.name)
    }

    async fn check_privately(&self, link: &LinkPath, number: u64) -> Event {
        let Some(argv) = &self.target.check else { return Event::Succeeded };
        if !rustix::process::geteuid().is_root() {
            return Event::NoNamespace("a private mount namespace needs root".to_owned());
        }
        let generation = generation::path(self.root, number);
        judged(check::in_private(argv, &generation, link.path(), &self.environment(), self.target.check_timeout).await)
    }

    async fn check(&self) -> Event {
        let Some(argv) = &self.target.check else { return Event::Succeeded };
        judged(check::in_place(argv, &self.environment(), self.target.check_timeout).await)
    }

    async fn reload(&self, report: &mut Report) -> Result<Event, CycleError> {
        let limit = self.target.reload_timeout;
        let told = tokio::time::timeout(limit, reload::tell(&self.target.reload, &self.environment())).await;
        let why = match told {
            Ok(Ok(told)) => {
                let number = self.manifest.generation;
                evidence::target(self.root, "told", &self.target.name, number, &told.to_string(), self.clock.now())?;
                return Ok(Event::Succeeded);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("telling it took longer than {} and was given up", humantime::format_duration(limit)),
        };
        report.causes.insert(Exit::Owed);
        Ok(Event::Failed(why))
    }

    async fn prove(&self, link: &LinkPath, told: bool, state: &TargetState, report: &mut Report) -> Proof {
        let Some(wire) = &self.target.proof else { return Proof::Unverifiable("no proof is configured".to_owned()) };
        let wanted = Wanted {
            store_id: self.manifest.store.clone(),
            generation: self.manifest.generation,
            digest_head: self.manifest.digest.short(),
        };
        let patience = if told { Patience::JustTold } else { Patience::LongRunning };
        let proof = seen(proof::prove(wire, &wanted, patience).await.proof);
        if self.target.kind != Kind::Nginx {
            return proof;
        }
        match proof {
            Proof::Proven => match self.enforced(link, report).await {
                // The test stands in the configuration now; nginx may have loaded the one before.
                Proof::Proven if !told && matches!(state.owed, Some(Owed::Unproven(Proof::NotEnforced(_)))) => {
                    Proof::NotYet("its configuration asks the allowlist by now, but may not be loaded yet".to_owned())
                }
                proof => proof,
            },
            Proof::NotWired(_) | Proof::Unverifiable(_) => self.unseen(proof, link).await,
            proof => proof,
        }
    }

    /// Where the wire shows no marker, the configuration says whether our files are used at all.
    async fn unseen(&self, proof: Proof, link: &LinkPath) -> Proof {
        let Some(check) = &self.target.check else { return proof };
        let enforcement = nginx::enforcement(check, link.path(), &self.environment(), self.target.check_timeout).await;
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
        let Some(check) = &self.target.check else { return Proof::Proven };
        match nginx::enforcement(check, link.path(), &self.environment(), self.target.check_timeout).await {
            Enforcement::NotEnforced { servers, .. } => Proof::NotEnforced(servers.join(", ")),
            Enforcement::Enforced { notes } => {
                let note = |note| Finding::note("enforcement", &self.target.name, note);
                report.findings.extend(notes.into_iter().map(note));
                Proof::Proven
            }
            Enforcement::NotIncluded | Enforcement::NotAsked { .. } => {
                let text = "The configuration that the check reads has no server that asks by this target's files, though the running one serves them: was it changed since?";
                report.findings.push(Finding::note("enforcement", &self.target.name, text));
                Proof::Proven
            }
            Enforcement::NotSeen(why) => {
                let text = format!("Whether each server asks the allowlist was not seen: {why}");
                report.findings.push(Finding::note("enforcement", &self.target.name, text));
                Proof::Proven
            }
        }
    }

    fn conclude(
        &self,
        state: &mut TargetState,
        outcome: Outcome,
        told: bool,
        forced: bool,
        report: &mut Report,
    ) -> Result<(), CycleError> {
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
                        Evidence::Proven => ("proven", "chain and allowlist".to_owned()),
                        Evidence::ChainOnly(why) => ("chain_proven", why.clone()),
                        Evidence::ReloadedNotProven(why) | Evidence::ProvenEarlier(why) => {
                            ("reloaded_not_proven", why.clone())
                        }
                        Evidence::Confirmed(why) => ("confirmed", why.clone()),
                    };
                    evidence::target(self.root, event, name, wanted, &detail, now)?;
                }
                self.find_weak_evidence(&evidence, report);
                let proven = matches!(evidence, Evidence::Proven | Evidence::ChainOnly(_)).then_some(now);
                *state = TargetState {
                    acknowledged: Some(wanted),
                    evidence: Some(evidence.clone()),
                    proven: proven.or(state.proven),
                    // A proof is more than a word, and stands by itself from then on.
                    confirmed: by_word.then_some(wanted),
                    last_turn: Some(now),
                    ..TargetState::default()
                };
                line.settled = Some(evidence);
            }
            Outcome::Owed(owed) => {
                let finding = owed.finding(name, wanted);
                if state.owed.as_ref() != Some(&owed) {
                    evidence::target(self.root, "owed", name, wanted, &finding.text, now)?;
                }
                report.findings.push(finding);
                let lacks_lines =
                    matches!(owed, Owed::Unproven(Proof::NotWired(_) | Proof::ChainOnly(_) | Proof::NotEnforced(_)));
                // Once a generation, and when asked: with every cycle it would drown the rest.
                if lacks_lines && (told || forced) {
                    line.to_add = self.snippet();
                }
                report.causes.insert(match owed {
                    Owed::Refused(_)
                    | Owed::RefusedButKept(_)
                    | Owed::CheckFailed(_)
                    | Owed::BrokenWithoutUs { .. } => Exit::Check,
                    Owed::Unreadable(_) | Owed::NotSwitched(_) => Exit::Store,
                    Owed::NotTold(_) | Owed::Unproven(_) => Exit::Owed,
                });
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
        Ok(())
    }

    fn find_weak_evidence(&self, evidence: &Evidence, report: &mut Report) {
        let name = &self.target.name;
        report.findings.push(match evidence {
            Evidence::Proven => return,
            Evidence::ChainOnly(why) => Finding::warning(
                "target_chain_only",
                name,
                format!("The chain is proven; that the allowlist is loaded cannot be seen: {why}."),
            ),
            Evidence::ReloadedNotProven(why) if self.target.proof.is_none() => {
                Finding::note("target_not_proven", name, format!("The server was told, and nothing proves that it took the change: {why}."))
            }
            Evidence::ReloadedNotProven(why) => {
                Finding::warning("target_not_proven", name, format!("The server was told, but nothing can be seen there: {why}."))
            }
            Evidence::Confirmed(why) => Finding::note(
                "target_confirmed",
                name,
                format!("By the operator's word the server serves the generation; nothing shows it: {why}."),
            ),
            Evidence::ProvenEarlier(why) => Finding::warning(
                "target_unreachable",
                name,
                format!("The server was proven earlier and does not answer now: {why}. What it loads at its start is in place."),
            ),
        });
    }

    fn snippet(&self) -> Option<String> {
        (self.target.kind == Kind::Nginx).then(|| {
            let link = self.link_path();
            format!("{}\n{}", nginx::snippet::http(&link), nginx::snippet::server(&link))
        })
    }
}

fn outcome_of<E: std::error::Error>(done: Result<(), E>) -> Event {
    done.map_or_else(|error| Event::Failed(error.to_string()), |()| Event::Succeeded)
}

fn judged(checked: Checked) -> Event {
    match checked {
        Checked::Passed => Event::Succeeded,
        Checked::Failed { output } => Event::Failed(output),
        Checked::CouldNotRun(why) => Event::Failed(format!("the check could not be run: {why}")),
        Checked::PrivateUnavailable(why) => Event::NoNamespace(why),
    }
}

fn seen(proof: proof::Proof) -> Proof {
    match proof {
        proof::Proof::Proven => Proof::Proven,
        proof::Proof::ChainOnly { reason } => Proof::ChainOnly(reason),
        proof::Proof::Unverifiable { reason } => Proof::Unverifiable(reason),
        proof::Proof::NotWired => {
            Proof::NotWired("it asks for client certificates, but not by this store's bundle".to_owned())
        }
        proof::Proof::Unreachable { reason } => Proof::Unreachable(reason),
        proof::Proof::NotYet { reason } => Proof::NotYet(reason),
        proof::Proof::Refuted { generation, part } => {
            Proof::Refuted(format!("{part} is of generation {generation:06}"))
        }
    }
}
