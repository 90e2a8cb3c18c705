//! Finds generation markers among the names that a server advertises. Pure.

use x509_parser::prelude::{FromDer, X509Name};

use crate::trust::values::marker_name::{MARKER_ORGANIZATION, MarkerName};

/// The markers among `names` (each the DER of a Name), of whatever store, in the order advertised. A marker's subject
/// has the marker's organisation and exactly one commonName, of the marker's form.
#[must_use]
pub fn find_in(names: &[Vec<u8>]) -> Vec<MarkerName> {
    names.iter().filter_map(|der| read(der)).collect()
}

fn read(der: &[u8]) -> Option<MarkerName> {
    let (rest, name) = X509Name::from_der(der).ok()?;
    if !rest.is_empty() || !name.iter_organization().any(|value| value.as_str() == Ok(MARKER_ORGANIZATION)) {
        return None;
    }
    let mut common_names = name.iter_common_name();
    match (common_names.next(), common_names.next()) {
        (Some(only), None) => MarkerName::parse(only.as_str().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use x509_parser::prelude::X509Certificate;

    use super::*;
    use crate::marker::mint;

    fn subject_of(der: &[u8]) -> Vec<u8> {
        X509Certificate::from_der(der).unwrap().1.subject().as_raw().to_vec()
    }

    fn plain_subject(organization: &str, common_name: &str) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, organization);
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        subject_of(parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn markers_of_any_store_are_found_among_authorities_and_garbage() {
        let ours = MarkerName { store_id: "ours".into(), generation: 7, digest_head: "0123abcd".into() };
        let theirs = MarkerName { store_id: "theirs".into(), ..ours.clone() };
        let names = [
            plain_subject("DigiCert", "Some CA"),
            subject_of(&mint(&theirs).unwrap()),
            b"garbage".to_vec(),
            plain_subject("An organisation", &ours.to_common_name()),
            plain_subject(MARKER_ORGANIZATION, "trustsync ours 7 0123abcd"),
            subject_of(&mint(&ours).unwrap()),
        ];
        assert_eq!(find_in(&names), [theirs, ours]);
    }
}
