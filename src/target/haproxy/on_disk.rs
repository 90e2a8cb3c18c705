//! A target's files as HAProxy reads them: by the paths that its configuration names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::trust::certificate::Certificate;
use crate::trust::pem;
use crate::trust::render::haproxy::GENERATION_ENTRY;

/// The folder of a target's files, which is its link.
#[derive(Debug, Clone)]
pub struct OnDisk {
    link: PathBuf,
    /// How the configuration may name it: as we do, and with its folder resolved.
    names: Vec<String>,
}

impl OnDisk {
    /// The files that `link` leads to.
    #[must_use]
    pub fn of(link: &Path) -> Self {
        let mut names = vec![link.to_string_lossy().into_owned()];
        if let (Some(folder), Some(name)) =
            (link.parent().and_then(|folder| folder.canonicalize().ok()), link.file_name())
        {
            names.push(folder.join(name).to_string_lossy().into_owned());
        }
        names.dedup();
        Self { link: link.to_owned(), names }
    }

    /// The path within the folder of what HAProxy calls `name`, if that is one of ours: `haproxy/pins.list`.
    #[must_use]
    pub fn path_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let of = |folder: &String| name.strip_prefix(folder.as_str())?.strip_prefix('/');
        self.names.iter().find_map(of).map(|path| path.trim_start_matches('/'))
    }

    /// Its entries, as HAProxy reads a list or a map.
    pub fn entries(&self, path: &str) -> io::Result<Vec<String>> {
        let text = fs::read_to_string(self.link.join(path))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(lines.map(str::to_owned).collect())
    }

    /// Its text.
    pub fn text(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.link.join(path))
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

    /// Whether there is such a file.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.link.join(path).is_file()
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
