//! `trustsync apply TARGET`: root's half of a privileged target's turn, for the path unit, and for whoever runs another
//! command as root.

use std::path::Path;
use std::time::Duration;

use super::{Failure, environment, print};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::privileged::answer::{ApplyOutcome, Verdict};
use crate::cycle::privileged::apply::Half;
use crate::exit::Exit;
use crate::log;
use crate::settings::resolve::PRIVILEGED_PATH;
use crate::settings::resolved::{Settings, Store, Target};
use crate::settings::{self, SettingsError};
use crate::store::ownership::{self, NotRoots};
use crate::store::privileged::{Privileged, Request};

pub async fn run(global: &Global, target: &str) -> Result<Exit, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::Usage(
            "apply is root's half of a privileged target's turn: run it as root (the unit trustsync-apply@.service does). \
             Nothing was done."
                .to_owned(),
        ));
    }
    let half = once(&global.config, target, global.lock_timeout, Asked::OrByHand).await?;
    let Some((outcome, exit)) = half else { return Ok(Exit::Done) };
    log::findings(&outcome.found(target), true);
    print(global.output, &outcome, || outcome.line(target))?;
    Ok(exit)
}

/// Why root cannot act by the configuration.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    /// It is not root's alone.
    #[error(
        "root acts by a configuration that root alone can change: {0}. Nothing was done; what the server has, stays"
    )]
    Ownership(#[from] NotRoots),
    /// It cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It has no such target.
    #[error("{0}")]
    Target(String),
}

/// Whether there must be a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Whoever starts this means it.
    OrByHand,
    /// Another answerer may have been quicker: then nothing is done.
    Only,
}

/// Consumes the request and answers it by the configuration at `path`; what stands in the way of that is the answer.
async fn once(
    path: &Path,
    target: &str,
    lock_timeout: Duration,
    asked: Asked,
) -> Result<Option<(ApplyOutcome, Exit)>, Failure> {
    let (usable, folder) = match read(path) {
        Ok((settings, problems)) => {
            let folder = of(&settings, target).map(|(store, _)| store.privileged_path.clone());
            let usable = if problems.is_empty() {
                Ok(settings)
            } else {
                Err(SettingsError::Wrong { path: path.to_owned(), problems }.into())
            };
            (usable, folder)
        }
        Err(error) => (Err(error), None),
    };
    let usual = || Privileged::of(Path::new(PRIVILEGED_PATH), target);
    let half = match folder.map(|folder| Privileged::of(&folder, target)) {
        // What is not root's alone is not touched; who starts us by default looks at the usual place.
        Some(half) => half.and_then(|half| if half.fits().is_ok() { Ok(half) } else { usual() })?,
        None => usual()?,
    };
    // Before anything else can fail: a request that stays would be answered again at once, and for ever.
    let request = if half.fits().is_ok() { half.consume()? } else { None };
    let is_answered = |request: &Request| {
        request.stuck.is_some()
            && ApplyOutcome::last(&half).is_some_and(|last| last.request.as_ref() == Some(&request.id))
    };
    if asked == Asked::Only && request.as_ref().is_none_or(is_answered) {
        return Ok(None);
    }
    if let Some(why) = request.as_ref().and_then(|request| request.stuck.as_ref()) {
        log_line!(RequestStuck, target, "The request stays where it is: {why}. It is answered all the same.");
    }
    let judged = usable.and_then(|settings| match of(&settings, target) {
        Some((_, found)) if !found.privileged => Err(Unusable::Target(format!(
            "target.{target} is not privileged: its files are the daemon's own (target.{target}.privileged)"
        ))),
        Some(_) => Ok(settings),
        None => {
            let known = settings.stores.values().flat_map(|store| &store.targets).filter(|target| target.privileged);
            let known: Vec<&str> = known.map(|target| target.name.as_str()).collect();
            Err(Unusable::Target(format!("there is no target {target:?}; privileged are: {}", known.join(", "))))
        }
    });
    let settings = match judged {
        Ok(settings) => settings,
        Err(why) => return Ok(Some(refuse(&half, request.as_ref(), &why))),
    };
    let Some((store, found)) = of(&settings, target) else {
        return Err(Failure::Usage(format!("there is no target {target:?}")));
    };
    let half = Half { settings: &settings, store, target: found, clock: &SystemClock, lock_timeout };
    Ok(Some(half.answer(request.as_ref()).await))
}

/// The configuration, with what is wrong in it; secrets are the daemon's, and are not asked for.
fn read(path: &Path) -> Result<(Settings, Vec<String>), Unusable> {
    let path = ownership::roots_alone(path)?;
    let (loaded, problems) = settings::judge_without_secrets(&path, &environment())?;
    Ok((loaded.settings, problems))
}

fn of<'a>(settings: &'a Settings, target: &str) -> Option<(&'a Store, &'a Target)> {
    let targets = settings.stores.values().flat_map(|store| store.targets.iter().map(move |target| (store, target)));
    targets.into_iter().find(|(_, known)| known.name == target)
}

fn refuse(half: &Privileged, request: Option<&Request>, why: &Unusable) -> (ApplyOutcome, Exit) {
    let mut outcome = ApplyOutcome::new(request, SystemClock.now(), Verdict::Withheld(why.to_string()));
    outcome.rendered = ApplyOutcome::last(half).and_then(|last| last.rendered);
    // Where the daemon reads it, if there is such a place.
    drop(half.conclude(&outcome.to_bytes()));
    half.clear();
    let exit = if matches!(why, Unusable::Target(_)) { Exit::Usage } else { Exit::Configuration };
    (outcome, exit)
}

/// Answers the requests of every privileged target as they come, until it is dropped.
pub async fn serve(global: &Global, halves: &[(String, Privileged)], every: Duration) {
    loop {
        for (target, half) in halves {
            if !half.waits() {
                continue;
            }
            match once(&global.config, target, global.lock_timeout, Asked::Only).await {
                Ok(None) => {}
                Ok(Some((outcome, _))) => log::findings(&outcome.found(target), false),
                Err(failure) => log_line!(ApplyFailed, target, "{failure}"),
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// Every privileged target of these stores.
pub fn halves<'a>(stores: impl IntoIterator<Item = &'a Store>) -> Vec<(String, Privileged)> {
    let targets = stores.into_iter().flat_map(|store| store.targets.iter().map(move |target| (store, target)));
    let half = |(store, target): (&Store, &Target)| {
        Some((target.name.clone(), Privileged::of(&store.privileged_path, &target.name).ok()?))
    };
    targets.filter(|(_, target)| target.privileged).filter_map(half).collect()
}
