//! The CRL family: lists made by rcgen, by `openssl ca -gencrl`, and by hand where neither makes one of the kind; what is
//! believed, what is refused and in which words, and who is revoked by it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use proptest::prelude::{ProptestConfig, any, proptest};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Eku, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose as Ku, RevocationReason, RevokedCertParams, SerialNumber, SigningKey,
    date_time_ymd,
};
use serde::Deserialize;
use support::cpu_time;
use support::privilege;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::formats::pem;
use trustsync::trust::values::timestamp::Timestamp;
use trustsync::trust::verify::anchor::Anchors;
use trustsync::trust::verify::crl::{
    CoveredKind, Crl, Freshest, LARGEST, Problem, Revocation, VerifiedCrl, believe as judge, lapsed, revocations,
};
use trustsync::trust::verify::{self, Policy, Verdict};

fn freshest_of(lists: impl IntoIterator<Item = VerifiedCrl>) -> Freshest {
    lists.into_iter().fold(Freshest::default(), |freshest, list| freshest.and(Some(list)))
}

const LEAF: u64 = 0x1001;
const OTHER_LEAF: u64 = 0x1002;
const INTERMEDIATE: u64 = 0x2001;
const SKEW: Duration = Duration::from_secs(300);
const DAY: u64 = 86_400;
const POINT: &str = "http://crl.example.com/intermediate.crl";

/// 2026-06-01, the present of every test.
fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

struct Ca {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

fn ca_params(name: &str) -> CertificateParams {
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

impl Ca {
    fn root(name: &str) -> Self {
        let params = ca_params(name);
        let key = KeyPair::generate().unwrap();
        let certificate = parsed(&params.self_signed(&key).unwrap());
        Self { params, key, certificate }
    }

    fn below(&self, name: &str, tweak: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params(name);
        params.serial_number = Some(SerialNumber::from(INTERMEDIATE));
        tweak(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = parsed(&params.signed_by(&key, &self.issuer()).unwrap());
        Self { params, key, certificate }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn leaf(&self, serial: impl Into<SerialNumber>) -> Certificate {
        let mut params = CertificateParams::new(vec!["dataactions.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "dataactions.example.com");
        params.serial_number = Some(serial.into());
        params.key_usages = vec![Ku::DigitalSignature];
        params.extended_key_usages = vec![Eku::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![POINT.into()] }];
        parsed(&params.signed_by(&KeyPair::generate().unwrap(), &self.issuer()).unwrap())
    }

    /// A list by rcgen, in force now.
    fn list(&self, serials: &[u64], tweak: impl FnOnce(&mut CertificateRevocationListParams)) -> Crl {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 5, 20),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let mut params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 5, 30),
            next_update: date_time_ymd(2026, 6, 6),
            crl_number: SerialNumber::from(7_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        tweak(&mut params);
        Crl::parse(params.signed_by(&self.issuer()).unwrap().der().to_vec()).unwrap()
    }

    /// A list by hand, in force now, signed by this CA's key.
    fn by_hand(&self, tweak: impl FnOnce(&mut ByHand)) -> Vec<u8> {
        let mut list = ByHand {
            version: integer(&[1]),
            issuer: self.certificate.facts().subject_der.clone(),
            times: [utc("260530000000Z"), utc("260606000000Z")].concat(),
            entries: Vec::new(),
            extensions: Vec::new(),
            algorithm: ECDSA_SHA256.to_vec(),
        };
        tweak(&mut list);
        list.signed(&self.key)
    }
}

fn parsed(certificate: &rcgen::Certificate) -> Certificate {
    Certificate::parse(certificate.der()).unwrap()
}

/// AlgorithmIdentifier of ecdsa-with-SHA256.
const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// AlgorithmIdentifier of ecdsa-with-SHA1.
const ECDSA_SHA1: &[u8] = &[0x30, 0x09, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];

/// The parts of a list, each as DER.
struct ByHand {
    version: Vec<u8>,
    issuer: Vec<u8>,
    times: Vec<u8>,
    entries: Vec<u8>,
    extensions: Vec<Vec<u8>>,
    algorithm: Vec<u8>,
}

impl ByHand {
    fn signed(&self, key: &KeyPair) -> Vec<u8> {
        let entries = if self.entries.is_empty() { Vec::new() } else { der(0x30, &self.entries) };
        let extensions =
            if self.extensions.is_empty() { Vec::new() } else { der(0xa0, &der(0x30, &self.extensions.concat())) };
        let parts = [&self.version, &self.algorithm, &self.issuer, &self.times, &entries, &extensions];
        let tbs = der(0x30, &parts.map(Vec::as_slice).concat());
        let signature = [[0].as_slice(), &key.sign(&tbs).unwrap()].concat();
        der(0x30, &[tbs, self.algorithm.clone(), der(0x03, &signature)].concat())
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let head = match content.len() {
        short if short < 0x80 => vec![tag, short as u8],
        _ => [vec![tag, 0x80 | significant.len() as u8], significant].concat(),
    };
    [head.as_slice(), content].concat()
}

fn integer(content: &[u8]) -> Vec<u8> {
    der(0x02, content)
}

fn utc(text: &str) -> Vec<u8> {
    der(0x17, text.as_bytes())
}

fn entry(serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = if extensions.is_empty() { Vec::new() } else { der(0x30, &extensions.concat()) };
    der(0x30, &[integer(serial), utc("260520000000Z"), extensions].concat())
}

/// An extension of the arc 2.5.29.
fn extension(last: u8, critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = if critical { vec![0x01, 0x01, 0xff] } else { Vec::new() };
    der(0x30, &[vec![0x06, 0x03, 0x55, 0x1d, last], critical, der(0x04, content)].concat())
}

fn issuing_distribution_point(content: &[u8]) -> Vec<u8> {
    extension(28, true, &der(0x30, content))
}

/// An extension that nobody knows: 1.2.3.4.
fn unknown_extension(critical: bool) -> Vec<u8> {
    let critical = if critical { vec![0x01, 0x01, 0xff] } else { Vec::new() };
    der(0x30, &[vec![0x06, 0x03, 0x2a, 0x03, 0x04], critical, der(0x04, &[5, 0])].concat())
}

/// A root, an intermediate below it, and two leaves below that, of a path that policy accepts.
struct World {
    root: Ca,
    intermediate: Ca,
    leaf: Certificate,
    other_leaf: Certificate,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(tweak: impl FnOnce(&mut CertificateParams)) -> Self {
        let root = Ca::root("Root");
        let intermediate = root.below("Intermediate", tweak);
        let (leaf, other_leaf) = (intermediate.leaf(LEAF), intermediate.leaf(OTHER_LEAF));
        let world = Self { root, intermediate, leaf, other_leaf };
        for leaf in [&world.leaf, &world.other_leaf] {
            let text = leaf.pem() + &world.intermediate.certificate.pem();
            let anchors = Anchors::of(vec![world.root.certificate.clone()]);
            let Verdict::Accepted(candidate) = verify::verify_string(&text, &anchors, &Policy::default(), now()) else {
                panic!("the path is not accepted");
            };
            assert_eq!(candidate.chain(), world.chain());
        }
        world
    }

    fn chain(&self) -> Vec<Certificate> {
        vec![self.intermediate.certificate.clone(), self.root.certificate.clone()]
    }

    fn judge(&self, crl: &Crl) -> Result<VerifiedCrl, Problem> {
        judge(crl, &self.chain(), SKEW, now()).map_err(|refused| {
            let text = refused.to_string();
            assert!(text.contains("trusted") && text.contains(&refused.issuer), "{text}");
            refused.problem
        })
    }

    fn revoked(&self, leaf: &Certificate, lists: &[Crl]) -> Vec<Revocation> {
        revocations(leaf, &self.chain(), &freshest_of(lists.iter().map(|crl| self.judge(crl).unwrap())))
    }

    fn problem_of(&self, tweak: impl FnOnce(&mut ByHand)) -> Problem {
        let der = self.intermediate.by_hand(tweak);
        self.judge(&Crl::parse(der).unwrap()).unwrap_err()
    }
}

#[test]
fn a_list_that_names_nobody_of_ours_revokes_nobody() {
    let world = World::new();
    let lists = [world.intermediate.list(&[1, 2, 3], |_| {}), world.root.list(&[], |_| {})];
    assert!(world.revoked(&world.leaf, &lists).is_empty());
    let facts = lists[0].facts();
    assert_eq!(facts.count, 3);
    assert_eq!(facts.issuer, "CN=Intermediate");
    assert_eq!(facts.number, Some(vec![7]));
    assert_eq!(facts.this_update.to_string(), "2026-05-30T00:00:00Z");
    assert_eq!(facts.next_update.unwrap().to_string(), "2026-06-06T00:00:00Z");
    assert_eq!(facts.signature, "SHA-256 with ECDSA");
    assert_eq!(facts.authority_key_id, world.intermediate.certificate.facts().subject_key_id);
    assert_eq!(facts.scope.kind, CoveredKind::All);
    let freshest = freshest_of(lists.iter().map(|crl| world.judge(crl).unwrap()));
    assert!(freshest.uncovered(&world.leaf, &world.chain()).is_empty());
}

#[test]
fn a_listed_leaf_is_revoked_and_its_neighbour_is_not() {
    let world = World::new();
    let lists = [world.intermediate.list(&[5, LEAF, 6], |_| {})];
    let found = world.revoked(&world.leaf, &lists);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].fingerprint, world.leaf.fingerprint());
    assert_eq!(found[0].reason.name(), "keyCompromise");
    assert_eq!(found[0].since.to_string(), "2026-05-20T00:00:00Z");
    assert_eq!(found[0].by, "CN=Intermediate");
    let text = found[0].to_string();
    assert!(text.contains("keyCompromise") && text.contains("2026-05-20"), "{text}");
    assert!(world.revoked(&world.other_leaf, &lists).is_empty());
}

#[test]
fn a_revoked_intermediate_takes_its_leaves_along() {
    let world = World::new();
    let lists = [world.root.list(&[INTERMEDIATE], |_| {})];
    for leaf in [&world.leaf, &world.other_leaf] {
        let found = world.revoked(leaf, &lists);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].fingerprint, world.intermediate.certificate.fingerprint());
    }
}

#[test]
fn a_leaf_stands_while_one_of_its_paths_is_not_revoked() {
    let world = World::new();
    let second = Ca::root("Second root");
    let mut params = world.intermediate.params.clone();
    params.serial_number = Some(SerialNumber::from(0x2002_u64));
    let cross = parsed(&params.signed_by(&world.intermediate.key, &second.issuer()).unwrap());
    let chain = [world.chain(), vec![cross.clone(), second.certificate.clone()]].concat();
    let verified = |crl: &Crl| judge(crl, &chain, SKEW, now()).unwrap();
    let first = world.root.list(&[INTERMEDIATE], |_| {});
    let other = second.list(&[0x2002], |_| {});
    assert!(revocations(&world.leaf, &chain, &freshest_of([verified(&first)])).is_empty());
    assert!(revocations(&world.leaf, &chain, &freshest_of([verified(&other)])).is_empty());
    let both = revocations(&world.leaf, &chain, &freshest_of([verified(&first), verified(&other)]));
    assert_eq!(both.len(), 2, "{both:?}");
    // The same serial number under the other issuer is another certificate.
    let mixed = second.list(&[INTERMEDIATE], |_| {});
    assert!(revocations(&world.leaf, &chain, &freshest_of([verified(&mixed)])).is_empty());
}

#[test]
fn an_anchor_is_not_revoked_by_its_own_list() {
    let world = World::new();
    let serial = world.root.certificate.facts().serial_octets.clone();
    let list = world.root.by_hand(|list| list.entries = entry(&serial, &[]));
    assert!(world.revoked(&world.leaf, &[Crl::parse(list).unwrap()]).is_empty());
}

#[test]
fn on_hold_is_revoked_and_so_is_every_other_reason_or_none() {
    let world = World::new();
    for code in [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 77] {
        let reason = extension(21, false, &[0x0a, 0x01, code]);
        let list = world.intermediate.by_hand(|list| list.entries = entry(&[0x10, 0x01], &[reason]));
        let found = world.revoked(&world.leaf, &[Crl::parse(list).unwrap()]);
        assert_eq!(found[0].reason.0, code);
    }
    let list = world.intermediate.by_hand(|list| list.entries = entry(&[0x10, 0x01], &[]));
    assert_eq!(world.revoked(&world.leaf, &[Crl::parse(list).unwrap()])[0].reason.name(), "unspecified");
}

#[test]
fn serial_numbers_are_compared_as_numbers_of_any_length() {
    let root = Ca::root("Root");
    for (in_certificate, in_list, same) in [
        (vec![0x7f; 20], vec![0x7f; 20], true),
        (vec![0x7f; 20], vec![0x7f; 19], false),
        (vec![0xff], vec![0x00, 0xff], true),
        // A CA that writes no DER.
        (vec![0x05], vec![0x00, 0x05], true),
        (vec![0x05], vec![0x05, 0x00], false),
        (vec![0x80, 1], vec![0x80, 1], false),
    ] {
        let leaf = root.leaf(SerialNumber::from(in_certificate.clone()));
        let list = root.by_hand(|list| list.entries = entry(&in_list, &[]));
        let chain = [root.certificate.clone()];
        let verified = judge(&Crl::parse(list).unwrap(), &chain, SKEW, now()).unwrap();
        let found = revocations(&leaf, &chain, &freshest_of([verified]));
        assert_eq!(!found.is_empty(), same, "{in_certificate:x?} {in_list:x?}");
    }
}

#[test]
fn a_list_of_another_issuer_or_key_is_not_believed() {
    let world = World::new();
    let stranger = Ca::root("Stranger");
    assert_eq!(world.judge(&stranger.list(&[LEAF], |_| {})).unwrap_err(), Problem::OtherIssuer);
    // The same name, but another key: without and with the key identifier of the right one.
    let namesake = Ca::root("Intermediate");
    assert_eq!(world.judge(&namesake.list(&[LEAF], |_| {})).unwrap_err(), Problem::KeyIdentifier);
    let unsigned = Crl::parse(namesake.by_hand(|list| list.entries = entry(&[0x10, 0x01], &[]))).unwrap();
    assert_eq!(world.judge(&unsigned).unwrap_err(), Problem::BadSignature);
}

#[test]
fn a_list_by_the_namesake_of_an_issuer_revokes_nothing_of_the_other() {
    let world = World::new();
    let namesake = Ca::root("Intermediate");
    let chain = [world.chain(), vec![namesake.certificate.clone()]].concat();
    let verified = judge(&namesake.list(&[LEAF], |_| {}), &chain, SKEW, now()).unwrap();
    assert!(revocations(&world.leaf, &chain, &freshest_of([verified])).is_empty());
}

#[test]
fn a_changed_list_is_not_believed() {
    let world = World::new();
    let der = world.intermediate.list(&[LEAF], |_| {}).der().to_vec();
    let at = der.windows(2).position(|pair| pair == [0x10, 0x01]).unwrap();
    let mut changed = der.clone();
    changed[at] = 0x11;
    assert_eq!(world.judge(&Crl::parse(changed).unwrap()).unwrap_err(), Problem::BadSignature);
    let mut cut = der;
    *cut.last_mut().unwrap() ^= 1;
    assert_eq!(world.judge(&Crl::parse(cut).unwrap()).unwrap_err(), Problem::BadSignature);
}

#[test]
fn an_issuer_without_crl_sign_signs_no_list() {
    let without = World::with(|params| params.key_usages = vec![Ku::KeyCertSign]);
    let list = Crl::parse(without.intermediate.by_hand(|list| list.entries = entry(&[0x10, 0x01], &[]))).unwrap();
    assert_eq!(without.judge(&list).unwrap_err(), Problem::IssuerMayNotSign);
}

#[test]
fn a_list_is_believed_from_this_update_to_next_update() {
    let world = World::new();
    let crl = world.intermediate.list(&[LEAF], |_| {});
    let at = |moment: &str| {
        judge(&crl, &world.chain(), SKEW, moment.parse().unwrap()).map(|verified| verified.in_force_until().unwrap())
    };
    let next = "2026-06-06T00:00:00Z".parse().unwrap();
    let problem = |moment| at(moment).unwrap_err().problem;
    assert!(matches!(problem("2026-05-29T23:54:59Z"), Problem::NotYetValid(_)));
    assert_eq!(at("2026-05-29T23:55:00Z"), Ok(next));
    assert_eq!(at("2026-06-06T00:00:00Z"), Ok(next));
    assert_eq!(problem("2026-06-06T00:00:01Z"), Problem::Stale(next));
}

/// A revocation is for good, so the age of a list takes nothing from whom it names; only what it does not name is unknown.
#[test]
fn a_list_that_is_not_in_force_revokes_whom_it_names_and_vouches_for_nobody() {
    let world = World::new();
    let chain = world.chain();
    let leaf = &world.leaf;
    let revoking = world.intermediate.list(&[LEAF], |_| {});
    let of_root = world.root.list(&[], |_| {});
    for moment in ["2026-05-29T23:54:59Z", "2026-06-06T00:00:01Z", "2029-06-06T00:00:01Z"] {
        let refused = judge(&revoking, &chain, SKEW, moment.parse().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("whom it names is revoked all the same"), "{refused}");
        let lists = Freshest::default().and(lapsed(&revoking, &chain)).and(lapsed(&of_root, &chain));
        assert_eq!(revocations(leaf, &chain, &lists).len(), 1, "{moment}");
        assert_eq!(lists.uncovered(leaf, &chain).len(), 2, "{moment}");
    }
    // Beside a list that is in force, it takes no word from it.
    let empty = world.intermediate.list(&[], |_| {});
    let lists =
        freshest_of([world.judge(&empty).unwrap(), world.judge(&of_root).unwrap()]).and(lapsed(&revoking, &chain));
    assert!(lists.uncovered(leaf, &chain).is_empty());
    assert_eq!(revocations(leaf, &chain, &lists).len(), 1);
    // Of a stranger's list, or one that was changed, nothing counts.
    let mut forged = revoking.der().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert!(lapsed(&Crl::parse(forged).unwrap(), &chain).is_none());
}

#[test]
fn a_list_without_next_update_is_refused() {
    let world = World::new();
    let der = world.intermediate.by_hand(|list| list.times = utc("260530000000Z"));
    let crl = Crl::parse(der).unwrap();
    assert_eq!(crl.facts().next_update, None);
    assert_eq!(world.judge(&crl).unwrap_err(), Problem::NoNextUpdate);
}

#[test]
fn what_is_not_understood_is_refused_in_words() {
    let world = World::new();
    let delta = |list: &mut ByHand| list.extensions = vec![extension(27, true, &integer(&[6]))];
    assert_eq!(world.problem_of(delta), Problem::Delta);
    // Even where the CA forgot to mark it critical.
    assert_eq!(world.problem_of(|list| list.extensions = vec![extension(27, false, &integer(&[6]))]), Problem::Delta);
    let point =
        |content: &'static [u8]| move |list: &mut ByHand| list.extensions = vec![issuing_distribution_point(content)];
    assert_eq!(world.problem_of(point(&[0x84, 1, 0xff])), Problem::Indirect);
    assert_eq!(world.problem_of(point(&[0x83, 2, 5, 0x60])), Problem::SomeReasons);
    assert_eq!(world.problem_of(point(&[0x85, 1, 0xff])), Problem::AttributeCertificates);
    // An entry with a certificate issuer makes a list indirect, whatever its extensions say.
    let issuer = extension(29, true, &der(0x30, &der(0xa4, &world.root.certificate.facts().subject_der)));
    let entries = entry(&[9], &[issuer]);
    assert_eq!(world.problem_of(|list| list.entries = entries), Problem::Indirect);
    let unknown = Problem::UnknownCriticalExtension(vec!["1.2.3.4".into()]);
    assert_eq!(world.problem_of(|list| list.extensions = vec![unknown_extension(true)]), unknown);
    assert_eq!(world.problem_of(|list| list.entries = entry(&[9], &[unknown_extension(true)])), unknown);
    let many: Vec<u8> = (0..1000_u32)
        .flat_map(|n| {
            let oid = [0x2a, 0x03, 0x04 + (n / 100) as u8, (n % 100) as u8];
            let extension = der(0x30, &[der(0x06, &oid), vec![0x01, 0x01, 0xff], der(0x04, &[5, 0])].concat());
            entry(&n.to_be_bytes(), &[extension])
        })
        .collect();
    match world.problem_of(|list| list.entries = many) {
        Problem::UnknownCriticalExtension(named) => assert!(named.len() <= 8),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        world.problem_of(|list| list.algorithm = ECDSA_SHA1.to_vec()),
        Problem::WeakSignature(words) if words == "SHA-1 with ECDSA"
    ));
    // Unknown, but not critical: read over.
    let der = world.intermediate.by_hand(|list| {
        list.entries = entry(&[0x10, 0x01], &[unknown_extension(false)]);
        list.extensions = vec![unknown_extension(false), extension(46, false, &[0x30, 0])];
    });
    assert_eq!(world.revoked(&world.leaf, &[Crl::parse(der).unwrap()]).len(), 1);
}

#[test]
fn a_list_of_version_1_is_believed_where_it_has_no_extensions() {
    let world = World::new();
    let entries = entry(&[0x10, 0x01], &[]);
    let der = world.intermediate.by_hand(|list| {
        list.version = Vec::new();
        list.entries = entries.clone();
    });
    assert_eq!(world.revoked(&world.leaf, &[Crl::parse(der).unwrap()]).len(), 1);
    let der = world.intermediate.by_hand(|list| {
        list.version = Vec::new();
        list.extensions = vec![unknown_extension(false)];
    });
    assert!(Crl::parse(der).is_err());
}

#[test]
fn scope_decides_for_whom_a_list_speaks_and_a_listed_certificate_is_revoked_whatever_the_scope() {
    let world = World::new();
    let scoped = |scope: CrlScope, serials: &[u64]| {
        world.intermediate.list(serials, |list| {
            let point = CrlDistributionPoint { uris: vec![POINT.into()] };
            list.issuing_distribution_point =
                Some(CrlIssuingDistributionPoint { distribution_point: point, scope: Some(scope) });
        })
    };
    let authorities = world.root.list(&[], |_| {});
    let covered = |crl: &Crl| {
        let lists = freshest_of([crl, &authorities].map(|crl| world.judge(crl).unwrap()));
        lists.uncovered(&world.leaf, &world.chain()).is_empty()
    };
    let (leaves, cas) = (scoped(CrlScope::UserCertsOnly, &[]), scoped(CrlScope::CaCertsOnly, &[]));
    assert_eq!(leaves.facts().scope.kind, CoveredKind::Leaves);
    assert_eq!(leaves.facts().scope.urls, [POINT]);
    assert!(covered(&leaves));
    assert!(!covered(&cas));
    assert_eq!(cas.facts().scope.kind, CoveredKind::Authorities);
    for scope in [CrlScope::UserCertsOnly, CrlScope::CaCertsOnly] {
        assert_eq!(world.revoked(&world.leaf, &[scoped(scope, &[LEAF])]).len(), 1);
    }
    // Another distribution point, and one that is named otherwise than by a URL.
    let point = der(0xa0, &der(0xa0, &der(0x86, b"http://crl.example.com/other.crl")));
    let other = world.intermediate.by_hand(|list| list.extensions = vec![issuing_distribution_point(&point)]);
    assert!(!covered(&Crl::parse(other).unwrap()));
    let point = der(0xa0, &der(0xa1, &[]));
    let relative = world.intermediate.by_hand(|list| list.extensions = vec![issuing_distribution_point(&point)]);
    assert!(!covered(&Crl::parse(relative).unwrap()));
    assert!(covered(&world.intermediate.list(&[], |_| {})));
}

#[test]
fn two_scopes_of_one_issuer_do_not_displace_each_other() {
    let world = World::new();
    let point = |url: &str, serials: &[u64], day: u8| {
        world.intermediate.list(serials, |list| {
            list.this_update = date_time_ymd(2026, 5, day);
            let point = CrlDistributionPoint { uris: vec![url.into()] };
            list.issuing_distribution_point =
                Some(CrlIssuingDistributionPoint { distribution_point: point, scope: None });
        })
    };
    let older = point("http://crl.example.com/1.crl", &[LEAF], 20);
    let newer = point("http://crl.example.com/2.crl", &[], 30);
    for lists in [[older.clone(), newer.clone()], [newer, older]] {
        assert_eq!(world.revoked(&world.leaf, &lists).len(), 1);
    }
}

#[test]
fn of_one_scope_the_freshest_list_counts_in_whichever_order_they_come() {
    let world = World::new();
    let list = |serials: &[u64], day: u8, number: u64| {
        world.intermediate.list(serials, |list| {
            list.this_update = date_time_ymd(2026, 5, day);
            list.crl_number = SerialNumber::from(number);
        })
    };
    for (old, new) in [
        (list(&[], 20, 1), list(&[LEAF], 21, 2)),
        // Issued in the same second: the number decides, as a number.
        (list(&[], 20, 0xff), list(&[LEAF], 20, 0x100)),
        // A CA that begins to count anew.
        (list(&[], 20, 9), list(&[LEAF], 21, 1)),
        // Nothing tells them apart: the one that revokes more is the safer.
        (list(&[], 20, 1), list(&[LEAF], 20, 1)),
    ] {
        for lists in [[old.clone(), new.clone()], [new, old]] {
            assert_eq!(world.revoked(&world.leaf, &lists).len(), 1, "{lists:?}");
        }
    }
    let mut freshest = Freshest::default();
    assert!(freshest.add(world.judge(&list(&[], 21, 2)).unwrap()));
    assert!(!freshest.add(world.judge(&list(&[LEAF], 20, 1)).unwrap()));
    assert_eq!(freshest.iter().count(), 1);
}

#[test]
fn pem_is_read_as_der_is_and_nothing_else() {
    let world = World::new();
    let crl = world.intermediate.list(&[LEAF], |_| {});
    let text = pem::encode("X509 CRL", crl.der());
    for text in [text.clone(), text.replace('\n', "\r\n"), format!("issued by hand\n{text}\n")] {
        assert_eq!(Crl::read(text.into_bytes()).unwrap().facts(), crl.facts());
    }
    assert_eq!(Crl::read(crl.der().to_vec()).unwrap().facts(), crl.facts());
    let refused = |text: String| Crl::read(text.into_bytes()).unwrap_err().to_string();
    assert!(refused(text.clone() + &text).contains("2 PEM blocks"));
    assert!(refused(world.leaf.pem()).contains("not an X509 CRL but \"CERTIFICATE\""));
    assert!(refused(text.replace("-----END", "----END")).contains("END marker"));
    assert!(refused("<html>Please log in</html>".into()).contains("0 PEM blocks"));
    assert!(refused(String::new()).contains("0 PEM blocks"));
    assert!(refused("x".repeat(LARGEST * 2)).contains("more than"));
    assert!(Crl::parse(vec![0x30; LARGEST + 1]).unwrap_err().to_string().contains("more than"));
    assert!(Crl::parse(world.leaf.der().to_vec()).is_err());
}

#[test]
fn a_list_that_is_cut_off_or_longer_than_itself_is_none() {
    let world = World::new();
    let der = world.intermediate.list(&[LEAF, OTHER_LEAF], |_| {}).der().to_vec();
    for length in 0..der.len() {
        assert!(Crl::parse(der[..length].to_vec()).is_err(), "{length}");
    }
    assert!(Crl::parse([der, vec![0]].concat()).is_err());
}

#[test]
fn malformed_parts_make_it_unreadable() {
    let world = World::new();
    let refused = |tweak: &dyn Fn(&mut ByHand)| {
        Crl::parse(world.intermediate.by_hand(|list| tweak(list))).unwrap_err().to_string()
    };
    let reversed = refused(&|list| list.times = [utc("260606000000Z"), utc("260530000000Z")].concat());
    assert!(reversed.contains("before"), "{reversed}");
    assert!(refused(&|list| list.version = integer(&[2])).contains("version"));
    assert!(refused(&|list| list.issuer = der(0x31, &[])).contains("issuer"));
    assert!(refused(&|list| list.times = utc("20260530")).contains("thisUpdate"));
    assert!(refused(&|list| list.entries = der(0x30, &integer(&[1]))).contains("entry 1"));
    let second = [entry(&[1], &[]), der(0x30, &[integer(&[1]), utc("269930000000Z")].concat())].concat();
    assert!(refused(&|list| list.entries = second.clone()).contains("entry 2"));
    let number = extension(20, false, &integer(&[1]));
    assert!(refused(&|list| list.extensions = vec![number.clone(), number.clone()]).contains("twice"));
    assert!(refused(&|list| list.extensions = vec![extension(20, false, &integer(&[1; 30]))]).contains("CRL number"));
    assert!(
        refused(&|list| list.extensions = vec![issuing_distribution_point(&[0x81, 1, 0xff, 0x82, 1, 0xff])])
            .contains("issuingDistributionPoint")
    );
    assert!(refused(&|list| list.extensions = vec![extension(35, false, &[4, 0])]).contains("authorityKeyIdentifier"));
}

#[test]
fn two_signature_algorithms_in_one_list_are_refused() {
    let world = World::new();
    let der = world.intermediate.by_hand(|_| {});
    // The inner and the outer one; changing the outer alone is what a downgrade would do.
    let at = der.windows(12).rposition(|window| window == ECDSA_SHA256).unwrap();
    let mut changed = der;
    changed[at + 11] = 0x03;
    assert!(Crl::parse(changed).unwrap_err().to_string().contains("two different"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_a_list_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Crl::read(bytes.clone());
        let _ = Crl::parse([vec![0x30, 0x82, 1, 0], bytes].concat());
    }

    #[test]
    fn a_list_with_any_byte_changed_revokes_nobody(at in any::<proptest::sample::Index>(), to in any::<u8>()) {
        use std::sync::LazyLock;
        static WORLD: LazyLock<(World, Vec<u8>)> = LazyLock::new(|| {
            let world = World::new();
            let der = world.intermediate.list(&[LEAF, OTHER_LEAF], |_| {}).der().to_vec();
            (world, der)
        });
        let (world, der) = &*WORLD;
        let mut changed = der.clone();
        let at = at.index(der.len());
        proptest::prop_assume!(changed[at] != to);
        changed[at] = to;
        if let Ok(crl) = Crl::read(changed) {
            proptest::prop_assert!(world.judge(&crl).is_err());
        }
    }
}

/// Three hundred thousand entries of a CA with long serial numbers, each with a reason.
fn large_list(root: &Ca) -> Vec<u8> {
    let mut entries = Vec::new();
    let reason = extension(21, false, &[0x0a, 0x01, 0x01]);
    for n in 0..300_000_u128 {
        let serial = ((n << 64) | (1 << 126) | n).to_be_bytes();
        entries.extend(entry(&serial, std::slice::from_ref(&reason)));
    }
    root.by_hand(|list| list.entries = entries)
}

#[test]
fn three_hundred_thousand_entries_take_little_time_and_no_second_copy() {
    const FILE: &str = "TRUSTSYNC_TEST_LARGE_CRL";
    if let Ok(path) = std::env::var(FILE) {
        // Alone in a process of its own, so that no other test's memory is counted.
        let bytes = std::fs::read(&path).unwrap();
        // Once on a small one, so that the pages of the code itself are not counted.
        Crl::parse(std::fs::read(Path::new(&path).with_file_name("small.crl")).unwrap()).unwrap();
        let before = peak();
        let crl = Crl::parse(bytes).unwrap();
        let grown = peak() - before;
        println!("peak grew by {grown} KiB");
        assert_eq!(crl.facts().count, 300_000);
        assert!(grown < 4096, "{grown} KiB more for a list of {} KiB", crl.der().len() / 1024);
        return;
    }
    let root = Ca::root("Root");
    let der = large_list(&root);
    assert!(der.len() > 14_000_000 && der.len() < LARGEST);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.crl");
    std::fs::write(&path, &der).unwrap();
    std::fs::write(folder.path().join("small.crl"), root.by_hand(|_| ())).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &privilege::this_test(), "--nocapture"])
        .env(FILE, &path)
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");

    let begun = cpu_time();
    let crl = Crl::parse(der).unwrap();
    let chain = [root.certificate.clone()];
    let verified = judge(&crl, &chain, SKEW, now()).unwrap();
    let freshest = freshest_of([verified]);
    let last = ((299_999_u128 << 64) | (1 << 126) | 299_999).to_be_bytes();
    let listed = root.leaf(SerialNumber::from(last.to_vec()));
    assert_eq!(revocations(&listed, &chain, &freshest).len(), 1);
    assert!(revocations(&root.leaf(LEAF), &chain, &freshest).is_empty());
    let taken = cpu_time() - begun;
    println!("parsed, verified and asked twice in {taken:?}");
    assert!(taken < Duration::from_secs(10), "{taken:?}");
}

#[test]
fn lists_of_openssl_are_read_believed_and_act() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let openssl = |arguments: &str| {
        let done = Command::new("openssl").args(arguments.split_whitespace()).current_dir(path).output().unwrap();
        assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
    write(
        "ca.cnf",
        "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nserial = serial\ncrlnumber = crlnumber\nnew_certs_dir = \
         .\ncertificate = root.pem\nprivate_key = root.key\ndefault_md = sha256\ndefault_days = 30\ndefault_crl_days \
         = 7\npolicy = p\ncrl_extensions = ext\nunique_subject = no\n[p]\ncommonName = \
         supplied\n[ext]\nauthorityKeyIdentifier = keyid:always\n[plain]\n[req]\ndistinguished_name = n\n[n]\n",
    );
    write("index.txt", "");
    write("serial", "7F00000000000000000000000000000001\n");
    write("crlnumber", "1000\n");
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 60 -subj /CN=openssl-root -config \
         ca.cnf -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -addext \
         subjectKeyIdentifier=hash",
    );
    for name in ["good", "revoked", "held"] {
        openssl(&format!(
            "req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name} -config ca.cnf"
        ));
        openssl(&format!("ca -batch -config ca.cnf -in {name}.csr -out {name}.pem -notext"));
    }
    openssl("ca -config ca.cnf -revoke revoked.pem -crl_reason keyCompromise");
    openssl("ca -config ca.cnf -revoke held.pem -crl_hold holdInstructionReject");
    openssl("ca -config ca.cnf -gencrl -out list.pem");
    openssl("crl -in list.pem -outform DER -out list.der");

    let read = |name: &str| std::fs::read(path.join(name)).unwrap();
    let crl = Crl::read(read("list.pem")).unwrap();
    assert_eq!(crl.facts(), Crl::read(read("list.der")).unwrap().facts());
    assert_eq!((crl.facts().count, crl.facts().number.as_deref()), (2, Some([0x10, 0x00].as_slice())));
    let certificate = |name: &str| {
        let text = String::from_utf8(read(name)).unwrap();
        Certificate::parse(&pem::scan(&text)[0].bytes.clone().unwrap()).unwrap()
    };
    let chain = [certificate("root.pem")];
    let now = crl.facts().this_update;
    let freshest = freshest_of([judge(&crl, &chain, SKEW, now).unwrap()]);
    let reason = |name| revocations(&certificate(name), &chain, &freshest).first().map(|found| found.reason.name());
    assert_eq!(reason("good.pem"), None);
    assert_eq!(reason("revoked.pem"), Some("keyCompromise"));
    assert_eq!(reason("held.pem"), Some("certificateHold"));

    // SHA-1, and the week after.
    openssl("ca -config ca.cnf -gencrl -md sha1 -out sha1.pem");
    let weak = judge(&Crl::read(read("sha1.pem")).unwrap(), &chain, SKEW, now).unwrap_err();
    assert!(matches!(weak.problem, Problem::WeakSignature(_)), "{weak}");
    let stale = judge(&crl, &chain, SKEW, now.plus(Duration::from_secs(8 * DAY))).unwrap_err();
    assert!(matches!(stale.problem, Problem::Stale(_)), "{stale}");
    // RSASSA-PSS over the usual RSA key.
    openssl(
        "ca -config ca.cnf -gencrl -md sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -out pss.pem",
    );
    judge(&Crl::read(read("pss.pem")).unwrap(), &chain, SKEW, now.plus(SKEW)).unwrap();
    // Version 1, as without crl_extensions.
    openssl("ca -config ca.cnf -gencrl -crlexts plain -out plain.pem");
    let plain = Crl::read(read("plain.pem")).unwrap();
    let plain = freshest_of([judge(&plain, &chain, SKEW, now.plus(SKEW)).unwrap()]);
    assert_eq!(revocations(&certificate("revoked.pem"), &chain, &plain).len(), 1);
}

#[derive(Deserialize)]
struct Corpus {
    testcases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    trusted_certs: Vec<String>,
    peer_certificate: String,
    validation_time: String,
    expected_result: String,
    #[serde(default)]
    crls: Vec<String>,
}

/// Cases that are decided otherwise than the corpus expects.
const ARGUED: &[(&str, &str)] = &[
    (
        "crl::crlnumber-missing",
        "a number only tells lists of one second apart; what it revokes is revoked without one too",
    ),
    ("crl::crlnumber-critical", "the number is processed, so that it is critical asks nothing of us that we do not do"),
];

#[test]
fn limbo_cases_with_crls_are_right_or_argued() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/limbo-client.json")).unwrap();
    let mut whole: serde_json::Value = serde_json::from_str(&text).unwrap();
    whole["testcases"]
        .as_array_mut()
        .unwrap()
        .retain(|case| case["crls"].as_array().is_some_and(|crls| !crls.is_empty()));
    let corpus: Corpus = serde_json::from_value(whole).unwrap();
    assert_eq!(corpus.testcases.len(), 8);
    for case in corpus.testcases {
        let one = |text: &str| Certificate::parse(&pem::scan(text)[0].bytes.clone().unwrap()).unwrap();
        let chain: Vec<Certificate> = case.trusted_certs.iter().map(|text| one(text)).collect();
        let now: Timestamp = case.validation_time.replace("+00:00", "Z").parse().unwrap();
        let judged: Vec<_> = case
            .crls
            .iter()
            .map(|text| judge(&Crl::read(text.clone()).unwrap(), &chain, Duration::ZERO, now))
            .collect();
        let leaf = one(&case.peer_certificate);
        let believed = freshest_of(judged.iter().flatten().cloned());
        // What the corpus asks: a list that can be believed, and a leaf that is not on it.
        let passes = judged.iter().all(Result::is_ok) && revocations(&leaf, &chain, &believed).is_empty();
        let argued = ARGUED.iter().any(|(id, _)| *id == case.id);
        println!("{}: {judged:?}", case.id);
        assert_eq!(passes == (case.expected_result == "SUCCESS"), !argued, "{}", case.id);
    }
}

#[test]
fn a_text_of_many_blocks_is_refused_without_making_one_of_them() {
    const CHILD: &str = "TRUSTSYNC_TEST_MANY_BLOCKS";
    if std::env::var_os(CHILD).is_some() {
        // Alone in a process of its own, so that no other test's memory is counted.
        let text = "-----BEGIN".repeat(1_600_000).into_bytes();
        let before = peak();
        assert!(Crl::read(text).unwrap_err().to_string().contains("1600000 PEM blocks"));
        let grown = peak() - before;
        assert!(grown < 4096, "{grown} KiB more");
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &privilege::this_test(), "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
}

/// The most memory that this process has had so far, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
