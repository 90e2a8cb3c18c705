//! `trustsync hold` and `release`: the operator's freeze.

use std::time::Duration;

use serde_json::json;

use super::{Failure, load, open, print, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::Report;
use crate::exit::Exit;
use crate::trust::memory::Hold;

pub fn hold(global: &Global, length: Duration) -> Result<Exit, Failure> {
    let until = SystemClock.now().plus(length);
    let hold = Hold { until, reason: "the operator".to_owned() };
    let stores = set(global, "trustsync hold", Some(&hold))?;
    print(global.output, &json!({"held": stores, "until": until}), || {
        let text = "nothing enters or leaves but by revocation and distrust. End it with: trustsync release";
        stores.iter().map(|store| format!("{store}: held until {until}: {text}\n")).collect()
    })?;
    Ok(Exit::Done)
}

pub fn release(global: &Global) -> Result<Exit, Failure> {
    let stores = set(global, "trustsync release", None)?;
    print(global.output, &json!({"released": stores}), || {
        let text = "the next cycle adds and removes again: the daemon's within two minutes, or trustsync sync.";
        stores.iter().map(|store| format!("{store}: released: {text}\n")).collect()
    })?;
    Ok(Exit::Done)
}

/// Sets or ends the hold of every store that is meant; their names.
fn set(global: &Global, command: &str, hold: Option<&Hold>) -> Result<Vec<String>, Failure> {
    let loaded = load(global)?;
    let mut stores = Vec::new();
    for store in the_stores(global, &loaded)? {
        let mut session = open(global, store, command)?;
        session.note_word(&hold.map_or_else(|| "release".to_owned(), |hold| format!("hold until {}", hold.until)))?;
        session.contents.state.memory.hold = hold.cloned();
        if hold.is_none() {
            // What was kept back waits no longer than the daemon's next look.
            session.contents.state.sources.values_mut().for_each(|source| source.next_due = None);
        }
        let report = Report::without_poll(&session.contents);
        session.close_between(&report)?;
        stores.push(store.name.clone());
    }
    Ok(stores)
}
