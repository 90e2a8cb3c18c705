//! `trustsync trust`: admits a leaf that the vendor does not list, until a given end, by the same policy as any other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::inspect::read_as_pem;
use super::{EachStore, Failure, load, open, the_one, the_stores};
use crate::cli::{Global, Trust, Until};
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::settings::resolved::Source;
use crate::trust::plan::overrides;
use crate::trust::plan::planner_state::TrustOverride;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::Identity;

/// What lasts longer belongs into the configuration, or to the vendor.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

// Long because it is one conversation, from the file to the stores.
pub async fn run(global: &Global, arguments: &Trust) -> Result<Exit, Failure> {
    let now = SystemClock.now();
    let until = end(arguments.until, now)?;
    let loaded = load(global)?;
    let stores = the_stores(global, &loaded)?;
    let sources: BTreeMap<&str, &Source> = stores
        .iter()
        .flat_map(|store| loaded.settings.sources_of(store))
        .map(|source| (&*source.name, source))
        .collect();
    let source = the_one("source", arguments.source.as_deref(), &sources.into_iter().collect::<Vec<_>>())?;
    let text = read_as_pem(&arguments.file)?;
    let mut each = EachStore::new();
    let mut lines = BTreeMap::new();
    for store in stores.into_iter().filter(|store| store.sources.contains(&source.name)) {
        let mut session = open(global, store, "trustsync trust")?;
        let accepted = match session.check_leaf(&loaded.settings, source, &text, arguments.any_identity)? {
            Ok(accepted) => accepted,
            Err(refusals) => {
                for (slot, refusal) in refusals {
                    log_line!(LeafRefused, slot = %slot, "{slot}: {refusal}");
                }
                return Ok(Exit::Answer);
            }
        };
        let mut planner = session.contents.state.planner.clone();
        let mut set = session.contents.set.clone();
        let facts = accepted.verified.leaf().facts();
        // A name rule asks for its name all the same.
        let any_identity = arguments.any_identity && accepted.identity == Identity::Any;
        let vouched = TrustOverride { since: now, until, any_identity };
        let Some(role) =
            overrides::trust(&mut planner, &mut set, &accepted.slot, &accepted.verified, &accepted.identity, vouched)
        else {
            log_line!(
                LeafDenied,
                "{} (sha256 {}) is denied (revoked or distrusted), and stays so. Nothing was changed.",
                quoted(&facts.subject),
                facts.fingerprint
            );
            return Ok(Exit::Answer);
        };
        let waived = if any_identity { ", identity waived" } else { "" };
        let said = format!("trust {} until {until}{waived}", facts.fingerprint);
        let mut report = session.act_on_override(&loaded.settings, planner, &set, &said).await?;
        let held = session.contents.state.planner.slots.get(&accepted.slot);
        let stands = held.is_some_and(|held| held.entries.values().any(|entry| entry.trusted.word == Some(vouched)));
        let outcome = if stands {
            format!("is trusted in slot {} as {role} by your override until {until}{waived}", accepted.slot)
        } else {
            // A list that is kept names it, or the store is damaged: what was found says which.
            report.causes.insert(Exit::Answer);
            "is NOT trusted; see the alarms".to_owned()
        };
        let (name, sha256) = (quoted(&facts.subject), facts.fingerprint);
        lines.insert(store.name.clone(), format!("{}: {name} (sha256 {sha256}) {outcome}.\n", store.name));
        session.close_between(&mut report);
        each.note(store, Ok(report));
    }
    each.conclude(global, |store, _| lines.get(store).cloned().unwrap_or_default())
}

fn end(until: Until, now: Timestamp) -> Result<Timestamp, Failure> {
    let end = match until {
        Until::At(end) => end,
        Until::After(length) => now.plus(length),
    };
    if end <= now {
        return Err(Failure::Usage(format!("--until {end} is not in the future. Nothing was changed.")));
    }
    if end.since(now) > LONGEST {
        return Err(Failure::Usage(format!("--until {end} is more than a year away. Nothing was changed.")));
    }
    Ok(end)
}
