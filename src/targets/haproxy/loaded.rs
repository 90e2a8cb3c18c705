//! What a running HAProxy has loaded of a target's files, as its runtime socket shows it.

use std::path::Path;

use super::on_disk::OnDisk;
use super::socket::{HaproxyError, argument, ask, ask_in_turn};

/// The two forms of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A list of entries.
    Acl,
    /// A list of keys, each with a value.
    Map,
}

impl Form {
    /// As commands name it.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Map => "map",
        }
    }
}

/// A list or a map that HAProxy has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Which decides how commands name it.
    pub form: Form,
    /// By which a command names it: `#3`.
    pub id: String,
    /// Its path within the target's folder.
    pub path: String,
}

/// A CA file that HAProxy has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaFile {
    /// By which a command names it: its path, as the configuration has it.
    pub name: String,
    /// Its path within the target's folder.
    pub path: String,
}

/// All that is loaded of a target's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The lists, in the order of their numbers, acls before maps.
    pub lists: Vec<List>,
    /// In the order in which HAProxy names them.
    pub ca_files: Vec<CaFile>,
}

impl Loaded {
    /// Asks HAProxy by its runtime socket.
    pub async fn of(socket: &Path, disk: &OnDisk) -> Result<Self, HaproxyError> {
        let mut loaded = Self::default();
        for form in [Form::Acl, Form::Map] {
            let shown = ask(socket, &format!("show {}", form.keyword()), None).await?;
            loaded.lists.extend(shown.lines().filter_map(|line| list(form, line, disk)));
        }
        let shown = ask_in_turn(socket, "show ssl ca-file", None).await?;
        loaded.ca_files.extend(shown.lines().filter_map(|line| ca_file(line, disk)));
        Ok(loaded)
    }

    /// Whether HAProxy has loaded none of our files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.ca_files.is_empty()
    }
}

/// `3 (/path/pins.list) pattern loaded from file '/path/pins.list' used by acl at ...`
fn list(form: Form, line: &str, disk: &OnDisk) -> Option<List> {
    let (id, rest) = line.split_once(" (")?;
    let (name, _) = rest.split_once(") pattern loaded from file ")?;
    let path = disk.path_of(name)?.to_owned();
    id.bytes().all(|byte| byte.is_ascii_digit()).then(|| List { form, id: format!("#{id}"), path })
}

/// `/path/trust-bundle.pem - 3 certificate(s)`; one that begins with `*` is of a transaction and not in force.
fn ca_file(line: &str, disk: &OnDisk) -> Option<CaFile> {
    let (name, _) = line.rsplit_once(" - ")?;
    let path = disk.path_of(name)?.to_owned();
    Some(CaFile { name: name.to_owned(), path })
}

/// The entries of a list in force, or of one of its versions, in order.
pub async fn entries(socket: &Path, list: &List, version: Option<&str>) -> Result<Vec<String>, HaproxyError> {
    let at = version.map(|version| format!("@{version} ")).unwrap_or_default();
    let shown = ask(socket, &format!("show {} {at}{}", list.form.keyword(), list.id), None).await?;
    // An address comes before each entry.
    Ok(shown
        .lines()
        .filter_map(|line| line.strip_prefix("0x")?.split_once(' '))
        .map(|(_, entry)| entry.to_owned())
        .collect())
}

/// What a CA file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The SHA-1 of each, sorted.
    pub fingerprints: Vec<String>,
    /// The subject of each, in order.
    pub subjects: Vec<String>,
}

/// The certificates of a CA file in force.
pub async fn certificates(socket: &Path, name: &str) -> Result<Certificates, HaproxyError> {
    let shown = ask_in_turn(socket, &format!("show ssl ca-file {}", argument(name)), None).await?;
    let of = |what: &'static str| {
        shown.lines().filter_map(move |line| line.strip_prefix(what)).map(|value| value.trim().to_owned())
    };
    let mut fingerprints: Vec<String> = of("SHA1 FingerPrint: ").map(|sha1| sha1.to_ascii_lowercase()).collect();
    fingerprints.sort();
    Ok(Certificates { fingerprints, subjects: of("Subject: ").collect() })
}
