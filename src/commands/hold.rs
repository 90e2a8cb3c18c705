//! `trustsync hold` and `release`: the operator's freeze.

use std::time::Duration;

use serde_json::json;

use super::{EachStore, Failure, load, open, print, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::Report;
use crate::exit::Exit;
use crate::log;
use crate::settings::resolved::Store;
use crate::trust::plan::planner_state::Hold;

pub fn hold(global: &Global, length: Duration) -> Result<Exit, Failure> {
    let until = SystemClock.now().plus(length);
    let hold = Hold { until, reason: "the operator".to_owned() };
    let each = set(global, "trustsync hold", Some(&hold))?;
    let stores: Vec<&String> = each.done.keys().collect();
    print(global.output, &json!({"held": stores, "until": until}), || {
        let text = "nothing enters or leaves but by revocation and distrust. End it with: trustsync release";
        stores.iter().map(|store| format!("{store}: held until {until}: {text}\n")).collect()
    })?;
    Ok(each.exit())
}

pub fn release(global: &Global) -> Result<Exit, Failure> {
    let each = set(global, "trustsync release", None)?;
    let stores: Vec<&String> = each.done.keys().collect();
    print(global.output, &json!({"released": stores}), || {
        let text = "the next cycle adds and removes again: the daemon's within two minutes, or trustsync sync.";
        stores.iter().map(|store| format!("{store}: released: {text}\n")).collect()
    })?;
    Ok(each.exit())
}

/// Sets or ends the hold of every store that is meant.
fn set(global: &Global, command: &str, hold: Option<&Hold>) -> Result<EachStore<()>, Failure> {
    let loaded = load(global)?;
    let mut each = EachStore::new();
    for store in the_stores(global, &loaded)? {
        each.note(store, set_one(global, store, command, hold));
    }
    Ok(each)
}

fn set_one(global: &Global, store: &Store, command: &str, hold: Option<&Hold>) -> Result<(), Failure> {
    let mut session = open(global, store, command)?;
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
