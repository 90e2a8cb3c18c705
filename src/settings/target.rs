//! From a raw target to a resolved one: its kind's preset, and the target's own keys over it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::raw::{List, RawProof, RawReload, RawReloadTable, RawTarget};
use super::resolve::Resolver;
use super::resolved::{
    Addressee, Endpoint, GenerationEvidence, Kind, Kinds, OwnReload, Pinning, ProofMethods, ProxyProtocol, Reload,
    Signal, Source, Store, Target, WireProof,
};
use crate::store::link::PRIVILEGED_FOLDERS;
use crate::targets::proof::observe::OwnProof;
use crate::trust::render::{Output, Place};
use crate::trust::values::slot::Authority;

const GENERATION: [(&str, GenerationEvidence); 2] =
    [("header", GenerationEvidence::Header), ("none", GenerationEvidence::None)];
const PINNING: [(&str, Pinning); 2] = [("here", Pinning::Here), ("elsewhere", Pinning::Elsewhere)];
const PROXY_PROTOCOL: [(&str, ProxyProtocol); 2] = [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
const SIGNALS: [(&str, Signal); 3] = [("HUP", Signal::Hup), ("USR1", Signal::Usr1), ("USR2", Signal::Usr2)];

/// Of a key whose kind of server is not in the table.
const OF_NO_KIND: &str = "is not a way of any kind of server that is known";

impl Resolver {
    pub(super) fn target(&mut self, name: &str, raw: &RawTarget) -> Option<Target> {
        let key = |field: &str| format!("target.{name}.{field}");
        let known = self.kinds.all().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
        let Some(kind_name) = &raw.kind else {
            self.problem(format!("{} is missing; known are {known}", key("kind")));
            return None;
        };
        let Some(kind) = self.kinds.find(kind_name) else {
            self.problem(format!("{}: {kind_name:?} is not known; known are {known}", key("kind")));
            return None;
        };
        self.show(&key("kind"), kind.name);
        let preset = || kind.check.map(|argv| argv.iter().map(|word| (*word).to_owned()).collect());
        let check = raw.check.as_ref().map_or_else(preset, |List(argv)| (!argv.is_empty()).then(|| argv.clone()));
        self.show(&key("check"), check.as_deref().unwrap_or_default());
        let marker = self.flag(&key("marker"), raw.marker, true);
        let outputs = self.outputs(&key("outputs"), kind, raw.outputs.as_ref());
        let target = Target {
            name: name.to_owned(),
            kind,
            marker,
            pinning: self.choice(&key("pinning"), raw.pinning.as_deref(), &PINNING, Pinning::default()),
            privileged: self.flag(&key("privileged"), raw.privileged, false),
            check,
            check_timeout: self.timeout(&key("check_timeout"), raw.check_timeout.as_deref()),
            reload: self.reload(&key("reload"), kind, raw.reload.as_ref()),
            reload_timeout: self.timeout(&key("reload_timeout"), raw.reload_timeout.as_deref()),
            proof: raw.proof.as_ref().and_then(|proof| self.proof(&key("proof"), kind, marker, &outputs, proof)),
            outputs,
        };
        self.show_reload(&key("reload"), &target.reload);
        Some(target)
    }

    fn show_reload(&mut self, key: &str, reload: &Reload) {
        let at = |field: &str| format!("{key}.{field}");
        match reload {
            Reload::Signal { signal, to } => {
                self.choice(&at("signal"), None, &SIGNALS, *signal);
                match to {
                    Addressee::Pidfile { pidfile, process } => {
                        self.show(&at("pidfile"), pidfile);
                        self.show(&at("process"), process);
                    }
                    Addressee::Process(process) => self.show(&at("process"), process),
                    Addressee::Unit(unit) => self.show(&at("unit"), unit),
                }
            }
            Reload::Systemd { unit } => self.show(&at("systemd"), unit),
            // Noted where they were read.
            Reload::Command(_) | Reload::Http(_) => {}
            Reload::Own { way, socket, within } => {
                self.show(&at(way.key), socket);
                self.show_reload(&if way.has_fallback { at("fallback") } else { key.to_owned() }, within);
            }
            Reload::None => self.show(key, "none"),
        }
    }

    /// The one way that a table names, over its kind's preset.
    fn reload(&mut self, key: &str, kind: Kind, raw: Option<&RawReload>) -> Reload {
        let raw = match raw {
            None => return kind.reload(),
            Some(RawReload::Word(word)) => {
                if word != "none" {
                    self.problem(format!(
                        "{key}: {word:?} is not a way to reload a server: \"none\", or a table such as \
                         {{ systemd = \"nginx.service\" }}"
                    ));
                }
                return Reload::None;
            }
            Some(RawReload::Table(table)) => table,
        };
        if let Some(why) = misplaced(self.kinds, key, raw) {
            self.problem(why);
            return kind.reload();
        }
        let watched = |resolver: &mut Self, by| match own_reload(resolver.kinds, raw, false) {
            Some((way, socket)) => {
                if matches!(by, Reload::None) {
                    resolver.problem(format!(
                        "{key}.{own} says how a reload ended, and there is none: add a reload, or leave {own} out",
                        own = way.key
                    ));
                }
                Reload::Own { way, socket: resolver.base.join(socket), within: Box::new(by) }
            }
            None => by,
        };
        if let Some((way, socket)) = own_reload(self.kinds, raw, true) {
            // What is done where the socket fails: what is configured, else what its kind does.
            let fallback = self.reload(&format!("{key}.fallback"), kind, raw.fallback.as_deref());
            if matches!(&fallback, Reload::Own { way, .. } if way.has_fallback) {
                self.problem(format!(
                    "{key}.fallback must be a reload: one of signal, systemd, command, http, or \"none\""
                ));
            }
            let within = Box::new(watched(self, fallback));
            return Reload::Own { way, socket: self.base.join(socket), within };
        }
        let reload = if let Some(unit) = &raw.systemd {
            Reload::Systemd { unit: unit.clone() }
        } else if let Some(List(argv)) = &raw.command {
            Reload::Command(self.command(&format!("{key}.command"), argv))
        } else if let Some(url) = &raw.http {
            self.endpoint(&format!("{key}.http"), url).map_or(Reload::None, Reload::Http)
        } else {
            self.signal(key, kind.reload(), raw)
        };
        watched(self, reload)
    }

    /// A signal; what is not written is the preset's.
    fn signal(&mut self, key: &str, preset: Reload, raw: &RawReloadTable) -> Reload {
        let (preset_signal, preset_to) = match preset {
            Reload::Signal { signal, to } => (Some(signal), Some(to)),
            _ => (None, None),
        };
        let signal = match (&raw.signal, preset_signal) {
            (Some(signal), _) => {
                let name = signal.trim_start_matches("SIG");
                let is_known = SIGNALS.iter().any(|(known, _)| *known == name);
                self.choice(&format!("{key}.signal"), Some(if is_known { name } else { signal }), &SIGNALS, Signal::Hup)
            }
            (None, Some(signal)) => signal,
            (None, None) => {
                self.problem(format!(
                    "{key} names no way: one of signal, systemd, command, http; or \"none\" for a server that watches \
                     by itself"
                ));
                return Reload::None;
            }
        };
        let to = match (&raw.unit, &raw.pidfile, &raw.process, &preset_to) {
            (Some(unit), ..) => Some(Addressee::Unit(unit.clone())),
            (None, Some(pidfile), Some(process), _)
            | (None, Some(pidfile), None, Some(Addressee::Pidfile { process, .. })) => {
                Some(Addressee::Pidfile { pidfile: self.base.join(pidfile), process: process.clone() })
            }
            (None, Some(_), None, _) => None,
            (None, None, Some(process), _) => Some(Addressee::Process(process.clone())),
            (None, None, None, _) => preset_to,
        };
        let Some(to) = to else {
            self.problem(format!(
                "{key} needs process (the name of its program), with or without a pidfile; or unit (a systemd unit, \
                 whose main process is meant)"
            ));
            return Reload::None;
        };
        Reload::Signal { signal, to }
    }

    /// How long something may take, at most; nothing can be done in no time.
    fn timeout(&mut self, key: &str, raw: Option<&str>) -> Duration {
        let timeout = self.duration(key, raw, Duration::from_secs(30));
        if timeout.is_zero() {
            self.problem(format!("{key} must be longer than 0s: name a time such as \"30s\""));
        }
        timeout
    }

    /// A program and its arguments: no shell takes one string apart.
    fn command(&mut self, key: &str, argv: &[String]) -> Vec<String> {
        match argv {
            [] => self.problem(format!("{key} is empty")),
            [whole] if whole.contains(char::is_whitespace) => self.problem(format!(
                "{key}: {whole:?} is one string, and no shell takes it apart: write a list, or \
                 [\"sh\", \"-c\", {whole:?}] for a shell"
            )),
            _ => {}
        }
        self.show(key, argv);
        argv.to_vec()
    }

    fn endpoint(&mut self, key: &str, text: &str) -> Option<Endpoint> {
        self.noted(key, Endpoint::parse(text), Endpoint::to_string)
    }

    fn proof(
        &mut self,
        key: &str,
        kind: Kind,
        marker: bool,
        outputs: &BTreeSet<Output>,
        raw: &RawProof,
    ) -> Option<ProofMethods> {
        let wire = self.wire(key, kind, marker, raw);
        let command = raw.command.as_ref().map(|List(argv)| self.command(&format!("{key}.command"), argv));
        let own_is_written = raw.own().iter().any(|(_, value)| value.is_some());
        let own = self.own_proofs(key, marker, outputs, raw);
        let http = raw.http.as_ref().and_then(|text| self.endpoint(&format!("{key}.http"), text));
        let is_asked = command.is_some() || raw.http.is_some() || own_is_written;
        if wire.is_none() && !is_asked {
            self.problem(format!(
                "{key} names no way to look: connect, the addresses where the server listens, such as \
                 [\"127.0.0.1:443\"]; command or http, where it says which generation it has loaded; haproxy, the \
                 runtime socket of a HAProxy"
            ));
            return None;
        }
        Some(ProofMethods {
            wire,
            command,
            http,
            own,
            settle: self.duration(&format!("{key}.settle"), raw.settle.as_deref(), kind.settle),
            timeout: self.timeout(&format!("{key}.timeout"), raw.timeout.as_deref()),
        })
    }

    /// The ways of proof that one kind of the table has alone.
    fn own_proofs(&mut self, key: &str, marker: bool, outputs: &BTreeSet<Output>, raw: &RawProof) -> Vec<OwnProof> {
        let mut proofs = Vec::new();
        for (name, value) in raw.own().into_iter().filter_map(|(name, value)| Some((name, value?))) {
            let read = match self.kinds.own_proof(name) {
                None => Err(OF_NO_KIND.to_owned()),
                Some((kind, own)) => match own.needs_files {
                    Some(why) if kind.output.is_some_and(|output| !outputs.contains(&output)) => Err(why.to_owned()),
                    _ => (own.read)(value, &self.base, marker),
                },
            };
            proofs.extend(self.noted(&format!("{key}.{name}"), read, |proof| proof.place.clone()));
        }
        proofs
    }

    /// A value to show, or what is wrong with it. It may hold a password, so it is not quoted.
    fn noted<T>(&mut self, key: &str, read: Result<T, String>, shown: impl Fn(&T) -> String) -> Option<T> {
        match read {
            Ok(value) => {
                self.show(key, shown(&value));
                Some(value)
            }
            Err(why) => {
                self.problem(format!("{key} {why}"));
                None
            }
        }
    }

    /// The proof by handshake, where addresses to connect to are written.
    fn wire(&mut self, key: &str, kind: Kind, marker: bool, raw: &RawProof) -> Option<WireProof> {
        let at = |field: &str| format!("{key}.{field}");
        let Some(List(connect)) = &raw.connect else {
            let foreign = written([
                ("server_name", raw.server_name.is_some()),
                ("generation", raw.generation.is_some()),
                ("path", raw.path.is_some()),
                ("proxy_protocol", raw.proxy_protocol.is_some()),
            ]);
            if !foreign.is_empty() {
                self.problem(format!(
                    "{key}.connect is not set, and {} says nothing without it, since only a handshake uses it: add \
                     connect, or leave it out",
                    foreign.join(" and ")
                ));
            }
            return None;
        };
        if connect.is_empty() {
            return None;
        }
        let fits = |address: &str| {
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        for address in connect.iter().filter(|address| !fits(address)) {
            self.problem(format!("{key}.connect: {address:?} is not host:port"));
        }
        self.show(&at("connect"), connect);
        let path = raw.path.clone().unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/') || path.chars().any(|each| !each.is_ascii_graphic()) {
            self.problem(format!("{key}.path must begin with / and have no spaces"));
        }
        self.show(&at("path"), &path);
        if let Some(name) = &raw.server_name {
            if name.chars().any(|each| !each.is_ascii_graphic()) {
                self.problem(format!("{key}.server_name: {name:?} is not a host name"));
            }
            self.show(&at("server_name"), name);
        }
        let version = raw.proxy_protocol.as_deref();
        Some(WireProof {
            connect: connect.clone(),
            server_name: raw.server_name.clone(),
            generation: self.choice(&at("generation"), raw.generation.as_deref(), &GENERATION, kind.evidence),
            marker,
            path,
            proxy_protocol: version
                .map(|_| self.choice(&at("proxy_protocol"), version, &PROXY_PROTOCOL, ProxyProtocol::V1)),
        })
    }

    fn outputs(&mut self, key: &str, kind: Kind, raw: Option<&List>) -> BTreeSet<Output> {
        let known: Vec<Output> = self.kinds.outputs().collect();
        let mut outputs: BTreeSet<Output> = kind.output.into_iter().collect();
        for name in raw.iter().flat_map(|List(names)| names) {
            match known.iter().find(|output| output.name() == name) {
                Some(output) => drop(outputs.insert(*output)),
                None => {
                    let known: Vec<&str> = known.iter().map(|output| output.name()).collect();
                    self.problem(format!("{key}: {name:?} is not a family of files; known are {}", known.join(", ")));
                }
            }
        }
        let ordered = known.iter().filter(|output| outputs.contains(*output));
        self.show(key, ordered.map(|output| output.name()).collect::<Vec<_>>());
        outputs
    }

    /// DigiCert signs strangers too: a server that can only trust an authority would admit them.
    pub(super) fn pinned(&mut self, store: &Store, sources: &BTreeMap<String, Source>) {
        let public = store
            .sources
            .iter()
            .filter_map(|name| sources.get(name))
            .find(|source| source.authorities.contains(&Authority::DigiCert));
        let Some(source) = public else { return };
        let open = |target: &&Target| target.kind.admits_by_authority_alone && target.pinning == Pinning::Here;
        for target in store.targets.iter().filter(open) {
            self.problem(format!(
                "target.{name} is of the kind {kind:?}, which admits anyone whom the authority has signed, and \
                 source.{source} takes certificates of DigiCert, which signs strangers too. If another layer admits \
                 the pinned leaves alone (a proxy behind it, the application by {file}), say so by \
                 target.{name}.pinning = \"elsewhere\"; else use a server that can pin, or a source with authorities = \
                 [\"Genesys\"]",
                name = target.name,
                kind = target.kind.name,
                source = source.name,
                file = "fingerprints.txt",
            ));
        }
    }

    /// What a family of files cannot express where it is put.
    pub(super) fn expressible(&mut self, store: &Store, sources: &BTreeMap<String, Source>) {
        let source_of = |authority: Authority| {
            let mut of_store = store.sources.iter().filter_map(|name| sources.get(name));
            of_store.find(|source| source.authorities.contains(&authority)).map(|source| source.name.as_str())
        };
        for target in &store.targets {
            let place = Place {
                target: &target.name,
                privileged: target.privileged,
                store: &store.name,
                digicert: source_of(Authority::DigiCert),
                genesys: source_of(Authority::Genesys),
            };
            for problem in target.outputs.iter().flat_map(|output| output.problems(&place)) {
                self.problem(problem);
            }
        }
    }

    /// What the privileged helper writes and runs must be out of the daemon's reach.
    // Long because each way to a program or a socket of root's is named.
    pub(super) fn privileged(&mut self, store: &Store) {
        let (path, privileged_path) = (&store.path, &store.privileged_path);
        if store.targets.iter().any(|target| target.privileged) {
            self.show(&format!("store.{}.privileged_path", store.name), privileged_path);
        }
        for target in store.targets.iter().filter(|target| target.privileged) {
            let name = &target.name;
            if privileged_path.starts_with(path) || path.starts_with(privileged_path) {
                self.problem(format!(
                    "target.{name} is privileged, but store.{}.privileged_path ({}) and the store ({}) stand in each \
                     other: the files of a privileged target are root's alone, the store is the daemon's",
                    store.name,
                    privileged_path.display(),
                    path.display()
                ));
            }
            if PRIVILEGED_FOLDERS.contains(&name.as_str()) {
                self.problem(format!(
                    "target.{name} is privileged, but {name} is a folder of the privileged helper: choose another name"
                ));
            }
            let mut program = |key: &str, argv: &[String]| {
                let Some(program) = argv.first() else { return };
                let problem = if program.contains(char::is_whitespace) {
                    "is one string: write a list, since no shell takes it apart"
                } else if program.contains('/') && !program.starts_with('/') {
                    "has a relative path: root runs it, so write where it stands"
                } else if Path::new(program).starts_with(path) {
                    "stands in the store, which is the daemon's: root would run what the daemon wrote"
                } else {
                    return;
                };
                self.problem(format!("target.{name}.{key}: {program:?} {problem}"));
            };
            if let Some(argv) = &target.check {
                program("check", argv);
            }
            let ways = target.reload.ways();
            for reload in &ways {
                if let Reload::Command(argv) = reload {
                    program("reload.command", argv);
                }
            }
            for reload in ways {
                match reload {
                    Reload::Signal { to: Addressee::Pidfile { pidfile, .. }, .. } if pidfile.starts_with(path) => {
                        self.problem(format!(
                            "target.{name}.reload.pidfile stands in the store, which is the daemon's: root would \
                             signal the process that the daemon names"
                        ));
                    }
                    Reload::Own { socket, .. } if socket.starts_with(path) => self.problem(format!(
                        "target.{name}.reload: {} stands in the store, which is the daemon's: root would believe \
                         the daemon's answers",
                        socket.display()
                    )),
                    _ => {}
                }
            }
        }
    }
}

/// What is wrong with the keys of a reload's table: it names one way, and no key of another.
fn misplaced(kinds: Kinds, key: &str, raw: &RawReloadTable) -> Option<String> {
    let known = |name: &str| kinds.own_reload().any(|way| way.key == name);
    if let Some((unknown, _)) = raw.own().into_iter().find(|(name, socket)| socket.is_some() && !known(name)) {
        return Some(format!("{key}.{unknown} {OF_NO_KIND}"));
    }
    let own = own_reload(kinds, raw, true).map(|(way, _)| way.key);
    let with_fallback = kinds.own_reload().filter(|way| way.has_fallback).map(|way| way.key);
    let with_fallback = with_fallback.collect::<Vec<_>>().join(" or ");
    let mut ways = written([
        ("signal", raw.signal.is_some()),
        ("systemd", raw.systemd.is_some()),
        ("command", raw.command.is_some()),
        ("http", raw.http.is_some()),
    ]);
    ways.extend(own);
    let to =
        written([("pidfile", raw.pidfile.is_some()), ("process", raw.process.is_some()), ("unit", raw.unit.is_some())]);
    match ways.as_slice() {
        [_, _, ..] => Some(format!("{key} names several ways: one of signal, systemd, command, http, {with_fallback}")),
        _ if raw.fallback.is_some() && own.is_none() => {
            Some(format!("{key}.fallback is what is done where {key}.{with_fallback} fails, which is not set"))
        }
        [way] if *way != "signal" && !to.is_empty() => {
            let instead = if own.is_some() { ", or into the reload of fallback" } else { "" };
            let to = to.join(" and ");
            Some(format!("{key}.{way} sends no signal, so {to} says nothing here: leave it out{instead}"))
        }
        _ if raw.unit.is_some() && to.len() > 1 => {
            Some(format!("{key}.unit names the process already: leave pidfile and process out"))
        }
        _ => None,
    }
}

/// The way of the table that is written, with its value: one that has a fallback, or one that watches a reload.
fn own_reload(kinds: Kinds, raw: &RawReloadTable, has_fallback: bool) -> Option<(&'static OwnReload, &PathBuf)> {
    let known = |key| kinds.own_reload().find(|way| way.key == key && way.has_fallback == has_fallback);
    raw.own().into_iter().find_map(|(key, socket)| Some((known(key)?, socket?)))
}

fn written<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
}
