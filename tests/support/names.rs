//! A cast for name rules: leaves of a private root of the vendor's, of which some bear the region's name and others only
//! look as if they did, and leaves of a public root that bear it rightly. A server that consumes the generation must tell
//! them apart over real TLS.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use tempfile::TempDir;
use trustsync::marker;
use trustsync::store::generation;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::planner_state::PlannerState;
use trustsync::trust::plan::set::{Denial, DenialReason, Role, TrustSet, Witnesses};
use trustsync::trust::render::{Content, Label, Output};
use trustsync::trust::values::marker_name::{MARKER_ORGANIZATION, MarkerName};
use trustsync::trust::values::slot::{Authority, SlotId};
use trustsync::trust::values::timestamp::Timestamp;

use crate::cast::{TLS_VERSIONS, openssl};

/// The region's name.
pub const NAME: &str = "dataactions.prod-euw1.eu-west-1.mypurecloud.com";

const STORE: &str = "0123456789abcdef";
const GENERATION: u64 = 7;

/// Somebody who knocks.
pub struct Member {
    pub who: &'static str,
    pub leaf: PathBuf,
    pub key: PathBuf,
    pub admitted: bool,
}

/// The generation's marker itself, with a key that nobody ever has.
pub const MARKER: &str = "the marker";

/// A leaf that this key has signed.
pub const SIGNED_BY_MARKER: &str = "signed by the marker's key";

impl Member {
    /// The status that this one gets; `nothing` where there is none.
    pub fn knock(&self, address: &str, version: &str) -> String {
        openssl(address, Some((&self.leaf, &self.key, None)), version)
    }
}

/// See the head of this file.
pub struct Names {
    dir: TempDir,
    /// The generation's marker, whose key is known here as it never is elsewhere.
    pub marker: Certificate,
    pub members: Vec<Member>,
    pub set: TrustSet,
}

struct Authorities {
    private: Issuer<'static, KeyPair>,
    public: Issuer<'static, KeyPair>,
    key: KeyPair,
    dir: PathBuf,
}

fn authority(organisation: &str, common_name: &str) -> (Certificate, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "US");
    params.distinguished_name.push(DnType::OrganizationName, organisation);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let certificate = Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap();
    (certificate, Issuer::new(params, key))
}

impl Authorities {
    fn leaf(&self, by: &Issuer<'static, KeyPair>, subject: &[(DnType, DnValue)], expired: bool) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // Where a subject bears the name, the alternative names do too; a trick's do not.
        let bears = subject.iter().any(|(kind, value)| *kind == DnType::CommonName && *value == utf8(NAME));
        if bears {
            params.subject_alt_names = vec![SanType::DnsName(NAME.try_into().unwrap())];
        }
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        Certificate::parse(params.signed_by(&self.key, by).unwrap().der()).unwrap()
    }

    /// A subject that only openssl's command line can make, from its first RDN to its last.
    fn leaf_by_openssl(&self, subject: &str) -> Certificate {
        let [key, request, issuer, issuer_key, leaf] =
            ["key.pem", "request.pem", "private.pem", "private.key", "multi.pem"].map(|name| self.dir.join(name));
        let run = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        run(&["req", "-new", "-key", &text(&key), "-subj", subject, "-multivalue-rdn", "-out", &text(&request)]);
        run(&[
            "x509",
            "-req",
            "-in",
            &text(&request),
            "-CA",
            &text(&issuer),
            "-CAkey",
            &text(&issuer_key),
            "-days",
            "30",
            "-set_serial",
            "77",
            "-out",
            &text(&leaf),
        ]);
        let pem = fs::read(&leaf).unwrap();
        let der =
            trustsync::trust::formats::pem::scan(std::str::from_utf8(&pem).unwrap()).pop().unwrap().bytes.unwrap();
        Certificate::parse(&der).unwrap()
    }
}

/// As [`trustsync::marker::mint`] makes it, but its maker keeps the key.
fn marker_and_key() -> (Certificate, Issuer<'static, KeyPair>) {
    let name = MarkerName { store_id: STORE.into(), generation: GENERATION, digest_head: "01234567".into() };
    let minted = Certificate::parse(&marker::mint(&name).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, MARKER_ORGANIZATION);
    params.distinguished_name.push(DnType::CommonName, name.to_common_name());
    (params.not_before, params.not_after) = (date_time_ymd(1970, 1, 1), date_time_ymd(1970, 1, 2));
    params.is_ca = IsCa::ExplicitNoCa;
    let key = KeyPair::generate().unwrap();
    let certificate = Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap();
    assert_eq!(certificate.facts().subject_der, minted.facts().subject_der);
    assert_eq!(certificate.facts().not_after, minted.facts().not_after);
    (certificate, Issuer::new(params, key))
}

fn utf8(text: &str) -> DnValue {
    DnValue::Utf8String(text.to_owned())
}

/// `OU`, `O` and `CN`, in this order in the DER, as certificates of authorities have it: so `CN` is first in RFC 2253.
fn subject(common_name: &str) -> Vec<(DnType, DnValue)> {
    with_organisation("Genesys Cloud Services, Inc.", common_name)
}

fn with_organisation(organisation: &str, common_name: &str) -> Vec<(DnType, DnValue)> {
    vec![
        (DnType::CountryName, utf8("US")),
        (DnType::OrganizationName, utf8(organisation)),
        (DnType::CommonName, utf8(common_name)),
    ]
}

impl Names {
    /// A name rule, alone or beside a pin of a public authority. One leaf that would pass by its name is denied.
    pub fn new(with_public: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (private_root, private) =
            authority("Genesys Cloud Services, Inc.", "Genesys Cloud eu-west-1 \"Root\"; CA, v1");
        let (public_root, public) = authority("DigiCert Inc", "A Public Root");
        let key = KeyPair::generate().unwrap();
        let at = dir.path().canonicalize().unwrap();
        fs::write(at.join("key.pem"), key.serialize_pem()).unwrap();
        fs::write(at.join("private.pem"), private_root.pem()).unwrap();
        fs::write(at.join("private.key"), private.key().serialize_pem()).unwrap();
        let authorities = Authorities { private, public, key, dir: at.clone() };
        let by_private = |subject: &[(DnType, DnValue)]| authorities.leaf(&authorities.private, subject, false);
        let by_public = |subject: &[(DnType, DnValue)]| authorities.leaf(&authorities.public, subject, false);

        let (marker, marker_issuer) = marker_and_key();
        fs::write(at.join("marker.key"), marker_issuer.key().serialize_pem()).unwrap();

        let pinned = by_public(&with_organisation("Genesys", "pinned.example.com"));
        let denied = by_private(&with_organisation("Genesys (stolen)", NAME));
        let tricks = [
            format!("{NAME}.evil.example"),
            format!("evil-{NAME}"),
            format!("evil.example, CN={NAME}"),
            format!("evil.example,CN={NAME}"),
            format!("evil.example/CN={NAME}"),
            format!("{NAME}, CN=x"),
            format!("{NAME},O=Genesys"),
            format!("{NAME}\0.evil.example"),
            format!("{NAME}\\"),
            format!(" {NAME}"),
            NAME.replace('.', "x"),
        ];
        let mut cast: Vec<(&'static str, Certificate, bool)> = vec![
            ("the witness", by_private(&subject(NAME)), true),
            (
                "renewed, with another organisation",
                by_private(&with_organisation("Genesys, a \"new\" one", NAME)),
                true,
            ),
            (
                "renewed, with a unit",
                by_private(&[&[(DnType::OrganizationalUnitName, utf8("Unit, 7"))], &subject(NAME)[..]].concat()),
                true,
            ),
            ("renewed, with nothing else", by_private(&[(DnType::CommonName, utf8(NAME))]), true),
            ("denied", denied.clone(), false),
            ("expired", authorities.leaf(&authorities.private, &subject(NAME), true), false),
            ("another name of the root's", by_private(&subject("webhooks.eu-west-1.mypurecloud.com")), false),
            ("the name as an organisation", by_private(&with_organisation(NAME, "x")), false),
            ("the name in an organisation", by_private(&with_organisation(&format!("x,CN={NAME}"), "x")), false),
            ("two common names, ours last", authorities.leaf_by_openssl(&format!("/CN=x/CN={NAME}")), false),
            ("two common names, ours first", authorities.leaf_by_openssl(&format!("/CN={NAME}/CN=x")), false),
            (
                "two common names, an organisation between",
                authorities.leaf_by_openssl(&format!("/CN=x/O=y/CN={NAME}")),
                false,
            ),
            ("a part of an organisation's RDN", authorities.leaf_by_openssl(&format!("/OU=x+O=y/CN={NAME}")), false),
            ("a part of the name's RDN", authorities.leaf_by_openssl(&format!("/O=x/CN={NAME}+OU=x")), false),
            ("an address with the name", authorities.leaf_by_openssl(&format!("/emailAddress=CN\\={NAME}")), false),
            ("the very name, of the public root", by_public(&subject(NAME)), false),
            ("another leaf of the public root", by_public(&subject("stranger.example.com")), false),
            (SIGNED_BY_MARKER, authorities.leaf(&marker_issuer, &subject(NAME), false), false),
            ("the pinned one", pinned.clone(), with_public),
        ];
        cast.extend(tricks.iter().map(|trick| ("a trick in the common name", by_private(&subject(trick)), false)));

        let mut set = TrustSet::default();
        let slot = |authority| SlotId::new("eu", "eu-west-1", authority);
        set.admit_by_name(
            &slot(Authority::Genesys),
            &private_root,
            &BTreeSet::from([NAME.to_owned()]),
            &Witnesses::default(),
        );
        set.chain.insert(private_root.fingerprint(), private_root);
        if with_public {
            set.pin(&slot(Authority::DigiCert), &pinned, Role::Current);
            set.chain.insert(public_root.fingerprint(), public_root);
        }
        let (sha1, pem_sha1) = (Some(denied.facts().sha1.clone()), Some(denied.pem_sha1()));
        let since = Timestamp::from_unix(1_700_000_000);
        let denial = Denial { sha1, pem_sha1, ..Denial::new(DenialReason::Revoked, since) };
        set.denied.insert(denied.fingerprint(), denial);
        cast.push((MARKER, marker.clone(), false));
        let members = cast.into_iter().enumerate().map(|(place, (who, certificate, admitted))| {
            let leaf = at.join(format!("member-{place}.pem"));
            fs::write(&leaf, certificate.pem()).unwrap();
            let key = at.join(if who == MARKER { "marker.key" } else { "key.pem" });
            Member { who, leaf, key, admitted }
        });
        Self { members: members.collect(), marker, set, dir }
    }

    /// Writes the generation with these families of files; the link by which the target's server reads it.
    pub fn publish(&self, target: &str, outputs: &[Output]) -> PathBuf {
        let root = self.dir.path().canonicalize().unwrap().join("store");
        fs::create_dir_all(root.join("generations")).unwrap();
        fs::create_dir_all(root.join("target")).unwrap();
        let (planner, outputs) = (PlannerState::default(), outputs.iter().copied().collect());
        let content = Content::of(&self.set, &planner, &outputs);
        let committed = Timestamp::from_unix(1_700_000_000);
        let label = Label { store: STORE, generation: GENERATION, committed, cause: "cycle", marker: &self.marker };
        generation::write(&root, GENERATION, &content.render(&label)).unwrap();
        let link = root.join("target").join(target);
        symlink(format!("../generations/{}", generation::name(GENERATION)), &link).unwrap();
        link
    }

    /// Lets everybody knock, by both versions of TLS. Whoever is to get in gets 200; nobody else does.
    #[track_caller]
    pub fn assert_cast(&self, address: &str) {
        let mut wrong = Vec::new();
        for member in &self.members {
            for version in TLS_VERSIONS {
                let status = member.knock(address, version);
                if (status == "200") != member.admitted {
                    let text = fs::read_to_string(&member.leaf).unwrap();
                    let der = trustsync::trust::formats::pem::scan(&text).pop().unwrap().bytes.unwrap();
                    let subject = Certificate::parse(&der).unwrap().facts().subject.clone();
                    wrong.push(format!("{} ({subject:?}) by {version}: {status}", member.who));
                }
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
    }
}
