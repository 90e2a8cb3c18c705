//! `trustsync hold` and `release`: the operator's freeze.

use std::time::Duration;

use serde_json::json;

use super::{EachStore, Failure, load, open_as, operator, print, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::{self, Report};
use crate::exit::Exit;
use crate::log;
use crate::settings::resolved::Store;
use crate::trust::plan::planner_state::Hold;

pub fn hold(global: &Global, length: Duration, reason: Option<&str>) -> Result<Exit, Failure> {
    if length < Duration::from_secs(1) {
        return Err(Failure::Refused(
            "a hold for no time would be over at once (--for). Nothing was changed; to end one: trustsync release"
                .to_owned(),
        ));
    }
    let (until, said) = (SystemClock.now().plus(length), operator::said(reason));
    let hold = Hold { until, reason: "the operator".to_owned(), said };
    let loaded = load(global)?;
    let each = set(global, &the_stores(global, &loaded)?, "trustsync hold", Some(&hold));
    let stores: Vec<&String> = each.done.keys().collect();
    print(global.output, &each.to_json(|()| json!({"held_until": until})), || {
        let text = "nothing enters or leaves but by revocation and distrust. End it with: trustsync release";
        stores.iter().map(|store| format!("{store}: held until {until}: {text}\n")).collect()
    })?;
    Ok(each.exit())
}

pub fn release(global: &Global) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let stores = the_stores(global, &loaded)?;
    // One that cannot be read says why when it is to be released.
    let is_held = |store: &Store| cycle::read(store).map_or(true, |contents| contents.state.planner.hold.is_some());
    let held: Vec<&Store> = stores.into_iter().filter(|store| is_held(store)).collect();
    if held.is_empty() {
        return Err(Failure::Refused("there is no hold to release. Nothing was changed.".to_owned()));
    }
    let each = set(global, &held, "trustsync release", None);
    let stores: Vec<&String> = each.done.keys().collect();
    print(global.output, &each.to_json(|()| json!({"released": true})), || {
        let text = "the next cycle adds and removes again: the daemon's at once, or trustsync sync.";
        stores.iter().map(|store| format!("{store}: released: {text}\n")).collect()
    })?;
    Ok(each.exit())
}

/// Sets or ends the hold of each of these stores.
fn set(global: &Global, stores: &[&Store], command: &str, hold: Option<&Hold>) -> EachStore<()> {
    let mut each = EachStore::new();
    for store in stores {
        each.note(store, set_one(global, store, command, hold));
    }
    each
}

fn set_one(global: &Global, store: &Store, command: &str, hold: Option<&Hold>) -> Result<(), Failure> {
    let said = hold.map_or_else(|| operator::said(None), |hold| hold.said.clone());
    let mut session = open_as(global, store, command, said)?;
    session.note_override(&hold.map_or_else(|| "release".to_owned(), |hold| format!("hold until {}", hold.until)));
    session.contents.state.planner.hold = hold.cloned();
    if hold.is_none() {
        // What was kept back waits no longer than the daemon's next look.
        session.contents.state.sources.values_mut().for_each(|source| source.next_due = None);
    }
    let mut report = Report::without_poll(&session.contents);
    session.close_between(&mut report);
    log::findings(&report.findings, true);
    report.trouble.map_or(Ok(()), |why| Err(Failure::NotSaved(why)))
}
