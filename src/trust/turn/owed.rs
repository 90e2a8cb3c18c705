//! What a target that owes its reload tells the engineer who owns the server: what happened, what the server does
//! meanwhile, what to do. One line each, since each becomes an event of the log.

use std::fmt;

use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::turn::{Owed, Proof};
use crate::trust::values::excerpt;

/// How much of a check's output is shown; servers say last what broke, so the end is kept.
const SHOWN: usize = 1_500;

/// A way to owe: the event, a few words for a table, and the text for an engineer, in which `{new}` is the generation,
/// `{target}` the target, `{why}` the reason, `{again}` says when the turn is taken again, and `{looked}` that the server
/// is only looked at from now on.
type Row = (Event, &'static str, &'static str);

impl Owed {
    /// What it is in the catalogue.
    #[must_use]
    pub fn event(&self) -> Event {
        self.row().0
    }

    /// The finding for the target `name`, which should serve generation `wanted`.
    #[must_use]
    pub fn finding(&self, name: &str, wanted: u64) -> Finding {
        let (event, _, text) = self.row();
        let mut own = self.clone();
        let why = match &own.reasons_mut()[..] {
            [new, old] if alike(new, old) => format!("With either the check says: {}", sentence(new)),
            [new, old] => {
                let (new, old) = (sentence(new), sentence(old));
                format!("With the new one the check says: {new} With the old one it says: {old}")
            }
            reasons => sentence(reasons.first().map_or("", |why| why)),
        };
        let text = text
            .replace("{again}", "It is tried again in every cycle, and at once by `trustsync reload {target}`.")
            .replace(
                "{looked}",
                "It was reloaded for {new}, and is not reloaded for it again, but looked at in every cycle; \
                 `trustsync reload {target}` reloads it.",
            )
            .replace("{new}", &format!("generation {wanted:06}"))
            .replace("{target}", name)
            .replace("{why}", &why);
        Finding::new(event, Subject::target(name), text)
    }

    // Long because it is a table: a row for each way to owe.
    fn row(&self) -> Row {
        match self {
            Self::Unreadable(_) => (
                Event::TargetGenerationUnreadable,
                "the generation did not read back from the disk",
                "The files of {new} did not read back from the disk as they were written: {why} The server was not \
                 touched and keeps the old trust. Look at the disk, and at who else writes into the store. {again}",
            ),
            Self::NotSwitched(_) => (
                Event::TargetNotSwitched,
                "the link could not be moved",
                "The link that the server reads by could not be moved to {new}: {why} The server was not reloaded and \
                 keeps the old trust. {again}",
            ),
            Self::Refused(_) => (
                Event::TargetCheckRefused,
                "its check refuses the generation; the one before it stays",
                "The server's own check refuses {new} and passes with the one before it, which stays in place: the \
                 server keeps the old trust and lacks what the new one brings. {again} The check says: {why}",
            ),
            Self::RefusedButKept(_) => (
                Event::TargetCheckRefused,
                "its check fails; the generation stays since it drops a denied certificate",
                "The server's own check fails with {new}, which stays in place because it drops a revoked or \
                 distrusted certificate. The server was not reloaded: it still admits that certificate. Correct what \
                 the check names and reload the server, or stop it. {again} The check says: {why}",
            ),
            Self::BrokenWithoutUs { .. } => (
                Event::TargetBroken,
                "its configuration is broken elsewhere; the generation is in place, not loaded",
                "The server's own check fails with the old generation as with the new one: its configuration is broken \
                 elsewhere, and the server would not start again with it. It keeps the old trust; {new} is in place \
                 for when it loads. Correct the configuration and reload the server as you always do: that loads the \
                 new trust. {again} {why}",
            ),
            Self::BrokenBefore(_) => (
                Event::TargetBroken,
                "its configuration is broken elsewhere; the generation before it stays",
                "The server's own check fails as things stand, with the generation before {new}: its configuration is \
                 broken elsewhere, and a reload could end the server. So its link was not moved, and it was not \
                 reloaded. It keeps the old trust and lacks what {new} brings. Correct what the check names; the next \
                 cycle does the rest. {again} The check says: {why}",
            ),
            Self::CheckNotRun(_) => (
                Event::TargetCheckNotRun,
                "its check could not be run; the generation is not loaded",
                "The server's own check could not be run, so whether the server would load {new} is unknown: {why} It \
                 was not reloaded: it keeps the old trust and lacks what the new one brings. Repair the check, or what \
                 it needs; check = [] says that there is none. {again}",
            ),
            Self::CheckFailed(_) => (
                Event::TargetCheckFailed,
                "its check fails; the generation is in place, not loaded",
                "The server's own check fails with {new} in place, so the server was not reloaded: it keeps what it \
                 has loaded, and might not start again. Correct what the check names and reload the server as you \
                 always do. {again} The check says: {why}",
            ),
            Self::NotReloaded(_) => (
                Event::TargetNotTold,
                "it could not be reloaded; the generation is in place, not loaded",
                "The server could not be asked to load {new}, which is in place: {why} If it runs, it keeps the old \
                 trust; it loads the new one at its next start or reload. {again}",
            ),
            Self::Unanswered(_) => (
                Event::TargetNotTold,
                "the privileged helper did not answer; the generation is not in place",
                "The privileged helper did not do its part for {new}: {why} The server keeps the old trust and lacks \
                 what the new one brings. {again}",
            ),
            Self::Withheld(_) => (
                Event::TargetWithheld,
                "the privileged helper does not let in all of it",
                "The privileged helper, which verifies by root's own configuration, does not let in {new}, or not all \
                 of it: {why} What it let in is in force; else the server keeps the old trust. Does root's \
                 configuration agree with the daemon's? If it does, find out who writes into the store. {again}",
            ),
            Self::Unproven(proof) => unproven(proof),
        }
    }
}

fn unproven(proof: &Proof) -> Row {
    match proof {
        Proof::NotWired(_) => (
            Event::TargetNotWired,
            "not wired: it does not use this store's files",
            "The server does not use this store's files: {why} It was reloaded for {new} once and is not reloaded \
             again. Add the lines that `trustsync snippet {target}` prints to its configuration and reload it; the next \
             cycle proves it.",
        ),
        Proof::ChainOnly(_) => (
            Event::TargetChainOnly,
            "chain only: its allowlist was not seen",
            "The server has loaded the chain of {new}, but its allowlist was not seen: {why} The chain alone admits \
             strangers, other people's certificates of the same public authority. Include the allowlist too \
             (`trustsync snippet {target}` prints the lines); where it is included, an add_header of the location's own \
             may drop ours. {looked}",
        ),
        Proof::AllowlistOnly(_) => (
            Event::TargetAllowlistOnly,
            "allowlist only: its chain was not seen",
            "The server has loaded the allowlist of {new}, but its chain was not seen: {why} Does it read the chain \
             from somewhere else than this store? Then it may refuse the upcoming certificate. {looked}",
        ),
        Proof::NotEnforced(_) => (
            Event::TargetNotEnforced,
            "not enforced: it admits strangers",
            "Strangers are admitted, other people's certificates of the same public authority: {new} is loaded, but \
             these do not enforce it: {why} `trustsync snippet {target}` prints the lines that do; on nginx they refuse \
             anyone with an empty $trustsync_admit.",
        ),
        Proof::Refuted(_) => (
            Event::TargetRefuted,
            "it serves another generation",
            "The server was asked to load {new}, and still serves another one: {why} Did it refuse the reload (see its \
             own log), or does it read a copy of the files? It is looked at in every cycle, and reloaded again three times, \
             then less and less often, down to once a day; `trustsync reload {target}` reloads it at once.",
        ),
        Proof::NotYet(_) => (
            Event::TargetNotYet,
            "it does not steadily serve the generation",
            "The server was asked to load {new} and does not steadily serve it: {why} Are there several servers behind \
             the address of the proof, or is it slow to end its old workers? {looked}",
        ),
        Proof::Unreachable(_) => (
            Event::TargetUnreachable,
            "it does not answer",
            "The server does not answer where its proof is taken: {why} Whether it runs with {new} is unknown; that \
             one is in place for its next start. Is it down, or is proof.connect wrong? {looked}",
        ),
        // What was seen of the wanted generation, as far as can be, owes nothing.
        Proof::AllowlistUnseen(_) | Proof::Unverifiable(_) | Proof::Proven => (
            Event::TargetUnproven,
            "it was reloaded, and nothing can be seen there",
            "The server was asked to load {new}, but nothing can be seen there: {why} {looked}",
        ),
    }
}

/// In a few words, for a table.
impl fmt::Display for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

/// Whether two outputs differ in numbers alone: times and processes.
fn alike(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|character| !character.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

/// Someone else's text as a sentence on one line, bounded.
fn sentence(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
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
            assert!(text.contains("generation 000042") && !text.contains(['\n', '{']) && text.ends_with('.'), "{text}");
            assert!(!owed.to_string().is_empty() && !owed.to_string().contains('\n'));
        }
    }

    #[test]
    fn of_a_long_output_the_end_is_shown() {
        let said = sentence(&format!("{}[emerg] here", "x".repeat(5_000)));
        assert!(said.starts_with("[...] x") && said.ends_with("[emerg] here."), "{said}");
    }
}
