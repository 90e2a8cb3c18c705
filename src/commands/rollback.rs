//! `trustsync rollback`: publishes an older generation's set anew, under a new number, and holds it. One that lacks what
//! the vendor lists now would be an outage at once: it takes `--force`.

use super::{Failure, load, of_store, open_as, operator, print, published, the_store};
use crate::cli::{Global, Rollback};
use crate::clock::{Clock, SystemClock};
use crate::cycle::Report;
use crate::exit::Exit;
use crate::log;
use crate::store::contents::{self, Contents};
use crate::store::generation;
use crate::trust::plan::difference::Action;
use crate::trust::plan::planner_state::{Hold, PlannerState, SlotState};
use crate::trust::plan::set::TrustSet;
use crate::trust::plan::{self, Plan};
use crate::trust::records::manifest::Manifest;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::timestamp::Timestamp;

pub async fn run(global: &Global, arguments: &Rollback) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let store = the_store(global, &loaded)?;
    let now = SystemClock.now();
    let said = operator::said(arguments.reason.as_deref());
    let mut session = open_as(global, store, "trustsync rollback", said.clone())?;
    let old = choose(&store.path, &session.contents, arguments.generation)?;
    let certificates = contents::certificates_of(&store.path, old.generation)?;

    let mut planner = going_back(&old, &session.contents.state.planner);
    let cause = format!("rollback to generation {:06}", old.generation);
    planner.hold = Some(Hold { until: now.plus(arguments.hold), reason: cause.clone(), said });
    let mut set = old.set(&certificates);
    set.denied = planner.denied.clone();
    refuse_unfit(&old, &set, &planner, now)?;
    let given_up = given_up(&planner, now);
    if !given_up.is_empty() && !arguments.force {
        return Err(Failure::Refused(format!(
            "generation {:06} does not trust what the vendor lists now: {}. Calls with it would fail at once. Nothing was \
             changed. If that is what you mean: trustsync rollback {} --force",
            old.generation,
            given_up.join("; "),
            old.generation
        )));
    }
    // The vendor is asked at once what it makes of that.
    session.contents.state.sources.values_mut().for_each(|source| source.next_due = None);

    let mut report = Report::without_poll(&session.contents);
    let findings = plan::servers_would_refuse(&set, now);
    report.findings.extend(findings.iter().cloned());
    let plan = Plan { set, planner, findings, answer_refused: false };
    session.adopt(&plan, &cause, &mut report)?;
    session.take_turns(&mut report).await;
    session.close_between(&mut report);
    log::findings(&report.findings, true);
    print(global.output, &of_store(store, &report), || {
        let gone = report.difference.changes.iter().filter(|change| change.action == Action::Removed).count();
        let given_up = given_up.iter().map(|what| format!("GIVEN UP, and the vendor lists it: {what}: calls fail.\n"));
        format!(
            "Published the set of generation {:06} as generation {:06}, held until {}.\n{}{}{}",
            old.generation,
            report.generation.unwrap_or(0),
            now.plus(arguments.hold),
            report.difference.to_text(),
            if gone > 0 { "What is marked - is no longer trusted: calls with it fail.\n" } else { "" },
            given_up.collect::<String>()
        )
    })?;
    Ok(report.exit(false))
}

/// What is remembered after the rollback: what the old generation trusts, and all that was learned since and does not
/// depend on it.
fn going_back(old: &Manifest, known: &PlannerState) -> PlannerState {
    let mut planner = old.planner();
    planner.denied.clone_from(&known.denied);
    for (slot, now) in &known.slots {
        let back = planner.slots.entry(slot.clone()).or_default();
        let SlotState { entries, .. } = std::mem::take(back);
        *back = SlotState { entries, ..now.clone() };
    }
    planner
}

/// What the vendor's last clean answer lists, and would no longer be trusted.
fn given_up(planner: &PlannerState, now: Timestamp) -> Vec<String> {
    // What is denied is not this command's doing.
    let listed = planner.listed_not_trusted(now).filter(|(_, key, _)| !planner.denied.contains_key(key));
    let named = listed
        .map(|(slot, key, listed)| format!("{} {} (sha256 {key}) of slot {slot}", listed.role, quoted(&listed.name)));
    named.collect()
}

/// A generation that cannot be rolled back to.
fn refuse_unfit(old: &Manifest, set: &TrustSet, planner: &PlannerState, now: Timestamp) -> Result<(), Failure> {
    for pin in set.pins.values() {
        let facts = pin.leaf.facts();
        let why = if planner.denied.contains_key(&facts.fingerprint) {
            "is denied (revoked or distrusted)"
        } else if facts.not_after < now {
            "has expired"
        } else {
            continue;
        };
        return Err(Failure::Refused(format!(
            "generation {:06} cannot be rolled back to: its leaf {} (sha256 {}) {why}. Nothing was changed.",
            old.generation, facts.subject, facts.fingerprint
        )));
    }
    if set.is_empty() {
        return Err(Failure::Refused(format!(
            "generation {:06} trusts no certificate: not rolled back to. Nothing was changed.",
            old.generation
        )));
    }
    Ok(())
}

/// The generation asked for, or the newest one with another set.
fn choose(root: &std::path::Path, contents: &Contents, number: Option<u64>) -> Result<Manifest, Failure> {
    let current = published(contents)?;
    let on_disk = generation::list(root)?;
    let kept = || on_disk.iter().map(|number| format!("{number:06}")).collect::<Vec<_>>().join(", ");
    if let Some(number) = number {
        return contents::manifest_of(root, number)?
            .ok_or_else(|| Failure::Refused(format!("there is no generation {number:06}; kept are {}", kept())));
    }
    for number in on_disk.iter().rev().filter(|number| **number < current.generation) {
        match contents::manifest_of(root, *number) {
            Ok(Some(manifest)) if manifest.digest != current.digest => return Ok(manifest),
            _ => {}
        }
    }
    Err(Failure::Refused(format!("no generation with another set is kept; there are {}", kept())))
}
