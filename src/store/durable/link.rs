//! The links that readers follow: `current`, and one a target. Each is switched by one rename.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::{file, generation};

/// The link for readers that are not a target.
pub const CURRENT: &str = "current";

/// The folder of the targets' links.
pub const TARGETS: &str = "target";

/// The folders that stand beside the links of privileged targets, so that no target can have such a name.
pub const PRIVILEGED_FOLDERS: [&str; 5] = [generation::DIRECTORY, REQUESTS, CONSUMED, OUTCOMES, STATE];

/// Where the daemon asks the privileged helper.
pub const REQUESTS: &str = "requests";
/// Where the helper puts the requests that it takes.
pub const CONSUMED: &str = "consumed";
/// Where the helper answers.
pub const OUTCOMES: &str = "outcomes";
/// Where the helper keeps its state and its locks.
pub const STATE: &str = "state";

/// One link of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPath {
    /// The folder of the generations that it may name.
    generations: PathBuf,
    path: PathBuf,
    /// How it names that folder.
    prefix: String,
}

/// What a link says. It is read as a number and never followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Nothing stands at its path.
    Missing,
    /// It names this generation, in our own form.
    Generation(u64),
    /// It was not made by us: where it points, or what stands in its place.
    Foreign(String),
}

impl Link {
    /// The generation that it names, if it is ours.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        match self {
            Self::Generation(number) => Some(*number),
            Self::Missing | Self::Foreign(_) => None,
        }
    }
}

impl LinkPath {
    /// `<root>/current`.
    #[must_use]
    pub fn current(root: &Path) -> Self {
        let generations = root.join(generation::DIRECTORY);
        Self { generations, path: root.join(CURRENT), prefix: "generations/".to_owned() }
    }

    /// `<root>/target/<name>`.
    pub fn target(root: &Path, name: &str) -> Result<Self, StoreError> {
        check_name(name)?;
        let generations = root.join(generation::DIRECTORY);
        Ok(Self { generations, path: root.join(TARGETS).join(name), prefix: "../generations/".to_owned() })
    }

    /// `<root>/<name>`, where each target has generations of its own.
    pub fn privileged(root: &Path, name: &str) -> Result<Self, StoreError> {
        check_name(name)?;
        if PRIVILEGED_FOLDERS.contains(&name) {
            let why = "a folder of the privileged helper has it";
            return Err(StoreError::BadName { name: name.to_owned(), what: "target's name", why });
        }
        let generations = root.join(generation::DIRECTORY).join(name);
        Ok(Self { generations, path: root.join(name), prefix: format!("generations/{name}/") })
    }

    /// Where the link stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where generation `number` stands, if it does.
    #[must_use]
    pub fn generation(&self, number: u64) -> PathBuf {
        self.generations.join(generation::name(number))
    }

    /// What the link says now.
    pub fn read(&self) -> Result<Link, StoreError> {
        let Some(found) = file::look_up(&self.path)? else { return Ok(Link::Missing) };
        if !found.is_symlink() {
            return Ok(Link::Foreign(format!("({})", file::kind(&found))));
        }
        let target = fs::read_link(&self.path).map_err(|error| StoreError::io("read the link", &self.path, error))?;
        let number = target.to_str().and_then(|text| text.strip_prefix(&*self.prefix)).and_then(generation::number);
        Ok(number.map_or_else(|| Link::Foreign(target.display().to_string()), Link::Generation))
    }

    /// Lets the link name generation `number`, durably. A symlink that we did not make is replaced (the caller has
    /// read it first, and reported it); a file or directory in its place is an error.
    pub fn switch(&self, number: u64) -> Result<(), StoreError> {
        let generation = self.generation(number);
        if !fs::symlink_metadata(&generation).is_ok_and(|found| found.is_dir()) {
            let what = "names no generation, so no link was moved to it; readers see what they saw".to_owned();
            return Err(StoreError::Unfit { path: generation, what });
        }
        if let Ok(found) = fs::symlink_metadata(&self.path)
            && !found.is_symlink()
        {
            let found = format!("is {}, where our own link belongs", file::kind(&found));
            return Err(StoreError::foreign(&self.path, &found));
        }
        let temporary = file::free_temporary(&self.path)?;
        symlink(format!("{}{}", self.prefix, generation::name(number)), &temporary)
            .map_err(|error| StoreError::io("create the link", &temporary, error))?;
        file::rename(&temporary, &self.path).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        file::sync_directory(file::parent(&self.path))
    }
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let refused = |why| Err(StoreError::BadName { name: name.chars().take(80).collect(), what: "target's name", why });
    if name.is_empty() || name.len() > 64 {
        return refused("it must have 1 to 64 letters");
    }
    if name.starts_with(['.', '-']) {
        return refused("it begins with a dot or a dash");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return refused("only letters, digits and . _ - may stand in it");
    }
    Ok(())
}

/// Every target's link, by the target's name.
pub fn targets(root: &Path) -> Result<BTreeMap<String, Link>, StoreError> {
    let mut found = BTreeMap::new();
    for (name, _) in generation::entries(&root.join(TARGETS))? {
        if let Ok(link) = LinkPath::target(root, &name) {
            found.insert(name, link.read()?);
        }
    }
    Ok(found)
}

/// The generations that any symlink here names, in whatever form: what a link that is not ours seems to name is spared.
pub(super) fn naming(root: &Path) -> Result<BTreeMap<u64, PathBuf>, StoreError> {
    let mut named = BTreeMap::new();
    for directory in [root.to_owned(), root.join(TARGETS)] {
        for (name, kind) in generation::entries(&directory)? {
            // No reader knows a leftover, whatever it names.
            if !kind.is_symlink() || file::is_temporary(&name) {
                continue;
            }
            let link = directory.join(name);
            let target = fs::read_link(&link).map_err(|error| StoreError::io("read the link", &link, error))?;
            for part in target.iter().filter_map(|part| part.to_str()) {
                if let Some(number) = generation::number(part) {
                    named.insert(number, link.clone());
                }
            }
        }
    }
    Ok(named)
}
