//! Name rules on a real Apache: those with the region's name get in, and those who only look so do not.

use std::collections::BTreeSet;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use support::apache::Apache;
use support::cast;
use support::names::{self, MARKER, Member, Names, SIGNED_BY_MARKER};
use trustsync::targets::apache::snippet::virtual_host;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::set::{TrustSet, Witnesses};
use trustsync::trust::values::slot::{Authority, SlotId};

fn cast_at_apache(names: &Names) {
    let link = names.publish("apache", &[trustsync::targets::apache::OUTPUT]);
    let dir = tempfile::tempdir().unwrap();
    let apache = Apache::start(dir.path(), &virtual_host(&link));
    names.assert_cast(&apache.address());
    // The marker is an anchor for nobody: the chain refuses it and what its key signs, before any list is asked.
    let by_marker = names.members.iter().filter(|member| [MARKER, SIGNED_BY_MARKER].contains(&member.who));
    for (member, version) in by_marker.flat_map(|member| cast::TLS_VERSIONS.map(|version| (member, version))) {
        assert_eq!(member.knock(&apache.address(), version), "nothing", "{}", member.who);
    }
}

#[test]
fn by_a_name_rule_alone_apache_admits_the_name_and_no_trick() {
    cast_at_apache(&Names::new(false));
}

#[test]
fn beside_a_public_pin_apache_admits_the_name_of_its_own_root_alone() {
    cast_at_apache(&Names::new(true));
}

#[test]
fn where_apache_verifies_no_chain_a_forged_one_passes_by_no_name() {
    let mut names = Names::new(true);
    let link = names.publish("apache", &[trustsync::targets::apache::OUTPUT]);
    let dir = tempfile::tempdir().unwrap();
    let lenient = virtual_host(&link).replace("SSLVerifyClient optional\n", "SSLVerifyClient optional_no_ca\n");
    assert!(lenient.contains("optional_no_ca\n"));
    let apache = Apache::start(dir.path(), &lenient);
    names.assert_cast(&apache.address());

    // A forged root of the very name, and its leaf of the very name.
    let root = names.set.name_rules[0].root.facts().subject.clone();
    assert_eq!(root, r#"CN=Genesys Cloud eu-west-1 \"Root\"\; CA\, v1,O=Genesys Cloud Services\, Inc.,C=US"#);
    let forged = Root::new(&[
        (DnType::CountryName, "US"),
        (DnType::OrganizationName, "Genesys Cloud Services, Inc."),
        (DnType::CommonName, "Genesys Cloud eu-west-1 \"Root\"; CA, v1"),
    ]);
    assert_eq!(forged.certificate.facts().subject, root);
    let leaf = forged.leaf(dir.path(), &[(DnType::CountryName, "US"), (DnType::CommonName, names::NAME)], false);
    names.members = vec![leaf];
    names.assert_cast(&apache.address());
    assert_eq!(names.members[0].knock(&apache.address(), "-tls1_3"), "403", "it came as far as the list");
}

#[test]
fn by_names_of_the_old_form_nobody_is_admitted_but_the_pinned() {
    let mut names = Names::new(true);
    let link = names.publish("apache", &[trustsync::targets::apache::OUTPUT]);
    let dir = tempfile::tempdir().unwrap();
    let old = format!("SSLOptions +LegacyDNStringFormat\n{}", virtual_host(&link));
    let apache = Apache::start(dir.path(), &old);
    for member in &mut names.members {
        member.admitted = member.who == "the pinned one";
    }
    names.assert_cast(&apache.address());
}

#[test]
fn names_with_everything_that_means_something_to_apache_are_compared_to_the_byte() {
    let odd = "Ünïté \"q\" 'a' ${HOME} %{SSL_CLIENT_S_DN} #x \\ <y>; %s $1 \u{1}";
    let root = Root::new(&[(DnType::OrganizationName, odd), (DnType::CommonName, "Root + 1")]);
    let other = Root::new(&[(DnType::OrganizationName, &odd.replace('Ü', "U")), (DnType::CommonName, "Root + 1")]);
    let dir = tempfile::tempdir().unwrap();
    let subject = |organisation| [(DnType::OrganizationName, organisation), (DnType::CommonName, names::NAME)];
    let mut names = Names::new(false);
    names.members = vec![
        root.leaf(dir.path(), &subject("Genesys"), true),
        root.leaf(dir.path(), &subject(odd), true),
        root.leaf(dir.path(), &[(DnType::CommonName, "x"), (DnType::OrganizationName, odd)], false),
        other.leaf(dir.path(), &subject("Genesys"), false),
    ];
    names.set = TrustSet::default();
    let slot = SlotId::new("eu", "eu-west-1", Authority::Genesys);
    names.set.admit_by_name(&slot, &root.certificate, &BTreeSet::from([names::NAME.to_owned()]), &Witnesses::default());
    for root in [&root, &other] {
        names.set.chain.insert(root.certificate.fingerprint(), root.certificate.clone());
    }
    let link = names.publish("apache", &[trustsync::targets::apache::OUTPUT]);
    let apache = Apache::start(&dir.path().join("server"), &virtual_host(&link));
    names.assert_cast(&apache.address());
}

/// A root, and what it signs.
struct Root {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Root {
    fn new(subject: &[(DnType, &str)]) -> Self {
        let mut params = of(subject);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn leaf(&self, dir: &Path, subject: &[(DnType, &str)], admitted: bool) -> Member {
        let mut params = of(subject);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // Else the root of the same name would be taken for its issuer, and its signature be found wrong.
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let number = std::fs::read_dir(dir).unwrap().count();
        let [leaf, its_key] = ["leaf", "key"].map(|what| dir.join(format!("{what}-{number}.pem")));
        std::fs::write(&leaf, pem).unwrap();
        std::fs::write(&its_key, key.serialize_pem()).unwrap();
        Member { who: "one of an odd root", leaf, key: its_key, admitted }
    }
}

fn of(subject: &[(DnType, &str)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
    }
    params
}
