//! What a family of files must provide: how it is rendered, how it is read back, what it cannot express. The families
//! are in the folders of the servers that read them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use crate::trust::event::finding::Finding;
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::set::{Denial, TrustSet};
use crate::trust::records::manifest::Manifest;
use crate::trust::values::timestamp::Timestamp;

/// The files of a generation, by their paths in it.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a generation is called.
#[derive(Debug, Clone)]
pub struct Label<'a> {
    /// The store's id, drawn at its birth.
    pub store: &'a str,
    /// The generation's number.
    pub generation: u64,
    /// When it is committed.
    pub committed: Timestamp,
    /// Why it is made: `cycle`, `rollback to generation 41`.
    pub cause: &'a str,
    /// The generation marker, which servers advertise and no one can present.
    pub marker: &'a Certificate,
}

/// What was found in a file, and what is meant instead.
pub type Odd = (String, String);

/// A family of files that some kind of server reads, besides those that every generation has.
pub trait Family: Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Its files, by their paths in the generation.
    fn files(&self, set: &TrustSet, label: &Label<'_>) -> Files;

    /// Reads one file back by a parser of its own and counts; `None` if this family has no file of this path.
    fn read_back(&self, path: &str, bytes: &[u8], manifest: &Manifest) -> Option<Result<(), Odd>>;

    /// What its files say of a set and the set's own digest leaves out.
    fn besides(&self, _set: &TrustSet) -> Option<String> {
        None
    }

    /// Whether its files can name this denied certificate, by a digest that is known.
    fn can_name(&self, _denial: &Denial) -> bool {
        true
    }

    /// What its format cannot express of this generation; `read` gives a file as it stands beneath the target's link.
    fn limits(&self, _target: &str, _manifest: &Manifest, _read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<Finding> {
        Vec::new()
    }

    /// Why it cannot serve where the configuration puts it.
    fn problems(&self, _place: &Place<'_>) -> Vec<String> {
        Vec::new()
    }
}

/// Where the configuration puts a family.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The target's name.
    pub target: &'a str,
    /// Whether its files are rendered by the privileged helper.
    pub privileged: bool,
    /// The name of the target's store.
    pub store: &'a str,
    /// A source of the store that takes certificates of DigiCert.
    pub digicert: Option<&'a str>,
    /// One that takes certificates of Genesys.
    pub genesys: Option<&'a str>,
}

/// A family that a target asks for. Two are the same if they have the same name.
pub type Output = &'static dyn Family;

impl fmt::Debug for dyn Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for dyn Family {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Family {}

impl PartialOrd for dyn Family {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Family {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }
}
