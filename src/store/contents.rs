//! What a store holds, as recorded on disk: its state, and the generation that `current` names. Recorded is not verified;
//! lost or corrupt is not empty.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::store::{Link, LinkPath, StoreError, file, generation, link};
use crate::trust::certificate::Certificate;
use crate::trust::event::Event;
use crate::trust::finding::Finding;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::manifest::{Manifest, RecordError};
use crate::trust::pem;
use crate::trust::set::{SlotId, TrustSet};
use crate::trust::state::State;
use crate::trust::subject::Subject;

/// The state's file.
pub const STATE: &str = "state.json";

/// The evidence's file.
pub const EVIDENCE: &str = "evidence.jsonl";

/// The largest file of a generation, and the largest state, that is read back.
const LARGEST: u64 = 32 * 1024 * 1024;

/// What a store holds.
#[derive(Debug, Clone)]
pub struct Contents {
    /// Its state, rebuilt where it was lost.
    pub state: State,
    /// The newest generation, where one was committed.
    pub manifest: Option<Manifest>,
    /// The trust set of that generation.
    pub set: TrustSet,
    /// What was found wrong on the way.
    pub findings: Vec<Finding>,
    /// Whether what is published is not as it was written: a new generation repairs it.
    pub drifted: bool,
    /// Slots of which a certificate stands nowhere on disk any more. Only a clean answer can tell what becomes of it.
    pub lost: BTreeSet<SlotId>,
    /// The newest generation that was ever committed; a later one on disk was written by somebody who died before that.
    /// `None` where nobody can tell.
    pub newest_committed: Option<u64>,
    /// Whether the state on disk is as it was read, and knows of the newest generation.
    pub state_is_current: bool,
}

impl Contents {
    /// Of a store that does not exist yet.
    #[must_use]
    pub fn unborn() -> Self {
        Self {
            state: State::born(String::new()),
            manifest: None,
            set: TrustSet::default(),
            findings: Vec::new(),
            drifted: false,
            lost: BTreeSet::new(),
            newest_committed: None,
            state_is_current: false,
        }
    }
}

impl Contents {
    /// Goes on with a state that is newer than the one on disk.
    pub fn resume(&mut self, mut state: State) {
        if let Some(manifest) = &self.manifest {
            state.follow(manifest);
        }
        state.generation = state.generation.max(self.state.generation);
        self.state = state;
        self.state_is_current = false;
    }
}

/// The store cannot be used at all. What is published stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The disk said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state is of a newer trustsync.
    #[error("{path} {source}. Nothing was changed; what is published stays.")]
    State {
        /// The file.
        path: String,
        /// Why.
        source: RecordError,
    },
    /// A manifest is of a newer trustsync.
    #[error("{path} {source}. Nothing was changed; what is published stays.")]
    Manifest {
        /// The file.
        path: String,
        /// Why.
        source: RecordError,
    },
}

/// Reads the store of this name at `root`. `birth` gives the id of a store that has none yet.
pub fn read(root: &Path, name: &str, birth: impl FnOnce() -> String) -> Result<Contents, ContentsError> {
    let mut findings = Vec::new();
    let subject = || Subject::store(name);
    let links = Links::read(root)?;
    let mut drifted = false;
    if let Some(what) = &links.foreign {
        drifted = true;
        findings.push(Finding::new(
            Event::StoreDrift,
            subject(),
            format!("{what} It was not made by trustsync, is not followed, and is replaced."),
        ));
    }

    let manifest = newest_intact(root, name, &links, &mut findings)?;
    let found = match file::read(&root.join(STATE), LARGEST)? {
        None => None,
        Some(bytes) => match State::read(&bytes) {
            Ok(state) => Some(Ok(state)),
            Err(error @ RecordError::Newer { .. }) => {
                return Err(ContentsError::State { path: root.join(STATE).display().to_string(), source: error });
            }
            Err(error) => Some(Err(error)),
        },
    };
    let virgin = manifest.is_none() && links.named.is_empty() && generation::list(root)?.is_empty();
    let intact = matches!(found, Some(Ok(_)));
    let mut state = match found {
        Some(Ok(state)) => state,
        lost => {
            let store = manifest.as_ref().map_or_else(birth, |manifest| manifest.store.clone());
            let corrupt = lost.is_some();
            let what = match lost {
                Some(Err(error)) => format!("{STATE} {error}."),
                _ => format!("{STATE} is missing."),
            };
            match &manifest {
                Some(manifest) => findings.push(Finding::new(
                    Event::StateLost,
                    subject(),
                    format!(
                        "{what} It was rebuilt from the manifest of generation {:06}: what is trusted stays, answers \
                         are counted anew. If nobody removed it, look at the disk.",
                        manifest.generation
                    ),
                )),
                None if !virgin || corrupt => findings.push(Finding::new(
                    Event::StateLost,
                    subject(),
                    format!(
                        "{what} No intact manifest is named by a link either: the store begins anew, and only adds. \
                         What links name stays until then."
                    ),
                )),
                None => {}
            }
            State::born(store)
        }
    };
    let state_is_current = intact && manifest.as_ref().is_none_or(|manifest| manifest.generation <= state.generation);
    if let Some(manifest) = &manifest {
        state.follow(manifest);
    }
    state.generation = state.generation.max(links.named.iter().max().copied().unwrap_or(0));
    if links.current.is_none() && links.foreign.is_none() && state.generation > 0 {
        let text = "The link current is missing, though generations were published. A new one repairs it.";
        findings.push(Finding::new(Event::StoreDrift, subject(), text));
    }

    let mut certificates = BTreeMap::new();
    if let Some(manifest) = &manifest {
        let damaged = differences(root, manifest);
        if damaged.is_empty() {
            state.unfaithful = None;
        } else if state.unfaithful == Some(manifest.generation) {
            findings.push(unfaithful(name, manifest, &damaged));
        } else {
            drifted = true;
            let text = format!(
                "Generation {:06} is not as it was written: {}. A new generation repairs it.",
                manifest.generation,
                damaged.join(", ")
            );
            findings.push(Finding::new(Event::StoreDrift, subject(), text));
        }
        certificates = certificates_of(root, manifest.generation)?;
        drifted |= links.current != Some(manifest.generation);
    }
    find_elsewhere(root, &state, &mut certificates)?;
    let lost = forget_lost(&mut state, &certificates);
    if !lost.is_empty() {
        let heads: BTreeSet<String> = lost.values().flatten().map(Fingerprint::short).collect();
        findings.push(Finding::new(
            Event::CertificateLost,
            subject(),
            format!(
                "The store's records name certificates that stand in no generation on disk: {}. They can be trusted \
                 again only when the vendor lists them; what is published stays until it has answered.",
                heads.into_iter().collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    let set = match &manifest {
        Some(manifest) => manifest.set(&certificates),
        // The generation is lost, its certificates are not: what was trusted stays.
        None => state.planner.set(&certificates),
    };
    let newest_committed = (intact || manifest.is_some()).then_some(state.generation);
    let lost = lost.into_keys().collect();
    Ok(Contents { state, manifest, set, findings, drifted, lost, newest_committed, state_is_current })
}

/// Every link of a store, read as numbers.
struct Links {
    current: Option<u64>,
    named: BTreeSet<u64>,
    foreign: Option<String>,
}

impl Links {
    fn read(root: &Path) -> Result<Self, StoreError> {
        let mut foreign = None;
        let current = match LinkPath::current(root).read()? {
            Link::Missing => None,
            Link::Generation(number) => Some(number),
            Link::Foreign(target) => {
                foreign = Some(format!("The link {} is {target:?}.", link::CURRENT));
                None
            }
        };
        let targets = link::targets(root)?;
        let named = targets.values().filter_map(|link| match link {
            Link::Generation(number) => Some(*number),
            _ => None,
        });
        Ok(Self { current, named: named.chain(current).collect(), foreign })
    }
}

/// The manifest of `current`; where that one is damaged, the newest intact one that any link names.
fn newest_intact(
    root: &Path,
    name: &str,
    links: &Links,
    findings: &mut Vec<Finding>,
) -> Result<Option<Manifest>, ContentsError> {
    let others = links.named.iter().rev().filter(|number| Some(**number) != links.current);
    for number in links.current.iter().chain(others) {
        match manifest_of(root, *number) {
            Ok(Some(manifest)) => return Ok(Some(manifest)),
            Ok(None) => findings.push(damaged_manifest(name, *number, "is missing.")),
            Err(ContentsError::Manifest { source: RecordError::Corrupt(why), .. }) => {
                findings.push(damaged_manifest(name, *number, &format!("is damaged: {why}.")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn damaged_manifest(name: &str, number: u64, what: &str) -> Finding {
    Finding::new(
        Event::ManifestDamaged,
        Subject::store(name),
        format!("The manifest of generation {number:06} {what} The next intact one that a link names is used."),
    )
}

/// A generation is not what was written, and was not from the first moment: another one would be no better.
#[must_use]
pub fn unfaithful(name: &str, manifest: &Manifest, differences: &[String]) -> Finding {
    let text = format!(
        "Generation {:06} is not as it was written, and was not from the first moment: {}. It is not written again. Does \
         the filesystem keep modes, or does somebody change what appears there?",
        manifest.generation,
        differences.join(", ")
    );
    Finding::new(Event::StoreUnfaithful, Subject::store(name), text)
}

/// The manifest of a generation; `None` where there is none.
pub fn manifest_of(root: &Path, number: u64) -> Result<Option<Manifest>, ContentsError> {
    manifest_in(&root.join(generation::DIRECTORY), number)
}

/// As [`manifest_of`], of a folder of generations.
pub fn manifest_in(generations: &Path, number: u64) -> Result<Option<Manifest>, ContentsError> {
    let Some(bytes) = generation::read_file_in(generations, number, "manifest.json", LARGEST)? else { return Ok(None) };
    Manifest::read(&bytes).map(Some).map_err(|source| ContentsError::Manifest {
        path: generations.join(generation::name(number)).join("manifest.json").display().to_string(),
        source,
    })
}

/// What differs, in a generation, from what its manifest says was written; in words.
#[must_use]
pub fn differences(root: &Path, manifest: &Manifest) -> Vec<String> {
    generation::differences(root, manifest.generation, &manifest.files, LARGEST)
}

/// The state as it stands on disk, for who only wants to know what is due; `None` where it cannot be used, which the next
/// cycle says in its own words.
#[must_use]
pub fn state_of(root: &Path) -> Option<State> {
    State::read(&file::read(&root.join(STATE), LARGEST).ok()??).ok()
}

/// The set that was published before generation `number`, as far as it still stands on disk.
pub fn before(root: &Path, number: u64) -> Result<TrustSet, StoreError> {
    let Some(older) = generation::list(root)?.range(..number).next_back().copied() else {
        return Ok(TrustSet::default());
    };
    let Ok(Some(manifest)) = manifest_of(root, older) else { return Ok(TrustSet::default()) };
    Ok(manifest.set(&certificates_of(root, older)?))
}

/// The certificates that a generation holds, by fingerprint: each stands in more than one file, so that a damaged one
/// loses none.
pub fn certificates_of(root: &Path, number: u64) -> Result<BTreeMap<Fingerprint, Certificate>, StoreError> {
    let named = manifest_of(root, number).ok().flatten().map(|manifest| manifest.files).unwrap_or_default();
    let always = ["leaves.pem", "chain.pem"].map(str::to_owned);
    let paths: BTreeSet<String> = named.into_keys().filter(|path| path.ends_with(".pem")).chain(always).collect();
    let mut certificates = BTreeMap::new();
    for path in paths {
        let bytes = generation::read_file(root, number, &path, LARGEST).unwrap_or_default().unwrap_or_default();
        let blocks = pem::scan(&String::from_utf8_lossy(&bytes));
        let parsed = blocks.into_iter().filter_map(|block| Certificate::parse(&block.bytes.ok()?).ok());
        certificates.extend(parsed.map(|certificate| (certificate.fingerprint(), certificate)));
    }
    Ok(certificates)
}

/// Certificates that the records name and `current` lacks may stand in another generation.
fn find_elsewhere(
    root: &Path,
    state: &State,
    certificates: &mut BTreeMap<Fingerprint, Certificate>,
) -> Result<(), StoreError> {
    let named = |certificates: &BTreeMap<Fingerprint, Certificate>| {
        let entries = state.planner.slots.values().flat_map(|slot| &slot.entries);
        entries
            .flat_map(|(key, entry)| entry.trusted.chain.iter().chain(std::iter::once(key)))
            .any(|fingerprint| !certificates.contains_key(fingerprint))
    };
    let mut generations = generation::list(root)?;
    while named(certificates) {
        let Some(number) = generations.pop_last() else { break };
        for (fingerprint, certificate) in certificates_of(root, number)? {
            certificates.entry(fingerprint).or_insert(certificate);
        }
    }
    Ok(())
}

/// Drops the entries whose own certificate is nowhere, and says what is missing of each slot. Such a slot's next clean
/// answer is told from those before it.
fn forget_lost(
    state: &mut State,
    certificates: &BTreeMap<Fingerprint, Certificate>,
) -> BTreeMap<SlotId, BTreeSet<Fingerprint>> {
    let mut lost: BTreeMap<SlotId, BTreeSet<Fingerprint>> = BTreeMap::new();
    for (id, slot) in &mut state.planner.slots {
        let named = slot.entries.iter().flat_map(|(key, entry)| entry.trusted.chain.iter().chain(std::iter::once(key)));
        let missing: BTreeSet<Fingerprint> = named.filter(|key| !certificates.contains_key(key)).copied().collect();
        if missing.is_empty() {
            continue;
        }
        slot.entries.retain(|key, _| !missing.contains(key));
        slot.last_clean = None;
        lost.insert(id.clone(), missing);
    }
    lost
}
