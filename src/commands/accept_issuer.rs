//! `trustsync accept-issuer`: what `verify.changed_issuer = "confirm"` keeps out may enter from the next cycle on.

use super::{EachStore, Failure, load, operator};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::trust::plan::overrides;
use crate::trust::values::fingerprint::Fingerprint;

pub async fn run(global: &Global, fingerprint: Fingerprint) -> Result<Exit, Failure> {
    let noted = format!("accept-issuer {fingerprint}");
    let (loaded, said) = (load(global)?, operator::said(None));
    let each = EachStore::overrule(global, &loaded, ("trustsync accept-issuer", &noted, &said), |_, _, planner| {
        overrides::accept_issuer(planner, fingerprint, SystemClock.now());
        None
    });
    each.await?.conclude(global, |store, _| {
        format!("{store}: what {fingerprint} has issued may enter. Run trustsync sync to ask the vendor now.\n")
    })
}
