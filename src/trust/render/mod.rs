//! From a trust set to the files of a generation: named bytes, the same for the same set, number and marker. No file is
//! ever empty; a set that admits no one says *deny all* in a form that its server still loads.

mod family;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt::Write;

pub use family::{Family, Files, Label, Odd, Output, Place};

use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::planner_state::PlannerState;
use crate::trust::plan::set::{DenialReason, Role, TrustSet};
use crate::trust::records::manifest::{CertificateFacts, Manifest, SCHEMA};
use crate::trust::values::fingerprint::Fingerprint;

/// Raised when the form of any file changes, so that an upgrade makes a new generation.
const FORM: u32 = 3;

/// What a generation is made from.
#[derive(Debug, Clone)]
pub struct Content<'a> {
    /// Whom to trust.
    set: &'a TrustSet,
    /// What is remembered of the slots, for the manifest.
    planner: &'a PlannerState,
    /// The families of files that targets need.
    outputs: &'a BTreeSet<Output>,
    /// Worked out when it is first asked for: once a commit.
    digest: OnceCell<Fingerprint>,
}

impl<'a> Content<'a> {
    /// This set, with what is remembered of its slots, in the files that these outputs need.
    #[must_use]
    pub fn of(set: &'a TrustSet, planner: &'a PlannerState, outputs: &'a BTreeSet<Output>) -> Self {
        Self { set, planner, outputs, digest: OnceCell::new() }
    }

    /// What decides whether a new generation is needed: the set, and the form in which it is rendered.
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        *self.digest.get_or_init(|| self.work_out_digest())
    }

    fn work_out_digest(&self) -> Fingerprint {
        let mut text = format!("form {FORM} outputs {:?} set {}", self.outputs, self.set.digest());
        // The operator's overrides change no file but the manifest, and must be in it.
        for (slot, held) in &self.planner.slots {
            for (key, role, word) in held
                .entries
                .iter()
                .filter_map(|(key, entry)| Some((key, entry.trusted.role, entry.trusted.word.as_ref()?)))
            {
                let _ = write!(text, "\nword {slot} {key} {role} until {}", word.until);
            }
        }
        for besides in self.outputs.iter().filter_map(|output| output.besides(self.set)) {
            let _ = write!(text, "\n{besides}");
        }
        for issuer in self.planner.accepted_issuers.keys() {
            let _ = write!(text, "\nissuer {issuer}");
        }
        Fingerprint::of(text.as_bytes())
    }

    /// Every file of the generation, by its path; the manifest is among them and names the others.
    #[must_use]
    pub fn render(&self, label: &Label<'_>) -> Files {
        self.render_those(label, |_| true)
    }

    /// The manifest, and those of the other files whose path is needed.
    #[must_use]
    pub fn render_those(&self, label: &Label<'_>, needed: impl Fn(&str) -> bool) -> Files {
        let set = self.set;
        let authorities = bundle(set);
        let marker = label.marker.pem();
        let leaves: String = set.pins.values().map(|pin| pin.leaf.pem()).collect();
        let mut files = self.slot_files();
        for (path, text) in [
            ("trust-bundle.pem", format!("{authorities}{marker}")),
            ("chain.pem", if authorities.is_empty() { marker.clone() } else { authorities }),
            ("leaves.pem", if leaves.is_empty() { marker } else { leaves }),
            ("fingerprints.txt", fingerprints(set, label)),
        ] {
            files.insert(path.to_owned(), text.into_bytes());
        }
        for output in self.outputs {
            files.extend(output.files(set, label));
        }
        files.retain(|path, _| needed(path));
        let manifest = self.manifest(label, &files);
        let mut json = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        json.push(b'\n');
        files.insert("manifest.json".into(), json);
        files
    }

    /// `<slot>/current.pem` and `upcoming.pem`: leaf and chain, for people and for tools that want one file.
    fn slot_files(&self) -> Files {
        let mut files = Files::new();
        for (slot, held) in &self.planner.slots {
            for (key, entry) in &held.entries {
                let Some(pin) = self.set.pins.get(key).filter(|_| entry.trusted.role != Role::Retiring) else {
                    continue;
                };
                let chain = entry.trusted.chain.iter().filter_map(|link| self.set.chain.get(link));
                let path = std::iter::once(&pin.leaf).chain(path_order(&pin.leaf, chain.collect()));
                // Two currents in one slot: both, one after the other.
                let file = files.entry(format!("{slot}/{}.pem", entry.trusted.role)).or_default();
                file.extend(path.flat_map(|certificate| certificate.pem().into_bytes()));
            }
        }
        files
    }

    fn manifest(&self, label: &Label<'_>, files: &Files) -> Manifest {
        let set = self.set;
        let leaves = set.pins.values().map(|pin| &pin.leaf);
        let certificates = leaves.chain(set.chain.values()).chain(set.extra.values());
        Manifest {
            schema: SCHEMA,
            store: label.store.to_owned(),
            generation: label.generation,
            committed: label.committed,
            cause: label.cause.to_owned(),
            digest: self.digest(),
            deny_all: set.is_empty(),
            slots: Manifest::slots_of(self.planner),
            denied: set.denied.clone(),
            hold: self.planner.hold.clone(),
            accepted_issuers: self.planner.accepted_issuers.clone(),
            chain: set.chain.keys().copied().collect(),
            extra: set.extra.keys().copied().collect(),
            certificates: certificates.map(|held| (held.fingerprint(), CertificateFacts::from(held))).collect(),
            files: files.iter().map(|(path, bytes)| (path.clone(), Fingerprint::of(bytes))).collect(),
        }
    }
}

/// Roots and intermediates, ours and the operator's; nothing where no one is admitted and no other client is served.
fn bundle(set: &TrustSet) -> String {
    set.bundle().into_iter().map(Certificate::pem).collect()
}

/// Leaf's issuer first, as far as issuers are found; then the rest.
fn path_order<'a>(leaf: &'a Certificate, mut chain: Vec<&'a Certificate>) -> Vec<&'a Certificate> {
    let mut ordered: Vec<&Certificate> = Vec::new();
    let mut issuer = &leaf.facts().issuer_der;
    while let Some(at) = chain.iter().position(|link| link.facts().subject_der == *issuer) {
        let link = chain.remove(at);
        issuer = &link.facts().issuer_der;
        ordered.push(link);
    }
    ordered.extend(chain);
    ordered
}

/// A line for each pin, each name of each name rule, and beside name rules each denial; a reader that finds only
/// comments admits no one. Only a pin's line has `sha256:` in it, so that a reader of that alone takes nothing else for
/// a pin.
fn fingerprints(set: &TrustSet, label: &Label<'_>) -> String {
    let mut text = format!("# trustsync generation {:06} store {}\n", label.generation, label.store);
    text.push_str("# role, SHA-256 and SHA-1 of the certificate, its last valid second, its name\n");
    if set.pins.is_empty() && set.name_rules.is_empty() {
        text.push_str("# no certificate is pinned: deny all\n");
    }
    let mut pins: Vec<_> = set.pins.values().collect();
    pins.sort_by_key(|pin| (pin.role(), pin.leaf.fingerprint()));
    for pin in pins {
        let facts = pin.leaf.facts();
        let name = pin.leaf.identity_names().first().unwrap_or(&facts.subject);
        let _ = writeln!(
            text,
            "{} sha256:{} sha1:{} {} {}",
            pin.role(),
            facts.fingerprint,
            facts.sha1,
            facts.not_after,
            one_line(name)
        );
    }
    if set.name_rules.is_empty() {
        return text;
    }
    text.push_str(NAMES);
    for rule in &set.name_rules {
        let root = rule.root.fingerprint();
        // Readers of this file see dNSNames too, where servers see nothing that binds.
        let names = if rule.names.is_empty() { &rule.witnesses.dns_names } else { &rule.names };
        if names.is_empty() {
            let _ = writeln!(text, "name root={root} *");
        }
        for name in names.iter().filter(|name| is_one_word(name)) {
            let _ = writeln!(text, "name root={root} {name}");
        }
    }
    if !set.denied.is_empty() {
        text.push_str(DENIED);
    }
    for (fingerprint, denial) in &set.denied {
        let reason = match denial.reason {
            DenialReason::Revoked => "revoked",
            DenialReason::Distrusted => "distrusted",
        };
        let _ = writeln!(text, "denied sha256={fingerprint} {reason}");
    }
    text
}

const NAMES: &str =
    "# name: admitted is also whoever this root (SHA-256 of its certificate, which is in trust-bundle.pem) has signed
#   directly, and who bears this name: in one of its dNSNames or, where it has none, as its only commonName, if no RDN
#   has several values; compared without case; * is any name\n";

const DENIED: &str = "# denied: nobody is admitted by a name whose certificate has this SHA-256, and why\n";

/// Whether a name can stand on a line as it is. One that cannot is left out, and so admits no one.
#[must_use]
pub fn is_one_word(name: &str) -> bool {
    !name.is_empty() && name != "*" && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A certificate's own text on a line of ours: nothing in it may end the line or look like more than text.
fn one_line(text: &str) -> String {
    text.chars().take(200).map(|character| if character.is_ascii_graphic() { character } else { '_' }).collect()
}
