//! The ways that a table of the configuration names. A table is written flat, so that the environment can be laid over the
//! file key by key; here it becomes one way, or a sentence on each key that this way does not have.

use std::path::Path;

use super::raw::{List, RawProof, RawReload, RawReloadTable};

/// A way to tell a server, as written.
pub enum RawWay<'a> {
    /// A signal; where none is written, the preset's.
    Signal { signal: Option<&'a str>, to: RawAddressee<'a> },
    /// `systemctl reload` of this unit.
    Systemd(&'a str),
    /// A command.
    Command(&'a [String]),
    /// `POST` to this URL.
    Http(&'a str),
    /// HAProxy's runtime socket, and what is done where it fails.
    RuntimeSocket { socket: &'a Path, fallback: Option<&'a RawReload> },
}

/// The process that gets a signal, as written.
pub enum RawAddressee<'a> {
    /// Nothing is written: the preset's.
    Preset,
    /// The process that a pidfile names.
    Pidfile { pidfile: &'a Path, process: Option<&'a str> },
    /// The one process of this name.
    Process(&'a str),
    /// The main process of this systemd unit.
    Unit(&'a str),
}

/// A look by handshake, as written.
pub struct RawWire<'a> {
    pub connect: &'a [String],
    pub server_name: Option<&'a str>,
    pub generation: Option<&'a str>,
    pub path: Option<&'a str>,
    pub proxy_protocol: Option<&'a str>,
}

impl RawReloadTable {
    /// The one way that the table `key` names, or what is wrong with it.
    pub fn way(&self, key: &str) -> Result<RawWay<'_>, String> {
        let ways = written([
            ("signal", self.signal.is_some()),
            ("systemd", self.systemd.is_some()),
            ("command", self.command.is_some()),
            ("http", self.http.is_some()),
            ("haproxy", self.haproxy.is_some()),
        ]);
        if ways.len() > 1 {
            return Err(format!("{key} names several ways: one of signal, systemd, command, http, haproxy"));
        }
        if self.fallback.is_some() && self.haproxy.is_none() {
            return Err(format!("{key}.fallback is what is done where {key}.haproxy fails, which is not set"));
        }
        let to = written([
            ("pidfile", self.pidfile.is_some()),
            ("process", self.process.is_some()),
            ("unit", self.unit.is_some()),
        ]);
        match ways.first() {
            Some(way) if *way != "signal" && !to.is_empty() => {
                let instead = if *way == "haproxy" { ", or into the reload of fallback" } else { "" };
                Err(format!(
                    "{key}.{way} sends no signal, so {} says nothing here: leave it out{instead}",
                    to.join(" and ")
                ))
            }
            _ => self.named(key),
        }
    }

    fn named(&self, key: &str) -> Result<RawWay<'_>, String> {
        if let Some(unit) = &self.systemd {
            return Ok(RawWay::Systemd(unit));
        }
        if let Some(List(argv)) = &self.command {
            return Ok(RawWay::Command(argv));
        }
        if let Some(url) = &self.http {
            return Ok(RawWay::Http(url));
        }
        if let Some(socket) = &self.haproxy {
            return Ok(RawWay::RuntimeSocket { socket, fallback: self.fallback.as_deref() });
        }
        let to = match (&self.unit, &self.pidfile, &self.process) {
            (Some(unit), None, None) => RawAddressee::Unit(unit),
            (Some(_), ..) => {
                return Err(format!("{key}.unit names the process already: leave pidfile and process out"));
            }
            (None, Some(pidfile), process) => RawAddressee::Pidfile { pidfile, process: process.as_deref() },
            (None, None, Some(process)) => RawAddressee::Process(process),
            (None, None, None) => RawAddressee::Preset,
        };
        Ok(RawWay::Signal { signal: self.signal.as_deref(), to })
    }
}

impl RawProof {
    /// The look by handshake, if the table `key` names one, or what is wrong with it.
    pub fn wire(&self, key: &str) -> Result<Option<RawWire<'_>>, String> {
        if let Some(List(connect)) = &self.connect {
            return Ok(Some(RawWire {
                connect,
                server_name: self.server_name.as_deref(),
                generation: self.generation.as_deref(),
                path: self.path.as_deref(),
                proxy_protocol: self.proxy_protocol.as_deref(),
            }));
        }
        let foreign = written([
            ("server_name", self.server_name.is_some()),
            ("generation", self.generation.is_some()),
            ("path", self.path.is_some()),
            ("proxy_protocol", self.proxy_protocol.is_some()),
        ]);
        if foreign.is_empty() {
            return Ok(None);
        }
        Err(format!(
            "{key}.connect is not set, and {} says nothing without it: only a look by handshake has it. Add connect, or leave it out",
            foreign.join(" and ")
        ))
    }
}

fn written<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
}
