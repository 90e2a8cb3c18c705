//! `trustsync sync`: one cycle, then exit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::{Failure, load, options, print, the_stores};
use crate::cli::{Global, Sync};
use crate::clock::{Clock, SystemClock};
use crate::cycle::{self, Clients, Options, Report};
use crate::exit::Exit;
use crate::log;
use crate::report::heartbeat;
use crate::settings::resolved::Store;
use crate::trust::event::Event;
use tracing::Level;

pub async fn run(global: &Global, arguments: &Sync) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let mut clients = Clients::of(&loaded.settings)?;
    let options = Options { deadline: arguments.deadline, ..options(global, "trustsync sync") };
    let (mut reports, mut failed) = (Vec::new(), BTreeMap::new());
    let mut exits = BTreeSet::new();
    for store in the_stores(global, &loaded)? {
        let settings = &loaded.settings;
        let store = &seeded(store, arguments);
        let report = if arguments.dry_run {
            cycle::rehearse(settings, store, &mut clients, &SystemClock, &options).await
        } else {
            cycle::run(settings, store, &mut clients, &SystemClock, &options).await
        };
        let trouble = match &report {
            Ok(report) => report.trouble.clone(),
            Err(error) => (error.exit() == Exit::Store).then(|| error.to_string()),
        };
        if !arguments.dry_run {
            heartbeat::leave(&store.path, trouble.as_deref(), SystemClock.now());
        }
        match report {
            Ok(report) => {
                log::cycle(&store.name, &report, &report.findings, Level::INFO);
                exits.insert(report.exit(arguments.detailed_exit_code));
                if arguments.seed.is_some() {
                    let unusable = report.findings.iter().filter(|finding| finding.event == Event::SeedUnusable);
                    exits.extend(unusable.filter_map(Exit::of_finding));
                }
                reports.push((store.name.clone(), report));
            }
            // One store's trouble keeps no other from its cycle.
            Err(error) => {
                log_line!(CycleFailed, store = store.name, exit = error.exit() as u8, "{error}");
                exits.insert(error.exit());
                failed.insert(store.name.clone(), super::output::error(error.exit(), error));
            }
        }
    }
    let done = reports.iter().map(|(name, report)| (name.clone(), json!(report)));
    let json = json!({"stores": done.chain(failed).collect::<BTreeMap<String, Value>>()});
    print(global.output, &json, || reports.iter().map(|(name, report)| text(name, report)).collect())?;
    Ok(Exit::of(&exits))
}

/// The store with the seed of the command line, where it has one.
fn seeded(store: &Store, arguments: &Sync) -> Store {
    let mut store = store.clone();
    if let Some(seed) = &arguments.seed {
        if !cycle::is_empty(&store) {
            let shown = seed.display();
            log_line!(SeedNotNeeded, store = store.name, "the store is not empty: the seed {shown} was not looked at");
        }
        store.seed = Some(seed.clone());
    }
    store
}

/// What a cycle came to, in lines.
pub fn text(store: &str, report: &Report) -> String {
    let mut text = String::new();
    let generation =
        report.generation.map_or_else(|| "no generation yet".to_owned(), |number| format!("generation {number:06}"));
    let deny_all = if report.deny_all { ": DENY ALL" } else { "" };
    let _ = match (report.rehearsed, report.committed, report.difference.is_empty()) {
        (true, _, true) => writeln!(text, "{store}: {generation}; nothing would change"),
        (true, _, false) => writeln!(text, "{store}: {generation}; this would change:"),
        (false, true, _) => {
            writeln!(text, "{store}: published {generation}{deny_all}")
        }
        (false, false, _) => writeln!(text, "{store}: {generation}, unchanged{deny_all}"),
    };
    if report.rehearsed || report.committed {
        text.push_str(&report.difference.to_text());
    }
    for target in &report.targets {
        let _ = write!(text, "{store}: {}", super::status::turn_text(target));
    }
    text
}
