//! `trustsync confirm TARGET`: the operator confirms that the target's server serves the wanted generation. It ends an
//! owed reload where nothing can prove; a proof of the contrary overrides it.

use super::{Failure, load, of_store, open, print, published, store_of_target, the_stores};
use crate::cli::Global;
use crate::cycle::{self, Report};
use crate::exit::Exit;
use crate::log;
use crate::store::Link;
use crate::trust::turn::Evidence;

pub async fn run(global: &Global, target: &str) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let stores = the_stores(global, &loaded)?;
    let store = store_of_target(&stores, target)?;
    let mut session = open(global, store, "trustsync confirm")?;
    let wanted = published(&session.contents)?.generation;
    let named = match cycle::link_of(store, target)?.read()? {
        Link::Generation(number) if number == wanted => None,
        Link::Generation(number) => Some(format!("names generation {number:06}")),
        Link::Missing => Some("is not there yet".to_owned()),
        Link::Foreign(found) => Some(format!("was not made by trustsync ({found})")),
    };
    if let Some(named) = named {
        return Err(Failure::Refused(format!(
            "target {target}: its link {named}, so that its server cannot have read generation {wanted:06} there. \
             Nothing was changed, and the reload stays owed. Bring it in place first: trustsync reload {target}"
        )));
    }
    let mut report = Report::without_poll(&session.contents);
    session.confirm(target, &mut report).await;
    session.close_between(&mut report);
    log::findings(&report.findings, true);
    print(global.output, &of_store(store, &report), || {
        let said = report.targets.iter().map(|turn| {
            let said = match (&turn.settled, &turn.owed) {
                (Some(Evidence::Confirmed(_)), _) => {
                    format!(
                        "target {target}: your confirmation of generation {wanted:06} holds until a proof says \
                         otherwise.\n"
                    )
                }
                (None, Some(_)) => {
                    format!("target {target}: your confirmation does not hold; the reload stays owed.\n")
                }
                // Proven: then it needed no confirmation.
                _ => String::new(),
            };
            said + &super::status::turn_text(turn)
        });
        said.collect()
    })?;
    Ok(report.exit(false))
}
