//! `trustsync trust`: admits a leaf that the vendor does not list, until a given end, by the same policy as any other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::inspect::{read_as_pem, told};
use super::{EachStore, Failure, load, open_as, operator, print_error, the_one, the_stores};
use crate::cli::{Global, Trust, Until};
use crate::clock::{Clock, SystemClock};
use crate::cycle::{self, Accepted, Waived};
use crate::exit::Exit;
use crate::settings::resolved::{Source, Store};
use crate::store::contents::Contents;
use crate::trust::plan::overrides;
use crate::trust::plan::planner_state::TrustOverride;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::Identity;
use crate::trust::verify::refusal::Refusal;

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
    if arguments.no_usage && cycle::leaves_in(&text).len() > 1 {
        return Err(Failure::Refused(format!(
            "{} holds more than one leaf, and --no-usage waives the extended key usage of one: put each into a file of \
             its own. Nothing was changed.",
            arguments.file.display()
        )));
    }
    let stores: Vec<&Store> = stores.into_iter().filter(|store| store.sources.contains(&source.name)).collect();
    let waived = Waived { identity: arguments.any_identity, usage: arguments.no_usage };
    let judge =
        |contents: &Contents| cycle::check_leaf(contents, &loaded.settings, source, &text, waived, SystemClock.now());
    let mut question = String::new();
    for store in &stores {
        match judge(&cycle::read(store)?)? {
            Ok(accepted) => question.push_str(&asked(store, &accepted, until, waived)),
            Err(refusals) => return Ok(refused(global, &arguments.file, &refusals)),
        }
    }
    operator::confirm(arguments.yes, &question).await?;
    let by = operator::said(arguments.reason.as_deref());
    let mut each = EachStore::new();
    let mut lines = BTreeMap::new();
    for store in stores {
        let mut session = open_as(global, store, "trustsync trust", by.clone())?;
        let accepted = match judge(&session.contents)? {
            Ok(accepted) => accepted,
            Err(refusals) => return Ok(refused(global, &arguments.file, &refusals)),
        };
        let mut planner = session.contents.state.planner.clone();
        let mut set = session.contents.set.clone();
        let facts = accepted.verified.leaf().facts();
        // A name rule asks for its name all the same.
        let any_identity = arguments.any_identity && accepted.identity == Identity::Any;
        let no_usage = is_waived_usage(&accepted, waived);
        let vouched = TrustOverride { since: now, until, any_identity, no_usage, said: by.clone() };
        let Accepted { slot, identity, verified } = &accepted;
        let Some(role) = overrides::trust(&mut planner, &mut set, slot, verified, identity, vouched.clone()) else {
            log_line!(
                LeafDenied,
                "{} (sha256 {}) is denied (revoked or distrusted), and stays so. Nothing was changed.",
                quoted(&facts.subject),
                facts.fingerprint
            );
            return Ok(Exit::Refused);
        };
        let waived = match (any_identity, no_usage) {
            (true, true) => ", identity and extended key usage waived",
            (true, false) => ", identity waived",
            (false, true) => ", extended key usage waived",
            (false, false) => "",
        };
        let said = format!("trust {} until {until}{waived}", facts.fingerprint);
        let mut report = session.act_on_override(&loaded.settings, planner, &set, &said).await?;
        let held = session.contents.state.planner.slots.get(&accepted.slot);
        let stands =
            held.is_some_and(|held| held.entries.values().any(|entry| entry.trusted.word.as_ref() == Some(&vouched)));
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

/// Why each slot refuses it.
fn refused(global: &Global, file: &Path, refusals: &[(SlotId, Refusal)]) -> Exit {
    for (slot, refusal) in refusals {
        log_line!(LeafRefused, slot = %slot, "{slot}: {}", told(file, refusal));
    }
    let reasons: Vec<String> =
        refusals.iter().map(|(slot, refusal)| format!("{slot}: {}", told(file, refusal))).collect();
    print_error(global.output, Exit::Refused, reasons.join(" "));
    Exit::Refused
}

/// What would be admitted.
fn asked(store: &Store, accepted: &Accepted, until: Timestamp, given: Waived) -> String {
    let Accepted { slot, identity, verified } = accepted;
    let facts = verified.leaf().facts();
    let mut waived = String::new();
    if given.identity && *identity == Identity::Any {
        waived.push_str("\n  Its identity is waived: any name that it carries is admitted.");
    }
    if is_waived_usage(accepted, given) {
        waived.push_str("\n  It has no extended key usage, which is waived.");
    }
    format!(
        "{}: admit {} (sha256 {}) in slot {slot} until {until}, though the vendor does not list it.\n  It was issued by \
         {} and is valid until {}.{waived}\n",
        store.name,
        quoted(&facts.subject),
        facts.fingerprint,
        quoted(&facts.issuer),
        facts.not_after
    )
}

/// Whether it is the waiver by which it passes.
fn is_waived_usage(accepted: &Accepted, given: Waived) -> bool {
    given.usage && accepted.verified.leaf().facts().extended_key_usages.is_empty()
}

/// The leaves that are waived an absent extended key usage by this command, and until when; for root's half, where root
/// types it. A file that cannot be used, or that holds several, is the command's own to refuse.
pub fn usage_waived(arguments: &Trust) -> Option<(BTreeSet<Fingerprint>, Timestamp)> {
    let until = end(arguments.until, SystemClock.now()).ok()?;
    let file = arguments.no_usage.then_some(&arguments.file)?;
    let leaves = cycle::leaves_in(&read_as_pem(file).ok()?);
    (leaves.len() == 1).then_some((leaves, until))
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
