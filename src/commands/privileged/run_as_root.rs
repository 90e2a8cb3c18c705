//! Root at the keyboard of a host where the daemon is somebody else: what a command writes into the store must be the
//! owner's, and what only root may do is done by the privileged helper beside it.
//!
//! ```text
//!  sudo trustsync sync ─┬─ child, as the store's owner: the command ──▶ request
//!                       └─ root: answers requests, as `apply` does ◀──────┘
//! ```
//! How the child is kept from what is root's, `run_as_owner` says. Where the store is root's own, the command itself is
//! in the child's place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::apply;
use super::run_as_owner::{Child, Owner};
use crate::cli::{Cli, Command, Global};
use crate::clock::{Clock, SystemClock};
use crate::commands::{Failure, environment, operator, trust};
use crate::cycle::FOR_LISTS;
use crate::cycle::privileged::folder::Privileged;
use crate::cycle::privileged::state::{StateError, Word, note_word};
use crate::daemon;
use crate::exit::Exit;
use crate::genesys::secret::read_secret;
use crate::settings;
use crate::settings::resolved::{SecretOrigin, Store};
use crate::store::ownership;
use crate::trust::plan::set::{Denial, DenialReason};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;

/// How often a command looks for requests, and how often the daemon does: it is in no hurry, and idle for hours.
const SOON: Duration = Duration::from_millis(20);
const AT_LEISURE: Duration = Duration::from_secs(2);

/// How long a command may ask the vendor and others, where the command line does not set it.
const ASKING: Duration = Duration::from_secs(60);

/// How much longer than all its parts together a command may take: a slow disk is not a reason to end it.
const SLACK: Duration = Duration::from_secs(30);

/// A privileged target, by its name.
type Helper = (String, Privileged);

/// Where the secret of each source is.
type Secrets = BTreeMap<String, SecretOrigin>;

/// What root has to do besides the command itself.
pub enum Duties {
    /// Nothing: not root, or nothing is written, or there is no privileged target.
    Nothing,
    /// Answer requests meanwhile.
    Answer { helpers: Vec<(String, Privileged)>, every: Duration },
    /// Leave the command to the store's owner, who has this long for it, and answer requests meanwhile.
    RunAsOwner { owner: Owner, secrets: Secrets, helpers: Vec<(String, Privileged)>, limit: Duration, asks: bool },
}

/// Whether a command writes into the store.
fn writes(command: &Command) -> bool {
    match command {
        Command::Sync(arguments) => !arguments.dry_run,
        Command::Alarms { command } => command.is_some(),
        Command::Run
        | Command::Reload { .. }
        | Command::Rollback { .. }
        | Command::Hold { .. }
        | Command::Release
        | Command::Trust(_)
        | Command::Distrust(_)
        | Command::Undistrust { .. }
        | Command::Confirm { .. }
        | Command::AcceptIssuer { .. } => true,
        Command::Status { .. }
        | Command::Evidence { .. }
        | Command::Verify(_)
        | Command::Inspect(_)
        | Command::Snippet { .. }
        | Command::History
        | Command::Diff { .. }
        | Command::Apply { .. }
        | Command::Config { .. }
        | Command::Regions
        | Command::Simulate(_)
        | Command::Demo => false,
    }
}

/// What root has to do. A configuration that cannot be read is the command's own to refuse.
pub fn duties(cli: &Cli) -> Result<Duties, Failure> {
    if !rustix::process::geteuid().is_root() || !writes(&cli.command) {
        return Ok(Duties::Nothing);
    }
    // Anyone who can change it chooses what root runs and whose secrets it reads. In a container, `run` is root's own
    // business.
    let daemon = matches!(cli.command, Command::Run);
    if !daemon && cli.global.config.exists() {
        ownership::roots_alone(&cli.global.config).map_err(Failure::NotRoots)?;
    }
    let Ok((loaded, _)) = settings::check_without_secrets(&cli.global.config, &environment()) else {
        return Ok(Duties::Nothing);
    };
    let settings = loaded.settings;
    let chosen = |store: &&Store| cli.global.store.as_ref().is_none_or(|name| store.name == *name);
    let stores: Vec<&Store> = settings.stores.values().filter(chosen).collect();
    let helpers = apply::helpers(stores.iter().copied());
    let owners: BTreeSet<Owner> = stores
        .iter()
        .filter_map(|store| fs::metadata(&store.path).ok())
        .map(|found| (found.uid(), found.gid()))
        .collect();
    let others: BTreeSet<Owner> = owners.iter().copied().filter(|(user, _)| *user != 0).collect();
    match others.first() {
        Some(owner) if owners.len() == 1 && !daemon => {
            // What is another store's alone is not this owner's to know.
            let concerned = |source: &String| stores.iter().any(|store| store.sources.contains(source));
            let polls = matches!(cli.command, Command::Sync(_));
            let secrets = settings.sources.iter().filter(|(name, _)| polls && concerned(name));
            let secrets = secrets.map(|(name, source)| (name.clone(), source.client_secret.clone())).collect();
            let limit = longest(cli, &stores);
            let asks = operator::asks(&cli.command) && operator::is_there();
            Ok(Duties::RunAsOwner { owner: *owner, helpers, secrets, limit, asks })
        }
        Some((user, _)) if daemon => Err(Failure::Usage(format!(
            "the store belongs to uid {user}, and what root writes there its daemon could not change: run it as that \
             user. Nothing was done."
        ))),
        Some(_) => Err(Failure::Usage(
            "the stores belong to different users: choose one with --store. Nothing was done.".to_owned(),
        )),
        None if helpers.is_empty() => Ok(Duties::Nothing),
        None => {
            prepare(&helpers, 0);
            Ok(Duties::Answer { helpers, every: if daemon { AT_LEISURE } else { SOON } })
        }
    }
}

/// Makes what the command would find missing; a failure says itself when the privileged helper is asked in vain.
fn prepare(helpers: &[(String, Privileged)], group: u32) {
    for (target, files) in helpers {
        if let Err(error) = files.prepare(group) {
            log_line!(PrivilegedPathUnfit, target, "{error}");
        }
    }
}

/// Runs the command in this process, and answers requests as long as it runs.
pub async fn beside<T>(
    global: &Global,
    helpers: &[(String, Privileged)],
    every: Duration,
    command: impl Future<Output = T>,
) -> T {
    tokio::select! {
        done = command => done,
        () = apply::serve(global, helpers, every) => std::future::pending().await,
    }
}

/// What root types on a certificate, which goes to root's half directly: there it holds whatever the daemon says.
pub enum RootsWord {
    /// Deny it, for this reason.
    Distrust(Fingerprint, Option<String>),
    /// No longer deny it.
    Undistrust(Fingerprint),
    /// Admit these without an extended key usage, until then.
    WaiveUsage(BTreeSet<Fingerprint>, Timestamp),
}

impl RootsWord {
    /// What the command says of one, if it does.
    pub fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Distrust(arguments) => Some(Self::Distrust(arguments.fingerprint, arguments.reason.clone())),
            Command::Undistrust { fingerprint, .. } => Some(Self::Undistrust(*fingerprint)),
            Command::Trust(arguments) => {
                let (leaves, until) = trust::usage_waived(arguments)?;
                Some(Self::WaiveUsage(leaves, until))
            }
            _ => None,
        }
    }
}

/// Whether root's own files trust what is to be denied: then it is known, whatever the store has lost.
pub fn knows(word: Option<&RootsWord>, helpers: &[(String, Privileged)]) -> bool {
    let Some(RootsWord::Distrust(fingerprint, _)) = word else { return false };
    helpers.iter().any(|(_, files)| apply::is_trusted(files, fingerprint))
}

/// Runs the command that has this word, and sees to it that the word is kept in root's half: a denial once the command
/// has come to its end and was not refused; the end of one before, so that nothing of root's stands against it.
pub async fn with_roots_word(
    global: &Global,
    word: Option<RootsWord>,
    helpers: &[(String, Privileged)],
    command: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    let now = SystemClock.now();
    let early = match &word {
        Some(RootsWord::Undistrust(fingerprint)) => Some(Word::Undistrust(*fingerprint)),
        // Before the daemon asks for it, which verifies it meanwhile; taken back if that comes to nothing.
        Some(RootsWord::WaiveUsage(leaves, until)) => {
            Some(Word::Usage(leaves.iter().map(|leaf| (*leaf, Some(*until))).collect()))
        }
        Some(RootsWord::Distrust(..)) | None => None,
    };
    let back = early.map(|word| note(global, helpers, &word, now)).transpose()?.unwrap_or_default();
    let done = command.await;
    let exit = done.as_ref().map_or_else(Failure::exit, |exit| *exit);
    let is_invalid = matches!(exit, Exit::Usage | Exit::Configuration);
    let is_refused = is_invalid || exit == Exit::Refused;
    match word {
        Some(RootsWord::Distrust(fingerprint, reason)) if !is_refused => {
            let said = operator::said(reason.as_deref());
            let denial = Denial { said, ..Denial::new(DenialReason::Distrusted, now) };
            note(global, helpers, &Word::Distrust(fingerprint, denial), now)?;
            let mut causes = BTreeSet::new();
            for (target, files) in helpers {
                // Whoever runs as the store's owner may have done nothing of it.
                causes.insert(apply::bring_about(global, target, files, &fingerprint).await?);
            }
            causes.insert(done?);
            return Ok(Exit::of(&causes));
        }
        Some(RootsWord::Undistrust(_)) if is_invalid => take_back(global, back, now)?,
        Some(RootsWord::Undistrust(fingerprint)) if !back.is_empty() => {
            log_line!(RootsWord, "root no longer denies {fingerprint} by itself.");
            // The daemon's store may not have had what root denied.
            if exit == Exit::Refused {
                return Ok(Exit::Done);
            }
        }
        // The leaf stands, or may: a list or a server refuses it.
        Some(RootsWord::WaiveUsage(..)) if matches!(exit, Exit::Done | Exit::Changed | Exit::Owed | Exit::Answer) => {}
        Some(RootsWord::WaiveUsage(..)) => take_back(global, back, now)?,
        _ => {}
    }
    done
}

/// Keeps the word in each target's half, or in none. What takes it back, where it changed something.
fn note<'a>(
    global: &Global,
    helpers: &'a [Helper],
    word: &Word,
    now: Timestamp,
) -> Result<Vec<(&'a Helper, Word)>, Failure> {
    let mut back = Vec::new();
    for helper in helpers {
        match note_word(&helper.1, word.clone(), now, global.lock_timeout) {
            Ok(changed) => back.extend(changed.map(|word| (helper, word))),
            // A denial stays where it was kept.
            Err(error) if matches!(word, Word::Distrust(..)) => return Err(not_kept(&helper.0, &error)),
            Err(error) => {
                take_back(global, back, now)?;
                return Err(not_kept(&helper.0, &error));
            }
        }
    }
    Ok(back)
}

fn take_back(global: &Global, back: Vec<(&Helper, Word)>, now: Timestamp) -> Result<(), Failure> {
    for ((target, files), word) in back {
        note_word(files, word, now, global.lock_timeout).map_err(|error| not_kept(target, &error))?;
    }
    Ok(())
}

fn not_kept(target: &str, error: &StateError) -> Failure {
    Failure::NotSaved(format!("target {target}: root's own word could not be kept: {error}"))
}

/// The longest that the command can take: for each store the lock, the vendor, the revocation lists and all turns at
/// their limits.
fn longest(cli: &Cli, stores: &[&Store]) -> Duration {
    let asking = if let Command::Sync(arguments) = &cli.command { arguments.deadline } else { ASKING };
    let of = |store: &&Store| {
        let turns = daemon::longest_turns(store);
        // Lists that come late have an act of their own, with the lock and the turns once more.
        let once = cli.global.lock_timeout.saturating_add(asking).saturating_add(turns);
        once.saturating_mul(2).saturating_add(FOR_LISTS)
    };
    stores.iter().map(of).fold(SLACK, Duration::saturating_add)
}

/// Runs the command as the store's owner, and answers its requests.
pub async fn become_owner(
    global: &Global,
    owner: Owner,
    secrets: &Secrets,
    helpers: &[(String, Privileged)],
    (limit, asks): (Duration, bool),
    word: Option<RootsWord>,
) -> Result<Exit, Failure> {
    prepare(helpers, owner.1);
    let variables = handed_on().chain(secrets_for(owner, secrets));
    // Not started before nothing of root's stands against it.
    let is_known = knows(word.as_ref(), helpers).then(|| (operator::KNOWN.to_owned(), "1".to_owned()));
    let variables = variables.chain(is_known);
    let command = async { beside(global, helpers, SOON, Child::start(owner, variables, asks)?.watch(limit)).await };
    with_roots_word(global, word, helpers, command).await
}

/// What the owner cannot read since it is root's (systemd hands a copy to the daemon): the child gets it as the daemon
/// would, from us.
fn secrets_for(owner: Owner, secrets: &Secrets) -> impl Iterator<Item = (String, String)> {
    secrets.iter().filter_map(move |(source, origin)| {
        let SecretOrigin::File(path) = origin else { return None };
        let secret = (!may_read(path, owner)).then(|| read_secret(origin).ok()).flatten()?;
        Some((format!("TRUSTSYNC__SOURCE__{}__CLIENT_SECRET", source.to_uppercase()), secret.expose().to_owned()))
    })
}

/// The variables of root's own environment that configure the command.
fn handed_on() -> impl Iterator<Item = (String, String)> {
    let known =
        ["PATH", "LANG", "TERM", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"];
    let roots = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
    environment().into_iter().filter(move |(name, _)| {
        name.starts_with("TRUSTSYNC__") || known.contains(&name.as_str()) || roots.contains(&name.as_str())
    })
}

fn may_read(path: &Path, (user, group): Owner) -> bool {
    fs::metadata(path).is_ok_and(|found| {
        let mode = found.mode();
        (found.uid() == user && mode & 0o400 != 0) || (found.gid() == group && mode & 0o040 != 0)
    })
}
