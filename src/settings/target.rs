//! From a raw target to a resolved one: its kind's preset, and the target's own keys over it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::raw::{List, RawProof, RawReload, RawTarget};
use super::resolve::Resolver;
use super::resolved::{
    Addressee, Endpoint, EnvoyProof, GenerationEvidence, Kind, Pinning, ProofMethods, ProxyProtocol, Reload, Signal,
    Source, Store, Target, WireProof,
};
use super::way::{RawAddressee, RawWay, RawWire};
use crate::http_client::is_loopback;
use crate::store::privileged::RESERVED;
use crate::targets::haproxy;
use crate::trust::render::{Output, Place};
use crate::trust::set::Authority;

impl Resolver {
    pub(super) fn target(&mut self, name: &str, raw: &RawTarget) -> Option<Target> {
        let key = |field: &str| format!("target.{name}.{field}");
        let known = self.kinds.all().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        let Some(kind_name) = &raw.kind else {
            self.problem(format!("{} is missing; known are {known}", key("kind")));
            return None;
        };
        let Some(kind) = self.kinds.find(kind_name) else {
            self.problem(format!("{}: {kind_name:?} is not known; known are {known}", key("kind")));
            return None;
        };
        let preset = || kind.check().map(|argv| argv.iter().map(|word| (*word).to_owned()).collect());
        let check = raw.check.as_ref().map_or_else(preset, |List(argv)| (!argv.is_empty()).then(|| argv.clone()));
        let marker = raw.marker.unwrap_or(true);
        let target = Target {
            name: name.to_owned(),
            kind,
            outputs: self.outputs(&key("outputs"), kind, raw.outputs.as_ref()),
            marker,
            pinning: self.pinning(&key("pinning"), raw.pinning.as_deref()),
            privileged: raw.privileged.unwrap_or(false),
            check,
            check_timeout: self.timeout(&key("check_timeout"), raw.check_timeout.as_deref()),
            reload: self.reload(&key("reload"), kind, raw.reload.as_ref()),
            reload_timeout: self.timeout(&key("reload_timeout"), raw.reload_timeout.as_deref()),
            proof: raw.proof.as_ref().and_then(|proof| self.proof(&key("proof"), kind, marker, proof)),
        };
        let by_socket = target.proof.as_ref().is_some_and(|proof| proof.haproxy.is_some());
        if by_socket && !target.outputs.contains(&haproxy::OUTPUT) {
            let key = key("proof.haproxy");
            self.problem(format!(
                "{key} compares HAProxy's lists, which this target has not: add outputs = [\"haproxy\"]"
            ));
        }
        Some(target)
    }

    fn reload(&mut self, key: &str, kind: Kind, raw: Option<&RawReload>) -> Reload {
        let preset = kind.reload();
        let raw = match raw {
            None => return preset,
            Some(RawReload::Word(word)) => {
                if word != "none" {
                    self.problem(format!(
                        "{key}: {word:?} is no way to tell a server: \"none\", or a table such as {{ systemd = \"nginx.service\" }}"
                    ));
                }
                return Reload::None;
            }
            Some(RawReload::Table(table)) => table,
        };
        let told = match raw.way(key) {
            Ok(RawWay::RuntimeSocket { socket, fallback }) => {
                return self.runtime_socket(key, kind, socket, fallback, raw.master.as_deref());
            }
            Ok(RawWay::Systemd(unit)) => Reload::Systemd { unit: unit.to_owned() },
            Ok(RawWay::Command(argv)) => Reload::Command(self.command(&format!("{key}.command"), argv)),
            Ok(RawWay::Http(url)) => self.endpoint(&format!("{key}.http"), url).map_or(Reload::None, Reload::Http),
            Ok(RawWay::Signal { signal, to }) => self.signal(key, preset, signal, to),
            Err(why) => {
                self.problem(why);
                return preset;
            }
        };
        match &raw.master {
            Some(master) => self.watched(key, told, master),
            None => told,
        }
    }

    /// HAProxy's runtime socket, and what is done where it fails: what is configured, else as its kind is told.
    fn runtime_socket(
        &mut self,
        key: &str,
        kind: Kind,
        socket: &Path,
        fallback: Option<&RawReload>,
        master: Option<&Path>,
    ) -> Reload {
        let fallback = self.reload(&format!("{key}.fallback"), kind, fallback);
        if matches!(fallback, Reload::Haproxy { .. }) {
            self.problem(format!(
                "{key}.fallback must be a reload: one of signal, systemd, command, http, or \"none\""
            ));
        }
        let fallback = match master {
            Some(master) => self.watched(key, fallback, master),
            None => fallback,
        };
        Reload::Haproxy { socket: self.base.join(socket), fallback: Box::new(fallback) }
    }

    fn watched(&mut self, key: &str, by: Reload, master: &Path) -> Reload {
        if by == Reload::None {
            self.problem(format!("{key}.master says how a reload ended, and there is none: nobody is told"));
        }
        Reload::Watched { by: Box::new(by), master: self.base.join(master) }
    }

    /// A signal; what is not written is the preset's.
    fn signal(&mut self, key: &str, preset: Reload, signal: Option<&str>, to: RawAddressee<'_>) -> Reload {
        let (preset_signal, preset_to) = match preset {
            Reload::Signal { signal, to } => (Some(signal), Some(to)),
            _ => (None, None),
        };
        let signal = match signal.map(|signal| (signal, signal.trim_start_matches("SIG"))) {
            Some((_, "HUP")) => Signal::Hup,
            Some((_, "USR1")) => Signal::Usr1,
            Some((_, "USR2")) => Signal::Usr2,
            Some((signal, _)) => {
                self.problem(format!("{key}.signal: {signal:?} is none of HUP, USR1, USR2"));
                Signal::Hup
            }
            None => {
                let Some(signal) = preset_signal else {
                    self.problem(format!(
                        "{key} names no way: one of signal, systemd, command, http; or \"none\" for a server that watches by itself"
                    ));
                    return Reload::None;
                };
                signal
            }
        };
        let to = match (to, preset_to) {
            (RawAddressee::Unit(unit), _) => Some(Addressee::Unit(unit.to_owned())),
            (RawAddressee::Process(process), _) => Some(Addressee::Process(process.to_owned())),
            (RawAddressee::Pidfile { pidfile, process: Some(process) }, _) => {
                Some(Addressee::Pidfile { pidfile: self.base.join(pidfile), process: process.to_owned() })
            }
            (RawAddressee::Pidfile { pidfile, process: None }, Some(Addressee::Pidfile { process, .. })) => {
                Some(Addressee::Pidfile { pidfile: self.base.join(pidfile), process })
            }
            (RawAddressee::Preset, preset) => preset,
            (RawAddressee::Pidfile { .. }, _) => None,
        };
        let Some(to) = to else {
            self.problem(format!(
                "{key} needs process (the name of its program), with or without a pidfile; or unit (a systemd unit, whose main \
                 process is meant)"
            ));
            return Reload::None;
        };
        Reload::Signal { signal, to }
    }

    /// How long something may take, at most; nothing can be done in no time.
    fn timeout(&mut self, key: &str, raw: Option<&str>) -> Duration {
        let timeout = self.duration(key, raw, Duration::from_secs(30));
        if timeout.is_zero() {
            self.problem(format!("{key} is no time at all, in which nothing can be done: name one such as \"30s\""));
        }
        timeout
    }

    /// A program and its arguments: nobody takes one string apart.
    fn command(&mut self, key: &str, argv: &[String]) -> Vec<String> {
        match argv {
            [] => self.problem(format!("{key} is empty")),
            [whole] if whole.contains(char::is_whitespace) => self.problem(format!(
                "{key}: {whole:?} is one string, and no shell takes it apart: write a list, or [\"sh\", \"-c\", {whole:?}] for a shell"
            )),
            _ => {}
        }
        argv.to_vec()
    }

    fn endpoint(&mut self, key: &str, text: &str) -> Option<Endpoint> {
        let endpoint = Endpoint::parse(text).and_then(|endpoint| match &endpoint {
            Endpoint::Url(url) if url.scheme() == "http" && !is_loopback(url) => {
                Err(format!("({endpoint}) must be on this machine, or https: else whoever stands between could answer"))
            }
            _ => Ok(endpoint),
        });
        // It may hold a password, so it is not quoted.
        endpoint.map_err(|why| self.problem(format!("{key} {why}"))).ok()
    }

    fn proof(&mut self, key: &str, kind: Kind, marker: bool, raw: &RawProof) -> Option<ProofMethods> {
        let wire = raw.wire(key).unwrap_or_else(|why| {
            self.problem(why);
            None
        });
        let wire = wire.map(|wire| self.wire(key, kind, marker, &wire)).filter(|wire| !wire.connect.is_empty());
        let command = raw.command.as_ref().map(|List(argv)| self.command(&format!("{key}.command"), argv));
        let envoy = raw.envoy.as_ref().and_then(|text| self.endpoint(&format!("{key}.envoy"), text));
        let envoy = envoy.map(|admin| EnvoyProof { admin, marker });
        let http = raw.http.as_ref().and_then(|text| self.endpoint(&format!("{key}.http"), text));
        let haproxy = raw.haproxy.as_ref().map(|socket| self.base.join(socket));
        let is_asked = command.is_some() || raw.http.is_some() || raw.envoy.is_some() || haproxy.is_some();
        if wire.is_none() && !is_asked {
            self.problem(format!(
                "{key} names no way to look: connect, the addresses where the server listens, such as [\"127.0.0.1:443\"]; command or \
                 http, where it says which generation it has loaded; haproxy, the runtime socket of a HAProxy"
            ));
            return None;
        }
        Some(ProofMethods {
            wire,
            command,
            http,
            envoy,
            haproxy,
            settle: self.duration(&format!("{key}.settle"), raw.settle.as_deref(), kind.settle()),
            timeout: self.timeout(&format!("{key}.timeout"), raw.timeout.as_deref()),
        })
    }

    fn wire(&mut self, key: &str, kind: Kind, marker: bool, raw: &RawWire<'_>) -> WireProof {
        for address in raw.connect {
            let fits =
                address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !fits {
                self.problem(format!("{key}.connect: {address:?} is no host:port"));
            }
        }
        let generation = match raw.generation {
            None => kind.evidence(),
            Some("header") => GenerationEvidence::Header,
            Some("none") => GenerationEvidence::None,
            Some(other) => {
                self.problem(format!("{key}.generation: {other:?} is neither \"header\" nor \"none\""));
                GenerationEvidence::None
            }
        };
        let path = raw.path.unwrap_or("/").to_owned();
        if !path.starts_with('/') || path.chars().any(|each| !each.is_ascii_graphic()) {
            self.problem(format!("{key}.path must begin with / and have no spaces"));
        }
        if let Some(name) = raw.server_name.filter(|name| name.chars().any(|each| !each.is_ascii_graphic())) {
            self.problem(format!("{key}.server_name: {name:?} is no host name"));
        }
        let proxy_protocol = match raw.proxy_protocol {
            None => None,
            Some("v1") => Some(ProxyProtocol::V1),
            Some("v2") => Some(ProxyProtocol::V2),
            Some(other) => {
                self.problem(format!("{key}.proxy_protocol: {other:?} is neither \"v1\" nor \"v2\""));
                None
            }
        };
        let (connect, server_name) = (raw.connect.to_vec(), raw.server_name.map(str::to_owned));
        WireProof { connect, server_name, generation, marker, path, proxy_protocol }
    }

    fn outputs(&mut self, key: &str, kind: Kind, raw: Option<&List>) -> BTreeSet<Output> {
        let mut outputs: BTreeSet<Output> = kind.output().into_iter().collect();
        for name in raw.iter().flat_map(|List(names)| names) {
            match self.kinds.outputs().find(|output| output.name() == name) {
                Some(output) => drop(outputs.insert(output)),
                None => {
                    let known = self.kinds.outputs().map(|output| output.name()).collect::<Vec<_>>().join(", ");
                    self.problem(format!("{key}: {name:?} is no family of files; known are {known}"));
                }
            }
        }
        outputs
    }

    fn pinning(&mut self, key: &str, raw: Option<&str>) -> Pinning {
        match raw {
            None | Some("here") => Pinning::Here,
            Some("elsewhere") => Pinning::Elsewhere,
            Some(other) => {
                self.problem(format!("{key}: {other:?} is neither \"here\" nor \"elsewhere\""));
                Pinning::default()
            }
        }
    }

    /// DigiCert signs strangers too: who can only trust an authority would admit them.
    pub(super) fn pinned(&mut self, store: &Store, sources: &BTreeMap<String, Source>) {
        let public = store
            .sources
            .iter()
            .filter_map(|name| sources.get(name))
            .find(|source| source.authorities.contains(&Authority::DigiCert));
        let Some(source) = public else { return };
        let open = |target: &&Target| target.kind.admits_by_authority_alone() && target.pinning == Pinning::Here;
        for target in store.targets.iter().filter(open) {
            self.problem(format!(
                "target.{name} is of the kind {kind:?}, which admits whoever the authority has signed, and source.{source} takes \
                 certificates of DigiCert, which signs strangers too. If another layer admits the pinned leaves alone (a proxy \
                 behind it, the application by {file}), say so by target.{name}.pinning = \"elsewhere\"; else use a server that \
                 can pin, or a source with authorities = [\"Genesys\"]",
                name = target.name,
                kind = target.kind.name(),
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

    /// What root's half writes and runs must be out of the daemon's reach.
    pub(super) fn privileged(&mut self, store: &Store) {
        let (path, privileged_path) = (&store.path, &store.privileged_path);
        for target in store.targets.iter().filter(|target| target.privileged) {
            let name = &target.name;
            if privileged_path.starts_with(path) || path.starts_with(privileged_path) {
                self.problem(format!(
                    "target.{name} is privileged, but store.{}.privileged_path ({}) and the store ({}) stand in each other: the \
                     files of a privileged target are root's alone, the store is the daemon's",
                    store.name,
                    privileged_path.display(),
                    path.display()
                ));
            }
            if RESERVED.contains(&name.as_str()) {
                self.problem(format!(
                    "target.{name} is privileged, but {name} is a folder of the privileged half: choose another name"
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
                    Reload::Signal { to: Addressee::Pidfile { pidfile, .. }, .. } if pidfile.starts_with(path) => self.problem(format!(
                        "target.{name}.reload.pidfile stands in the store, which is the daemon's: root would signal whom the daemon names"
                    )),
                    Reload::Haproxy { socket, .. } | Reload::Watched { master: socket, .. } if socket.starts_with(path) => self.problem(format!(
                        "target.{name}.reload: {} stands in the store, which is the daemon's: root would believe the daemon's answers",
                        socket.display()
                    )),
                    _ => {}
                }
            }
        }
    }
}
