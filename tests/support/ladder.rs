//! Certificate strings that cost much to judge and need no CA's key to make: CAs with an anchor's own name and other
//! keys, each signed by the next. By names, every order of them leads to the anchor.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use trustsync::trust::formats::pem;
use trustsync::trust::values::fingerprint::Fingerprint;

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
    let keys: Vec<KeyPair> = (1..LENGTH).map(|_| KeyPair::generate().unwrap()).collect();
    let rung = |(at, key): (usize, &KeyPair)| rung(key, &keys[(at + 1) % keys.len()]);
    std::iter::once(leaf(&keys[0])).chain(keys.iter().enumerate().map(rung)).collect()
}

/// The same, with three certificates of each key, the lower rungs first by their fingerprints: as many signatures on the
/// ways that are tried first are right, so that more are checked.
pub fn broad_ladder() -> String {
    let keys: Vec<KeyPair> = (0..4).map(|_| KeyPair::generate().unwrap()).collect();
    let rungs = keys.iter().zip(&keys[1..]).enumerate().flat_map(|(level, (key, next))| {
        let made = std::iter::repeat_with(|| rung(key, next));
        made.filter(move |text| {
            let der = pem::scan(text).remove(0).bytes.unwrap();
            let first = Fingerprint::of(&der).to_string();
            usize::from(u8::from_str_radix(&first[..2], 16).unwrap()) * 3 / 256 == level
        })
        .take(3)
    });
    std::iter::once(leaf(&keys[0])).chain(rungs).collect()
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = anchors_name();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn rung(key: &KeyPair, next: &KeyPair) -> String {
    params().signed_by(key, &Issuer::from_params(&params(), next)).unwrap().pem()
}

fn leaf(by: &KeyPair) -> String {
    let mut leaf = CertificateParams::new(vec![crate::leaves::NAME.to_owned()]).unwrap();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.not_before = rcgen::date_time_ymd(2026, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(2027, 12, 31);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    leaf.signed_by(&KeyPair::generate().unwrap(), &Issuer::from_params(&params(), by)).unwrap().pem()
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
