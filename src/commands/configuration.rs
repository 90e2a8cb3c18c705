//! `trustsync config check` and `config show`.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::{Failure, environment, load, options, print};
use crate::cli::{Config, Global};
use crate::clock::SystemClock;
use crate::cycle::privileged::folder::Privileged;
use crate::cycle::{self, Clients};
use crate::exit::Exit;
use crate::genesys::secret::read_secret;
use crate::log;
use crate::settings::resolved::Settings;
use crate::settings::{self, Loaded};
use crate::store::ownership;

pub async fn run(global: &Global, command: Config) -> Result<Exit, Failure> {
    match command {
        // A configuration with a problem is reported as without --probe, and no source is asked.
        Config::Check { probe: true } if problems(global).1.is_empty() => probe(global).await,
        Config::Check { .. } => check(global).await,
        Config::Show => show(global, &load(global)?),
    }
}

/// What can be checked without asking a source: values, secrets, HTTPS roots, anchors.
async fn check(global: &Global) -> Result<Exit, Failure> {
    let (settings, problems) = problems(global);
    let warnings = match &settings {
        Some(settings) if problems.is_empty() => warnings(settings).await,
        _ => Vec::new(),
    };
    let value = json!({"ok": problems.is_empty(), "problems": problems, "warnings": warnings});
    print(global.output, &value, || match settings {
        Some(settings) if problems.is_empty() => {
            let (sources, stores) = (settings.sources.len(), settings.stores.len());
            let targets: usize = settings.stores.values().map(|store| store.targets.len()).sum();
            let good =
                format!("The configuration is good: {sources} source(s), {stores} store(s), {targets} target(s).\n");
            std::iter::once(good).chain(warnings.iter().map(|warning| format!("warning: {warning}\n"))).collect()
        }
        _ => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    })?;
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Configuration })
}

fn problems(global: &Global) -> (Option<Settings>, Vec<String>) {
    match settings::check(&global.config, &environment()) {
        Ok((loaded, mut problems)) => {
            problems.extend(found_outside(&loaded.settings));
            problems.extend(privileged(global, &loaded.settings));
            (Some(loaded.settings), problems)
        }
        Err(error) => (None, error.problems()),
    }
}

/// What is not a mistake by itself, and may not be what was meant.
async fn warnings(settings: &Settings) -> Vec<String> {
    let mut found = Vec::new();
    for store in settings.stores.values() {
        found.extend(cycle::would_refuse(settings, store, &SystemClock));
        found.extend(cycle::out_of_reach(store).await);
    }
    found
}

/// What the endpoints answer, assessed as in a cycle; nothing is kept.
async fn probe(global: &Global) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let mut clients = Clients::of(&loaded.settings)?;
    let deadline = options(global, "trustsync config check").deadline;
    let probe = cycle::probe(&loaded.settings, &mut clients, &SystemClock, deadline).await;
    let probe = probe.map_err(Failure::Cycle)?;
    log::findings(&probe.findings, false);
    print(global.output, &probe, || {
        let mut text = String::new();
        for (name, source) in &probe.sources {
            let _ = writeln!(text, "source {name}: region {}, {}", source.region, source.authorities.join(" and "));
            for (slot, answer) in &source.slots {
                let _ = writeln!(text, "  slot {slot}");
                for entity in &answer.entities {
                    let verdict = if entity.accepted { "accepted" } else { "REFUSED " };
                    let _ = writeln!(text, "    {:<8} {verdict} {}", entity.listed, entity.says);
                }
                if let Some(line) = &answer.pin_by {
                    let _ = writeln!(text, "    to pin what was seen, under [source.{name}]: {line}");
                }
            }
            if source.slots.is_empty() {
                text.push_str("  no usable answer\n");
            }
        }
        text
    })?;
    Ok(Exit::of(&probe.causes))
}

/// What is wrong outside the file: HTTPS roots, secrets, anchors.
fn found_outside(settings: &Settings) -> Vec<String> {
    let mut problems = cycle::outside_problems(settings);
    for source in settings.sources.values() {
        let unreadable = read_secret(&source.client_secret).err();
        problems.extend(unreadable.map(|error| format!("source {}: {error}", source.name)));
    }
    problems
}

/// Whether the privileged helper of each target can be asked by us, or be us.
fn privileged(global: &Global, settings: &Settings) -> Vec<String> {
    let helpers = super::privileged::apply::helpers(settings.stores.values());
    let unfit =
        |(name, files): &(String, Privileged)| Some(format!("target.{name} is privileged: {}", files.problem()?));
    if !rustix::process::geteuid().is_root() {
        return helpers.iter().filter_map(unfit).collect();
    }
    let unsafe_for_root = ownership::roots_alone(&global.config).err().filter(|_| !helpers.is_empty());
    let said = |error| {
        format!("targets are privileged, so that root acts by a configuration that root alone can change: {error}")
    };
    unsafe_for_root.map(said).into_iter().collect()
}

fn show(global: &Global, loaded: &Loaded) -> Result<Exit, Failure> {
    let rows = || loaded.shown.iter().map(|(key, value)| (key, value, loaded.origins.of(key)));
    let json: BTreeMap<&String, Value> =
        rows().map(|(key, value, origin)| (key, json!({"value": value, "origin": origin}))).collect();
    print(global.output, &json!({"settings": json}), || {
        rows().map(|(key, value, origin)| format!("{key} = {value}  # {origin}\n")).collect()
    })?;
    Ok(Exit::Done)
}
