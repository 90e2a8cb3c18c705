//! The one interpreter of a turn's steps. What comes next is decided in [`crate::trust::turn`]; here it is done to a
//! server's files. Where the daemon and root differ (who switches the link, who reloads the server, who proves), the
//! hand that takes the turn does it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::canary;
use crate::settings::resolved::{Kinds, Reload, Target};
use crate::store::{LinkPath, contents, generation};
use crate::targets::check::{self, CheckOutcome, View};
use crate::targets::process::Environment;
use crate::targets::read_back::read_back;
use crate::targets::reload::{self, ReloadError, ReloadReport};
use crate::trust::plan::set::Denial;
use crate::trust::turn::canary::CheckCanary;
use crate::trust::turn::{Event, Number, Owed, Situation, Step, Turn, TurnOutcome};
use crate::trust::values::fingerprint::Fingerprint;

/// A target's server, and the files that it reads.
pub struct Server<'a> {
    pub kinds: Kinds,
    pub target: &'a Target,
    pub link: LinkPath,
    /// The folder of the generations that the link may name.
    pub generations: PathBuf,
    /// What its programs are given.
    pub environment: Environment,
}

/// What the daemon and root do each in their own way.
pub trait Hand {
    fn server(&self) -> &Server<'_>;

    fn switch(&self, number: Number) -> Event {
        self.server().switch(number)
    }

    /// Has the server load what its link names; what is owed where the turn ends by that.
    async fn reload(&mut self) -> Result<Event, Owed>;

    /// What is seen of the server.
    async fn prove(&mut self, reloaded: bool) -> Event;
}

/// Takes a turn to its end; the second value is whether the server was reloaded.
pub async fn take(situation: Situation, hand: &mut impl Hand) -> (TurnOutcome, bool) {
    let wanted = situation.wanted;
    let (mut turn, mut step) = Turn::begin(situation);
    let mut reloaded = false;
    loop {
        let event = match step {
            Step::Finish(outcome) => return (outcome, reloaded),
            Step::ReadBack => {
                let server = hand.server();
                succeeded(read_back(server.kinds, &server.generations, wanted))
            }
            Step::CheckPrivately(number) => hand.server().check_privately(number).await,
            Step::Check => hand.server().check(View::AsItStands).await,
            Step::Switch(number) => hand.switch(number),
            Step::Reload => match hand.reload().await {
                Ok(event) => {
                    reloaded |= event == Event::Succeeded;
                    event
                }
                Err(owed) => return (TurnOutcome::Owed(owed), reloaded),
            },
            Step::Prove { reloaded } => hand.prove(reloaded).await,
        };
        step = turn.on(event);
    }
}

impl Server<'_> {
    /// What a turn to `wanted` begins with, by the files and the target's configuration. Nothing proves, and nothing is
    /// denied.
    pub fn situation(
        &self,
        wanted: Number,
        linked: Option<Number>,
        acknowledged: Option<Number>,
        canary: Option<&CheckCanary>,
        forced: bool,
    ) -> Situation {
        let target = self.target;
        Situation {
            wanted,
            linked,
            acknowledged,
            reloaded: None,
            unenforced: false,
            reload_again: true,
            checkable: target.check.is_some(),
            checkable_privately: !canary::is_blind(target, canary),
            checkable_in_place: !target.kind.reads_at_requests,
            linked_reads_back: linked
                .filter(|linked| *linked != wanted)
                .is_none_or(|old| read_back(self.kinds, &self.generations, old).is_ok()),
            can_be_reloaded: !matches!(target.reload, Reload::None),
            provable: false,
            chain_provable: false,
            allowlist_provable: false,
            confirmed: false,
            drops_denied: false,
            forced,
        }
    }

    pub async fn reload(&self) -> Result<ReloadReport, ReloadError> {
        reload::request(&self.target.reload, &self.environment, self.target.reload_timeout).await
    }

    pub fn switch(&self, number: Number) -> Event {
        succeeded(self.link.switch(number))
    }

    async fn check_privately(&self, number: Number) -> Event {
        if self.target.check.is_some() && !rustix::process::geteuid().is_root() {
            return Event::NoNamespace("a private mount namespace needs root".to_owned());
        }
        self.check(View::Private { new: &self.link.generation(number), link: self.link.path() }).await
    }

    async fn check(&self, view: View<'_>) -> Event {
        let Some(check) = self.target.server_check() else { return Event::Succeeded };
        match check::run(check, view, &self.environment, self.target.check_timeout).await {
            CheckOutcome::Passed => Event::Succeeded,
            CheckOutcome::Failed { output } => Event::Failed(output),
            CheckOutcome::CouldNotRun(why) => Event::NotRun(why),
            CheckOutcome::PrivateUnavailable(why) => Event::NoNamespace(why),
        }
    }
}

fn succeeded<E: std::error::Error>(done: Result<(), E>) -> Event {
    done.map_or_else(|error| Event::Failed(error.to_string()), |()| Event::Succeeded)
}

/// Whether one of the generations in this folder trusts a leaf that is denied by now.
pub fn trusts_denied(
    generations: &Path,
    mut numbers: impl Iterator<Item = Number>,
    denied: &BTreeMap<Fingerprint, Denial>,
) -> bool {
    numbers.any(|number| {
        let old = contents::manifest_in(generations, number).ok().flatten();
        let mut trusted = old.iter().flat_map(|old| old.slots.values()).flat_map(|slot| slot.entries.keys());
        trusted.any(|key| denied.contains_key(key))
    })
}

/// The environment of a target's programs: the target, its generation, the folder of the store, and the link in
/// `directory`.
pub fn environment(target: &Target, number: Number, root: &Path, store_id: &str, directory: &Path) -> Environment {
    Environment::default()
        .with("TARGET", &target.name)
        .with("GENERATION", generation::name(number))
        .with("STORE", root)
        .with("STORE_ID", store_id)
        .with("DIRECTORY", directory)
}
