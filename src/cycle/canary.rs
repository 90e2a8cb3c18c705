//! The check canary: whether a target's check notices a broken file. It is shown a broken generation once it is known
//! that the server uses our files, since before that the best of checks would pass it. What follows from it is decided
//! in [`crate::trust::turn::canary`].

use std::path::Path;

use crate::settings::resolved::{Check, CheckWay, Target};
use crate::targets::check;
use crate::targets::process::Environment;
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::turn::canary::{CanaryVerdict, CheckCanary};
use crate::trust::turn::{Evidence, TurnOutcome};
use crate::trust::values::fingerprint::Fingerprint;

/// What tells the target's check from another.
fn digest(target: &Target) -> Option<Fingerprint> {
    target.check.as_deref().map(|argv| CheckCanary::digest(target.kind.name, argv))
}

/// Whether the target's check is known to pass what it should refuse.
pub fn is_blind(target: &Target, known: Option<&CheckCanary>) -> bool {
    digest(target).is_some_and(|check| CheckCanary::is_blind(known, check))
}

/// Whether the check is to be shown a broken copy of this generation.
pub fn is_due(target: &Target, known: Option<&CheckCanary>, generation: u64) -> bool {
    digest(target).is_some_and(|check| CheckCanary::is_due(known, check, generation))
}

/// Whether a turn has ended so that the server was seen to use our files, or can never be seen to.
pub fn is_used(target: &Target, outcome: &TurnOutcome) -> bool {
    match outcome {
        TurnOutcome::Settled(
            Evidence::Proven | Evidence::ChainOnly(_) | Evidence::AllowlistOnly(_) | Evidence::Confirmed(_),
        ) => true,
        TurnOutcome::Settled(Evidence::ReloadedNotProven(_)) => target.proof.is_none(),
        TurnOutcome::Settled(Evidence::ProvenEarlier(_)) | TurnOutcome::Owed(_) => false,
    }
}

/// Shows the check a broken copy of the generation at `path`. What was known stays where that says nothing.
pub async fn run(
    target: &Target,
    known: &mut Option<CheckCanary>,
    (generation, path): (u64, &Path),
    link: &Path,
    environment: &Environment,
) {
    let (Some(check), Some(digest)) = (target.server_check(), digest(target)) else { return };
    let verdict = check::canary::of(target.kind, check, path, link, environment, target.check_timeout).await;
    if let Some(verdict) = verdict {
        *known = Some(CheckCanary { check: digest, generation, verdict });
    }
}

/// The finding about the check; `new`: the canary was run just now.
pub fn finding(target: &Target, known: Option<&CheckCanary>, new: bool) -> Option<Finding> {
    let name = &target.name;
    let check = target.server_check()?;
    let command = check.argv.join(" ");
    let in_private = target.kind.reads_at_requests;
    if in_private && !target.privileged && !rustix::process::geteuid().is_root() {
        return Some(Finding::new(
            Event::CheckUnavailable,
            Subject::target(name),
            unavailable(target, check, "that needs root"),
        ));
    }
    let known = known.filter(|known| Some(known.check) == digest(target))?;
    match &known.verdict {
        CanaryVerdict::Sees => None,
        CanaryVerdict::NotTried(why) if in_private => {
            Some(Finding::new(Event::CheckUnavailable, Subject::target(name), unavailable(target, check, why)))
        }
        CanaryVerdict::NotTried(why) => new.then(|| {
            let text = format!(
                "The check ({command}) cannot be shown other files than those that stand there: {why}. So it is made \
                 as things stand, before the link is switched and after: a generation that it refuses stands there \
                 until it is taken back, and is not loaded. Whether the check looks at the files at all could not be \
                 seen."
            );
            Finding::new(Event::CheckNotJudged, Subject::target(name), text)
        }),
        CanaryVerdict::Blind => {
            let advice = target.kind.better_check.unwrap_or(
                "Does it run in another mount namespace (a container), or on another configuration? One that reads the \
                 configuration that the server loads, where the server runs, looks; check = [] says that there is \
                 none.",
            );
            let text = format!(
                "The check ({command}) passes a copy of generation {:06} that was broken on purpose: it does not look \
                 at the files that the server loads, so that its verdict on them counts for nothing. It is still made \
                 as things stand, before the link is switched and after, and while it fails, the server is not \
                 reloaded. What is published is read back and counted; nothing else checks it before the server is \
                 reloaded. {advice}",
                known.generation
            );
            Some(Finding::new(Event::CheckBlind, Subject::target(name), text))
        }
    }
}

fn unavailable(target: &Target, check: Check<'_>, why: &str) -> String {
    let (command, weaker) = (check.argv.join(" "), check.in_place().join(" "));
    let misses = match check.way {
        CheckWay::Start(start) => start.misses,
        CheckWay::Test => "sees nothing of a new generation before the link is switched to it",
    };
    let advice = if target.privileged {
        format!(
            "The privileged helper needs CAP_SYS_ADMIN, unshare and mount for it (see trustsync-apply@{}.service)",
            target.name
        )
    } else {
        "privileged = true has root make it".to_owned()
    };
    format!(
        "The check ({command}) must check the new files in namespaces of its own, which are unavailable here: {why}. \
         The next weaker check is run: {weaker}, as things stand, before the link is switched and again before the \
         server is reloaded; while it fails, the server is not reloaded. It {misses}: what is published is read back \
         and counted, and nothing else checks it. {advice}; check = [] says that there is none."
    )
}
