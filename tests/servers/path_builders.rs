//! Two servers' path builders against ours, over generated worlds: issuers that share a name, cross-signs, authority key
//! identifiers of every kind, usages of every kind. Whatever our verifier accepts goes into one bundle, in our order; then
//! OpenSSL (as nginx, HAProxy and Apache use it) and Java judge each leaf by that bundle. What we say that servers accept,
//! OpenSSL must accept; what we say that they refuse, it must refuse.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Eku,
    IsCa, Issuer, KeyPair, KeyUsagePurpose as Ku,
};
use trustsync::clock::{Clock, SystemClock};
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::set::{Role, TrustSet};
use trustsync::trust::values::slot::{Authority, SlotId};
use trustsync::trust::verify::anchor::Anchors;
use trustsync::trust::verify::{Policy, Verdict, served, verify_string};

const WORLDS: u64 = 400;
const NAME: &str = "dataactions.example.com";

/// The same numbers for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn pick<T: Clone>(&mut self, among: &[T]) -> T {
        among[usize::try_from(self.roll(among.len() as u64)).unwrap()].clone()
    }
}

struct Ca {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![Ku::KeyCertSign, Ku::CrlSign];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2045, 1, 1);
    params
}

fn parsed(der: &[u8]) -> Certificate {
    Certificate::parse(der).unwrap()
}

/// A short DER value.
fn tlv<P: AsRef<[u8]>>(tag: u8, parts: &[P]) -> Vec<u8> {
    let content: Vec<u8> = parts.iter().flat_map(P::as_ref).copied().collect();
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80).unwrap();
    [vec![tag, length], content].concat()
}

/// An authority key identifier of issuer and serial number alone.
fn by_serial(issuer: &Certificate, serial: &[u8]) -> CustomExtension {
    let name = tlv(0xa1, &[tlv(0xa4, &[issuer.facts().issuer_der.clone()])]);
    let content = tlv(0x30, &[name, tlv(0x82, &[serial])]);
    CustomExtension::from_oid_content(&[2, 5, 29, 35], content)
}

/// How a certificate names its issuer's key.
fn name_the_key(params: &mut CertificateParams, issuer: &Certificate, dice: &mut Dice) {
    match dice.roll(6) {
        0 | 1 => params.use_authority_key_identifier_extension = true,
        2 => params.custom_extensions.push(by_serial(issuer, &issuer.facts().serial_octets)),
        3 => params.custom_extensions.push(by_serial(issuer, &[0x42])),
        _ => {}
    }
}

/// Roots and intermediates, whose names repeat and who certify one another.
fn authorities(dice: &mut Dice) -> (Vec<Ca>, Vec<Ca>) {
    let root = |name: &str| {
        let (params, key) = (ca_params(name), KeyPair::generate().unwrap());
        let certificate = parsed(params.self_signed(&key).unwrap().der());
        Ca { params, key, certificate }
    };
    let roots: Vec<Ca> = (0..1 + dice.roll(2)).map(|_| root(dice.pick(&["Root A", "Root B"]))).collect();
    let mut intermediates: Vec<Ca> = Vec::new();
    for _ in 0..1 + dice.roll(4) {
        let mut params = ca_params(dice.pick(&["Inter A", "Inter B", "inter  a", "Root A"]));
        let known = dice.roll(4) == 0;
        let key = match intermediates.first().filter(|_| known) {
            // The same key under another certificate: a cross-sign, or a renewal.
            Some(other) => KeyPair::try_from(other.key.serialize_der()).unwrap(),
            None => KeyPair::generate().unwrap(),
        };
        params.extended_key_usages = match dice.roll(10) {
            0 => vec![Eku::Any],
            1 => vec![Eku::Any, Eku::ClientAuth],
            2 | 3 => vec![Eku::ClientAuth, Eku::EmailProtection],
            4 => vec![Eku::ServerAuth],
            _ => Vec::new(),
        };
        if dice.roll(4) == 0 {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        }
        if dice.roll(12) == 0 {
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let above: Vec<&Ca> = roots.iter().chain(&intermediates).collect();
        let issuer = above[usize::try_from(dice.roll(above.len() as u64)).unwrap()];
        name_the_key(&mut params, &issuer.certificate, dice);
        let signed = params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)).unwrap();
        let certificate = parsed(signed.der());
        intermediates.push(Ca { params, key, certificate });
    }
    (roots, intermediates)
}

fn leaf(issuer: &Ca, dice: &mut Dice) -> Certificate {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.distinguished_name = named(NAME);
    params.not_before = rcgen::date_time_ymd(2026, 6, 1);
    params.not_after = rcgen::date_time_ymd(2028, 1, 1);
    params.key_usages = vec![Ku::DigitalSignature];
    params.extended_key_usages = vec![Eku::ClientAuth];
    // Netscape's certificate type: SSL client, SSL server.
    if let Some(bits) = dice.pick(&[None, None, None, None, Some(0x80), Some(0x40)]) {
        let content = tlv(0x03, &[[6, bits]]);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 16, 840, 1, 113_730, 1, 1], content));
    }
    name_the_key(&mut params, &issuer.certificate, dice);
    let issuer = Issuer::from_params(&issuer.params, &issuer.key);
    parsed(params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der())
}

/// What one leaf of one world came to.
struct Judged {
    place: String,
    role: Role,
    /// Whether it would be served by a bundle in the order of fingerprints.
    unordered: bool,
    ours: Result<usize, String>,
    openssl: bool,
    shown: String,
}

/// The leaves that our verifier accepts in this world, judged by its bundle.
fn judge(seed: u64, folder: &Path) -> (usize, Vec<Judged>) {
    let mut dice = Dice(seed);
    let now = SystemClock.now();
    let (roots, intermediates) = authorities(&mut dice);
    let anchors = Anchors::of(roots.iter().map(|root| root.certificate.clone()).collect());
    let above: Vec<&Ca> = roots.iter().chain(&intermediates).collect();
    let slot = SlotId::new("us", "us-east-1", Authority::DigiCert);
    let policy = Policy { max_chain: 6, ..Policy::default() };
    let mut set = TrustSet::default();
    let made = 1 + dice.roll(3);
    for role in [Role::Current, Role::Upcoming, Role::Retiring].into_iter().take(usize::try_from(made).unwrap()) {
        let issuer = above[usize::try_from(dice.roll(above.len() as u64)).unwrap()];
        let leaf = leaf(issuer, &mut dice);
        let text: String = std::iter::once(&leaf)
            .chain(intermediates.iter().map(|ca| &ca.certificate))
            .map(Certificate::pem)
            .collect();
        if let Verdict::Accepted(candidate) = verify_string(&text, &anchors, &policy, now) {
            set.pin(&slot, &leaf, role);
            set.chain.extend(candidate.issuers().map(|issuer| (issuer.fingerprint(), issuer.clone())));
        }
    }
    if dice.roll(4) == 0 {
        // Another client's root, which may have a name of ours.
        let (params, key) = (ca_params(dice.pick(&["Root A", "Inter A", "Other"])), KeyPair::generate().unwrap());
        let extra = parsed(params.self_signed(&key).unwrap().der());
        set.extra.insert(extra.fingerprint(), extra);
    }
    let bundle = set.bundle();
    let as_they_came: Vec<&Certificate> = set.chain.values().chain(set.extra.values()).collect();
    let world = folder.join(format!("{seed:04}"));
    fs::create_dir(&world).unwrap();
    fs::write(world.join("bundle.pem"), bundle.iter().map(|one| one.pem()).collect::<String>()).unwrap();
    let judged = set.pins.values().map(|pin| {
        let place = world.join(format!("{}.pem", pin.role()));
        fs::write(&place, pin.leaf.pem()).unwrap();
        let ours = served::path(&pin.leaf, &bundle, now).map(|path| path.len()).map_err(|why| why.to_string());
        let output = Command::new("openssl")
            .args(["verify", "-purpose", "sslclient", "-verify_depth", "3", "-no-CApath", "-no-CAstore", "-CAfile"])
            .args([&world.join("bundle.pem"), &place])
            .output()
            .expect("openssl is needed for this test");
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        Judged {
            place: place.display().to_string(),
            role: pin.role(),
            ours,
            unordered: served::path(&pin.leaf, &as_they_came, now).is_ok(),
            openssl: output.status.success(),
            shown,
        }
    });
    (usize::try_from(made).unwrap(), judged.collect())
}

/// Which of these leaves Java's trust manager accepts, by the bundle beside each.
fn by_java(places: &[&str]) -> BTreeMap<String, bool> {
    let program = support::repository().join("tests/support/java_client/Judge.java");
    let output = Command::new("java").arg(program).args(places).output().expect(support::java::NEEDED);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (verdict, place) = line.split_once(' ').unwrap();
        (place.to_owned(), verdict == "accepted")
    };
    text.lines().map(line).collect()
}

#[test]
fn what_is_said_to_be_served_is_what_openssl_and_java_accept() {
    let folder = tempfile::tempdir().unwrap();
    let worlds: Vec<(usize, Vec<Judged>)> = (0..WORLDS).map(|seed| judge(seed, folder.path())).collect();
    let made: usize = worlds.iter().map(|(made, _)| made).sum();
    let judged: Vec<&Judged> = worlds.iter().flat_map(|(_, judged)| judged).collect();
    let java = by_java(&judged.iter().map(|one| one.place.as_str()).collect::<Vec<_>>());
    let count = |holds: &dyn Fn(&Judged) -> bool| judged.iter().filter(|one| holds(one)).count();
    println!(
        "{WORLDS} worlds, {made} leaves; our verifier accepts {}; of these, by one bundle each: said to be served {}, \
         openssl accepts {}, Java {}",
        judged.len(),
        count(&|one| one.ours.is_ok()),
        count(&|one| one.openssl),
        count(&|one| java[&one.place]),
    );
    for role in [Role::Current, Role::Upcoming, Role::Retiring] {
        let of_role = |holds: &dyn Fn(&Judged) -> bool| count(&|one| one.role == role && holds(one));
        let [all, ours, unordered] =
            [of_role(&|_| true), of_role(&|one| one.ours.is_ok()), of_role(&|one| one.unordered)];
        println!("{role}: {all}, served {ours}; in the order of fingerprints {unordered}");
    }
    let current = |holds: &dyn Fn(&Judged) -> bool| count(&|one| one.role == Role::Current && holds(one));
    assert!(current(&|one| one.ours.is_ok()) > current(&|one| one.unordered), "the order helps");
    // The order never costs a current leaf its path.
    assert_eq!(count(&|one| one.role == Role::Current && one.unordered && one.ours.is_err()), 0);
    // Both sides of the question come up often enough to mean something.
    assert!(count(&|one| one.openssl) > 100 && count(&|one| !one.openssl) > 40);
    let differing: Vec<String> = judged
        .iter()
        .filter(|one| one.ours.is_ok() != one.openssl)
        .map(|one| format!("{}: we say {:?}, openssl {} {}", one.place, one.ours, one.openssl, one.shown))
        .collect();
    assert!(differing.is_empty(), "{} differ: {differing:#?}", differing.len());
    // Java looks at every path, and at no usage of an issuer: whoever is said to be served is served by it too.
    let refused: Vec<&str> =
        judged.iter().filter(|one| one.ours.is_ok() && !java[&one.place]).map(|one| one.place.as_str()).collect();
    assert!(refused.is_empty(), "Java refuses {refused:?}");
}
