//! A target's turn as a pure state machine: events in, next step out. The cycle interprets the steps; everything that
//! decides stands here.
//!
//! ```text
//!  link ≠ wanted:  read back ─▶ check privately ─▶ switch ─▶ reload ─▶ prove
//!                                 │ fails: blame needs *new fails, old passes, new fails*: then the link stays
//!                                 │ old fails too: the server is broken without us: switch forward, reload owed
//!                                 └ unavailable, or blind: check as things stand ─▶ switch ─▶ check again ─▶ reload
//!                                     fails before: broken without us; fails after: the same blame by switching back
//!  link = wanted:  prove ─▶ unproven, and a reload can help: check (as above, against what the server has loaded)
//!                           ─▶ reload ─▶ prove
//! ```
//! A reload can help where the server
//! - was not reloaded for the generation yet,
//! - was seen to serve another one (then less and less often, if it does not help),
//! - has lines in its configuration that it has not loaded, or
//! - was last seen to admit strangers, and has not been reloaded since.
//!
//! Else it is only looked at: whatever is seen there, another reload would change nothing, and each costs something.
//!
//! The link of a server that reads some files at each request is not switched only to check: where its check fails
//! before anything has moved, the link stays, and where it fails after, the link goes back once. No server is reloaded
//! whose last check did not pass: a reload ends an Apache whose own test fails.

pub mod canary;
mod outcome;
pub mod owed;

pub use outcome::{Evidence, LONGEST_REASON, Owed, Proof, TurnOutcome};

/// A generation's number.
pub type Number = u64;

/// What a turn starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// The newest committed generation.
    pub wanted: Number,
    /// The one that the target's link names.
    pub linked: Option<Number>,
    /// The one that the server is known to serve.
    pub acknowledged: Option<Number>,
    /// The generation for which the server was last reloaded, or which it was seen to serve.
    pub reloaded: Option<Number>,
    /// Whether the server was seen to have loaded a configuration that does not ask the allowlist, so that nothing but
    /// a reload settles the turn.
    pub unenforced: bool,
    /// Whether it is time for another reload of one that was reloaded and serves another generation still.
    pub reload_again: bool,
    /// Whether the server has a configuration test.
    pub checkable: bool,
    /// Whether the test is worth running in private. It is not where it is known to be blind to our files: it can then
    /// only say that the server is broken without us, and it can say so of what stands there.
    pub checkable_privately: bool,
    /// Whether the link may be switched only to test what it then names. It may not where the server reads some files
    /// at each request: those would act before they are tested.
    pub checkable_in_place: bool,
    /// Whether the generation that the link names reads back. If it does not, that may be why the check fails as things
    /// stand, and only a switch mends it.
    pub linked_reads_back: bool,
    /// Whether the server can be asked to reload; one that watches its files cannot.
    pub can_be_reloaded: bool,
    /// Whether a proof is configured.
    pub provable: bool,
    /// Whether the loaded chain can show its generation, so that the allowlist alone is not enough.
    pub chain_provable: bool,
    /// Whether the loaded allowlist can show its generation, so that the chain alone is not enough.
    pub allowlist_provable: bool,
    /// Whether the operator confirmed that the server serves the wanted generation.
    pub confirmed: bool,
    /// Whether `wanted` drops a revoked or distrusted leaf that the linked or the acknowledged generation trusts: such
    /// a generation is never taken back.
    pub drops_denied: bool,
    /// The operator asked for the whole turn.
    pub forced: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read every file of the wanted generation back with an independent parser, and count.
    ReadBack,
    /// Run the server's check with this generation where the link leads, seen by nobody else.
    CheckPrivately(Number),
    /// Run the server's check as things stand, in the best way available.
    Check,
    /// Let the target's link name this generation.
    Switch(Number),
    /// Ask the server to reload.
    Reload,
    /// Observe what the server serves.
    Prove {
        /// Whether it was asked to reload just now, so that it needs time.
        reloaded: bool,
    },
    /// The turn is over.
    Finish(TurnOutcome),
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It worked.
    Succeeded,
    /// It failed, for this reason.
    Failed(String),
    /// A private check is unavailable here, for this reason.
    NoNamespace(String),
    /// The check could not be run to its end, so it says nothing.
    NotRun(String),
    /// What was seen at the server.
    Proof(Proof),
    /// The same, of a server whose configuration has lines by now that it does not seem to have loaded.
    NotLoaded(Proof),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    ProvingFirst,
    ReadingBack,
    PrivateNew { old: Number },
    PrivateOld { old: Number, new: String },
    OldAsItStands { old: Number, new: String },
    PrivateNewAgain { old: Number, new: String },
    AsItStands,
    SwitchingForward(Then),
    InPlaceNew { before: Option<String> },
    SwitchingBack { old: Number, new: String },
    InPlaceOld { old: Number, new: String },
    SwitchingForwardAgain { old: Number, new: String },
    InPlaceNewAgain { old: Number, new: String },
    TakingBack { new: String, owed: Owed },
    Reloading,
    Proving,
    Finished,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Then {
    /// Check what stands there now; `before` is how that failed before the switch, if it did.
    Check {
        before: Option<String>,
    },
    Reload,
    Finish(Owed),
}

/// Why a check no longer says anything, and what it had said of the wanted generation before.
fn after(why: &str, new: &str) -> String {
    format!("{why}; of the new generation it had said before: {new}")
}

/// Why nothing can be seen of a target without `proof`.
const NO_PROOF: &str = "no proof is configured";

/// A turn under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    situation: Situation,
    phase: Phase,
    /// The generation that the link names by now.
    at: Option<Number>,
}

impl Turn {
    /// Begins a turn; the second value is its first step.
    #[must_use]
    pub fn begin(situation: Situation) -> (Self, Step) {
        let placed = situation.linked == Some(situation.wanted);
        let mut turn = Self { at: situation.linked, situation, phase: Phase::Finished };
        let step = if placed && turn.situation.provable && !turn.situation.forced {
            turn.enter(Phase::ProvingFirst, Step::Prove { reloaded: false })
        } else if placed && !turn.situation.forced && turn.situation.confirmed {
            turn.finish(TurnOutcome::Settled(Evidence::Confirmed(NO_PROOF.to_owned())))
        } else if placed && !turn.situation.forced && turn.situation.acknowledged == Some(turn.situation.wanted) {
            turn.finish(TurnOutcome::Settled(Evidence::ReloadedNotProven(NO_PROOF.to_owned())))
        } else {
            turn.enter(Phase::ReadingBack, Step::ReadBack)
        };
        (turn, step)
    }

    /// Takes what came of the last step, and gives the next one.
    // Long because it is the table of the state machine, one line for each phase and event.
    pub fn on(&mut self, event: Event) -> Step {
        let phase = std::mem::replace(&mut self.phase, Phase::Finished);
        match (phase, event) {
            (Phase::ProvingFirst, Event::Proof(proof)) => self.proven_first(proof),
            // A reload settles it, and from then on it is acknowledged.
            (Phase::ProvingFirst, Event::NotLoaded(_)) if !self.is_acknowledged() && !self.situation.confirmed => {
                self.reload_from_the_start()
            }
            (Phase::ProvingFirst, Event::NotLoaded(proof)) => self.proven_first(proof),
            (Phase::ReadingBack, Event::Succeeded) => self.place(),
            (Phase::ReadingBack, Event::Failed(why)) => self.owe(Owed::Unreadable(why)),

            (Phase::PrivateNew { .. } | Phase::PrivateNewAgain { .. }, Event::Succeeded) => self.forward(Then::Reload),
            (Phase::PrivateNew { .. }, Event::NoNamespace(_)) => self.check_as_it_stands(),
            (Phase::PrivateNew { .. }, Event::NotRun(why)) => self.not_run(why),
            (Phase::PrivateNew { old }, Event::Failed(new)) => {
                self.enter(Phase::PrivateOld { old, new }, Step::CheckPrivately(old))
            }
            (Phase::PrivateOld { old, new } | Phase::OldAsItStands { old, new }, Event::Succeeded) => {
                let wanted = self.situation.wanted;
                self.enter(Phase::PrivateNewAgain { old, new }, Step::CheckPrivately(wanted))
            }
            (Phase::PrivateOld { new, .. } | Phase::OldAsItStands { new, .. }, Event::Failed(old)) => {
                self.forward(Then::Finish(Owed::BrokenWithoutUs { new, old }))
            }
            // The old one can still be checked where it stands, if it stands there.
            (Phase::PrivateOld { old, new }, Event::NoNamespace(_)) if self.at == Some(old) => {
                self.enter(Phase::OldAsItStands { old, new }, Step::Check)
            }
            (Phase::PrivateOld { new, .. }, Event::NoNamespace(_)) => self.owe(Owed::CheckFailed(new)),
            (Phase::PrivateOld { new, .. } | Phase::OldAsItStands { new, .. }, Event::NotRun(why)) => {
                self.not_run(after(&why, &new))
            }
            (Phase::PrivateNewAgain { old, new }, Event::Failed(_) | Event::NoNamespace(_)) => {
                self.keep_out(old, new.clone(), Owed::Refused(new))
            }
            (Phase::PrivateNewAgain { old, new }, Event::NotRun(why)) => {
                let owed = Owed::CheckNotRun(after(&why, &new));
                self.keep_out(old, new, owed)
            }

            (Phase::AsItStands, Event::Succeeded) => self.forward(Then::Check { before: None }),
            (Phase::AsItStands, Event::Failed(old))
                if self.goes_forward_unjudged() || !self.situation.linked_reads_back =>
            {
                self.forward(Then::Check { before: Some(old) })
            }
            (Phase::AsItStands, Event::Failed(old)) => self.owe(Owed::BrokenBefore(old)),
            (Phase::AsItStands, Event::NotRun(why)) => self.not_run(why),

            (Phase::SwitchingForward(then), Event::Succeeded) => {
                self.at = Some(self.situation.wanted);
                self.placed(then)
            }
            (
                Phase::SwitchingForward(_) | Phase::SwitchingBack { .. } | Phase::SwitchingForwardAgain { .. },
                Event::Failed(why),
            ) => self.owe(Owed::NotSwitched(why)),

            (Phase::InPlaceNew { .. } | Phase::InPlaceNewAgain { .. }, Event::Succeeded) => self.reload(),
            (Phase::InPlaceNew { before: Some(old) }, Event::Failed(new)) => {
                self.owe(Owed::BrokenWithoutUs { new, old })
            }
            (Phase::InPlaceNew { before: None }, Event::Failed(new)) => match self.old() {
                Some(_) if self.situation.drops_denied => self.owe(Owed::RefusedButKept(new)),
                Some(old) if self.situation.checkable_in_place || self.situation.linked == Some(old) => {
                    self.enter(Phase::SwitchingBack { old, new }, Step::Switch(old))
                }
                _ => self.owe(Owed::CheckFailed(new)),
            },
            (Phase::InPlaceNew { .. }, Event::NotRun(why)) => self.owe(Owed::CheckNotRun(why)),
            (Phase::SwitchingBack { old, new }, Event::Succeeded) => {
                self.at = Some(old);
                self.enter(Phase::InPlaceOld { old, new }, Step::Check)
            }
            (Phase::InPlaceOld { old, new }, Event::Succeeded) if self.situation.checkable_in_place => {
                let wanted = self.situation.wanted;
                self.enter(Phase::SwitchingForwardAgain { old, new }, Step::Switch(wanted))
            }
            // The old one passed before it, too, so the new one need not be put there a second time.
            (Phase::InPlaceOld { new, .. }, Event::Succeeded) => self.owe(Owed::Refused(new)),
            (Phase::InPlaceOld { new, .. }, Event::Failed(old)) if self.situation.checkable_in_place => {
                self.forward(Then::Finish(Owed::BrokenWithoutUs { new, old }))
            }
            (Phase::InPlaceOld { .. }, Event::Failed(old)) => self.owe(Owed::BrokenBefore(old)),
            (Phase::InPlaceOld { new, .. }, Event::NotRun(why)) => self.not_run(after(&why, &new)),
            (Phase::SwitchingForwardAgain { old, new }, Event::Succeeded) => {
                self.at = Some(self.situation.wanted);
                self.enter(Phase::InPlaceNewAgain { old, new }, Step::Check)
            }
            (Phase::InPlaceNewAgain { old, new }, Event::Failed(_)) => {
                self.keep_out(old, new.clone(), Owed::Refused(new))
            }
            (Phase::InPlaceNewAgain { old, new }, Event::NotRun(why)) => {
                let owed = Owed::CheckNotRun(after(&why, &new));
                self.keep_out(old, new, owed)
            }
            (Phase::TakingBack { owed, .. }, Event::Succeeded) => self.owe(owed),
            (Phase::TakingBack { new, .. }, Event::Failed(why)) => {
                self.owe(Owed::NotSwitched(format!("{why}; the check had refused the generation: {new}")))
            }

            (Phase::Reloading, Event::Succeeded) => self.prove(),
            (Phase::Reloading, Event::Failed(why)) => self.owe(Owed::NotReloaded(why)),
            (Phase::Proving, Event::Proof(proof) | Event::NotLoaded(proof)) => self.proven(proof),

            // An event that answers no step means that the interpreter is wrong; owing is always safe.
            (phase, event) => self.owe(Owed::NotReloaded(format!("unexpected {event:?} in {phase:?}"))),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    fn finish(&mut self, outcome: TurnOutcome) -> Step {
        self.enter(Phase::Finished, Step::Finish(outcome))
    }

    fn owe(&mut self, owed: Owed) -> Step {
        self.finish(TurnOutcome::Owed(owed))
    }

    /// Lets the link name the wanted generation, unless it does already.
    fn forward(&mut self, then: Then) -> Step {
        let wanted = self.situation.wanted;
        if self.at == Some(wanted) {
            self.placed(then)
        } else {
            self.enter(Phase::SwitchingForward(then), Step::Switch(wanted))
        }
    }

    fn placed(&mut self, then: Then) -> Step {
        match then {
            Then::Check { before } => self.enter(Phase::InPlaceNew { before }, Step::Check),
            Then::Reload => self.reload(),
            Then::Finish(owed) => self.owe(owed),
        }
    }

    /// The generation to compare with and to go back to: the one that the link names, or, where the link was switched
    /// although the check failed, the one that the server is known to have loaded.
    fn old(&self) -> Option<Number> {
        let Situation { wanted, linked, acknowledged, .. } = self.situation;
        let other = |number: &Number| *number != wanted;
        linked.filter(other).or_else(|| acknowledged.filter(|known| linked.is_some() && other(known)))
    }

    /// The generation reads back: put it in place. On the first turn there is nothing to go back to, and a generation
    /// that is in place already and can be compared with nothing is checked as it stands.
    fn place(&mut self) -> Step {
        let Situation { wanted, checkable, checkable_privately, .. } = self.situation;
        match self.old() {
            _ if !checkable => self.forward(Then::Reload),
            Some(old) if checkable_privately => self.enter(Phase::PrivateNew { old }, Step::CheckPrivately(wanted)),
            Some(_) => self.check_as_it_stands(),
            None => self.forward(Then::Check { before: None }),
        }
    }

    /// The next weaker check: before anything moves, and again once the wanted generation stands there.
    fn check_as_it_stands(&mut self) -> Step {
        if self.at == Some(self.situation.wanted) {
            self.placed(Then::Check { before: None })
        } else {
            self.enter(Phase::AsItStands, Step::Check)
        }
    }

    /// Whether the link goes forward although no check has passed, so that a server that is mended and reloaded by hand
    /// gets the right trust. It does not where some of the files would act at once, unless they take a certificate out.
    fn goes_forward_unjudged(&self) -> bool {
        self.situation.checkable_in_place || self.situation.drops_denied
    }

    /// The check says nothing, neither of the generation nor of the server.
    fn not_run(&mut self, why: String) -> Step {
        let owed = Owed::CheckNotRun(why);
        if self.goes_forward_unjudged() { self.forward(Then::Finish(owed)) } else { self.owe(owed) }
    }

    /// The check has refused the generation, as `new` says, and passed with the old one: the link stays at the old one
    /// or goes back to it, unless the generation drops what is denied.
    fn keep_out(&mut self, old: Number, new: String, owed: Owed) -> Step {
        if self.situation.drops_denied {
            let kept = if let Owed::Refused(new) = owed { Owed::RefusedButKept(new) } else { owed };
            self.forward(Then::Finish(kept))
        } else if self.at == Some(self.situation.wanted) {
            self.enter(Phase::TakingBack { new, owed }, Step::Switch(old))
        } else {
            self.owe(owed)
        }
    }

    fn reload(&mut self) -> Step {
        if self.situation.can_be_reloaded { self.enter(Phase::Reloading, Step::Reload) } else { self.prove() }
    }

    fn prove(&mut self) -> Step {
        if self.situation.provable {
            self.enter(Phase::Proving, Step::Prove { reloaded: true })
        } else {
            self.finish(TurnOutcome::Settled(Evidence::ReloadedNotProven(NO_PROOF.to_owned())))
        }
    }

    /// Seen before anything was done: after a crash, and in every cycle without change.
    fn proven_first(&mut self, proof: Proof) -> Step {
        let acknowledged = self.is_acknowledged();
        let reloaded = acknowledged || self.situation.reloaded == Some(self.situation.wanted);
        let evidence = self.settled_by(&proof).or_else(|| match &proof {
            Proof::Unverifiable(why) if reloaded => Some(Evidence::ReloadedNotProven(why.clone())),
            Proof::Unreachable(why) if acknowledged => Some(Evidence::ProvenEarlier(why.clone())),
            _ => None,
        });
        match (evidence, &proof) {
            (Some(_), _) if self.situation.unenforced && !self.situation.confirmed => self.reload_from_the_start(),
            (Some(evidence), _) => self.finish(TurnOutcome::Settled(evidence)),
            (None, Proof::Refuted(_)) if self.situation.reload_again || !reloaded => self.reload_from_the_start(),
            (None, _) if reloaded => self.owe(Owed::Unproven(proof)),
            (None, _) => self.reload_from_the_start(),
        }
    }

    fn is_acknowledged(&self) -> bool {
        self.situation.acknowledged == Some(self.situation.wanted)
    }

    fn reload_from_the_start(&mut self) -> Step {
        // The operator's override was about what was just seen to be otherwise.
        self.situation.confirmed = false;
        self.enter(Phase::ReadingBack, Step::ReadBack)
    }

    fn proven(&mut self, proof: Proof) -> Step {
        if let Proof::Unverifiable(why) = proof {
            return self.finish(TurnOutcome::Settled(Evidence::ReloadedNotProven(why)));
        }
        match self.settled_by(&proof) {
            Some(evidence) => self.finish(TurnOutcome::Settled(evidence)),
            None => self.owe(Owed::Unproven(proof)),
        }
    }

    /// The evidence that this proof is, if it settles the turn. The operator's override stands against a proof that
    /// shows nothing, never against one that shows something else.
    fn settled_by(&self, proof: &Proof) -> Option<Evidence> {
        let Situation { confirmed, chain_provable, allowlist_provable, .. } = self.situation;
        match proof {
            Proof::Proven => Some(Evidence::Proven),
            Proof::AllowlistUnseen(why) => Some(Evidence::ChainOnly(why.clone())),
            Proof::ChainOnly(why) if !allowlist_provable => Some(Evidence::ChainOnly(why.clone())),
            Proof::AllowlistOnly(why) if !chain_provable => Some(Evidence::AllowlistOnly(why.clone())),
            Proof::ChainOnly(why)
            | Proof::AllowlistOnly(why)
            | Proof::NotWired(why)
            | Proof::Unverifiable(why)
            | Proof::Unreachable(why) => confirmed.then(|| Evidence::Confirmed(why.clone())),
            Proof::NotYet(_) | Proof::Refuted(_) | Proof::NotEnforced(_) => None,
        }
    }
}
