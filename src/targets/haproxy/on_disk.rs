//! A target's files as HAProxy reads them: by the paths that its configuration names.
//!
//! It is not known which program answers on HAProxy's socket: anyone who may write in its folder may have put another
//! there. So its answer chooses among the files that the generation's manifest lists, and nothing else is ever read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::render::GENERATION_ENTRY;
use crate::store::{contents, generation};
use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::pem;

/// No file of a generation is larger.
const LARGEST: u64 = 32 * 1024 * 1024;

/// The files of the generation that a target's link names.
#[derive(Debug, Clone)]
pub struct OnDisk {
    generations: PathBuf,
    number: u64,
    /// The paths that its manifest lists: these alone are read.
    files: BTreeSet<String>,
    /// How the configuration may name the link: as we do, and with its folder resolved.
    names: Vec<String>,
}

impl OnDisk {
    /// The files that `link` leads to.
    pub fn of(link: &Path) -> io::Result<Self> {
        let foreign = || io::Error::other(format!("{} names no generation", link.display()));
        let (folder, name) = link.parent().zip(link.file_name()).ok_or_else(foreign)?;
        let leads_to = folder.join(fs::read_link(link)?);
        let number = leads_to.file_name().and_then(|name| generation::number(name.to_str()?)).ok_or_else(foreign)?;
        let generations = leads_to.parent().ok_or_else(foreign)?.to_owned();
        let manifest =
            contents::manifest_in(&generations, number).map_err(|error| io::Error::other(error.to_string()))?;
        let files = manifest.ok_or_else(foreign)?.files.into_keys().collect();
        let mut names = vec![link.to_string_lossy().into_owned()];
        names.extend(folder.canonicalize().ok().map(|folder| folder.join(name).to_string_lossy().into_owned()));
        names.dedup();
        Ok(Self { generations, number, files, names })
    }

    /// The path within the folder of what HAProxy calls `name`, if that is one of ours: `haproxy/pins.list`.
    #[must_use]
    pub fn path_of(&self, name: &str) -> Option<&str> {
        let of = |folder: &String| name.strip_prefix(folder.as_str())?.strip_prefix('/');
        let path = self.names.iter().find_map(of)?.trim_start_matches('/');
        self.files.get(path).map(String::as_str)
    }

    /// Its entries, as HAProxy reads a list or a map.
    pub fn entries(&self, path: &str) -> io::Result<Vec<String>> {
        let text = self.text(path)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(lines.map(str::to_owned).collect())
    }

    /// Its text, if the manifest lists it.
    pub fn text(&self, path: &str) -> io::Result<String> {
        if !self.files.contains(path) {
            return Err(io::Error::new(ErrorKind::NotFound, "the generation's manifest lists no such file"));
        }
        let bytes = generation::read_file(&self.generations, self.number, path, LARGEST)
            .map_err(|error| io::Error::other(error.to_string()))?
            .ok_or(ErrorKind::NotFound)?;
        String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }

    /// The SHA-1 of each of its certificates, in order.
    pub fn certificates(&self, path: &str) -> io::Result<Vec<String>> {
        let mut certificates = Vec::new();
        for block in pem::scan(&self.text(path)?) {
            let der = block.bytes.map_err(|error| io::Error::other(error.to_string()))?;
            let certificate = Certificate::parse(&der).map_err(|error| io::Error::other(error.to_string()))?;
            certificates.push(certificate.facts().sha1.clone());
        }
        certificates.sort();
        Ok(certificates)
    }
}

/// The generation and the store that a list's own entry names.
#[must_use]
pub fn generation_of(entries: &[String]) -> Option<(u64, &str)> {
    entries.iter().find_map(|entry| {
        let own = entry.strip_prefix('^').and_then(|entry| entry.strip_suffix('$')).unwrap_or(entry);
        let (number, store) = own.strip_prefix(GENERATION_ENTRY)?.split_once(" of store ")?;
        Some((number.parse().ok()?, store))
    })
}
