//! `trustsync accept-issuer`: what `verify.changed_issuer = "confirm"` keeps out may enter from the next cycle on. One for
//! which nothing waits may be a typo, and nothing takes it back.

use super::{EachStore, Failure, load, operator, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle;
use crate::exit::Exit;
use crate::store::contents::Contents;
use crate::trust::event::Event;
use crate::trust::plan::overrides;
use crate::trust::values::fingerprint::Fingerprint;

pub async fn run(global: &Global, fingerprint: Fingerprint, unknown: bool) -> Result<Exit, Failure> {
    let (loaded, said) = (load(global)?, operator::said(None));
    // A store that cannot be read says why when it is its turn.
    let mut looked = the_stores(global, &loaded)?.into_iter().filter_map(|store| cycle::read(store).ok());
    if !unknown && !looked.any(|contents| is_known(&contents, &fingerprint)) {
        return Err(Failure::Refused(format!(
            "nothing waits for an issuer with the sha256 {fingerprint}. Nothing was changed; the alarm issuer_changed \
             has the fingerprint of one that something waits for. To accept it all the same, say --unknown."
        )));
    }
    let noted = format!("accept-issuer {fingerprint}");
    let each = EachStore::overrule(global, &loaded, ("trustsync accept-issuer", &noted, &said), |_, _, planner| {
        overrides::accept_issuer(planner, fingerprint, SystemClock.now());
        None
    });
    each.await?.conclude(global, |store, _| {
        format!("{store}: what {fingerprint} has issued may enter. Run trustsync sync to ask the vendor now.\n")
    })
}

/// Whether a leaf waits for it, or it was accepted before.
fn is_known(contents: &Contents, issuer: &Fingerprint) -> bool {
    let named = issuer.to_string();
    let mut waiting = contents.state.alarms.values().filter(|alarm| alarm.finding.event == Event::IssuerChanged);
    contents.state.planner.accepted_issuers.contains_key(issuer)
        || waiting.any(|alarm| alarm.finding.text.contains(&named))
}
