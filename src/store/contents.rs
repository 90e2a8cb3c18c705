//! What a store holds, as recorded on disk: its state, and the generation that `current` names. What is recorded is not
//! verified; a record that is lost or corrupt does not count as empty.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Link, LinkPath, StoreError, file, generation, link};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::pem;
use crate::trust::plan::planner_state::SlotState;
use crate::trust::plan::set::TrustSet;
use crate::trust::records::manifest::{Manifest, RecordError};
use crate::trust::records::state::State;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;

/// The file of the state, in the root.
pub const STATE: &str = "state.json";

/// The file of the evidence, in the root.
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
    /// Slots that have lost a certificate: it stands nowhere on disk any more. Their next clean answer decides about
    /// it.
    pub lost: BTreeSet<SlotId>,
    /// The newest generation that was ever committed; a later one on disk was written by somebody who died before that.
    /// `None` where both state and manifest are lost.
    pub newest_committed: Option<u64>,
    /// Whether the state on disk is as it was read, and knows of the newest generation.
    pub state_is_current: bool,
}

impl Contents {
    /// What a store holds that does not exist yet.
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
    /// A file could not be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer trustsync wrote the state or a manifest, or a manifest is malformed.
    #[error("{} {source}. Nothing was changed; what is published stays.", path.display())]
    Record {
        /// Of `state.json`, or of the generation's `manifest.json`.
        path: PathBuf,
        /// Names both versions, or says what is malformed.
        source: RecordError,
    },
}

/// Reads the store of this name at `root`. `birth` gives the id of a store that has none yet.
pub fn read(root: &Path, name: &str, birth: impl FnOnce() -> String) -> Result<Contents, ContentsError> {
    let mut findings = Vec::new();
    let mut found = |event, text: String| findings.push(Finding::new(event, Subject::store(name), text));
    let links = Links::read(root)?;
    if let Some(leads_to) = &links.foreign {
        let link = link::CURRENT;
        let text =
            format!("The link {link} is {leads_to:?}. It was not made by trustsync, is not followed, and is replaced.");
        found(Event::StoreDrift, text);
    }
    let manifest = newest_intact(root, &links, &mut found)?;
    let on_disk = state_on_disk(root)?;
    let intact = on_disk.is_ok();
    let mut state = match on_disk {
        Ok(state) => state,
        Err(what) => {
            let is_new = links.named.is_empty() && generation::list(root)?.is_empty() && !root.join(STATE).exists();
            if manifest.is_some() || !is_new {
                found(Event::StateLost, format!("{what} {}", rebuilt_from(manifest.as_ref())));
            }
            State::born(manifest.as_ref().map_or_else(birth, |manifest| manifest.store.clone()))
        }
    };
    let state_is_current = intact && manifest.as_ref().is_none_or(|manifest| manifest.generation <= state.generation);
    if let Some(manifest) = &manifest {
        state.follow(manifest);
    }
    state.generation = state.generation.max(links.named.last().copied().unwrap_or(0));
    if links.current.is_none() && links.foreign.is_none() && state.generation > 0 {
        let text = "The link current is missing, though generations were published. A new one repairs it.";
        found(Event::StoreDrift, text.to_owned());
    }

    let mut drifted = links.foreign.is_some();
    let mut certificates = BTreeMap::new();
    if let Some(manifest) = &manifest {
        let damage = damage(root, manifest, &mut state);
        drifted |= damage.as_ref().is_some_and(|(event, _)| *event == Event::StoreDrift);
        if let Some((event, text)) = damage {
            found(event, text);
        }
        certificates = certificates_of(root, manifest.generation)?;
        drifted |= links.current != Some(manifest.generation);
    }
    find_elsewhere(root, &state, &mut certificates)?;
    let lost = forget_lost(&mut state, &certificates);
    if !lost.is_empty() {
        found(Event::CertificateLost, lost_text(&lost));
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

/// The state as it stands on disk; what is wrong with it, in a sentence, where it is missing or cannot be read.
fn state_on_disk(root: &Path) -> Result<Result<State, String>, ContentsError> {
    let path = root.join(STATE);
    let Some(bytes) = file::read(&path, LARGEST)? else { return Ok(Err(format!("{STATE} is missing."))) };
    match State::read(&bytes) {
        Ok(state) => Ok(Ok(state)),
        Err(source @ RecordError::Newer { .. }) => Err(ContentsError::Record { path, source }),
        Err(error) => Ok(Err(format!("{STATE} {error}."))),
    }
}

fn lost_text(lost: &BTreeMap<SlotId, BTreeSet<Fingerprint>>) -> String {
    let heads: BTreeSet<String> = lost.values().flatten().map(Fingerprint::short).collect();
    format!(
        "The store's records name certificates that stand in no generation on disk: {}. They can be trusted again only \
         when the vendor lists them; what is published stays until it has answered.",
        heads.into_iter().collect::<Vec<_>>().join(", ")
    )
}

/// What a lost state begins with, in words.
fn rebuilt_from(manifest: Option<&Manifest>) -> String {
    match manifest {
        Some(manifest) => format!(
            "It was rebuilt from the manifest of generation {:06}: what is trusted stays, answers are counted anew. If \
             nobody removed it, look at the disk.",
            manifest.generation
        ),
        None => "No link names an intact manifest either: the store begins anew, and only adds. What links name stays \
                 until then."
            .to_owned(),
    }
}

/// What differs, in the published generation, from what was written.
fn damage(root: &Path, manifest: &Manifest, state: &mut State) -> Option<(Event, String)> {
    let damaged = differences(root, manifest);
    if damaged.is_empty() {
        state.unfaithful = None;
        return None;
    }
    if state.unfaithful == Some(manifest.generation) {
        return Some((Event::StoreUnfaithful, unfaithful_text(manifest, &damaged)));
    }
    let (number, damaged) = (manifest.generation, damaged.join(", "));
    let text = format!("Generation {number:06} is not as it was written: {damaged}. A new generation repairs it.");
    Some((Event::StoreDrift, text))
}

/// Every link of a store, read as numbers.
struct Links {
    current: Option<u64>,
    named: BTreeSet<u64>,
    /// Where `current` leads, if that is not a generation.
    foreign: Option<String>,
}

impl Links {
    fn read(root: &Path) -> Result<Self, StoreError> {
        let (current, foreign) = match LinkPath::current(root).read()? {
            Link::Missing => (None, None),
            Link::Generation(number) => (Some(number), None),
            Link::Foreign(leads_to) => (None, Some(leads_to)),
        };
        let targets = link::targets(root)?.into_values().filter_map(|link| link.generation());
        Ok(Self { current, named: targets.chain(current).collect(), foreign })
    }
}

/// The manifest of `current`; where that one is damaged, the newest intact one that any link names.
fn newest_intact(
    root: &Path,
    links: &Links,
    found: &mut dyn FnMut(Event, String),
) -> Result<Option<Manifest>, ContentsError> {
    let others = links.named.iter().rev().filter(|number| Some(**number) != links.current);
    for number in links.current.iter().chain(others) {
        let what = match manifest_of(root, *number) {
            Ok(Some(manifest)) => return Ok(Some(manifest)),
            Ok(None) => "is missing".to_owned(),
            Err(ContentsError::Record { source: RecordError::Corrupt { why, .. }, .. }) => format!("is damaged: {why}"),
            Err(error) => return Err(error),
        };
        let text =
            format!("The manifest of generation {number:06} {what}. The next intact one that a link names is used.");
        found(Event::ManifestDamaged, text);
    }
    Ok(None)
}

/// A generation is not what was written, and was not from the first moment: another one would be no better.
#[must_use]
pub fn unfaithful(name: &str, manifest: &Manifest, differences: &[String]) -> Finding {
    Finding::new(Event::StoreUnfaithful, Subject::store(name), unfaithful_text(manifest, differences))
}

fn unfaithful_text(manifest: &Manifest, differences: &[String]) -> String {
    format!(
        "Generation {:06} is not as it was written, and was not from the first moment: {}. It is not written again. \
         Does the filesystem keep modes, or does somebody change what appears there?",
        manifest.generation,
        differences.join(", ")
    )
}

/// The manifest of a generation; `None` where there is none.
pub fn manifest_of(root: &Path, number: u64) -> Result<Option<Manifest>, ContentsError> {
    manifest_in(&root.join(generation::DIRECTORY), number)
}

/// As [`manifest_of`], of a folder of generations.
pub fn manifest_in(generations: &Path, number: u64) -> Result<Option<Manifest>, ContentsError> {
    let Some(bytes) = generation::read_file(generations, number, "manifest.json", LARGEST)? else { return Ok(None) };
    Manifest::read(&bytes).map(Some).map_err(|source| ContentsError::Record {
        path: generations.join(generation::name(number)).join("manifest.json"),
        source,
    })
}

/// What differs, in a generation, from what its manifest says was written: a sentence each.
#[must_use]
pub fn differences(root: &Path, manifest: &Manifest) -> Vec<String> {
    generation::differences(root, manifest.generation, &manifest.files, LARGEST)
}

/// The state as it stands on disk, for those that only ask what is due; `None` where it cannot be used, which the next
/// cycle reports.
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
    certificates_in(&root.join(generation::DIRECTORY), number)
}

/// As [`certificates_of`], of a folder of generations.
pub fn certificates_in(generations: &Path, number: u64) -> Result<BTreeMap<Fingerprint, Certificate>, StoreError> {
    let named = manifest_in(generations, number).ok().flatten().map(|manifest| manifest.files).unwrap_or_default();
    let always = ["leaves.pem", "chain.pem"].map(str::to_owned);
    let paths: BTreeSet<String> = named.into_keys().filter(|path| path.ends_with(".pem")).chain(always).collect();
    let mut certificates = BTreeMap::new();
    for path in paths {
        let bytes = generation::read_file(generations, number, &path, LARGEST).unwrap_or_default().unwrap_or_default();
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
    let lacks_one = |certificates: &BTreeMap<Fingerprint, Certificate>| {
        state.planner.slots.values().flat_map(named_by).any(|key| !certificates.contains_key(key))
    };
    let mut generations = generation::list(root)?;
    while lacks_one(certificates)
        && let Some(number) = generations.pop_last()
    {
        for (fingerprint, certificate) in certificates_of(root, number)? {
            certificates.entry(fingerprint).or_insert(certificate);
        }
    }
    Ok(())
}

/// The certificates that the records of a slot name.
fn named_by(slot: &SlotState) -> impl Iterator<Item = &Fingerprint> {
    slot.entries.iter().flat_map(|(key, entry)| entry.trusted.chain.iter().chain([key]))
}

/// Drops the entries whose own certificate is nowhere, and says what is missing of each slot. Such a slot's next clean
/// answer is distinct from those before.
fn forget_lost(
    state: &mut State,
    certificates: &BTreeMap<Fingerprint, Certificate>,
) -> BTreeMap<SlotId, BTreeSet<Fingerprint>> {
    let mut lost: BTreeMap<SlotId, BTreeSet<Fingerprint>> = BTreeMap::new();
    for (id, slot) in &mut state.planner.slots {
        let missing: BTreeSet<Fingerprint> =
            named_by(slot).filter(|key| !certificates.contains_key(key)).copied().collect();
        if missing.is_empty() {
            continue;
        }
        slot.entries.retain(|key, _| !missing.contains(key));
        slot.last_clean = None;
        lost.insert(id.clone(), missing);
    }
    lost
}
