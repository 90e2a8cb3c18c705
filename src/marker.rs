//! Makes generation markers. Each needs randomness, for a key that is dropped at once.

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};

use crate::trust::values::marker_name::{MARKER_ORGANIZATION, MarkerName};

/// A purpose that no software knows, so that the marker has none: below the enterprise number that RFC 5612 reserves
/// for documentation.
const NO_PURPOSE: [u64; 9] = [1, 3, 6, 1, 4, 1, 32_473, 1, 1];

/// Why no marker could be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The name would not be read back from the wire.
    #[error(
        "{0:?} is not a name for a generation marker: the store's id must be at most 36 of a-z, 0-9 and \"-\", the \
         digest's head 8 lower-case hex digits"
    )]
    Name(String),
    /// No key, or no signature.
    #[error(
        "no generation marker could be made ({0}); without it no server can prove what it serves, so nothing is \
         published"
    )]
    Make(#[from] rcgen::Error),
}

/// A new marker's DER: self-signed, valid on 1970-01-01 alone, CA:FALSE, for no purpose; its key is dropped at once.
/// Two markers of the same name differ in their bytes.
pub fn mint(name: &MarkerName) -> Result<Vec<u8>, MintError> {
    let common_name = name.to_common_name();
    if MarkerName::parse(&common_name).as_ref() != Some(name) {
        return Err(MintError::Name(common_name));
    }
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, MARKER_ORGANIZATION);
    subject.push(DnType::CommonName, common_name);
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject;
    parameters.not_before = date_time_ymd(1970, 1, 1);
    parameters.not_after = date_time_ymd(1970, 1, 2);
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(NO_PURPOSE.to_vec())];
    let key = KeyPair::generate()?;
    Ok(parameters.self_signed(&key)?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn a_marker_expired_in_1970_can_sign_nothing_and_serves_nothing() {
        let name = MarkerName { store_id: "store".into(), generation: 42, digest_head: "0123abcd".into() };
        let der = mint(&name).unwrap();
        let (rest, marker) = X509Certificate::from_der(&der).unwrap();
        assert!(rest.is_empty());
        assert_eq!(marker.subject(), marker.issuer());
        let common_name = marker.subject().iter_common_name().next().unwrap().as_str().unwrap();
        assert_eq!(MarkerName::parse(common_name), Some(name));
        assert_eq!(marker.validity().not_before.timestamp(), 0);
        assert_eq!(marker.validity().not_after.timestamp(), 86_400);
        assert!(!marker.basic_constraints().unwrap().unwrap().value.ca);
        let purposes = marker.extended_key_usage().unwrap().unwrap().value;
        assert!(!purposes.any && !purposes.client_auth && !purposes.server_auth);
        assert_eq!(purposes.other.len(), 1);
    }

    #[test]
    fn a_name_that_could_not_be_read_back_is_refused() {
        let name = MarkerName { store_id: "two words".into(), generation: 1, digest_head: "0123abcd".into() };
        assert!(matches!(mint(&name), Err(MintError::Name(_))));
    }
}
