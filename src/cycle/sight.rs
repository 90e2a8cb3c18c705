//! Whether a target's check sees: it is shown a broken generation once it is known that the server uses our files, for
//! before that the best of checks would pass it. What is decided by that stands in [`crate::trust::sight`].

use std::path::Path;

use crate::settings::resolved::{Kind, Target};
use crate::target::check;
use crate::target::process::Environment;
use crate::trust::finding::Finding;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::sight::{Sight, SightVerdict};
use crate::trust::turn::{Evidence, Outcome};

/// By what the target's check is known from another.
fn digest(target: &Target) -> Option<Fingerprint> {
    target.check.as_deref().map(|argv| Sight::digest(target.kind.name(), argv))
}

/// Whether the target has a check that may be relied on.
pub fn counts(target: &Target, known: Option<&Sight>) -> bool {
    digest(target).is_some_and(|check| !Sight::is_blind(known, check))
}

/// Whether the check is to be shown a broken copy of this generation.
pub fn is_due(target: &Target, known: Option<&Sight>, generation: u64) -> bool {
    digest(target).is_some_and(|check| Sight::is_due(known, check, generation))
}

/// Whether a turn has ended so that the server was seen to use our files, or nobody ever can.
pub fn is_used(target: &Target, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Settled(
            Evidence::Proven | Evidence::ChainOnly(_) | Evidence::AllowlistOnly(_) | Evidence::Confirmed(_),
        ) => true,
        Outcome::Settled(Evidence::ReloadedNotProven(_)) => target.proof.is_none(),
        Outcome::Settled(Evidence::ProvenEarlier(_)) | Outcome::Owed(_) => false,
    }
}

/// Shows the check a broken copy of the generation at `path`. What was known stays where that says nothing.
pub async fn look(
    target: &Target,
    known: &mut Option<Sight>,
    (generation, path): (u64, &Path),
    link: &Path,
    environment: &Environment,
) {
    let (Some(check), Some(digest)) = (target.server_check(), digest(target)) else { return };
    let verdict = check::sight::of(target.kind, check, path, link, environment, target.check_timeout).await;
    if let Some(verdict) = verdict {
        *known = Some(Sight { check: digest, generation, verdict });
    }
}

/// What is to be said of the check; `new` is whether it was judged just now.
pub fn finding(target: &Target, known: Option<&Sight>, new: bool) -> Option<Finding> {
    let name = &target.name;
    let check = target.server_check()?;
    let command = check.argv.join(" ");
    let in_private = target.kind.reads_at_requests();
    if in_private && !target.privileged && !rustix::process::geteuid().is_root() {
        return Some(Finding::warning("check_unavailable", name, unavailable(&command, "that needs root")));
    }
    let known = known.filter(|known| Some(known.check) == digest(target))?;
    match &known.verdict {
        SightVerdict::Sees => None,
        SightVerdict::Unjudged(why) if in_private => {
            Some(Finding::warning("check_unavailable", name, unavailable(&command, why)))
        }
        SightVerdict::Unjudged(why) => new.then(|| {
            let text = format!("Whether the check ({command}) looks at the files at all could not be seen: {why}.");
            Finding::note("check_not_judged", name, text)
        }),
        SightVerdict::Blind => {
            let advice = match target.kind {
                Kind::Apache => "A real start of the server looks: check = [\"apache2ctl\"].",
                _ => {
                    "Does it run in another mount namespace (a container), or on another configuration? One that reads the \
                     configuration that the server loads, where the server runs, looks; check = [] says that there is none."
                }
            };
            let text = format!(
                "The check ({command}) passes a copy of generation {:06} that was broken on purpose: it does not look at the \
                 files that the server loads, and counts as no check. What is published is still read back and counted before \
                 the server is told; nothing else stands between. {advice}",
                known.generation
            );
            Some(Finding::warning("check_blind", name, text))
        }
    }
}

fn unavailable(command: &str, why: &str) -> String {
    format!(
        "The check ({command}) must judge the new files in namespaces of its own, and these are not to be had here: {why}. The link \
         is not switched for it, since the server reads some of its files at each request. So what is published is read back \
         and counted, and nothing else judges it before the server is told; a fault elsewhere in its configuration, which a \
         reload would end the server by, is not seen. privileged = true has root make the check; check = [] says that there is none."
    )
}
