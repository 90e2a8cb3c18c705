//! What a target that owes its reload tells the engineer who owns the server: what happened, what the server does
//! meanwhile, what to do. One line each, since each becomes an event of the log.

use std::fmt;

use crate::trust::event::Event;
use crate::trust::excerpt;
use crate::trust::finding::Finding;
use crate::trust::subject::Subject;
use crate::trust::turn::{Owed, Proof};

/// How much of a check's output is shown; servers say last what broke, so the end is kept.
const SHOWN: usize = 1_500;

impl Owed {
    /// What it is in the catalogue.
    #[must_use]
    pub fn event(&self) -> Event {
        match self {
            Self::Unreadable(_) => Event::TargetGenerationUnreadable,
            Self::NotSwitched(_) => Event::TargetNotSwitched,
            Self::Refused(_) | Self::RefusedButKept(_) => Event::TargetCheckRefused,
            Self::BrokenWithoutUs { .. } | Self::BrokenBefore(_) => Event::TargetBroken,
            Self::CheckNotRun(_) => Event::TargetCheckNotRun,
            Self::CheckFailed(_) => Event::TargetCheckFailed,
            Self::NotReloaded(_) | Self::Unanswered(_) => Event::TargetNotTold,
            Self::Unproven(Proof::NotWired(_)) => Event::TargetNotWired,
            Self::Unproven(Proof::ChainOnly(_)) => Event::TargetChainOnly,
            Self::Unproven(Proof::AllowlistOnly(_)) => Event::TargetAllowlistOnly,
            Self::Unproven(Proof::NotEnforced(_)) => Event::TargetNotEnforced,
            Self::Unproven(Proof::Refuted(_)) => Event::TargetRefuted,
            Self::Unproven(Proof::NotYet(_)) => Event::TargetNotYet,
            Self::Unproven(Proof::Unreachable(_)) => Event::TargetUnreachable,
            Self::Unproven(Proof::Unverifiable(_)) | Self::Unproven(Proof::Proven) => Event::TargetUnproven,
            Self::Withheld(_) => Event::TargetWithheld,
        }
    }

    /// The finding for the target `name`, which should serve generation `wanted`.
    #[must_use]
    pub fn finding(&self, name: &str, wanted: u64) -> Finding {
        let new = format!("generation {wanted:06}");
        let again = format!("It is tried again in every cycle, and at once by `trustsync reload {name}`.");
        let text = match self {
            Self::Unreadable(why) => format!(
                "The files of {new} did not read back from the disk as they were written: {} The server was not \
                 touched and goes on with the old trust. Look at the disk, and at who else writes into the store. \
                 {again}",
                sentence(why)
            ),
            Self::NotSwitched(why) => format!(
                "The link that the server reads by could not be moved to {new}: {} The server was not told and goes \
                 on with the old trust. {again}",
                sentence(why)
            ),
            Self::Refused(output) => format!(
                "The server's own check refuses {new} and passes with the one before it, so that one stays in place: \
                 the server goes on with the old trust and lacks what the new one brings. {again} The check says: {}",
                sentence(output)
            ),
            Self::RefusedButKept(output) => format!(
                "The server's own check fails with {new}, which stays in place all the same, since it drops a \
                 revoked or distrusted certificate. The server was not reloaded: it still admits that certificate. \
                 Mend what the check names and reload the server, or stop it. {again} The check says: {}",
                sentence(output)
            ),
            Self::BrokenWithoutUs { new: now, old } => format!(
                "The server's own check fails, with the old generation as with the new one: its configuration is \
                 broken elsewhere, and the server would not start again with it. It goes on with the old trust; \
                 {new} is in place for when it loads. Mend the configuration and reload the server as you always do: \
                 that loads the new trust. {again} {}",
                if alike(now, old) {
                    format!("With either the check says: {}", sentence(now))
                } else {
                    format!(
                        "With the new one the check says: {} With the old one it says: {}",
                        sentence(now),
                        sentence(old)
                    )
                }
            ),
            Self::BrokenBefore(output) => format!(
                "The server's own check fails as things stand, with the generation before {new}: its configuration \
                 is broken elsewhere, and a reload could end the server. So the link that it reads by stays there, \
                 and the server was not told. It goes on with the old trust and lacks what {new} brings. Mend what \
                 the check names; the next cycle then does the rest. {again} The check says: {}",
                sentence(output)
            ),
            Self::CheckNotRun(why) => format!(
                "The server's own check could not be run, so nobody knows whether the server would load {new}: {} \
                 The server was not told: it goes on with the old trust and lacks what the new one brings. Mend the \
                 check, or what it needs; check = [] says that there is none. {again}",
                sentence(why)
            ),
            Self::CheckFailed(output) => format!(
                "The server's own check fails with {new} in place, so the server was not told: it goes on with what \
                 it has loaded, and would perhaps not start again. Mend what the check names and reload the server \
                 as you always do. {again} The check says: {}",
                sentence(output)
            ),
            Self::NotReloaded(why) => format!(
                "The server could not be told to load {new}, which is in place: {} If it runs, it goes on with the \
                 old trust; it loads the new one at its next start or reload. {again}",
                sentence(why)
            ),
            Self::Unproven(Proof::NotWired(why)) => format!(
                "The server does not use this store's files: {} It was told of {new} once and is not told again. Add \
                 the lines that `trustsync reload {name}` prints to its configuration and reload it; the next cycle \
                 proves it.",
                sentence(why)
            ),
            Self::Unproven(Proof::ChainOnly(why)) => format!(
                "The server has loaded the chain of {new}, but its allowlist was not seen: {} The chain alone admits \
                 strangers, other people's certificates of the same public authority. Include the allowlist too \
                 (`trustsync reload {name}` prints the lines); where it is, an add_header of the location's own may \
                 drop ours. {again}",
                sentence(why)
            ),
            Self::Unproven(Proof::AllowlistOnly(why)) => format!(
                "The server has loaded the allowlist of {new}, but its chain was not seen: {} Does it read the chain \
                 from somewhere else than this store? Then it may refuse the upcoming certificate. {again}",
                sentence(why)
            ),
            Self::Unproven(Proof::NotEnforced(servers)) => format!(
                "Strangers are admitted, other people's certificates of the same public authority: {new} is loaded, \
                 but these do not enforce it: {} `trustsync reload {name}` prints the lines that do; on nginx they \
                 refuse whoever has an empty $trustsync_admit.",
                sentence(servers)
            ),
            Self::Unproven(Proof::Refuted(why)) => format!(
                "The server was told to load {new}, and still serves another one: {} Did it refuse the reload (look \
                 into its own log), or does it read a copy of the files? {again}",
                sentence(why)
            ),
            Self::Unproven(Proof::NotYet(why)) => format!(
                "The server was told to load {new} and does not steadily serve it: {} Are there several servers \
                 behind the address of the proof, or is it slow to end its old workers? {again}",
                sentence(why)
            ),
            Self::Unproven(Proof::Unreachable(why)) => format!(
                "The server does not answer where its proof is to be had: {} Whether it runs with {new} is unknown; \
                 that one is in place for its next start. Is it down, or is proof.connect wrong? {again}",
                sentence(why)
            ),
            Self::Unproven(Proof::Unverifiable(why)) => {
                format!("The server was told to load {new}, but nothing can be seen there: {} {again}", sentence(why))
            }
            Self::Unanswered(why) => format!(
                "Nobody did what only root may do for {new}: {} The server goes on with the old trust and lacks what \
                 the new one brings. {again}",
                sentence(why)
            ),
            Self::Withheld(why) => format!(
                "The privileged half, which judges anew by root's own configuration, does not let in {new}, or not \
                 all of it: {} What it did let in is in force; else the server goes on with the old trust. Is root's \
                 configuration the one of the daemon? If it is, ask who writes into the store. {again}",
                sentence(why)
            ),
            // No turn ends so: a proven target owes nothing.
            Self::Unproven(Proof::Proven) => format!("{new} is proven. {again}"),
        };
        Finding::new(self.event(), Subject::target(name), text)
    }
}

/// In a few words, for a table.
impl fmt::Display for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable(_) => "the generation did not read back from the disk",
            Self::NotSwitched(_) => "the link could not be moved",
            Self::Refused(_) => "its check refuses the generation; the one before it stays",
            Self::RefusedButKept(_) => "its check fails; the generation stays since it drops a denied certificate",
            Self::BrokenWithoutUs { .. } => {
                "its configuration is broken elsewhere; the generation is in place, not loaded"
            }
            Self::BrokenBefore(_) => "its configuration is broken elsewhere; the generation before it stays",
            Self::CheckFailed(_) => "its check fails; the generation is in place, not loaded",
            Self::CheckNotRun(_) => "its check could not be run; the generation is not loaded",
            Self::Unanswered(_) => "the privileged half did not answer; the generation is not in place",
            Self::Withheld(_) => "the privileged half does not let in all of it",
            Self::NotReloaded(_) => "it could not be told; the generation is in place, not loaded",
            Self::Unproven(proof) => match proof {
                Proof::NotWired(_) => "not wired: it does not use this store's files",
                Proof::ChainOnly(_) => "chain only: its allowlist was not seen",
                Proof::AllowlistOnly(_) => "allowlist only: its chain was not seen",
                Proof::NotEnforced(_) => "not enforced: it admits strangers",
                Proof::Refuted(_) => "it serves another generation",
                Proof::NotYet(_) => "it does not steadily serve the generation",
                Proof::Unreachable(_) => "it does not answer",
                Proof::Unverifiable(_) | Proof::Proven => "it was told, and nothing can be seen there",
            },
        })
    }
}

/// Whether two outputs differ in numbers alone: times and processes.
fn alike(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|character| !character.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

/// Somebody else's words as a sentence on one line, bounded.
fn sentence(words: &str) -> String {
    let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join(" / ");
    let mut sentence = excerpt::end(&line, SHOWN);
    if !sentence.ends_with(['.', '?', '!']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_is_one_line_that_names_the_generation_and_ends_as_a_sentence() {
        let output = "exit code 1: nginx: [warn] old\nnginx: [emerg] unknown directive\n".to_owned();
        let proofs = [
            Proof::ChainOnly("no header".into()),
            Proof::AllowlistOnly("no marker".into()),
            Proof::NotEnforced("server a".into()),
            Proof::NotWired("none".into()),
            Proof::NotYet("flaps".into()),
            Proof::Refuted("the chain is of 1".into()),
            Proof::Unverifiable("blind".into()),
            Proof::Unreachable("refused".into()),
        ];
        let mut all = vec![
            Owed::Unreadable(output.clone()),
            Owed::NotSwitched(output.clone()),
            Owed::Refused(output.clone()),
            Owed::RefusedButKept(output.clone()),
            Owed::BrokenWithoutUs { new: output.clone(), old: "other".into() },
            Owed::BrokenWithoutUs { new: output.clone(), old: output.clone() },
            Owed::BrokenBefore(output.clone()),
            Owed::CheckFailed(output.clone()),
            Owed::CheckNotRun(output.clone()),
            Owed::NotReloaded(output.clone()),
            Owed::Unanswered(output.clone()),
            Owed::Withheld(output),
        ];
        all.extend(proofs.map(Owed::Unproven));
        for owed in all {
            let text = owed.finding("edge", 42).text;
            assert!(text.contains("generation 000042") && !text.contains('\n') && text.ends_with('.'), "{text}");
            assert!(!owed.to_string().is_empty() && !owed.to_string().contains('\n'));
        }
    }

    #[test]
    fn of_a_long_output_the_end_is_shown() {
        let said = sentence(&format!("{}[emerg] here", "x".repeat(5_000)));
        assert!(said.starts_with("[...] x") && said.ends_with("[emerg] here."), "{said}");
    }
}
