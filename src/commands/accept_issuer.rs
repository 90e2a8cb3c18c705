//! `trustsync accept-issuer`: what `verify.changed_issuer = "confirm"` keeps out may enter from the next cycle on.

use super::{EachStore, Failure, load, open, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::Report;
use crate::exit::Exit;
use crate::settings::resolved::{Settings, Store};
use crate::trust::fingerprint::Fingerprint;
use crate::trust::overrides;

pub async fn run(global: &Global, fingerprint: Fingerprint) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let mut each = EachStore::new();
    for store in the_stores(global, &loaded)? {
        each.note(store, accept(global, &loaded.settings, store, fingerprint).await);
    }
    each.conclude(global, |store, _| {
        format!("{store}: what {fingerprint} has issued may enter. Run trustsync sync to ask the vendor now.\n")
    })
}

async fn accept(
    global: &Global,
    settings: &Settings,
    store: &Store,
    fingerprint: Fingerprint,
) -> Result<Report, Failure> {
    let mut session = open(global, store, "trustsync accept-issuer")?;
    let mut planner = session.contents.state.planner.clone();
    overrides::accept_issuer(&mut planner, fingerprint, SystemClock.now());
    let set = session.contents.set.clone();
    let word = format!("accept-issuer {fingerprint}");
    let mut report = session.act_on_override(settings, planner, &set, &word).await?;
    session.close_between(&mut report);
    Ok(report)
}
