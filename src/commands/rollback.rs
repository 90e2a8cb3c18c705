//! `trustsync rollback`: publishes an older generation's set anew, under a new number, and holds it.

use std::time::Duration;

use super::{Failure, load, open_as, operator, print, published, the_store};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::Report;
use crate::exit::Exit;
use crate::log;
use crate::store::contents::{self, Contents};
use crate::store::generation;
use crate::trust::plan::Plan;
use crate::trust::plan::difference::Action;
use crate::trust::plan::planner_state::Hold;
use crate::trust::records::manifest::Manifest;

pub async fn run(
    global: &Global,
    number: Option<u64>,
    length: Duration,
    reason: Option<&str>,
) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let store = the_store(global, &loaded)?;
    let now = SystemClock.now();
    let said = operator::said(reason);
    let mut session = open_as(global, store, "trustsync rollback", said.clone())?;
    let old = choose(&store.path, &session.contents, number)?;
    let certificates = contents::certificates_of(&store.path, old.generation)?;

    let mut planner = old.planner();
    planner.denied = session.contents.state.planner.denied.clone();
    let cause = format!("rollback to generation {:06}", old.generation);
    planner.hold = Some(Hold { until: now.plus(length), reason: cause.clone(), said });
    let mut set = old.set(&certificates);
    set.denied = planner.denied.clone();
    for pin in set.pins.values() {
        let facts = pin.leaf.facts();
        let why = if planner.denied.contains_key(&facts.fingerprint) {
            "is denied (revoked or distrusted)"
        } else if facts.not_after < now {
            "has expired"
        } else {
            continue;
        };
        return Err(Failure::Usage(format!(
            "generation {:06} cannot be rolled back to: its leaf {} (sha256 {}) {why}. Nothing was changed.",
            old.generation, facts.subject, facts.fingerprint
        )));
    }
    if set.is_empty() {
        return Err(Failure::Usage(format!(
            "generation {:06} trusts no certificate: not rolled \
                                           back to",
            old.generation
        )));
    }

    let mut report = Report::without_poll(&session.contents);
    let plan = Plan { set, planner, findings: Vec::new(), answer_refused: false };
    session.adopt(&plan, &cause, &mut report)?;
    session.take_turns(&mut report).await;
    session.close_between(&mut report);
    log::findings(&report.findings, true);
    print(global.output, &report, || {
        let gone = report.difference.changes.iter().filter(|change| change.action == Action::Removed).count();
        format!(
            "Published the set of generation {:06} as generation {:06}, held until {}.\n{}{}",
            old.generation,
            report.generation.unwrap_or(0),
            now.plus(length),
            report.difference.to_text(),
            if gone > 0 { "What is marked - is no longer trusted: calls with it fail.\n" } else { "" }
        )
    })?;
    Ok(report.exit(false))
}

/// The generation asked for, or the newest one with another set.
fn choose(root: &std::path::Path, contents: &Contents, number: Option<u64>) -> Result<Manifest, Failure> {
    let current = published(contents)?;
    let on_disk = generation::list(root)?;
    let kept = || on_disk.iter().map(|number| format!("{number:06}")).collect::<Vec<_>>().join(", ");
    if let Some(number) = number {
        return contents::manifest_of(root, number)?
            .ok_or_else(|| Failure::Usage(format!("there is no generation {number:06}; kept are {}", kept())));
    }
    for number in on_disk.iter().rev().filter(|number| **number < current.generation) {
        match contents::manifest_of(root, *number) {
            Ok(Some(manifest)) if manifest.digest != current.digest => return Ok(manifest),
            _ => {}
        }
    }
    Err(Failure::Usage(format!("no generation with another set is kept; there are {}", kept())))
}
