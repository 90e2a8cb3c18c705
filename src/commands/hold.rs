//! `trustsync hold` and `release`: the operator's freeze.

use std::time::Duration;

use super::{Failure, load, open, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::Report;
use crate::exit::Exit;
use crate::trust::memory::Hold;

pub fn hold(global: &Global, length: Duration) -> Result<Exit, Failure> {
    let until = SystemClock.now().plus(length);
    let hold = Hold { until, reason: "the operator".to_owned() };
    set(global, "trustsync hold", Some(&hold))?;
    println!(
        "Held until {until}: nothing enters or leaves but by revocation and distrust. End it with: trustsync release"
    );
    Ok(Exit::Done)
}

pub fn release(global: &Global) -> Result<Exit, Failure> {
    set(global, "trustsync release", None)?;
    println!("Released: the next cycle adds and removes again. Run it now with: trustsync sync");
    Ok(Exit::Done)
}

fn set(global: &Global, command: &str, hold: Option<&Hold>) -> Result<(), Failure> {
    let loaded = load(global)?;
    for store in the_stores(global, &loaded)? {
        let mut session = open(global, store, command)?;
        session.contents.state.memory.hold = hold.cloned();
        let report = Report::without_poll(&session.contents);
        session.close_between(&report)?;
    }
    Ok(())
}
