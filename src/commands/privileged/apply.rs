//! `trustsync apply TARGET`: the privileged helper's part of a turn, for the path unit, and for anyone who runs another
//! command as root.

use std::path::Path;
use std::time::Duration;

use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::commands::{Failure, environment, print};
use crate::cycle::privileged::answer::{ApplyOutcome, Verdict};
use crate::cycle::privileged::apply::Apply;
use crate::cycle::privileged::folder::{Privileged, Request};
use crate::exit::Exit;
use crate::log;
use crate::settings::resolve::PRIVILEGED_PATH;
use crate::settings::resolved::{Settings, Store, Target};
use crate::settings::{self, SettingsError};
use crate::store::{Link, contents, ownership};
use crate::trust::values::fingerprint::Fingerprint;

pub async fn run(global: &Global, target: &str, reset: bool) -> Result<Exit, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::Refused(
            "apply is root's part of a privileged target's turn: run it as root (the unit trustsync-apply@.service \
             does). Nothing was done."
                .to_owned(),
        ));
    }
    let done = once(&global.config, target, global.lock_timeout, Asked::OrByHand { reset }).await?;
    let Some((outcome, exit)) = done else { return Ok(Exit::Done) };
    log::findings(&outcome.found(target), true);
    print(global.output, &outcome, || outcome.line(target))?;
    Ok(exit)
}

/// Whether there must be a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// None is needed: the command was run by hand. `reset`: what the daemon has said is let go of first.
    OrByHand { reset: bool },
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
    let (settings, problem) = match read(path) {
        Ok((settings, problems)) if problems.is_empty() => (Some(settings), None),
        Ok((settings, problems)) => {
            let wrong = SettingsError::Wrong { path: path.to_owned(), problems };
            (Some(settings), Some((wrong.to_string(), Exit::Configuration)))
        }
        Err(why) => (None, Some((why, Exit::Configuration))),
    };
    let found = settings.as_ref().and_then(|settings| Some((settings, of(settings, target)?)));
    let folder = found.map(|(_, (store, _))| &store.privileged_path);
    let usual = || Privileged::of(Path::new(PRIVILEGED_PATH), target);
    let files = match folder.map(|folder| Privileged::of(folder, target)) {
        // What is not root's alone is not touched; the path unit looks at the usual place.
        Some(files) => files.and_then(|files| if files.fits().is_ok() { Ok(files) } else { usual() })?,
        None => usual()?,
    };
    // Before anything else can fail: a request that stays would be answered again at once, and for ever.
    let request = if files.fits().is_ok() { files.consume()? } else { None };
    let is_answered = |request: &Request| {
        request.stuck.is_some()
            && ApplyOutcome::last(&files).is_some_and(|last| last.request.as_ref() == Some(&request.id))
    };
    if asked == Asked::Only && request.as_ref().is_none_or(is_answered) {
        return Ok(None);
    }
    if let Some(why) = request.as_ref().and_then(|request| request.stuck.as_ref()) {
        log_line!(RequestStuck, target, "The request stays where it is: {why}. It is answered all the same.");
    }
    let problem = problem.or_else(|| match found {
        Some((_, (_, found))) if found.privileged => None,
        Some(_) => Some((
            format!("target.{target} is not privileged: its files are the daemon's own (target.{target}.privileged)"),
            Exit::Usage,
        )),
        None => {
            let known = settings.iter().flat_map(|settings| settings.stores.values()).flat_map(|store| &store.targets);
            let known = known.filter(|target| target.privileged).map(|target| target.name.as_str());
            let known: Vec<&str> = known.collect();
            Some((format!("there is no target {target:?}; privileged are: {}", known.join(", ")), Exit::Usage))
        }
    });
    Ok(Some(match (problem, found) {
        (None, Some((settings, (store, found)))) => {
            let reset = asked == Asked::OrByHand { reset: true };
            let apply = Apply { settings, store, target: found, clock: &SystemClock, lock_timeout, reset };
            apply.answer(request.as_ref()).await
        }
        (problem, _) => {
            let (why, exit) = problem.unwrap_or_default();
            (refuse(&files, request.as_ref(), why), exit)
        }
    }))
}

/// The configuration, with what is wrong in it; secrets are the daemon's, and are not asked for.
fn read(path: &Path) -> Result<(Settings, Vec<String>), String> {
    let path = ownership::roots_alone(path).map_err(|error| {
        format!(
            "root acts by a configuration that root alone can change: {error}. Nothing was done; what the server has, \
             stays"
        )
    })?;
    let read = settings::check_without_secrets(&path, &environment());
    read.map(|(loaded, problems)| (loaded.settings, problems)).map_err(|error| error.to_string())
}

fn of<'a>(settings: &'a Settings, target: &str) -> Option<(&'a Store, &'a Target)> {
    let targets = settings.stores.values().flat_map(|store| store.targets.iter().map(move |target| (store, target)));
    targets.into_iter().find(|(_, known)| known.name == target)
}

fn refuse(files: &Privileged, request: Option<&Request>, why: String) -> ApplyOutcome {
    let mut outcome = ApplyOutcome::new(request, SystemClock.now(), Verdict::Withheld(why));
    outcome.rendered = ApplyOutcome::last(files).and_then(|last| last.rendered);
    // Where the daemon reads it, if there is such a place.
    drop(files.conclude(&outcome.to_bytes()));
    // What is left there the next turn that is taken removes, and reports.
    drop(files.clear());
    outcome
}

/// Whether root's own files trust this certificate.
pub fn is_trusted(files: &Privileged, fingerprint: &Fingerprint) -> bool {
    let linked = files.link().and_then(|link| link.read());
    let Ok(Link::Generation(number)) = linked else { return false };
    let rendered = contents::manifest_in(&files.generations(), number).ok().flatten();
    rendered.is_some_and(|rendered| rendered.slots.values().any(|held| held.entries.contains_key(fingerprint)))
}

/// Whether root's own files do not deny this certificate yet; there is nothing to deny where there are none.
fn is_admitted(files: &Privileged, fingerprint: &Fingerprint) -> Result<bool, Failure> {
    let Link::Generation(number) = files.link()?.read()? else { return Ok(false) };
    let rendered = contents::manifest_in(&files.generations(), number)?;
    Ok(rendered.is_none_or(|rendered| !rendered.denied.contains_key(fingerprint)))
}

/// Takes the turn of a target whose server's files do not deny a certificate that root denies. How that ended.
pub async fn bring_about(
    global: &Global,
    target: &str,
    files: &Privileged,
    fingerprint: &Fingerprint,
) -> Result<Exit, Failure> {
    if !is_admitted(files, fingerprint)? {
        return Ok(Exit::Done);
    }
    let asked = Asked::OrByHand { reset: false };
    let Some((outcome, exit)) = once(&global.config, target, global.lock_timeout, asked).await? else {
        return Ok(Exit::Done);
    };
    log::findings(&outcome.found(target), true);
    if !is_admitted(files, fingerprint)? {
        return Ok(exit);
    }
    log_line!(
        RootsDenialNotInForce,
        target,
        "root denies {fingerprint}, and the denial is kept, but root's files still admit it: the target's server may go \
         on to admit calls with it. The lines above say why; once that is mended: trustsync apply {target}"
    );
    Ok(Exit::Owed)
}

/// Answers the requests of every privileged target as they come, until it is dropped.
pub async fn serve(global: &Global, helpers: &[(String, Privileged)], every: Duration) {
    loop {
        for (target, files) in helpers {
            if !files.waits() {
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
pub fn helpers<'a>(stores: impl IntoIterator<Item = &'a Store>) -> Vec<(String, Privileged)> {
    let targets = stores.into_iter().flat_map(|store| store.targets.iter().map(move |target| (store, target)));
    let files = |(store, target): (&Store, &Target)| {
        Some((target.name.clone(), Privileged::of(&store.privileged_path, &target.name).ok()?))
    };
    targets.filter(|(_, target)| target.privileged).filter_map(files).collect()
}
