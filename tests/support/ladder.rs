//! Certificate strings that cost much to judge and need no CA's key to make: CAs with an anchor's own name and other
//! keys, each signed by the next. By names, every order of them leads to the anchor.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// How many certificates a string has, leaf included: as many as are read by default.
const LENGTH: usize = 10;

/// The name of the simulator's DigiCert root.
fn anchors_name() -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "US");
    name.push(DnType::OrganizationName, "Simulated DigiCert Inc");
    name.push(DnType::CommonName, "Simulated DigiCert Assured ID Root G2");
    name
}

/// One string, every certificate of which is another than in every other string.
pub fn ladder() -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = anchors_name();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let keys: Vec<KeyPair> = (1..LENGTH).map(|_| KeyPair::generate().unwrap()).collect();
    let issuer = |key| Issuer::from_params(&params, key);
    let rung = |(at, key): (usize, &KeyPair)| {
        let next = &keys[(at + 1) % keys.len()];
        params.signed_by(key, &issuer(next)).unwrap().pem()
    };
    let mut leaf = CertificateParams::new(vec![crate::leaves::NAME.to_owned()]).unwrap();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.not_before = rcgen::date_time_ymd(2026, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(2027, 12, 31);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer(&keys[0])).unwrap().pem();
    std::iter::once(leaf).chain(keys.iter().enumerate().map(rung)).collect()
}

/// A listing's worth of them: at least so many bytes.
pub fn ladders(bytes: usize) -> Vec<String> {
    let mut made = Vec::new();
    let mut size = 0;
    while size < bytes {
        let text = ladder();
        size += text.len();
        made.push(text);
    }
    made
}
