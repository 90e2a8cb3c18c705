//! Reads the files of Envoy's secret discovery service, and knows no key but those that are meant.

use std::collections::BTreeSet;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use crate::targets::read_back::meant::{certificates, counted, exactly, name_rules, pinned_leaves, same};
use crate::trust::records::manifest::Manifest;
use crate::trust::render::Odd;
use crate::trust::values::marker_name::MarkerName;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    version_info: String,
    resources: [Resource; 1],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    #[serde(rename = "@type")]
    kind: String,
    name: String,
    validation_context: Context,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    trusted_ca: Inline,
    verify_certificate_hash: Option<BTreeSet<String>>,
    match_typed_subject_alt_names: Option<Vec<Name>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inline {
    inline_string: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    san_type: String,
    matcher: Matcher,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matcher {
    exact: String,
    ignore_case: bool,
}

/// One secret of this generation: as many authorities as are meant, and just these leaves, or just these names.
pub(super) fn secret(bytes: &[u8], manifest: &Manifest, marker: bool) -> Result<(), Odd> {
    let odd = |found: String, meant: &str| Err((found, meant.to_owned()));
    let Response { version_info, resources: [resource] } = match serde_json::from_slice(bytes) {
        Ok(response) => response,
        Err(error) => return odd(error.to_string(), "one secret"),
    };
    exactly(version_info.parse(), Ok(manifest.generation))?;
    if resource.name != "trustsync" || !resource.kind.ends_with(".tls.v3.Secret") {
        return odd(format!("{:?} of {:?}", resource.name, resource.kind), "the secret \"trustsync\"");
    }
    let context = resource.validation_context;
    let rules = name_rules(manifest);
    let pins = pinned_leaves(manifest);
    let by_leaf = rules.is_empty() || !pins.is_empty() || !manifest.denied.is_empty();

    let meant =
        if by_leaf { manifest.chain.len() } else { rules.iter().map(|rule| rule.root).collect::<BTreeSet<_>>().len() };
    let meant = meant.saturating_add(usize::from(marker)).max(1);
    let authorities = context.trusted_ca.inline_string.as_bytes();
    match certificates(authorities) {
        Ok(found) => counted(found, meant, "authorities")?,
        Err(why) => return odd(why, "authorities"),
    }
    if marker && !begins_with_marker(authorities, manifest) {
        return odd("another authority first".to_owned(), "the generation's marker first");
    }

    if by_leaf {
        let witnesses = rules.iter().flat_map(|rule| rule.witnesses.leaves.iter());
        let listed = pins.into_iter().chain(witnesses).filter(|leaf| !manifest.denied.contains_key(*leaf));
        let mut meant: BTreeSet<String> = listed.map(ToString::to_string).collect();
        if meant.is_empty() {
            // An empty list would admit everybody.
            meant.insert("0".repeat(64));
        }
        if context.match_typed_subject_alt_names.is_some() {
            return odd("a list of names".to_owned(), "hashes alone");
        }
        return same(&context.verify_certificate_hash.unwrap_or_default(), &meant, "hashes");
    }
    let issuer_alone = rules.iter().any(|rule| rule.witnesses.dns_names.is_empty());
    let meant: Option<BTreeSet<String>> =
        (!issuer_alone).then(|| rules.iter().flat_map(|rule| rule.witnesses.dns_names.iter().cloned()).collect());
    let found = context.match_typed_subject_alt_names.map(|names| {
        let exact = |name: Name| (name.san_type == "DNS" && name.matcher.ignore_case).then_some(name.matcher.exact);
        names.into_iter().filter_map(exact).collect::<BTreeSet<String>>()
    });
    exactly((found, context.verify_certificate_hash), (meant, None))
}

fn begins_with_marker(authorities: &[u8], manifest: &Manifest) -> bool {
    let Ok(first) = CertificateDer::from_pem_slice(authorities) else { return false };
    let Ok((_, first)) = x509_parser::parse_x509_certificate(&first) else { return false };
    let mut names = first.subject().iter_common_name().filter_map(|name| MarkerName::parse(name.as_str().ok()?));
    names.any(|name| name.store_id == manifest.store && name.generation == manifest.generation)
}
