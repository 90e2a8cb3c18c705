//! For Envoy: a file of its secret discovery service, with authorities and admission in one, so that Envoy takes both
//! or neither.
//!
//! A validation context *ands* its conditions: the chain, a list of certificates by their hash, names. It can admit the
//! pinned leaves, or all who have a name, and it cannot exclude one of them. So names are admitted where they stand
//! alone and nobody is denied; else the leaves that the vendor lists are admitted, one by one. An empty list would
//! admit everybody: none is ever written.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::set::TrustSet;
use crate::trust::render::{Files, Label};
use crate::trust::values::fingerprint::Fingerprint;

/// With the generation marker as the first of the authorities: an Envoy below 1.40 shows the first alone of those that
/// it holds.
pub(super) const WITH_MARKER: &str = "envoy/sds.json";

/// Without the marker.
pub(super) const WITHOUT_MARKER: &str = "envoy/sds-without-marker.json";

/// The secret's name, which the server's configuration asks for.
pub(super) const SECRET: &str = "trustsync";

/// The hash of no certificate: with it Envoy admits nobody, and with an empty list everybody.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// `envoy/sds.json`, `envoy/sds-without-marker.json`.
pub(super) fn files(set: &TrustSet, label: &Label<'_>) -> Files {
    let admission = Admission::of(set);
    let authorities: String = admission.authorities(set).into_iter().map(Certificate::pem).collect();
    let marker = label.marker.pem();
    let without = if authorities.is_empty() { marker.clone() } else { authorities.clone() };
    [(WITH_MARKER, format!("{marker}{authorities}")), (WITHOUT_MARKER, without)]
        .into_iter()
        .map(|(path, bundle)| (path.to_owned(), secret(&admission, &bundle, label)))
        .collect()
}

/// The leaves that are admitted one by one, where a set of these names and denials admits none by their names.
pub(super) fn one_by_one(set: &TrustSet) -> Option<BTreeSet<Fingerprint>> {
    match Admission::of(set) {
        Admission::Leaves(leaves) => Some(leaves),
        Admission::Names(_) | Admission::Issuer => None,
    }
}

/// Whether this file of ours admits nobody.
pub(super) fn admits_nobody(file: &[u8]) -> bool {
    let file: Value = serde_json::from_slice(file).unwrap_or_default();
    let listed = file.pointer("/resources/0/validation_context/verify_certificate_hash");
    listed == Some(&json!([NOBODY]))
}

/// Which clients of those whom the authorities have signed get in.
enum Admission {
    /// Those with one of these certificates.
    Leaves(BTreeSet<Fingerprint>),
    /// Those with one of these as dNSName.
    Names(BTreeSet<String>),
    /// All whom the roots have signed.
    Issuer,
}

impl Admission {
    fn of(set: &TrustSet) -> Self {
        if set.name_rules.is_empty() || !set.pins.is_empty() || !set.denied.is_empty() {
            let witnesses = set.name_rules.iter().flat_map(|rule| &rule.witnesses.leaves);
            let listed = set.pins.keys().chain(witnesses);
            return Self::Leaves(listed.filter(|leaf| !set.denied.contains_key(*leaf)).copied().collect());
        }
        let names = |rule: &crate::trust::plan::set::NameRule| rule.witnesses.dns_names.clone();
        if set.name_rules.iter().any(|rule| names(rule).is_empty()) {
            return Self::Issuer;
        }
        Self::Names(set.name_rules.iter().flat_map(names).collect())
    }

    /// By names, the roots of these names alone; other clients' roots never: this admission would be theirs too.
    fn authorities<'a>(&self, set: &'a TrustSet) -> Vec<&'a Certificate> {
        let is_root = |held: &&Certificate| set.name_rules.iter().any(|rule| rule.root == **held);
        let is_own = |held: &&Certificate| set.chain.contains_key(&held.fingerprint());
        match self {
            Self::Leaves(_) => set.bundle().into_iter().filter(is_own).collect(),
            Self::Names(_) | Self::Issuer => set.bundle().into_iter().filter(is_root).collect(),
        }
    }
}

fn secret(admission: &Admission, authorities: &str, label: &Label<'_>) -> Vec<u8> {
    let mut context = json!({ "trusted_ca": { "inline_string": authorities } });
    let mut put = |key: &str, list: Vec<Value>| {
        if let Some(context) = context.as_object_mut() {
            context.insert(key.to_owned(), list.into());
        }
    };
    match admission {
        Admission::Leaves(leaves) if leaves.is_empty() => put("verify_certificate_hash", vec![NOBODY.into()]),
        Admission::Leaves(leaves) => {
            put("verify_certificate_hash", leaves.iter().map(|leaf| leaf.to_string().into()).collect());
        }
        Admission::Names(names) => {
            let matcher =
                |name: &String| json!({ "san_type": "DNS", "matcher": { "exact": name, "ignore_case": true } });
            put("match_typed_subject_alt_names", names.iter().map(matcher).collect());
        }
        Admission::Issuer => {}
    }
    let response = json!({
        "version_info": format!("{:06}", label.generation),
        "resources": [{ "@type": SECRET_TYPE, "name": SECRET, "validation_context": context }],
    });
    let mut text = serde_json::to_vec_pretty(&response).unwrap_or_default();
    text.push(b'\n');
    text
}
