//! `trustsync accept-issuer`: what `verify.changed_issuer = "confirm"` keeps out may enter from the next cycle on.

use std::collections::BTreeMap;

use super::{Failure, conclude, load, open, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::word;

pub async fn run(global: &Global, fingerprint: Fingerprint) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let mut reports = BTreeMap::new();
    for store in the_stores(global, &loaded)? {
        let mut session = open(global, store, "trustsync accept-issuer")?;
        let mut memory = session.contents.state.memory.clone();
        word::accept_issuer(&mut memory, fingerprint, SystemClock.now());
        let set = session.contents.set.clone();
        let word = format!("accept-issuer {fingerprint}");
        let report = session.act_on_word(&loaded.settings, memory, &set, &word).await?;
        session.close_between(&report)?;
        reports.insert(store.name.clone(), report);
    }
    conclude(global, &reports, |store, _| {
        format!("{store}: what {fingerprint} has issued may enter. Run trustsync sync to ask the vendor now.\n")
    })
}
