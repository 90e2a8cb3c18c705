//! `trustsync config check` and `config show`.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;

use super::{Failure, environment, load, options, print};
use crate::cli::{Config, Global};
use crate::clock::SystemClock;
use crate::cycle::{self, Clients};
use crate::exit::Exit;
use crate::genesys::secret::read_secret;
use crate::log;
use crate::settings::resolved::{
    Addressee, GenerationEvidence, IdentitySetting, Pinning, ProofMethods, Reload, SecretOrigin, Settings, Store,
    Target, WireProof,
};
use crate::settings::{self, Loaded};
use crate::store::ownership;
use crate::store::privileged::Privileged;
use crate::trust::certificate::Curve;
use crate::trust::plan::ChangedIssuer;
use crate::trust::timestamp::span;

pub async fn run(global: &Global, command: Config) -> Result<Exit, Failure> {
    match command {
        // A configuration with a problem is told as without --probe, and nobody is asked.
        Config::Check { probe: true } if problems(global).1.is_empty() => probe(global).await,
        Config::Check { .. } => check(global),
        Config::Show => show(global, &load(global)?),
    }
}

/// What can be judged without asking anybody: values, secrets, HTTPS roots, anchors.
fn check(global: &Global) -> Result<Exit, Failure> {
    let (settings, problems) = problems(global);
    let value = json!({"ok": problems.is_empty(), "problems": problems});
    print(global.output, &value, || match settings {
        Some(settings) if problems.is_empty() => {
            let (sources, stores) = (settings.sources.len(), settings.stores.len());
            let targets: usize = settings.stores.values().map(|store| store.targets.len()).sum();
            format!("The configuration is good: {sources} source(s), {stores} store(s), {targets} target(s).\n")
        }
        _ => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    })?;
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Configuration })
}

fn problems(global: &Global) -> (Option<Settings>, Vec<String>) {
    match settings::judge(&global.config, &environment()) {
        Ok((loaded, mut problems)) => {
            problems.extend(found_outside(&loaded.settings));
            problems.extend(privileged(global, &loaded.settings));
            (Some(loaded.settings), problems)
        }
        Err(error) => (None, error.problems()),
    }
}

/// What the endpoints say, judged as in a cycle; nothing is kept.
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

/// What stands outside the file: HTTPS roots, secrets, anchors.
fn found_outside(settings: &Settings) -> Vec<String> {
    let mut problems = Clients::problems(settings);
    for source in settings.sources.values() {
        problems
            .extend(read_secret(&source.client_secret).err().map(|error| format!("source {}: {error}", source.name)));
    }
    problems.extend(crate::cycle::anchors_problems(settings));
    problems
}

/// Whether root's half of privileged targets can be asked by us, or be us.
fn privileged(global: &Global, settings: &Settings) -> Vec<String> {
    let halves = super::apply::halves(settings.stores.values());
    let unfit = |(name, half): &(String, Privileged)| Some(format!("target.{name} is privileged: {}", half.problem()?));
    if !rustix::process::geteuid().is_root() {
        return halves.iter().filter_map(unfit).collect();
    }
    let unsafe_for_root = ownership::roots_alone(&global.config).err().filter(|_| !halves.is_empty());
    let said = |error| {
        format!("targets are privileged, so that root acts by a configuration that root alone can change: {error}")
    };
    unsafe_for_root.map(said).into_iter().collect()
}

fn show(global: &Global, loaded: &Loaded) -> Result<Exit, Failure> {
    let values = values(loaded);
    let rows: Vec<_> = values
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value, "origin": loaded.origins.of(key)}))
        .collect();
    print(global.output, &rows, || {
        values.iter().map(|(key, value)| format!("{key} = {value}  # {}\n", loaded.origins.of(key))).collect()
    })?;
    Ok(Exit::Done)
}

/// Every value in force, by its key; a secret only as a word.
fn values(loaded: &Loaded) -> BTreeMap<String, String> {
    let settings = &loaded.settings;
    let mut values = BTreeMap::new();
    let time = |duration| format!("\"{}\"", span(duration));
    let text = |text: &str| format!("{text:?}");
    values.insert("schedule.interval".to_owned(), time(settings.schedule.interval));
    values.insert("schedule.window_interval".to_owned(), time(settings.schedule.window_interval));
    values.insert("schedule.proof_interval".to_owned(), time(settings.schedule.proof_interval));
    values.insert("schedule.jitter".to_owned(), settings.schedule.jitter.to_string());
    if let Some(address) = settings.listen {
        values.insert("listen.address".to_owned(), text(&address.to_string()));
    }
    values.insert("schedule.window".to_owned(), time(settings.plan.window));
    values.insert("alarms.upcoming_missing.warning".to_owned(), time(settings.plan.upcoming_missing_warning));
    values.insert("alarms.upcoming_missing.critical".to_owned(), time(settings.plan.upcoming_missing_critical));
    values.insert("crl.policy".to_owned(), text(settings.crl.policy.name()));
    values.insert("crl.allow_private".to_owned(), settings.crl.allow_private.to_string());
    put_verify(&mut values, settings);
    for (name, source) in &settings.sources {
        let mut put = |field: &str, value: String| values.insert(format!("source.{name}.{field}"), value);
        put("region", text(&source.region));
        put("client_id", text(&source.client_id));
        match &source.client_secret {
            SecretOrigin::File(path) => put("client_secret_file", format!("{path:?}")),
            SecretOrigin::Given(_) => put("client_secret", "[redacted]".to_owned()),
        };
        put(
            "authorities",
            format!("{:?}", source.authorities.iter().map(|authority| authority.name()).collect::<Vec<_>>()),
        );
        put(
            "identity",
            match &source.identity {
                IdentitySetting::Learn => "\"learn\"".to_owned(),
                IdentitySetting::Any => "\"any\"".to_owned(),
                IdentitySetting::Names(names) => format!("{names:?}").replace('{', "[").replace('}', "]"),
            },
        );
        put("api", text(source.api.as_str()));
        put("login", text(source.login.as_str()));
        put("path", text(&source.path));
        if source.digicert_anchors.is_empty() {
            put("digicert_anchors", "built in".to_owned());
        } else {
            put("digicert_anchors", format!("{:?}", source.digicert_anchors));
        }
        if !source.genesys_anchors.is_empty() {
            put("genesys_anchors", format!("{:?}", source.genesys_anchors));
        }
        if let Some(ca_file) = &source.ca_file {
            put("ca_file", format!("{ca_file:?}"));
        }
        if let Some(proxy) = &source.proxy {
            put("proxy", text(&crate::http_client::shown(proxy)));
        }
    }
    for (name, store) in &settings.stores {
        let mut put = |field: &str, value: String| values.insert(format!("store.{name}.{field}"), value);
        put("path", format!("{:?}", store.path));
        put("grace", time(store.grace));
        put("keep", store.keep.to_string());
        put("on_drift", text(store.on_drift.name()));
        put("turns", text(store.turns.name()));
        if let Some(seed) = &store.seed {
            put("seed", format!("{seed:?}"));
        }
        if store.targets.iter().any(|target| target.privileged) {
            put("privileged_path", format!("{:?}", store.privileged_path));
        }
        put("sources", format!("{:?}", store.sources.iter().collect::<Vec<_>>()));
        if !store.extra_anchors.is_empty() {
            put("extra_anchors", format!("{:?}", store.extra_anchors));
        }
        for target in &store.targets {
            put_target(&mut values, target, store);
        }
    }
    values
}

fn put_verify(values: &mut BTreeMap<String, String>, settings: &Settings) {
    let (verify, plan) = (&settings.verify, &settings.plan);
    let mut put = |field: &str, value: String| values.insert(format!("verify.{field}"), value);
    put("min_rsa_bits", verify.min_rsa_bits.to_string());
    let curves = Curve::ALL.iter().filter(|(_, curve)| verify.curves.contains(curve));
    put("curves", format!("{:?}", curves.map(|(name, _)| *name).collect::<Vec<_>>()));
    put("signatures", format!("{:?}", verify.signatures.iter().collect::<Vec<_>>()));
    put("other_usages", if verify.other_usages { "\"accept\"" } else { "\"refuse\"" }.to_owned());
    put("max_validity", format!("\"{}\"", span(verify.max_validity)));
    put("max_chain", verify.max_chain.to_string());
    put("max_certificates", verify.max_certificates.to_string());
    put("clock_skew", format!("\"{}\"", span(verify.clock_skew)));
    put("max_new_leaves", plan.max_new_leaves.to_string());
    let confirm = plan.changed_issuer == ChangedIssuer::Confirm;
    put("changed_issuer", if confirm { "\"confirm\"" } else { "\"accept\"" }.to_owned());
}

fn put_target(values: &mut BTreeMap<String, String>, target: &Target, store: &Store) {
    let time = |duration| format!("\"{}\"", span(duration));
    let mut put = |field: &str, value: String| values.insert(format!("target.{}.{field}", target.name), value);
    put("kind", format!("{:?}", target.kind.name()));
    let outputs = store.kinds.outputs().filter(|output| target.outputs.contains(output));
    put("outputs", format!("{:?}", outputs.map(|output| output.name()).collect::<Vec<_>>()));
    put("marker", target.marker.to_string());
    put("pinning", if target.pinning == Pinning::Here { "\"here\"" } else { "\"elsewhere\"" }.to_owned());
    put("store", format!("{:?}", store.name));
    put("privileged", target.privileged.to_string());
    put("check", target.check.as_ref().map_or_else(|| "[]".to_owned(), |argv| format!("{argv:?}")));
    put("check_timeout", time(target.check_timeout));
    put("reload_timeout", time(target.reload_timeout));
    put_reload(&mut put, "reload", &target.reload);
    let Some(ProofMethods { wire, command, http, envoy, haproxy, settle, timeout }) = &target.proof else { return };
    put("proof.settle", time(*settle));
    put("proof.timeout", time(*timeout));
    if let Some(socket) = haproxy {
        put("proof.haproxy", format!("{socket:?}"));
    }
    if let Some(argv) = command {
        put("proof.command", format!("{argv:?}"));
    }
    if let Some(envoy) = envoy {
        put("proof.envoy", format!("{:?}", envoy.admin.to_string()));
    }
    if let Some(endpoint) = http {
        put("proof.http", format!("{:?}", endpoint.to_string()));
    }
    if let Some(WireProof { connect, server_name, generation, marker: _, path, proxy_protocol }) = wire {
        put("proof.connect", format!("{connect:?}"));
        if let Some(server_name) = server_name {
            put("proof.server_name", format!("{server_name:?}"));
        }
        let header = *generation == GenerationEvidence::Header;
        put("proof.generation", if header { "\"header\"" } else { "\"none\"" }.to_owned());
        put("proof.path", format!("{path:?}"));
        if let Some(version) = proxy_protocol {
            put("proof.proxy_protocol", format!("\"{version:?}\"").to_lowercase());
        }
    }
}

fn put_reload(put: &mut impl FnMut(&str, String) -> Option<String>, key: &str, reload: &Reload) {
    let mut put_at = |field: &str, value: String| drop(put(&format!("{key}.{field}"), value));
    match reload {
        Reload::Signal { signal, to } => {
            put_at("signal", format!("\"{signal:?}\"").to_uppercase());
            match to {
                Addressee::Pidfile { pidfile, process } => {
                    put_at("pidfile", format!("{pidfile:?}"));
                    put_at("process", format!("{process:?}"));
                }
                Addressee::Process(process) => put_at("process", format!("{process:?}")),
                Addressee::Unit(unit) => put_at("unit", format!("{unit:?}")),
            }
        }
        Reload::Systemd { unit } => put_at("systemd", format!("{unit:?}")),
        Reload::Command(argv) => put_at("command", format!("{argv:?}")),
        Reload::Http(endpoint) => put_at("http", format!("{:?}", endpoint.to_string())),
        Reload::Haproxy { socket, fallback } => {
            put_at("haproxy", format!("{socket:?}"));
            put_reload(put, &format!("{key}.fallback"), fallback);
        }
        Reload::Watched { by, master } => {
            put_at("master", format!("{master:?}"));
            put_reload(put, key, by);
        }
        Reload::None => drop(put(key, "\"none\"".to_owned())),
    }
}
