//! One file a command. Each reads its settings, does its one thing and says with which code to exit.

mod accept_issuer;
mod alarms;
mod configuration;
mod confirm;
pub mod demo;
mod diff;
mod distrust;
mod evidence;
mod history;
mod hold;
mod inspect;
mod operator;
mod output;
mod privileged;
mod probe;
mod regions;
mod reload;
mod rollback;
mod run;
pub mod simulate;
mod snippet;
mod status;
mod sync;
mod trust;
mod undistrust;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use clap::Parser;
use serde_json::{Value, json};

use output::{print, print_error};
use privileged::run_as_owner::{self, StillRoot};
use privileged::run_as_root::{self, Duties, RootsWord};

use crate::cli::{self, Cli, Command, Global};
use crate::clock::SystemClock;
use crate::cycle::{CycleError, Options, Report, Session};
use crate::daemon::DaemonError;
use crate::exit::Exit;
use crate::genesys::ClientError;
use crate::log;
use crate::settings::resolved::Store;
use crate::settings::{self, Loaded, SettingsError};
use crate::store::StoreError;
use crate::store::contents::{Contents, ContentsError};
use crate::store::ownership::NotRoots;
use crate::trust::event::finding::Finding;
use crate::trust::plan::planner_state::PlannerState;
use crate::trust::records::manifest::Manifest;
use crate::trust::values::said::Said;

/// Parses the command line, runs the command, says why where it fails.
#[must_use]
pub fn main() -> Exit {
    // Before all else: until it is the store's owner, root's child reads nothing.
    let is_owners = run_as_owner::begin();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // A reader that has gone away needs no help text.
            let _ = error.print();
            let words: Vec<String> = std::env::args().collect();
            let wants_json = words.iter().any(|word| word == "--output=json")
                || words.windows(2).any(|pair| {
                    pair.first().is_some_and(|key| key == "--output") && pair.last().is_some_and(|word| word == "json")
                });
            if wants_json && exit != Exit::Done {
                print_error(cli::Output::Json, exit, error);
            }
            return exit;
        }
    };
    log::start(cli.global.log_format, cli.global.verbose);
    // Names are looked up on a thread of their own, which need not be kept for the next time.
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::Other(format!("the runtime could not be started: {error}"))),
    };
    let output = cli.global.output;
    let exit = runtime.block_on(start(cli, is_owners)).unwrap_or_else(|failure| {
        let exit = fail(&failure);
        // A document that cannot be printed is followed by none.
        if !matches!(failure, Failure::Output(_)) {
            print_error(output, exit, failure);
        }
        exit
    });
    // A name that is being looked up on a thread of its own must not keep us.
    runtime.shutdown_background();
    exit
}

/// Root leaves to the store's owner what is the owner's, and does what only root may.
async fn start(mut cli: Cli, is_owners: Result<bool, StillRoot>) -> Result<Exit, Failure> {
    if is_owners.map_err(Failure::other)? {
        operator::is_roots_child();
        if operator::is_known_to_root() {
            cli.command.deny_known();
        }
        return tokio::select! {
            done = dispatch(cli) => done,
            // Root says why.
            () = run_as_owner::asked_to_end() => Ok(Exit::Unexpected),
        };
    }
    let (global, word) = (cli.global.clone(), RootsWord::of(&cli.command));
    match run_as_root::duties(&cli)? {
        Duties::Nothing => dispatch(cli).await,
        Duties::Answer { helpers, every } => {
            if run_as_root::knows(word.as_ref(), &helpers) {
                cli.command.deny_known();
            }
            let command = run_as_root::beside(&global, &helpers, every, dispatch(cli));
            run_as_root::with_roots_word(&global, word, &helpers, command).await
        }
        Duties::RunAsOwner { owner, secrets, helpers, limit, asks } => {
            run_as_root::become_owner(&global, owner, &secrets, &helpers, (limit, asks), word).await
        }
    }
}

async fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Sync(arguments) => sync::run(global, &arguments).await,
        Command::Run => run::run(global).await,
        Command::Status { probe: true } => Ok(probe::run(global).await),
        Command::Status { probe: false } => Ok(status::run(global)),
        Command::Reload { target } => reload::run(global, &target).await,
        Command::Snippet { target } => snippet::run(global, &target),
        Command::Apply { target, reset } => privileged::apply::run(global, &target, reset).await,
        Command::Verify(arguments) => verify::run(global, &arguments),
        Command::Inspect(arguments) => inspect::run(global, &arguments),
        Command::History => history::run(global),
        Command::Diff { generation, with } => diff::run(global, generation, with.as_deref()),
        Command::Rollback(arguments) => rollback::run(global, &arguments).await,
        Command::Hold { length, reason } => hold::hold(global, length, reason.as_deref()),
        Command::Release => hold::release(global),
        Command::Trust(arguments) => trust::run(global, &arguments).await,
        Command::Distrust(arguments) => distrust::run(global, &arguments).await,
        Command::Undistrust { fingerprint, reason } => undistrust::run(global, fingerprint, &reason).await,
        Command::Confirm { target } => confirm::run(global, &target).await,
        Command::Alarms { command: None } => Ok(alarms::list(global)),
        Command::Alarms { command: Some(cli::Alarms::Ack { ids, .. }) } => alarms::acknowledge(global, &ids),
        Command::Evidence { generation } => evidence::run(global, generation),
        Command::AcceptIssuer { fingerprint, unknown } => accept_issuer::run(global, fingerprint, unknown).await,
        Command::Config { command } => configuration::run(global, command).await,
        Command::Regions => regions::run(global),
        Command::Simulate(arguments) => simulate::run(arguments).await,
        Command::Demo => demo::run().await,
    }
}

fn fail(failure: &Failure) -> Exit {
    if is_broken_pipe(failure) {
        return Exit::Done;
    }
    // One line a failure in the log, so that a journal has it too.
    log_line!(Failed, exit = failure.exit() as u8, "{failure}");
    failure.exit()
}

/// The reader of our output has closed it, which is not a failure.
fn is_broken_pipe(failure: &Failure) -> bool {
    matches!(failure, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

/// Why a command ended without doing its thing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration cannot be read or used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A source's client could not be built.
    #[error("{0}. Nothing was done; trust is unchanged.")]
    Client(#[from] ClientError),
    /// The cycle could not be run.
    #[error(transparent)]
    Cycle(#[from] CycleError),
    /// The store's records cannot be used.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// The operator's override, which only the state keeps, was not saved.
    #[error("{0}. It was not saved and is not in force; trust is unchanged.")]
    NotSaved(String),
    /// Root is to act by a configuration that is not root's alone.
    #[error("root acts by a configuration that root alone can change: {0}. Nothing was done; trust is unchanged.")]
    NotRoots(NotRoots),
    /// The daemon could not begin.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// What was asked for can never be: the command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// What was asked for is refused, or cannot be as things stand; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// Standard output cannot be written.
    #[error("the result could not be printed: {0}")]
    Output(#[from] io::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Cycle(error.into())
    }
}

impl Failure {
    fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Settings(_) | Self::Client(_) | Self::NotRoots(_) => Exit::Configuration,
            Self::Daemon(DaemonError::Signals(_)) => Exit::Unexpected,
            Self::Daemon(_) => Exit::Configuration,
            Self::Cycle(error) => error.exit(),
            Self::Contents(_) | Self::NotSaved(_) => Exit::Store,
            Self::Usage(_) => Exit::Usage,
            Self::Refused(_) => Exit::Refused,
            Self::Output(_) | Self::Other(_) => Exit::Unexpected,
        }
    }
}

/// The settings, from the file and the process's environment.
fn load(global: &Global) -> Result<Loaded, SettingsError> {
    settings::read(&global.config, &environment())
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The one of these that is named, or the only one there is.
fn the_one<T: Copy>(what: &str, name: Option<&str>, all: &[(&str, T)]) -> Result<T, Failure> {
    let names = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let named = name.map(|name| (name, all.iter().find(|(known, _)| *known == name)));
    match (named, all) {
        (Some((_, Some((_, found)))), _) | (None, [(_, found)]) => Ok(*found),
        (Some((name, None)), _) => {
            Err(Failure::Usage(format!("there is no {what} {name:?}; configured are: {}", names())))
        }
        (None, _) => {
            Err(Failure::Usage(format!("several {what}s are configured: choose one with --{what}: {}", names())))
        }
    }
}

/// The store that the command is about.
fn the_store<'a>(global: &Global, loaded: &'a Loaded) -> Result<&'a Store, Failure> {
    let stores: Vec<_> = loaded.settings.stores.iter().map(|(name, store)| (name.as_str(), store)).collect();
    the_one("store", global.store.as_deref(), &stores)
}

/// Every store that the command is about.
fn the_stores<'a>(global: &Global, loaded: &'a Loaded) -> Result<Vec<&'a Store>, Failure> {
    if global.store.is_some() {
        Ok(vec![the_store(global, loaded)?])
    } else {
        Ok(loaded.settings.stores.values().collect())
    }
}

/// The store that has the target of this name.
fn store_of_target<'a>(stores: &[&'a Store], target: &str) -> Result<&'a Store, Failure> {
    let targets =
        |store: &&'a Store| store.targets.iter().map(|known| (known.name.as_str(), *store)).collect::<Vec<_>>();
    the_one("target", Some(target), &stores.iter().flat_map(targets).collect::<Vec<_>>())
}

/// A result of one store, in its place.
fn of_store(store: &Store, value: impl serde::Serialize) -> Value {
    json!({"stores": {store.name.as_str(): value}})
}

/// The newest generation's manifest.
fn published(contents: &Contents) -> Result<&Manifest, Failure> {
    let missing = || Failure::Refused("the store has no generation yet: run trustsync sync first".to_owned());
    contents.manifest.as_ref().ok_or_else(missing)
}

fn options<'a>(global: &Global, command: &'a str) -> Options<'a> {
    Options { deadline: std::time::Duration::from_secs(60), lock_timeout: global.lock_timeout, command }
}

fn open<'a>(global: &Global, store: &'a Store, command: &str) -> Result<Session<'a>, CycleError> {
    open_as(global, store, command, operator::said(None))
}

/// With who typed the command, and why.
fn open_as<'a>(global: &Global, store: &'a Store, command: &str, said: Said) -> Result<Session<'a>, CycleError> {
    static CLOCK: SystemClock = SystemClock;
    let mut session = Session::open(store, &CLOCK, &options(global, command))?;
    session.said = said;
    Ok(session)
}

/// What a command came to in each store. A failure in one store stops no other.
struct EachStore<T> {
    done: BTreeMap<String, T>,
    failed: BTreeMap<String, Value>,
    exits: BTreeSet<Exit>,
}

impl<T> EachStore<T> {
    fn new() -> Self {
        Self { done: BTreeMap::new(), failed: BTreeMap::new(), exits: BTreeSet::new() }
    }

    /// Keeps what came of it in this store; a failure is reported at once.
    fn note(&mut self, store: &Store, outcome: Result<T, Failure>) {
        match outcome {
            Ok(done) => drop(self.done.insert(store.name.clone(), done)),
            Err(failure) => {
                let exit = fail(&failure);
                self.exits.insert(exit);
                self.failed.insert(store.name.clone(), output::error(exit, failure));
            }
        }
    }

    fn exit(&self) -> Exit {
        Exit::of(&self.exits)
    }

    /// What came of it by store, as JSON.
    fn to_json(&self, done: impl Fn(&T) -> Value) -> Value {
        let done = self.done.iter().map(|(store, of_store)| (store.clone(), done(of_store)));
        json!({"stores": done.chain(self.failed.clone()).collect::<BTreeMap<String, Value>>()})
    }
}

impl EachStore<Report> {
    /// Acts on the operator's override in every store that is meant. `change` puts it into the planner's state, and
    /// says where it reaches less far than it sounds.
    async fn overrule(
        global: &Global,
        loaded: &Loaded,
        (command, noted, said): (&str, &str, &Said),
        change: impl Fn(&Store, &mut Session<'_>, &mut PlannerState) -> Option<Finding>,
    ) -> Result<Self, Failure> {
        let mut each = Self::new();
        for store in the_stores(global, loaded)? {
            let acted = async {
                let mut session = open_as(global, store, command, said.clone())?;
                let mut planner = session.contents.state.planner.clone();
                let found = change(store, &mut session, &mut planner);
                let set = session.contents.set.clone();
                let mut report = session.act_on_override(&loaded.settings, planner, &set, noted).await?;
                report.findings.extend(found);
                session.close_between(&mut report);
                Ok(report)
            };
            each.note(store, acted.await);
        }
        Ok(each)
    }

    /// Logs and prints what the operator's override came to: `said` first, then as a cycle does. The exit of all.
    fn conclude(mut self, global: &Global, said: impl Fn(&str, &Report) -> String) -> Result<Exit, Failure> {
        for report in self.done.values() {
            log::findings(&report.findings, true);
            self.exits.insert(report.exit(false));
        }
        let text =
            |(store, report): (&String, &Report)| format!("{}{}", said(store, report), sync::text(store, report));
        print(global.output, &self.to_json(|report| json!(report)), || self.done.iter().map(text).collect())?;
        Ok(self.exit())
    }
}
