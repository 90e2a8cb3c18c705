//! `trustsync reload TARGET`: takes a target's turn again from the beginning.

use super::{Failure, load, of_store, open, print, published, store_of_target, the_stores};
use crate::cli::Global;
use crate::cycle::Report;
use crate::exit::Exit;
use crate::log;

pub async fn run(global: &Global, target: &str) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let stores = the_stores(global, &loaded)?;
    let store = store_of_target(&stores, target)?;
    let mut session = open(global, store, "trustsync reload")?;
    published(&session.contents)?;
    let mut report = Report::without_poll(&session.contents);
    session.take_turn_again(target, &mut report).await;
    session.close_between(&mut report);
    log::findings(&report.findings, true);
    print(global.output, &of_store(store, &report), || report.targets.iter().map(super::status::turn_text).collect())?;
    Ok(report.exit(false))
}
