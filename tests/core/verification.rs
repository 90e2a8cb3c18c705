//! The verification family: each rule of the policy broken by a certificate made for it, and what must pass in spite of
//! looking odd. Certificates are made by rcgen, and by openssl where rcgen makes none of the kind.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use proptest::prelude::{ProptestConfig, any, proptest};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose as Eku, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose as Ku, NameConstraints,
    PublicKeyData, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use support::cpu_time;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::formats::pem;
use trustsync::trust::values::timestamp::Timestamp;
use trustsync::trust::verify::anchor::{AnchorError, Anchors};
use trustsync::trust::verify::refusal::{Refusal, Rule};
use trustsync::trust::verify::work::Work;
use trustsync::trust::verify::{Candidate, Identity, Policy, Verdict, verify_certificates, verify_string as judge};

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
const NAME: &str = "dataactions.example.com";

/// 2026-06-01, the present of every test.
fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

macro_rules! from_now {
    (+ $seconds:expr) => {
        date_time_ymd(2026, 6, 1) + Duration::from_secs($seconds)
    };
    (- $seconds:expr) => {
        date_time_ymd(2026, 6, 1) - Duration::from_secs($seconds)
    };
}

fn no_tweak(_: &mut CertificateParams) {}

/// A CA: its certificate's parameters, its key, and the certificate.
struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Ca {
    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2045, 1, 1);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Ku::KeyCertSign, Ku::CrlSign];
        params.use_authority_key_identifier_extension = true;
        params
    }

    fn root(name: &str, tweak: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = Self::params(name);
        tweak(&mut params);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn intermediate(&self, name: &str, tweak: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = Self::params(name);
        tweak(&mut params);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer()).unwrap().pem();
        Self { params, key, pem }
    }

    /// A certificate for another CA's name and key, by this one.
    fn cross_sign(&self, other: &Self) -> String {
        other.params.signed_by(&other.key, &self.issuer()).unwrap().pem()
    }

    fn leaf(&self, tweak: impl FnOnce(&mut CertificateParams)) -> String {
        self.leaf_with_key(&KeyPair::generate().unwrap(), tweak)
    }

    fn leaf_with_key(&self, key: &impl PublicKeyData, tweak: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.not_before = from_now!(-10 * DAY);
        params.not_after = from_now!(+300 * DAY);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.key_usages = vec![Ku::DigitalSignature];
        params.extended_key_usages = vec![Eku::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        tweak(&mut params);
        params.signed_by(key, &self.issuer()).unwrap().pem()
    }

    fn anchors(&self) -> Anchors {
        Anchors::of(vec![certificate(&self.pem)])
    }
}

/// A public key that nobody has to have the private half of.
struct Claimed(Vec<u8>);

impl PublicKeyData for Claimed {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Claimed {
    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], content].concat()
    }
    fn short(tag: u8, content: &[u8]) -> Vec<u8> {
        if content.len() >= 256 {
            return tlv(tag, content);
        }
        let length = u8::try_from(content.len()).unwrap();
        let head = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [head.as_slice(), content].concat()
    }
    let integers = [short(2, &[&[0], modulus].concat()), short(2, exponent)].concat();
    Claimed(short(0x30, &integers))
}

fn certificate(pem_text: &str) -> Certificate {
    let blocks = pem::scan(pem_text);
    Certificate::parse(blocks[0].bytes.as_ref().unwrap()).unwrap()
}

fn extension(oid: &[u64], critical: bool, content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

fn accepted(text: &str, anchors: &Anchors) -> Candidate {
    match judge(text, anchors, &Policy::default(), now()) {
        Verdict::Accepted(candidate) => candidate,
        Verdict::Expired(_, refusal) | Verdict::Refused(refusal) => panic!("{refusal}"),
    }
}

fn refused(text: &str, anchors: &Anchors) -> Refusal {
    match judge(text, anchors, &Policy::default(), now()) {
        Verdict::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// One string, by one way to break a rule, with the anchors that it is judged by.
struct Broken {
    how: &'static str,
    rule: Rule,
    text: String,
    anchors: Anchors,
}

#[test]
fn each_rule_is_broken_by_a_certificate_made_for_it() {
    let root = Ca::root("Root", no_tweak);
    let middle = root.intermediate("Middle", no_tweak);
    let mut cases: Vec<Broken> = Vec::new();
    let mut case = |how, rule, text: String, anchors: Anchors| cases.push(Broken { how, rule, text, anchors });
    let with_middle = |leaf: String| leaf + &middle.pem;

    // The leaf.
    let mut leaf = |how, rule, tweak: fn(&mut CertificateParams)| {
        case(how, rule, with_middle(middle.leaf(tweak)), root.anchors());
    };
    leaf("no EKU at all", Rule::NoClientAuth, |p| p.extended_key_usages.clear());
    leaf("anyEKU alone", Rule::NoClientAuth, |p| p.extended_key_usages = vec![Eku::Any]);
    leaf("anyEKU besides", Rule::NoClientAuth, |p| p.extended_key_usages.push(Eku::Any));
    leaf("serverAuth alone", Rule::NoClientAuth, |p| p.extended_key_usages = vec![Eku::ServerAuth]);
    leaf("CA:TRUE leaf", Rule::LeafIsCa, |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    leaf("no digitalSignature", Rule::LeafKeyUsage, |p| p.key_usages = vec![Ku::KeyEncipherment]);
    leaf("keyCertSign on a leaf", Rule::LeafKeyUsage, |p| p.key_usages.push(Ku::KeyCertSign));
    leaf("an hour too early", Rule::NotYetValid, |p| p.not_before = from_now!(+HOUR));
    leaf("validity reversed", Rule::ValidityReversed, |p| {
        p.not_before = from_now!(+20 * DAY);
        p.not_after = from_now!(+10 * DAY);
    });
    leaf("valid for a century", Rule::ValidityTooLong, |p| p.not_after = date_time_ymd(2126, 1, 1));
    leaf("an extension twice", Rule::DuplicateExtension, |p| {
        p.custom_extensions = vec![extension(&[1, 2, 3, 4], false, &[5, 0]), extension(&[1, 2, 3, 4], false, &[5, 0])];
    });
    leaf("the SAN twice", Rule::DuplicateExtension, |p| {
        p.custom_extensions = vec![extension(&[2, 5, 29, 17], false, b"\x30\x03\x82\x01a")];
    });
    leaf("an unknown critical extension", Rule::UnknownCriticalExtension, |p| {
        p.custom_extensions = vec![extension(&[1, 2, 3, 4], true, &[5, 0])];
    });
    leaf("a malformed SAN", Rule::Malformed, |p| {
        p.subject_alt_names.clear();
        p.custom_extensions = vec![extension(&[2, 5, 29, 17], false, b"\x30\x05\x82\x01a")];
    });
    leaf("serial zero", Rule::Malformed, |p| p.serial_number = Some(SerialNumber::from_slice(&[0])));
    leaf("serial of 24 octets", Rule::Malformed, |p| p.serial_number = Some(SerialNumber::from_slice(&[7; 24])));
    leaf("name constraints on a leaf", Rule::Malformed, |p| {
        p.custom_extensions = vec![extension(&[2, 5, 29, 30], true, b"\x30\x09\xa0\x07\x30\x05\x82\x03com")];
    });

    // Its key.
    for (how, rule, key) in [
        ("RSA-1024", Rule::WeakKey, rsa(&[0xc3; 128], &[1, 0, 1])),
        ("RSA-2047", Rule::WeakKey, rsa(&[&[0x43; 1][..], &[0xc3; 255]].concat(), &[1, 0, 1])),
        ("RSA with e = 1", Rule::BadRsaKey, rsa(&[0xc3; 256], &[1])),
        ("RSA with e = 2", Rule::BadRsaKey, rsa(&[0xc3; 256], &[2])),
        ("RSA with e = 65536", Rule::BadRsaKey, rsa(&[0xc3; 256], &[1, 0, 0])),
        ("RSA with e beyond 2^33", Rule::BadRsaKey, rsa(&[0xc3; 256], &[2, 0, 0, 0, 1])),
        ("RSA with an e of 40 bytes", Rule::BadRsaKey, rsa(&[0xc3; 256], &[1; 40])),
        ("RSA with a negative e", Rule::BadRsaKey, rsa(&[0xc3; 256], &[0xff, 1])),
        ("RSA with an even modulus", Rule::BadRsaKey, rsa(&[0xc2; 256], &[1, 0, 1])),
    ] {
        case(how, rule, with_middle(middle.leaf_with_key(&key, no_tweak)), root.anchors());
    }

    // Intermediates.
    let mut intermediate = |how, rule, tweak: fn(&mut CertificateParams)| {
        let middle = root.intermediate("Middle", tweak);
        case(how, rule, middle.leaf(no_tweak) + &middle.pem, root.anchors());
    };
    intermediate("keyCertSign missing", Rule::IssuerKeyUsage, |p| p.key_usages = vec![Ku::CrlSign]);
    intermediate("not a CA", Rule::IssuerNotCa, |p| {
        p.is_ca = IsCa::ExplicitNoCa;
        p.key_usages.clear();
    });
    intermediate("for servers only", Rule::IssuerExtendedKeyUsage, |p| p.extended_key_usages = vec![Eku::ServerAuth]);
    intermediate("expired", Rule::IssuerExpired, |p| p.not_after = from_now!(-DAY));
    intermediate("too early", Rule::IssuerNotYetValid, |p| p.not_before = from_now!(+DAY));
    intermediate("unknown critical extension", Rule::UnknownCriticalExtension, |p| {
        p.custom_extensions = vec![extension(&[1, 2, 3, 4], true, &[5, 0])];
    });
    intermediate("names permitted elsewhere", Rule::NameConstraints, |p| {
        p.name_constraints = Some(only("other.example"))
    });
    intermediate("an empty name", Rule::Malformed, |p| p.distinguished_name = DistinguishedName::new());
    let first = root.intermediate("First", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let second = first.intermediate("Second", no_tweak);
    let path = second.leaf(no_tweak) + &second.pem + &first.pem;
    case("an intermediate's path length", Rule::PathLength, path, root.anchors());

    // The anchor, which webpki takes for a name and a key.
    let mut anchor = |how, rule, tweak: fn(&mut CertificateParams)| {
        let root = Ca::root("Root", tweak);
        let middle = root.intermediate("Middle", no_tweak);
        case(how, rule, middle.leaf(no_tweak) + &middle.pem, root.anchors());
    };
    anchor("an expired anchor", Rule::IssuerExpired, |p| p.not_after = from_now!(-DAY));
    anchor("an anchor of tomorrow", Rule::IssuerNotYetValid, |p| p.not_before = from_now!(+DAY));
    anchor("an anchor's path length", Rule::PathLength, |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    anchor("an anchor's permitted names", Rule::NameConstraints, |p| p.name_constraints = Some(only("other.example")));
    anchor("an anchor's excluded names", Rule::NameConstraints, |p| {
        p.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![],
            excluded_subtrees: vec![GeneralSubtree::DnsName("example.com".into())],
        });
    });
    anchor("an anchor that may not sign", Rule::IssuerKeyUsage, |p| p.key_usages = vec![Ku::CrlSign]);
    anchor("an anchor for email", Rule::IssuerExtendedKeyUsage, |p| p.extended_key_usages = vec![Eku::EmailProtection]);
    anchor("an anchor's critical extension", Rule::UnknownCriticalExtension, |p| {
        p.custom_extensions = vec![extension(&[1, 2, 3, 4], true, &[5, 0])];
    });
    let elsewhere = Ca::root("Root", |p| p.name_constraints = Some(only("other.example")));
    let by_common_name = elsewhere.leaf(|p| p.subject_alt_names.clear());
    case("a CN beyond an anchor's permitted names", Rule::NameConstraints, by_common_name, elsewhere.anchors());
    let no_ca = Ca::root("Root", |p| p.is_ca = IsCa::ExplicitNoCa);
    case("an anchor that is no CA", Rule::IssuerNotCa, no_ca.leaf(no_tweak), no_ca.anchors());

    // The path.
    case("a stranger's CA", Rule::UnknownIssuer, Ca::root("Stranger", no_tweak).leaf(no_tweak), root.anchors());
    case("no anchors", Rule::UnknownIssuer, with_middle(middle.leaf(no_tweak)), Anchors::default());
    case("no intermediate", Rule::UnknownIssuer, middle.leaf(no_tweak), root.anchors());
    let forger = Ca::root("Root", no_tweak);
    case("the anchor's name, another key", Rule::KeyIdentifier, forger.leaf(no_tweak), root.anchors());
    let unnamed = forger.leaf(|p| p.use_authority_key_identifier_extension = false);
    case("the anchor's name, another key, unnamed", Rule::BadSignature, unnamed, root.anchors());
    let mut der = certificate(&middle.leaf(no_tweak)).der().to_vec();
    let at = der.windows(NAME.len()).position(|window| window == NAME.as_bytes()).unwrap();
    der[at] ^= 1;
    case("a changed byte", Rule::BadSignature, with_middle(pem::encode("CERTIFICATE", &der)), root.anchors());
    let third = middle.intermediate("Third", no_tweak);
    let fourth = third.intermediate("Fourth", no_tweak);
    let long = fourth.leaf(no_tweak) + &fourth.pem + &third.pem + &middle.pem;
    case("five certificates", Rule::ChainTooLong, long, root.anchors());
    let one = Ca::root("One", no_tweak);
    let two = Ca::root("Two", no_tweak);
    let round = one.leaf(no_tweak) + &two.cross_sign(&one) + &one.cross_sign(&two);
    case("a loop", Rule::UnknownIssuer, round, root.anchors());

    // The string.
    let leaf = middle.leaf(no_tweak);
    let good = with_middle(leaf.clone());
    case("two leaves", Rule::SeveralLeaves, good.clone() + &middle.leaf(no_tweak), root.anchors());
    let key = KeyPair::generate().unwrap().serialize_pem();
    case("a private key", Rule::PrivateKey, good.clone() + &key, root.anchors());
    let broken_key = good.clone() + "-----BEGIN RSA PRIVATE KEY-----\nMII";
    case("half a private key", Rule::PrivateKey, broken_key, root.anchors());
    let crl = good.clone() + &pem::encode("X509 CRL", b"0");
    case("a CRL", Rule::ForeignBlock, crl, root.anchors());
    let trusted = good.replace("CERTIFICATE-", "TRUSTED CERTIFICATE-");
    case("OpenSSL's own kind", Rule::ForeignBlock, trusted, root.anchors());
    case("an abbreviated example", Rule::BrokenPem, good.clone() + &good.replace("MII", "MII..."), root.anchors());
    case("cut off", Rule::BrokenPem, good[..good.len() - 40].to_owned(), root.anchors());
    case("a lost BEGIN", Rule::BrokenPem, good.replacen("-----BEGIN", "----BEGIN", 1), root.anchors());
    case("a lost END", Rule::BrokenPem, good.replacen("-----END CERTIFICATE-----", "", 1), root.anchors());
    let trailing = [certificate(&leaf).der(), &[0]].concat();
    let trailing = pem::encode("CERTIFICATE", &trailing) + &middle.pem;
    case("a byte after the end", Rule::UnreadableCertificate, trailing, root.anchors());
    case("nothing", Rule::NoCertificate, String::new(), root.anchors());
    case("prose", Rule::NoCertificate, "see attachment".into(), root.anchors());
    case("eleven certificates", Rule::TooManyCertificates, middle.pem.repeat(11), root.anchors());
    case("two megabytes", Rule::TooLarge, " ".repeat(2 << 20) + &good, root.anchors());

    for Broken { how, rule, text, anchors } in cases {
        let refusal = match judge(&text, &anchors, &Policy::default(), now()) {
            Verdict::Refused(refusal) => refusal,
            other => panic!("{how}: {other:?}"),
        };
        assert_eq!(refusal.rule(), rule, "{how}: {refusal}");
        let message = refusal.to_string();
        assert!(message.contains(rule.name()) && message.contains(rule.remedy()), "{how}: {message}");
        assert!(message.len() < 2_000, "{how}: {message}");
        assert!(!key.lines().nth(1).is_some_and(|line| message.contains(line)), "{how}: quotes a private key");
    }
}

fn only(name: &str) -> NameConstraints {
    NameConstraints { permitted_subtrees: vec![GeneralSubtree::DnsName(name.into())], excluded_subtrees: vec![] }
}

#[test]
fn what_is_unusual_but_right_is_accepted() {
    let root = Ca::root("Root", no_tweak);
    let middle = root.intermediate("Middle", no_tweak);
    let accepts = |tweak: fn(&mut CertificateParams)| {
        accepted(&(middle.leaf(tweak) + &middle.pem), &root.anchors());
    };
    accepts(|p| p.key_usages.clear());
    accepts(|p| p.extended_key_usages = vec![Eku::EmailProtection, Eku::ClientAuth]);
    accepts(|p| p.not_before = from_now!(+240));
    accepts(|p| p.is_ca = IsCa::ExplicitNoCa);
    accepts(|p| p.subject_alt_names.clear());
    accepts(|p| p.not_after = from_now!(+0));
    accepts(|p| p.custom_extensions = vec![extension(&[1, 2, 3, 4], false, &[5, 0])]);
    accepts(|p| p.serial_number = Some(SerialNumber::from_slice(&[0x7f; 20])));
    for usages in [vec![Eku::Any], vec![Eku::EmailProtection, Eku::ClientAuth]] {
        let middle = root.intermediate("Middle", |p| p.extended_key_usages = usages);
        accepted(&(middle.leaf(no_tweak) + &middle.pem), &root.anchors());
    }
    let constrained = Ca::root("Root", |p| {
        p.name_constraints = Some(only("example.com"));
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    accepted(&constrained.leaf(no_tweak), &constrained.anchors());
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    accepted(&(middle.leaf_with_key(&ed25519, no_tweak) + &middle.pem), &root.anchors());
    accepted(&(middle.leaf_with_key(&rsa(&[0xc3; 256], &[3]), no_tweak) + &middle.pem), &root.anchors());
}

#[test]
fn the_order_of_the_string_does_not_matter_and_only_the_path_is_kept() {
    let root = Ca::root("Root", no_tweak);
    let middle = root.intermediate("Middle", no_tweak);
    let leaf = middle.leaf(no_tweak);
    let surplus = Ca::root("Surplus", no_tweak);
    let parts = [&leaf, &middle.pem, &root.pem, &surplus.pem];
    for first in 0..4 {
        for second in (0..4).filter(|at| *at != first) {
            for third in (0..4).filter(|at| ![first, second].contains(at)) {
                let fourth = 6 - first - second - third;
                let text: String = [first, second, third, fourth].map(|at| parts[at].as_str()).concat();
                let candidate = accepted(&text, &root.anchors());
                assert_eq!(candidate.leaf(), &certificate(&leaf));
                assert_eq!(candidate.chain(), [certificate(&middle.pem), certificate(&root.pem)]);
                assert_eq!(candidate.notes().len(), 1, "the surplus one: {:?}", candidate.notes());
            }
        }
    }
    let doubled = accepted(&(leaf.repeat(2) + &middle.pem.repeat(2)), &root.anchors());
    assert_eq!(doubled.chain().len(), 2);
    assert!(doubled.notes().iter().any(|note| note.contains("more than once")), "{:?}", doubled.notes());

    let recorded = vec![certificate(&middle.pem), certificate(&leaf)];
    let Verdict::Accepted(again) =
        verify_certificates(recorded, &root.anchors(), &Policy::default(), now(), &mut Work::default())
    else {
        panic!("the same certificates, read before, are judged the same")
    };
    assert_eq!(again.chain(), doubled.chain());
}

#[test]
fn a_leaf_directly_below_its_root_is_accepted_with_or_without_the_root() {
    let root = Ca::root("Genesys region", no_tweak);
    let leaf = root.leaf(no_tweak);
    for text in [leaf.clone(), leaf.clone() + &root.pem, root.pem.clone() + &leaf] {
        assert_eq!(accepted(&text, &root.anchors()).chain(), [certificate(&root.pem)]);
    }
}

#[test]
fn the_root_is_our_own_copy_and_not_its_twin_in_the_string() {
    let root = Ca::root("Root", no_tweak);
    let mut twin = root.params.clone();
    twin.serial_number = Some(SerialNumber::from_slice(&[9]));
    let twin = twin.self_signed(&root.key).unwrap().pem();
    let elder = Ca::root("Elder", no_tweak);
    let text = root.leaf(no_tweak) + &twin + &elder.cross_sign(&root);
    assert_eq!(accepted(&text, &root.anchors()).chain(), [certificate(&root.pem)]);
    let both = root.anchors().and(elder.anchors());
    assert_eq!(accepted(&text, &both).chain(), [certificate(&root.pem)], "the shorter of two ways");
    assert_eq!(accepted(&text, &elder.anchors()).chain().len(), 2, "the cross-signed one leads to the other anchor");
}

#[test]
fn a_sound_path_is_found_beside_broken_ones() {
    let root = Ca::root("Root", no_tweak);
    let elder = Ca::root("Elder", no_tweak);
    let middle = root.intermediate("Middle", |p| p.not_after = from_now!(-DAY));
    let text = middle.leaf(no_tweak) + &middle.pem;
    assert_eq!(refused(&text, &root.anchors()).rule(), Rule::IssuerExpired);
    let mut renewed = middle.params.clone();
    renewed.not_after = date_time_ymd(2040, 1, 1);
    let renewed = renewed.signed_by(&middle.key, &elder.issuer()).unwrap().pem();
    let candidate = accepted(&(text + &renewed), &root.anchors().and(elder.anchors()));
    assert_eq!(candidate.chain(), [certificate(&renewed), certificate(&elder.pem)]);
}

#[test]
fn thirty_cross_signed_intermediates_are_bounded_work() {
    let roots: Vec<Ca> = (0..30).map(|_| Ca::root("Same", no_tweak)).collect();
    let stranger = Ca::root("Stranger", no_tweak);
    let unnamed = |p: &mut CertificateParams| p.use_authority_key_identifier_extension = false;
    let mut text = roots[0].leaf(unnamed);
    for (at, root) in roots.iter().enumerate() {
        let mut params = root.params.clone();
        unnamed(&mut params);
        let by = &roots[(at + 7) % 30];
        text.push_str(&params.signed_by(&root.key, &by.issuer()).unwrap().pem());
    }
    let policy = Policy { max_certificates: 100, max_chain: 8, ..Policy::default() };
    for anchors in
        [stranger.anchors(), roots[29].anchors(), Anchors::of(roots.iter().map(|r| certificate(&r.pem)).collect())]
    {
        let begun = cpu_time();
        let verdict = judge(&text, &anchors, &policy, now());
        let taken = cpu_time() - begun;
        assert!(taken < Duration::from_secs(3), "{taken:?}");
        match verdict {
            Verdict::Accepted(candidate) => assert_eq!(candidate.chain().len(), 1),
            Verdict::Refused(refusal) => assert!(refusal.breaks(Rule::TooManyPaths), "{refusal}"),
            Verdict::Expired(..) => panic!(),
        }
    }
    assert_eq!(
        refused(&text, &stranger.anchors()).rule(),
        Rule::TooManyCertificates,
        "by default they are not even read"
    );
}

#[test]
fn the_most_specific_reason_stands_first_and_the_others_follow() {
    let stranger = Ca::root("Stranger", no_tweak);
    let anchors = Ca::root("Root", no_tweak).anchors();
    let leaf = stranger.leaf(|p| {
        p.not_before = from_now!(-30 * DAY);
        p.not_after = from_now!(-3 * DAY);
    });
    let refusal = refused(&leaf, &anchors);
    assert_eq!(refusal.rule(), Rule::Expired);
    assert!(refusal.breaks(Rule::UnknownIssuer));
    let message = refusal.to_string();
    assert!(message.contains("expired 3 days ago"), "{message}");
    assert!(message.contains(&certificate(&leaf).fingerprint().to_string()), "{message}");
    assert!(message.contains("what is trusted already stays trusted"), "{message}");
}

#[test]
fn a_leaf_that_is_only_expired_is_told_from_one_that_is_also_wrong() {
    let root = Ca::root("Root", no_tweak);
    let ended = |p: &mut CertificateParams| p.not_after = from_now!(-1);
    let middle = root.intermediate("Middle", ended);
    let text = middle.leaf(ended) + &middle.pem;
    let Verdict::Expired(candidate, refusal) = judge(&text, &root.anchors(), &Policy::default(), now()) else {
        panic!("its intermediate ended in the same second")
    };
    assert_eq!(refusal.rule(), Rule::Expired);
    assert_eq!(candidate.chain().len(), 2);
    let early = root.intermediate("Middle", |p| p.not_after = from_now!(-2));
    let text = early.leaf(ended) + &early.pem;
    let refusal = refused(&text, &root.anchors());
    assert!(refusal.breaks(Rule::Expired) && refusal.breaks(Rule::IssuerExpired), "{refusal}");
    let refusal = refused(
        &root.leaf(|p| {
            ended(p);
            p.extended_key_usages.clear()
        }),
        &root.anchors(),
    );
    assert!(refusal.breaks(Rule::Expired) && refusal.breaks(Rule::NoClientAuth), "{refusal}");
}

#[test]
fn every_setting_of_the_policy_has_its_effect() {
    let root = Ca::root("Root", no_tweak);
    let middle = root.intermediate("Middle", no_tweak);
    let text = middle.leaf(no_tweak) + &middle.pem;
    let with = |change: fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        match judge(&text, &root.anchors(), &policy, now()) {
            Verdict::Refused(refusal) => Some(refusal.rule()),
            _ => None,
        }
    };
    assert_eq!(with(|_| ()), None);
    assert_eq!(with(|p| p.max_chain = 2), Some(Rule::ChainTooLong));
    assert_eq!(with(|p| p.max_certificates = 1), Some(Rule::TooManyCertificates));
    assert_eq!(with(|p| p.max_validity = Duration::from_secs(300 * DAY)), Some(Rule::ValidityTooLong));
    assert_eq!(with(|p| p.curves.clear()), Some(Rule::WeakKey));
    assert_eq!(with(|p| p.signatures = ["SHA-256 with ECDSA"].into()), None);
    assert_eq!(with(|p| p.signatures = ["SHA-256 with RSA"].into()), Some(Rule::WeakSignature));
    assert_eq!(with(|p| p.other_usages = false), None);
    let mail = middle.leaf(|p| p.extended_key_usages.push(Eku::EmailProtection)) + &middle.pem;
    assert!(matches!(judge(&mail, &root.anchors(), &Policy::default(), now()), Verdict::Accepted(_)));
    let policy = Policy { other_usages: false, ..Policy::default() };
    let Verdict::Refused(refusal) = judge(&mail, &root.anchors(), &policy, now()) else { panic!() };
    assert_eq!(refusal.rule(), Rule::NoClientAuth);
    let rsa = middle.leaf_with_key(&rsa(&[0xc3; 256], &[1, 0, 1]), no_tweak) + &middle.pem;
    let policy = Policy { min_rsa_bits: 3072, ..Policy::default() };
    let Verdict::Refused(refusal) = judge(&rsa, &root.anchors(), &policy, now()) else { panic!() };
    assert_eq!(refusal.rule(), Rule::WeakKey);
    let soon = middle.leaf(|p| p.not_before = from_now!(+240)) + &middle.pem;
    let policy = Policy { clock_skew: Duration::ZERO, ..Policy::default() };
    let Verdict::Refused(refusal) = judge(&soon, &root.anchors(), &policy, now()) else { panic!() };
    assert_eq!(refusal.rule(), Rule::NotYetValid);
}

#[test]
fn only_the_exact_name_is_the_identity() {
    let root = Ca::root("Root", no_tweak);
    // rcgen refuses names that are no host names, so the SAN is written by hand.
    let san = |names: &[&str]| {
        let names: Vec<u8> =
            names.iter().flat_map(|n| [&[0x82, u8::try_from(n.len()).unwrap()], n.as_bytes()].concat()).collect();
        let content = [&[0x30, u8::try_from(names.len()).unwrap()], names.as_slice()].concat();
        extension(&[2, 5, 29, 17], false, &content)
    };
    let leaf = |common_names: &[&str], dns_names: &[&str]| {
        accepted(
            &root.leaf(|p| {
                p.subject_alt_names.clear();
                p.distinguished_name = DistinguishedName::new();
                p.distinguished_name.push(DnType::OrganizationName, "Vendor");
                for (at, name) in common_names.iter().enumerate() {
                    // A second value of the same type replaces the first, unless its type is spelt otherwise.
                    let kind = if at == 0 { DnType::CommonName } else { DnType::CustomDnType(vec![2, 5, 4, 3]) };
                    p.distinguished_name.push(kind, DnValue::Utf8String((*name).to_owned()));
                }
                if !dns_names.is_empty() {
                    p.custom_extensions = vec![san(dns_names)];
                }
            }),
            &root.anchors(),
        )
    };
    let identity = Identity::Names(BTreeSet::from([NAME.to_owned(), "second.example".to_owned()]));
    let nul = format!("{NAME}\0.evil.example");
    for (common_names, dns_names, admitted) in [
        (vec![NAME], vec![], true),
        (vec!["DataActions.EXAMPLE.com"], vec![], true),
        (vec!["x"], vec![NAME], true),
        (vec!["x"], vec!["y", "DATAACTIONS.example.com"], true),
        (vec![NAME], vec!["y"], false),
        (vec!["*.example.com"], vec![], false),
        (vec!["x"], vec!["*.example.com"], false),
        (vec!["dataactions.example.com."], vec![], false),
        (vec!["x"], vec!["dataactions.example.com."], false),
        (vec![nul.as_str()], vec![], false),
        (vec!["x"], vec![nul.as_str()], false),
        (vec!["dataactıons.example.com"], vec![], false),
        (vec!["dataactions.example.com "], vec![], false),
        (vec!["evil.dataactions.example.com"], vec![], false),
        (vec!["example.com"], vec![], false),
        (vec!["\u{212a}"], vec![], false),
        (vec![NAME, "evil.example"], vec![], false),
        (vec!["evil.example", NAME], vec![], false),
        (vec![NAME, "second.example"], vec![], true),
        (vec![], vec![], false),
    ] {
        let candidate = leaf(&common_names, &dns_names);
        assert_eq!(candidate.leaf().facts().common_names, common_names);
        assert_eq!(candidate.clone().admit(&Identity::Any).unwrap().chain().len(), 1);
        match candidate.admit(&identity) {
            Ok(verified) => assert!(admitted, "{common_names:?} {dns_names:?}: {verified:?}"),
            Err(refusal) => {
                assert!(!admitted, "{refusal}");
                assert_eq!(refusal.rule(), Rule::Identity);
                let message = refusal.to_string();
                assert!(message.contains(&format!("\"{NAME}\"")), "{message}");
                assert!(message.is_ascii() && !message.contains('\0'), "{message:?}");
            }
        }
    }
    let control = Identity::Names(BTreeSet::from([nul.clone()]));
    assert!(leaf(&[&nul], &[]).admit(&control).is_err(), "not even if it is configured");
    assert!(leaf(&[""], &[]).admit(&Identity::Names(BTreeSet::from([String::new()]))).is_err());
    let refusal = leaf(&["renamed.example"], &[]).admit(&identity).unwrap_err();
    let message = refusal.to_string();
    assert!(message.contains("\"renamed.example\""), "{message}");
    assert!(!message.contains("identity = "), "a stranger's refusal offers no line that would admit it: {message}");
}

#[test]
fn the_vendors_odd_forms_of_pem_are_read() {
    let root = Ca::root("Root", no_tweak);
    let middle = root.intermediate("Middle", no_tweak);
    let parts = [middle.leaf(no_tweak), middle.pem.clone(), root.pem.clone()];
    let joined = |separator: &str| parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join(separator);
    let spaced = |text: &str| {
        let wide = |line: &str| {
            if line.starts_with('-') { line.to_owned() } else { line.chars().flat_map(|c| [c, ' ']).collect() }
        };
        text.lines().map(wide).collect::<Vec<String>>().join("\n")
    };
    for text in [
        joined("\n"),
        joined("\r\n ").replace('\n', "\r\n"),
        joined("\r\n ").replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE----- \r"),
        joined(""),
        joined(" \t "),
        joined("\nsubject=CN = x\n"),
        spaced(&joined("\n")),
        format!("\u{feff}{}", joined("\n")),
        joined("\n").replace('\n', "\r"),
        joined("\n").replace('\n', " "),
        joined("\n").replace('\n', "\n\n"),
    ] {
        assert_eq!(pem::count(&text), 3);
        assert_eq!(accepted(&text, &root.anchors()).chain().len(), 2, "{text:?}");
    }
}

#[test]
fn anchors_are_read_whole_or_not_at_all() {
    let root = Ca::root("Root", no_tweak);
    let other = Ca::root("Other", no_tweak);
    let both = root.pem.clone() + &other.pem;
    assert_eq!(Anchors::read(both.as_bytes()).unwrap().0.len(), 2);
    assert_eq!(Anchors::read(root.pem.repeat(2).as_bytes()).unwrap(), root.anchors());
    assert_eq!(Anchors::read(certificate(&root.pem).der()).unwrap(), root.anchors());
    let not_a_ca = Anchors::read((both.clone() + &root.leaf(no_tweak)).as_bytes());
    assert!(matches!(not_a_ca, Err(AnchorError::NotACa { .. })), "{not_a_ca:?}");
    let key = root.key.serialize_pem() + &both;
    assert!(matches!(Anchors::read(key.as_bytes()), Err(AnchorError::Block { ordinal: 1, .. })));
    let cut = &both[..both.len() - 30];
    assert!(matches!(Anchors::read(cut.as_bytes()), Err(AnchorError::Block { ordinal: 2, .. })));
    for nothing in ["", "hello", "\u{feff}"] {
        assert_eq!(Anchors::read(nothing.as_bytes()), Err(AnchorError::NoCertificate));
    }
    assert!(Anchors::read(b"\x30\x82").is_err());
}

#[test]
fn the_vendors_own_root_and_intermediate_fit_the_built_in_anchors() {
    let root = certificate(include_str!("../data/digicert-assured-id-root-g2.pem"));
    let client = certificate(include_str!("../data/digicert-assured-id-client-ca-g2.pem"));
    assert_eq!(root.facts().serial, "0B931C3AD63967EA6723BFC3AF9AF44B");
    assert_eq!(client.facts().serial, "0FFAE1F31A2B433C3D9AE16D643B588B");
    assert_eq!(client.facts().issuer, root.facts().subject);
    assert_eq!(client.facts().authority_key_id, root.facts().subject_key_id);
    let anchors = Anchors::digicert();
    assert!(anchors.0.contains(&root));
    assert_eq!(refused(&(client.pem() + &root.pem()), &anchors).rule(), Rule::LeafIsCa);
    for anchor in &anchors.0 {
        assert!(now().days_until(anchor.facts().not_after) > 365, "{anchor:?} ends soon");
    }
}

/// Nobody but DigiCert can make a leaf that verifies below its intermediate; but one that is right in all but its signature
/// shows that nothing else of the real chain breaks a rule.
#[test]
fn below_the_vendors_own_chain_only_the_forged_signature_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let options = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key";
    openssl(folder.path(), options);
    let key = std::fs::read_to_string(folder.path().join("rsa.key")).unwrap();
    let mut params = Ca::params("");
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::OrganizationName, "DigiCert Inc"),
        (DnType::OrganizationalUnitName, "www.digicert.com"),
        (DnType::CommonName, "DigiCert Assured ID Client CA G2"),
    ] {
        let value = DnValue::PrintableString(value.try_into().unwrap());
        params.distinguished_name.push(kind, value);
    }
    let forger = Ca { params, key: KeyPair::from_pem(&key).unwrap(), pem: String::new() };
    let leaf = forger.leaf(|p| p.use_authority_key_identifier_extension = false);
    let text = leaf
        + include_str!("../data/digicert-assured-id-client-ca-g2.pem")
        + include_str!("../data/digicert-assured-id-root-g2.pem");
    let refusal = refused(&text, &Anchors::digicert());
    assert_eq!((refusal.rule(), refusal.others.len()), (Rule::BadSignature, 0), "{refusal}");
}

/// Runs openssl in a folder, which must succeed.
fn openssl(folder: &Path, arguments: &str) -> String {
    let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn algorithms_that_rcgen_does_not_make_are_judged_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    write("leaf.ext", "extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n");
    write("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n");
    let key = |name: &str, kind: &str| openssl(folder, &format!("genpkey -out {name}.key {kind}"));
    key("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    key("weak", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024");
    key("p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    key("p521", "-algorithm EC -pkeyopt ec_paramgen_curve:P-521");
    key("k256", "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1");
    key("explicit", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit");
    key("ed448", "-algorithm ED448");
    // Certificates named by subject: key, issuer, digest options, extensions.
    let root = |name: &str, key: &str, options: &str| {
        let subject = format!("req -x509 -new -key {key}.key -subj /CN={name} -days 3000 -out {name}.pem {options}");
        openssl(folder, &format!("{subject} -addext basicConstraints=critical,CA:TRUE"));
        // The default configuration may add basicConstraints by itself; twice would be another rule's case.
        assert_eq!(certificate(&read(&format!("{name}.pem"))).facts().duplicate_extensions, Vec::<String>::new());
    };
    let signed = |name: &str, key: &str, by: &str, by_key: &str, options: &str, extensions: &str| {
        openssl(folder, &format!("req -new -key {key}.key -subj /CN={name} -out {name}.csr"));
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by_key}.key -CAcreateserial -days 300 -out {name}.pem \
                 -extfile {extensions}.ext {options}"
            ),
        );
    };
    write("req.cnf", "[req]\ndistinguished_name=dn\n[dn]\n");
    let plain = "-config req.cnf";
    root("root", "rsa", &format!("{plain} -sha256"));
    root("sha1root", "rsa", &format!("{plain} -sha1"));
    root("weakroot", "weak", plain);
    root("p521root", "p521", plain);
    root("p256root", "p256", plain);
    signed("sound", "rsa", "root", "rsa", "-sha256", "leaf");
    signed("pss", "rsa", "root", "rsa", "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32", "leaf");
    signed("pss1", "rsa", "root", "rsa", "-sha1 -sigopt rsa_padding_mode:pss", "leaf");
    signed("sha1", "rsa", "root", "rsa", "-sha1", "leaf");
    signed("md5", "rsa", "root", "rsa", "-md5", "leaf");
    signed("sha224", "rsa", "root", "rsa", "-sha224", "leaf");
    signed("ecsha1", "rsa", "p256root", "p256", "-sha1", "leaf");
    signed("ecsha512", "rsa", "p256root", "p256", "-sha512", "leaf");
    signed("undersha1root", "rsa", "sha1root", "rsa", "-sha256", "leaf");
    signed("underweak", "rsa", "weakroot", "weak", "-sha256", "leaf");
    signed("underp521", "rsa", "p521root", "p521", "-sha512", "leaf");
    signed("withp521", "p521", "root", "rsa", "-sha256", "leaf");
    signed("withk256", "k256", "root", "rsa", "-sha256", "leaf");
    signed("withexplicit", "explicit", "root", "rsa", "-sha256", "leaf");
    signed("withed448", "ed448", "root", "rsa", "-sha256", "leaf");
    signed("sha1middle", "p256", "root", "rsa", "-sha1", "ca");
    signed("undersha1middle", "rsa", "sha1middle", "p256", "-sha256", "leaf");
    for (leaf, above, anchor, expected) in [
        ("sound", "", "root", None),
        ("pss", "", "root", None),
        ("pss1", "", "root", Some(Rule::WeakSignature)),
        ("sha1", "", "root", Some(Rule::WeakSignature)),
        ("md5", "", "root", Some(Rule::WeakSignature)),
        ("sha224", "", "root", Some(Rule::UnsupportedSignature)),
        ("ecsha1", "", "p256root", Some(Rule::WeakSignature)),
        ("ecsha512", "", "p256root", Some(Rule::UncheckableIssuerKey)),
        ("undersha1root", "", "sha1root", None),
        ("underweak", "", "weakroot", Some(Rule::WeakKey)),
        ("underp521", "", "p521root", Some(Rule::UncheckableIssuerKey)),
        ("withp521", "", "root", None),
        ("withk256", "", "root", Some(Rule::WeakKey)),
        ("withexplicit", "", "root", Some(Rule::WeakKey)),
        ("withed448", "", "root", Some(Rule::WeakKey)),
        ("undersha1middle", "sha1middle", "root", Some(Rule::WeakSignature)),
    ] {
        let mut text = read(&format!("{leaf}.pem"));
        if !above.is_empty() {
            text.push_str(&read(&format!("{above}.pem")));
        }
        let anchors = Anchors::read_pem(&read(&format!("{anchor}.pem"))).unwrap();
        let at = certificate(&text).facts().not_before.plus(Duration::from_secs(DAY));
        let verdict = judge(&text, &anchors, &Policy::default(), at);
        let rule = match &verdict {
            Verdict::Accepted(_) => None,
            Verdict::Expired(_, refusal) | Verdict::Refused(refusal) => Some(refusal.rule()),
        };
        assert_eq!(rule, expected, "{leaf}: {verdict:?}");
        if leaf == "underp521" {
            let Verdict::Refused(refusal) = verdict else { panic!() };
            assert!(refusal.to_string().contains("P-521 key: ring, which checks signatures here, cannot check"));
        }
    }
}

#[test]
fn names_read_exactly_as_openssl_prints_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let printed = |pem_text: &str| {
        std::fs::write(folder.join("x.pem"), pem_text).unwrap();
        let text = openssl(folder, "x509 -in x.pem -noout -subject -nameopt RFC2253");
        text.trim_end_matches('\n').strip_prefix("subject=").unwrap().to_owned()
    };
    let key = KeyPair::generate().unwrap();
    let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
    let attribute = |oid: &[u64]| DnType::CustomDnType(oid.to_vec());
    let mut names: Vec<Vec<(DnType, DnValue)>> = Vec::new();
    for text in [
        "plain",
        "a,b+c\"d\\e<f>g;h",
        "#first",
        " lead",
        "trail ",
        " ",
        "  ",
        "#",
        "a#b",
        "a=b",
        "Zürich",
        "日本",
        "😀",
        "tab\there",
        "nul\0here",
        "del\u{7f}",
        "é",
        "new\nline",
        "/CN=evil",
        " é ",
        "a  b",
    ] {
        names.push(vec![(DnType::CommonName, utf8(text))]);
    }
    names.push(vec![(DnType::CommonName, DnValue::BmpString("Zürich, ž".try_into().unwrap()))]);
    names.push(vec![(DnType::CommonName, DnValue::UniversalString("ž+😀".try_into().unwrap()))]);
    names.push(vec![(DnType::CommonName, DnValue::Ia5String("a@b".try_into().unwrap()))]);
    names.push(vec![(DnType::CommonName, DnValue::TeletexString("abc ".try_into().unwrap()))]);
    names.push(vec![(DnType::CommonName, DnValue::PrintableString("a,b".try_into().unwrap()))]);
    names.push(vec![(attribute(&[1, 2, 3, 4, 5]), utf8("unknown")), (DnType::CommonName, utf8("known"))]);
    names.push(vec![(attribute(&[1, 2, 3, 4, 5]), utf8(&"long".repeat(100)))]);
    names.push(vec![]);
    for oid in [
        &[2, 5, 4, 4][..],
        &[2, 5, 4, 5],
        &[2, 5, 4, 6],
        &[2, 5, 4, 7],
        &[2, 5, 4, 8],
        &[2, 5, 4, 9],
        &[2, 5, 4, 10],
        &[2, 5, 4, 11],
        &[2, 5, 4, 12],
        &[2, 5, 4, 13],
        &[2, 5, 4, 15],
        &[2, 5, 4, 16],
        &[2, 5, 4, 17],
        &[2, 5, 4, 18],
        &[2, 5, 4, 19],
        &[2, 5, 4, 20],
        &[2, 5, 4, 41],
        &[2, 5, 4, 42],
        &[2, 5, 4, 43],
        &[2, 5, 4, 44],
        &[2, 5, 4, 45],
        &[2, 5, 4, 46],
        &[2, 5, 4, 51],
        &[2, 5, 4, 54],
        &[2, 5, 4, 65],
        &[2, 5, 4, 72],
        &[2, 5, 4, 97],
        &[1, 2, 840, 113_549, 1, 9, 1],
        &[1, 2, 840, 113_549, 1, 9, 2],
        &[1, 2, 840, 113_549, 1, 9, 8],
        &[0, 9, 2342, 19_200_300, 100, 1, 1],
        &[0, 9, 2342, 19_200_300, 100, 1, 3],
        &[0, 9, 2342, 19_200_300, 100, 1, 25],
        &[1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 1],
        &[1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 2],
        &[1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3],
    ] {
        names.push(vec![(attribute(oid), utf8("xy")), (DnType::OrganizationName, utf8("Org"))]);
    }
    for name in names {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in name {
            params.distinguished_name.push(kind, value);
        }
        let text = params.self_signed(&key).unwrap().pem();
        assert_eq!(certificate(&text).facts().subject, printed(&text), "{:?}", params.distinguished_name);
    }
    // Several values in one RDN, which rcgen does not write.
    openssl(folder, "genpkey -algorithm ED25519 -out k.key");
    std::fs::write(folder.join("req.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
    for subject in ["/C=US/O=a+OU=b/CN=c", "/CN=c+UID=1+OU=x", "/CN=one/CN=two"] {
        openssl(folder, &format!("req -x509 -new -key k.key -config req.cnf -subj {subject} -out m.pem"));
        let text = std::fs::read_to_string(folder.join("m.pem")).unwrap();
        assert_eq!(certificate(&text).facts().subject, printed(&text), "{subject}");
    }
    for data in [
        include_str!("../data/digicert-assured-id-root-g2.pem"),
        include_str!("../data/digicert-assured-id-client-ca-g2.pem"),
    ] {
        assert_eq!(certificate(data).facts().subject, printed(data));
    }
}

/// One good leaf and its anchor, made once.
fn sample() -> &'static (Vec<u8>, String, Anchors) {
    static SAMPLE: std::sync::OnceLock<(Vec<u8>, String, Anchors)> = std::sync::OnceLock::new();
    SAMPLE.get_or_init(|| {
        let root = Ca::root("Root", no_tweak);
        let middle = root.intermediate("Middle", no_tweak);
        let leaf = middle.leaf(no_tweak);
        (certificate(&leaf).der().to_vec(), middle.pem, root.anchors())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let (_, middle, anchors) = sample();
        let _ = judge(&text, anchors, &Policy::default(), now());
        let _ = judge(&format!("-----BEGIN CERTIFICATE-----{text}-----END CERTIFICATE-----{middle}"), anchors, &Policy::default(), now());
        let _ = Anchors::read(text.as_bytes());
    }

    #[test]
    fn no_changed_certificate_is_accepted_or_makes_it_panic(
        at in any::<proptest::sample::Index>(), bits in 1_u8.., cut in any::<Option<proptest::sample::Index>>()
    ) {
        let (der, middle, anchors) = sample();
        let mut changed = der.clone();
        let at = at.index(changed.len());
        changed[at] ^= bits;
        if let Some(cut) = cut {
            changed.truncate(cut.index(der.len()));
        }
        let digits = base64::engine::general_purpose::STANDARD.encode(&changed);
        let text = format!("-----BEGIN CERTIFICATE-----\n{digits}\n-----END CERTIFICATE-----\n{middle}");
        let verdict = judge(&text, anchors, &Policy::default(), now());
        proptest::prop_assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
    }

    #[test]
    fn any_moment_is_judged(seconds in any::<i64>()) {
        let (der, middle, anchors) = sample();
        let text = pem::encode("CERTIFICATE", der) + middle;
        let _ = judge(&text, anchors, &Policy::default(), Timestamp::from_unix(seconds));
    }
}

#[test]
fn the_core_is_pure_and_one_file_names_webpki() {
    fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/trust"), &mut found);
    assert!(found.len() > 8);
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for line in &code {
            let inside = line.replace("crate::trust", "");
            assert!(!inside.contains("crate::"), "{}: {line}", path.display());
            for effect in [
                "SystemTime::now",
                "Instant::now",
                "std::fs",
                "std::process",
                "std::env",
                "TcpStream",
                "tokio",
                "reqwest",
                "rcgen",
                "rand::",
            ] {
                assert!(!line.contains(effect), "{}: {line}", path.display());
            }
        }
        let names_webpki = code.iter().any(|line| line.contains("webpki::"));
        assert_eq!(names_webpki, path.ends_with("verify/signed.rs"), "{}", path.display());
    }
}
