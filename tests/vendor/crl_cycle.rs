//! The family of revocation in the cycle: a whole cycle against the simulated vendor, whose CAs' lists lie on a server of
//! their own that can revoke, fail and fall silent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use trustsync::clock::{Clock, SimulatedClock};
use trustsync::cycle::{self, Clients, Options, Report};
use trustsync::exit::Exit;
use trustsync::settings::resolve;
use trustsync::settings::resolved::Settings;
use trustsync::simulator::crls::CrlPlace;
use trustsync::simulator::pem_form::PemForm;
use trustsync::simulator::pki::Validity;
use trustsync::simulator::vendor::Vendor;
use trustsync::simulator::world::VendorOptions;
use trustsync::store::contents::Contents;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::formats::pem;
use trustsync::trust::plan::set::DenialReason;
use trustsync::trust::values::fingerprint::Fingerprint;
use trustsync::trust::values::timestamp::Timestamp;

const START: &str = "2027-03-01T12:00:00Z";
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// What lies at the distribution points: name to list; nothing is 404.
type Lists = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct Stage {
    vendor: Vendor,
    clock: SimulatedClock,
    lists: Lists,
    asked: Arc<Mutex<Vec<String>>>,
    /// Where the lists are.
    base: String,
    silent: Arc<Mutex<bool>>,
    /// The one list of which it says nothing.
    held_back: Arc<Mutex<Option<&'static str>>>,
    settings: Settings,
    clients: Clients,
    folder: tempfile::TempDir,
}

impl Stage {
    /// A vendor whose lists revoke nobody, under `policy`, with these authorities.
    async fn new(policy: &str, authorities: &str) -> Self {
        Self::with(policy, authorities, None).await
    }

    /// With the lists at another place.
    async fn with(policy: &str, authorities: &str, elsewhere: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (lists, asked) = (Lists::default(), Arc::new(Mutex::new(Vec::new())));
        let (answers, seen) = (lists.clone(), asked.clone());
        let silent = Arc::new(Mutex::new(false));
        let says_nothing = Arc::clone(&silent);
        let held_back: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let says_nothing_of = Arc::clone(&held_back);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if *says_nothing.lock().unwrap() {
                    held.push(stream);
                    continue;
                }
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let name = head.split(' ').nth(1).unwrap_or_default().trim_matches('/').to_owned();
                let list = answers.lock().unwrap().get(name.trim_end_matches(".crl")).cloned();
                let is_held_back = *says_nothing_of.lock().unwrap() == Some(name.trim_end_matches(".crl"));
                seen.lock().unwrap().push(name);
                if is_held_back {
                    held.push(stream);
                    continue;
                }
                let (status, body) = list.map_or(("404 Not Found", Vec::new()), |list| ("200 OK", list));
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
                let _ = stream.shutdown().await;
            }
        });

        let clock = SimulatedClock::at(START.parse().unwrap());
        let mut options = VendorOptions::new(Arc::new(clock.clone()));
        options.crls = CrlPlace::At(elsewhere.unwrap_or_else(|| base.clone()));
        let vendor = Vendor::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("api-ca.pem", vendor.ca_pem());
        write("digicert.pem", &pem::encode("CERTIFICATE", vendor.world().pki().digicert_root.der()));
        write("genesys.pem", &pem::encode("CERTIFICATE", vendor.world().pki().genesys_root.der()));
        write("secret", vendor.client_secret());
        std::fs::set_permissions(folder.path().join("secret"), Permissions::from_mode(0o600)).unwrap();
        write(
            "trustsync.toml",
            &format!(
                "[source.us]\nregion = \"us-east-1\"\nclient_id = \"{id}\"\nclient_secret_file = \"secret\"\napi = \
                 \"{api}\"\nlogin = \"{api}\"\nca_file = \"api-ca.pem\"\nauthorities = \
                 {authorities}\ndigicert_anchors = [\"digicert.pem\"]\nbuiltin_anchors = false\ngenesys_anchors = \
                 [\"genesys.pem\"]\n[crl]\npolicy = \"{policy}\"\nallow_private = true\n[store.main]\npath = \
                 \"store\"\n",
                id = vendor.client_id(),
                api = vendor.api_url(),
            ),
        );
        let settings = resolve::read(&folder.path().join("trustsync.toml"), &BTreeMap::new()).unwrap().settings;
        let clients = Clients::of(&settings).unwrap();
        let stage = Self { vendor, clock, lists, asked, base, silent, held_back, settings, clients, folder };
        for name in ["digicert-root", "digicert-intermediate", "genesys-root"] {
            stage.publish(name, &[]);
        }
        stage
    }

    /// Lays a fresh list of this CA at its distribution point.
    fn publish(&self, name: &str, revoked: &[Vec<u8>]) {
        let pki = self.vendor.world().pki();
        let issuer = match name {
            "digicert-root" => &pki.digicert_root,
            "digicert-intermediate" => &pki.digicert_intermediate,
            _ => &pki.genesys_root,
        };
        let since = self.clock.now();
        let revoked: Vec<_> = revoked.iter().map(|der| (der.clone(), since)).collect();
        let week = Validity::of(since, Duration::from_secs(7 * DAY));
        let list = issuer.revocation_list(&revoked, u64::try_from(since.unix()).unwrap(), week).unwrap();
        self.lists.lock().unwrap().insert(name.to_owned(), list);
    }

    /// The lists' host accepts connections from now on, and says nothing.
    fn silence(&self) {
        *self.silent.lock().unwrap() = true;
    }

    fn outage(&self) {
        self.lists.lock().unwrap().clear();
    }

    fn later(&self, seconds: u64) {
        self.clock.set(self.clock.now().plus(Duration::from_secs(seconds)));
    }

    async fn cycle(&mut self) -> Report {
        let options =
            Options { deadline: Duration::from_secs(20), lock_timeout: Duration::from_secs(1), command: "test" };
        let store = &self.settings.stores["main"];
        cycle::run(&self.settings, store, &mut self.clients, &self.clock, &options).await.unwrap()
    }

    fn store(&self) -> PathBuf {
        self.settings.stores["main"].path.clone()
    }

    fn contents(&self) -> Contents {
        cycle::read(&self.settings.stores["main"]).unwrap()
    }

    fn pins(&self) -> BTreeSet<Fingerprint> {
        self.contents().set.pins.keys().copied().collect()
    }

    fn current(&self) -> Vec<u8> {
        self.vendor.world().current().unwrap().der().to_vec()
    }
}

fn severity(report: &Report, event: &str) -> Option<Severity> {
    report.findings.iter().find(|finding| finding.event.name() == event).map(|finding| finding.severity)
}

fn events(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.event.name()).collect()
}

#[tokio::test]
async fn a_refreshed_list_that_revokes_nothing_makes_no_generation() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    let first = stage.cycle().await;
    assert_eq!((first.generation, first.exit(false)), (Some(1), Exit::Done), "{:?}", events(&first));
    assert!(severity(&first, "crl_unavailable").is_none());
    assert_eq!(stage.asked.lock().unwrap().len(), 2, "the leaf's list and the intermediate's, the root has none");
    for _ in 0..3 {
        stage.later(2 * HOUR);
        stage.publish("digicert-root", &[]);
        stage.publish("digicert-intermediate", &[vec![1, 2, 3]]);
        let again = stage.cycle().await;
        assert_eq!((again.generation, again.committed), (Some(1), false));
    }
    assert_eq!(stage.asked.lock().unwrap().len(), 8);
}

#[tokio::test]
async fn a_revoked_pin_leaves_at_once_and_stays_out_whatever_becomes_of_the_list() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    stage.cycle().await;
    let revoked = stage.current();
    let fingerprint = Fingerprint::of(&revoked);
    assert_eq!(stage.pins(), [fingerprint].into());

    stage.later(2 * HOUR);
    stage.publish("digicert-intermediate", std::slice::from_ref(&revoked));
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "certificate_revoked"), Some(Severity::Critical), "{:?}", events(&report));
    assert!(report.committed && report.deny_all, "the set is empty, and that is published");
    let denial = stage.contents().set.denied[&fingerprint].clone();
    assert_eq!(denial.reason, DenialReason::Revoked);
    assert!(denial.sha1.is_some() && denial.until.is_some());
    let deny_all = report.generation;

    // Blocked, replaced by a list that no longer names it, and stale: it stays out, and nothing else happens.
    stage.later(2 * HOUR);
    stage.outage();
    let blocked = stage.cycle().await;
    assert_eq!((blocked.generation, blocked.committed), (deny_all, false));
    assert!(stage.pins().is_empty());
    stage.later(2 * HOUR);
    stage.publish("digicert-intermediate", &[]);
    stage.publish("digicert-root", &[]);
    let replaced = stage.cycle().await;
    assert_eq!(replaced.generation, deny_all);
    assert_eq!(severity(&replaced, "denied_certificate_listed"), Some(Severity::Critical));
    stage.outage();
    stage.later(30 * DAY);
    assert_eq!(stage.cycle().await.generation, deny_all);
    assert!(stage.pins().is_empty() && stage.contents().set.denied.contains_key(&fingerprint));

    // The vendor's next leaf gets in, and the denial is forgotten with its leaf's expiry.
    stage.vendor.world().rotate().unwrap();
    stage.publish("digicert-intermediate", &[]);
    stage.publish("digicert-root", &[]);
    let rotated = stage.cycle().await;
    assert!(rotated.committed && !rotated.deny_all, "{:?}", events(&rotated));
    assert!(stage.contents().set.denied.contains_key(&fingerprint));
    stage.clock.set(denial.until.unwrap().plus(Duration::from_secs(1)));
    stage.cycle().await;
    assert!(!stage.contents().set.denied.contains_key(&fingerprint));
}

#[tokio::test]
async fn a_revoked_intermediate_takes_its_leaves_along() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    stage.cycle().await;
    stage.later(2 * HOUR);
    stage.publish("digicert-root", &[stage.vendor.world().pki().digicert_intermediate.der().to_vec()]);
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "certificate_revoked"), Some(Severity::Critical));
    assert!(report.deny_all && stage.pins().is_empty());
}

/// A CA whose list lies at the stage's server.
struct Authority {
    name: &'static str,
    params: CertificateParams,
    key: KeyPair,
}

/// Two roots, an intermediate that both have certified, and a leaf of that.
struct CrossSigned {
    roots: [Authority; 2],
    intermediate: Authority,
    /// By the root that certified it.
    intermediates: [Vec<u8>; 2],
    leaf: Vec<u8>,
}

impl CrossSigned {
    /// Both roots are anchors of the stage from now on, and no list revokes anybody.
    fn on(stage: &Stage) -> Self {
        Self::with_second_until(stage, 2028)
    }

    /// The second root's certificate of the intermediate ends in June of that year.
    fn with_second_until(stage: &Stage, year: i32) -> Self {
        let dated = |mut params: CertificateParams| {
            params.not_before = rcgen::date_time_ymd(2027, 1, 1);
            params.not_after = rcgen::date_time_ymd(2028, 6, 1);
            params
        };
        let authority = |name| {
            let mut params = dated(CertificateParams::default());
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            Authority { name, params, key: KeyPair::generate().unwrap() }
        };
        let listed_by = |mut params: CertificateParams, by: &Authority| {
            let uris = vec![format!("{}/{}.crl", stage.base, by.name)];
            params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
            params
        };
        let roots = [authority("first"), authority("second")];
        let intermediate = authority("shared");
        let by = |root: &Authority| {
            let mut params = listed_by(intermediate.params.clone(), root);
            if root.name == "second" {
                params.not_after = rcgen::date_time_ymd(year, 6, 1);
            }
            params.signed_by(&intermediate.key, &root.issuer()).unwrap().der().to_vec()
        };
        let intermediates = roots.each_ref().map(by);
        let leaf = CertificateParams::new(vec![stage.vendor.world().options().certificate_name.clone()]).unwrap();
        let mut leaf = listed_by(dated(leaf), &intermediate);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &intermediate.issuer()).unwrap().der().to_vec();
        let anchors = stage.folder.path().join("digicert.pem");
        let mut text = std::fs::read_to_string(&anchors).unwrap();
        for root in &roots {
            text.push_str(&root.params.self_signed(&root.key).unwrap().pem());
            root.publish(stage, &[]);
        }
        std::fs::write(&anchors, text).unwrap();
        intermediate.publish(stage, &[]);
        Self { roots, intermediate, intermediates, leaf }
    }

    /// The vendor lists the leaf with these of the two intermediates.
    fn listed_with(&self, stage: &Stage, which: &[usize]) {
        let chain = which.iter().map(|at| &self.intermediates[*at]);
        let path: Vec<Vec<u8>> = std::iter::once(&self.leaf).chain(chain).cloned().collect();
        stage.vendor.world().list_besides(vec![("Upcoming", PemForm::Vendor.text(&path))]);
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.leaf)
    }
}

impl Authority {
    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn publish(&self, stage: &Stage, revoked: &[&[u8]]) {
        let since = CertificateParams::default().not_before;
        let entry = |der: &&[u8]| RevokedCertParams {
            serial_number: Certificate::parse(der).unwrap().facts().serial_octets.clone().into(),
            revocation_time: since,
            reason_code: None,
            invalidity_date: None,
        };
        let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(stage.clock.now().unix().unsigned_abs());
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: now + Duration::from_secs(7 * DAY),
            crl_number: stage.clock.now().unix().unsigned_abs().into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer()).unwrap();
        stage.lists.lock().unwrap().insert(self.name.to_owned(), list.der().to_vec());
    }
}

#[tokio::test]
async fn a_revoked_cross_sign_leaves_the_leaf_its_other_path() {
    for revoked in [0, 1] {
        let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
        let world = CrossSigned::on(&stage);
        world.listed_with(&stage, &[0, 1]);
        world.roots[revoked].publish(&stage, &[&world.intermediates[revoked]]);
        for _ in 0..2 {
            let report = stage.cycle().await;
            assert!(stage.pins().contains(&world.fingerprint()), "{revoked}: {:?}", events(&report));
            assert_eq!(severity(&report, "certificate_revoked"), None);
            stage.later(2 * HOUR);
        }
        // Listed by the revoked one alone, it keeps the path that is known.
        world.listed_with(&stage, &[revoked]);
        stage.cycle().await;
        assert!(stage.pins().contains(&world.fingerprint()));
        // Then the other goes too.
        stage.later(2 * HOUR);
        world.roots[1 - revoked].publish(&stage, &[&world.intermediates[1 - revoked]]);
        let report = stage.cycle().await;
        assert_eq!(severity(&report, "certificate_revoked"), Some(Severity::Critical), "{:?}", events(&report));
        assert!(!stage.pins().contains(&world.fingerprint()));
    }
}

#[tokio::test]
async fn what_follows_from_an_issuers_revocation_is_lifted_by_another_path_and_by_nothing_else() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    let world = CrossSigned::on(&stage);
    world.listed_with(&stage, &[1]);
    stage.cycle().await;
    assert!(stage.pins().contains(&world.fingerprint()));
    stage.later(2 * HOUR);
    world.roots[1].publish(&stage, &[&world.intermediates[1]]);
    stage.cycle().await;
    assert!(!stage.pins().contains(&world.fingerprint()));

    // Neither an outage of the list nor one that no longer names the issuer lifts it.
    for revoked in [None, Some(&[][..])] {
        stage.later(2 * HOUR);
        match revoked {
            None => drop(stage.lists.lock().unwrap().remove("second")),
            Some(nobody) => world.roots[1].publish(&stage, nobody),
        }
        let report = stage.cycle().await;
        assert_eq!(severity(&report, "denied_certificate_listed"), Some(Severity::Critical), "{:?}", events(&report));
        assert!(!stage.pins().contains(&world.fingerprint()));
    }

    stage.later(2 * HOUR);
    world.listed_with(&stage, &[0, 1]);
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "revocation_lifted"), Some(Severity::Note), "{:?}", events(&report));
    assert!(stage.pins().contains(&world.fingerprint()));
    assert!(!stage.contents().set.denied.contains_key(&world.fingerprint()));

    // Its own serial is another matter: no path helps.
    stage.later(2 * HOUR);
    world.intermediate.publish(&stage, &[&world.leaf]);
    stage.cycle().await;
    stage.later(2 * HOUR);
    world.intermediate.publish(&stage, &[]);
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "revocation_lifted"), None);
    assert!(!stage.pins().contains(&world.fingerprint()));
}

#[tokio::test]
async fn a_remembered_path_that_has_ended_leads_past_nobody_who_is_revoked() {
    for ended in ["expired", "not an anchor any more"] {
        let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
        let world = CrossSigned::with_second_until(&stage, if ended == "expired" { 2027 } else { 2028 });
        world.listed_with(&stage, &[0, 1]);
        stage.cycle().await;
        assert!(stage.pins().contains(&world.fingerprint()), "{ended}");
        if ended == "expired" {
            stage.later(100 * DAY);
        } else {
            let anchors = stage.folder.path().join("digicert.pem");
            let text = std::fs::read_to_string(&anchors).unwrap();
            // The second root is the last one in the file.
            std::fs::write(&anchors, &text[..text.rfind("-----BEGIN").unwrap()]).unwrap();
            stage.later(2 * HOUR);
        }
        let report = stage.cycle().await;
        assert!(stage.pins().contains(&world.fingerprint()), "{ended}: {:?}", events(&report));
        stage.later(2 * HOUR);
        world.roots[0].publish(&stage, &[&world.intermediates[0]]);
        let report = stage.cycle().await;
        assert_eq!(
            severity(&report, "certificate_revoked"),
            Some(Severity::Critical),
            "{ended}: {:?}",
            events(&report)
        );
        assert!(!stage.pins().contains(&world.fingerprint()), "{ended}");
    }
}

#[tokio::test]
async fn one_leaf_that_is_listed_twice_has_the_paths_of_both() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    let world = CrossSigned::on(&stage);
    let with = |at: usize| ("Upcoming", PemForm::Vendor.text(&[world.leaf.clone(), world.intermediates[at].clone()]));
    stage.vendor.world().list_besides(vec![with(0), with(1)]);
    stage.cycle().await;
    for at in [0, 1] {
        let chain = stage.contents().set.chain;
        assert!(chain.contains_key(&Fingerprint::of(&world.intermediates[at])), "{at}");
    }
}

#[tokio::test]
async fn a_revoked_leaf_never_enters() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    stage.publish("digicert-intermediate", &[stage.current()]);
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "certificate_revoked"), Some(Severity::Critical));
    assert!(stage.pins().is_empty());
}

#[tokio::test]
async fn a_revoked_genesys_witness_is_denied_while_its_root_still_admits() {
    let mut stage = Stage::new("soft", r#"["DigiCert", "Genesys"]"#).await;
    stage.cycle().await;
    assert_eq!(stage.contents().set.name_rules.len(), 1);
    let witness = stage.vendor.world().genesys().unwrap().der().to_vec();
    stage.later(2 * HOUR);
    stage.publish("genesys-root", std::slice::from_ref(&witness));
    let report = stage.cycle().await;
    let set = stage.contents().set;
    assert!(set.denied.contains_key(&Fingerprint::of(&witness)), "{:?}", events(&report));
    assert_eq!((set.name_rules.len(), set.pins.len()), (1, 1));
    assert!(report.committed && !report.deny_all);
}

#[tokio::test]
async fn a_list_that_is_stale_when_it_is_first_seen_revokes_whom_it_names() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    let revoked = stage.current();
    stage.publish("digicert-intermediate", std::slice::from_ref(&revoked));
    stage.later(8 * DAY);
    stage.publish("digicert-root", &[]);
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "certificate_revoked"), Some(Severity::Critical), "{:?}", events(&report));
    assert_eq!(severity(&report, "crl_unavailable"), Some(Severity::Warning), "and it vouches for nobody");
    assert!(stage.pins().is_empty());
    assert_eq!(stage.contents().state.planner.denied[&Fingerprint::of(&revoked)].reason, DenialReason::Revoked);
}

#[tokio::test]
async fn soft_says_so_where_no_list_speaks_for_a_leaf() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    // At the leaf's distribution point lies a list of another issuer of its path: genuine, and in force.
    let of_root = stage.lists.lock().unwrap()["digicert-root"].clone();
    stage.lists.lock().unwrap().insert("digicert-intermediate".to_owned(), of_root);
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "revocation_unknown"), Some(Severity::Warning), "{:?}", events(&report));
    assert_eq!((report.exit(false), stage.pins().len()), (Exit::Done, 1), "soft lets it in");
    assert_eq!(report.findings.iter().filter(|one| one.event.name() == "revocation_unknown").count(), 1);
    stage.later(2 * HOUR);
    stage.publish("digicert-intermediate", &[]);
    let report = stage.cycle().await;
    assert!(severity(&report, "revocation_unknown").is_none(), "{:?}", events(&report));
}

/// A server that accepts a connection and never says a word, as a network that drops packets.
async fn silent_host() -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            held.push(stream);
        }
    });
    (base, asked)
}

#[tokio::test]
async fn a_silent_host_of_lists_keeps_nobody_waiting_for_long_and_is_left_alone_for_an_hour() {
    let (base, asked) = silent_host().await;
    let mut stage = Stage::with("soft", r#"["DigiCert"]"#, Some(base)).await;
    let asked = || *asked.lock().unwrap();
    let begun = std::time::Instant::now();
    let report = stage.cycle().await;
    let took = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(12)).contains(&took), "{took:?}");
    assert_eq!(
        (report.generation, report.exit(false)),
        (Some(1), Exit::Done),
        "soft lets it in: {:?}",
        events(&report)
    );
    assert_eq!(severity(&report, "crl_unavailable"), Some(Severity::Warning));
    assert!(asked() >= 1);

    // Within the hour it is not asked, and the alarm stands.
    let (before, begun) = (asked(), std::time::Instant::now());
    stage.later(HOUR - 60);
    stage.clients = Clients::of(&stage.settings).unwrap();
    let report = stage.cycle().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(asked(), before, "another process remembers it too");
    let said = report.findings.iter().find(|one| one.event.name() == "crl_unavailable").unwrap();
    assert!(said.text.contains("did not answer") && said.text.contains("asked again after"), "{}", said.text);
    stage.later(120);
    stage.cycle().await;
    assert!(asked() > before, "after the hour it is asked again");
}

#[tokio::test]
async fn what_is_trusted_has_had_its_turn_before_a_silent_host_is_given_up() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    stage.cycle().await;
    stage.later(2 * HOUR);
    stage.silence();
    let cycle = tokio::time::timeout(Duration::from_secs(3), stage.cycle());
    assert!(cycle.await.is_err(), "it goes on to wait for the lists");
    let answered = stage.contents().state.planner.slots.values().next().unwrap().last_answer;
    assert_eq!(answered, Some(stage.clock.now()), "but the vendor's answer was acted on by then");
    let begun = std::time::Instant::now();
    let report = stage.cycle().await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert_eq!(severity(&report, "crl_not_refreshed"), Some(Severity::Note), "{:?}", events(&report));
}

#[tokio::test]
async fn verify_under_hard_is_content_with_one_path_that_the_lists_speak_for_as_the_cycle_is() {
    let mut stage = Stage::new("hard", r#"["DigiCert"]"#).await;
    let world = CrossSigned::on(&stage);
    world.listed_with(&stage, &[0, 1]);
    stage.lists.lock().unwrap().remove("second");
    stage.cycle().await;
    assert!(stage.pins().contains(&world.fingerprint()));

    let write = |name: &str, bytes: &[u8]| std::fs::write(stage.folder.path().join(name), bytes).unwrap();
    let [first, second] = &world.intermediates;
    write("leaf.pem", PemForm::Vendor.text(&[world.leaf.clone(), first.clone(), second.clone()]).as_bytes());
    for name in ["shared", "first"] {
        write(name, &stage.lists.lock().unwrap()[name].clone());
    }
    let verify = |lists: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trustsync"));
        command.current_dir(stage.folder.path()).args([
            "verify",
            "leaf.pem",
            "--config",
            "trustsync.toml",
            "--at",
            START,
        ]);
        let ran = command.args(lists.iter().flat_map(|list| ["--crl", *list])).output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr))
    };
    let (code, said) = verify(&["shared", "first"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = verify(&["shared"]);
    assert!(code == Some(5) && said.contains("revocation-unknown"), "{said}");
}

#[tokio::test]
async fn a_list_that_came_counts_at_once_although_the_next_of_its_host_is_late() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    stage.cycle().await;
    stage.later(2 * HOUR);
    stage.publish("digicert-intermediate", &[stage.current()]);
    *stage.held_back.lock().unwrap() = Some("digicert-root");
    let cycle = tokio::time::timeout(Duration::from_secs(3), stage.cycle());
    assert!(cycle.await.is_err(), "it goes on to wait for the other list");
    assert!(stage.pins().is_empty(), "but whom the first one names has left");
}

#[tokio::test]
async fn a_listed_leaf_that_is_denied_makes_no_cycle_wait_for_lists() {
    let mut stage = Stage::new("hard", r#"["DigiCert"]"#).await;
    stage.publish("digicert-intermediate", &[stage.current()]);
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "certificate_revoked"), Some(Severity::Critical));
    stage.later(2 * HOUR);
    stage.silence();
    stage.cycle().await;
    stage.later(HOUR / 2);
    let begun = std::time::Instant::now();
    let report = stage.cycle().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}: {:?}", begun.elapsed(), events(&report));
}

#[tokio::test]
async fn kept_lists_vouch_while_no_client_for_new_ones_can_be_made() {
    let mut stage = Stage::new("hard", r#"["DigiCert"]"#).await;
    stage.cycle().await;
    assert_eq!(stage.pins().len(), 1);
    stage.later(2 * HOUR);
    stage.vendor.world().rotate().unwrap();
    stage.clients = Clients::of(&stage.settings).unwrap();
    std::fs::write(stage.folder.path().join("api-ca.pem"), "nothing").unwrap();
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "crl_unavailable"), Some(Severity::Warning), "{:?}", events(&report));
    assert_eq!(stage.pins().len(), 2, "{:?}", events(&report));
}

#[tokio::test]
async fn soft_warns_of_a_list_that_is_unavailable_and_lets_in() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    stage.outage();
    let report = stage.cycle().await;
    assert_eq!(severity(&report, "crl_unavailable"), Some(Severity::Warning));
    assert_eq!(stage.pins().len(), 1);
}

#[tokio::test]
async fn hard_lets_nothing_new_in_without_a_list_and_removes_nothing() {
    let mut stage = Stage::new("hard", r#"["DigiCert"]"#).await;
    stage.lists.lock().unwrap().remove("digicert-root");
    let refused = stage.cycle().await;
    assert!(stage.pins().is_empty() && !refused.committed);
    assert_eq!(refused.exit(false), Exit::Answer);
    let text: String = refused.findings.iter().map(|finding| finding.text.clone() + "\n").collect();
    assert!(text.contains("no CRL in force"), "{text}");

    stage.publish("digicert-root", &[]);
    stage.cycle().await;
    let first = stage.pins();
    assert_eq!(first.len(), 1);
    // An outage longer than the lists: what is trusted stays, what is new stays out, until there is a list again.
    stage.outage();
    stage.later(10 * DAY);
    let during = stage.cycle().await;
    assert!(!during.committed);
    stage.vendor.world().rotate().unwrap();
    stage.cycle().await;
    assert_eq!(stage.pins(), first);
    stage.publish("digicert-root", &[]);
    stage.publish("digicert-intermediate", &[]);
    stage.cycle().await;
    assert_eq!(stage.pins().len(), 2);
}

#[tokio::test]
async fn off_asks_nobody() {
    let mut stage = Stage::new("off", r#"["DigiCert"]"#).await;
    stage.publish("digicert-intermediate", &[stage.current()]);
    stage.cycle().await;
    assert_eq!(stage.pins().len(), 1);
    assert!(stage.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_rehearsal_asks_no_distribution_point_and_writes_no_list() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    let options = Options { deadline: Duration::from_secs(20), lock_timeout: Duration::from_secs(1), command: "test" };
    let store = stage.settings.stores["main"].clone();
    let report = cycle::rehearse(&stage.settings, &store, &mut stage.clients, &stage.clock, &options).await.unwrap();
    assert!(report.rehearsed && stage.asked.lock().unwrap().is_empty() && !store.path.exists());
}

/// `trustsync simulate` as people run it; it ends with the test.
struct Simulated {
    child: std::process::Child,
    control: String,
    folder: tempfile::TempDir,
}

impl Simulated {
    fn start(options: &[&str]) -> Self {
        use std::io::{BufRead, BufReader};
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_trustsync"))
            .args(["simulate", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--folder"])
            .arg(folder.path().join("sim"))
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let control = lines.find_map(|line| Some(line.unwrap().split_once("http://")?.1.split_once('/')?.0.to_owned()));
        Self { child, control: control.unwrap(), folder }
    }

    /// What `curl -X POST` says.
    fn post(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.control).unwrap();
        let control = &self.control;
        write!(stream, "POST {path} HTTP/1.1\r\nHost: {control}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        answer
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_trustsync"))
            .args(arguments)
            .arg("--config")
            .arg(self.path("trustsync.toml"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("sim").join(name)
    }

    fn published(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("store/current").join(name)).unwrap()
    }

    fn fingerprint(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        let leaf = pem::scan(&text).into_iter().next().unwrap();
        Fingerprint::of(&leaf.bytes.unwrap()).to_string()
    }

    /// As if the kept lists had been fetched an hour ago, so that they are due.
    fn an_hour_passes(&self) {
        let mut aged = 0;
        for entry in std::fs::read_dir(self.path("store/crl")).unwrap() {
            let path = entry.unwrap().path();
            let Ok(mut record) = serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path).unwrap()) else {
                continue;
            };
            let fetched: Timestamp = record["fetched"].as_str().unwrap().parse().unwrap();
            record["fetched"] = fetched.minus(Duration::from_secs(HOUR)).to_string().into();
            std::fs::write(&path, record.to_string()).unwrap();
            aged += 1;
        }
        assert_eq!(aged, 2, "the leaf's list and the intermediate's");
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_drill_of_a_revocation_from_the_command_line() {
    let simulated = Simulated::start(&["--days-left", "40"]);
    let (current, upcoming) = (simulated.fingerprint("current.pem"), simulated.fingerprint("upcoming.pem"));
    let (code, said) = simulated.run(&["sync"]);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("crl_"), "{said}");
    for leaf in [&current, &upcoming] {
        assert!(simulated.published("fingerprints.txt").contains(leaf));
    }

    simulated.an_hour_passes();
    assert!(simulated.post("/revoke/current").contains(&current));
    let (code, said) = simulated.run(&["sync"]);
    assert_eq!(code, 5, "what the vendor lists is refused: {said}");
    for piece in ["certificate_revoked", "published generation 000002", &current] {
        assert!(said.contains(piece), "{piece}: {said}");
    }
    let allowed = simulated.published("fingerprints.txt");
    assert!(!allowed.contains(&current) && allowed.contains(&upcoming), "{allowed}");
    let (code, said) = simulated.run(&["status"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(&current) && said.contains("revoked") && !said.contains("DENY ALL"), "{said}");

    // The other one too: nobody is left, and every output says so.
    simulated.an_hour_passes();
    simulated.post("/revoke/upcoming");
    let (code, said) = simulated.run(&["sync"]);
    assert!(code == 5 && said.contains("certificate_revoked"), "{code} {said}");
    for name in ["trust-bundle.pem", "chain.pem", "leaves.pem"] {
        assert_eq!(pem::scan(&simulated.published(name)).len(), 1, "{name} holds the marker alone");
    }
    assert!(simulated.published("fingerprints.txt").contains("deny all"));
    assert!(simulated.published("manifest.json").contains("\"deny_all\": true"));
    let (code, said) = simulated.run(&["status"]);
    assert!(code == 2 && said.contains("DENY ALL: nobody is admitted"), "{code} {said}");

    // Lists that name nobody any more lift nothing; a certificate that nobody revoked ends it.
    simulated.an_hour_passes();
    simulated.post("/revoke/none");
    simulated.run(&["sync"]);
    assert!(simulated.published("fingerprints.txt").contains("deny all"));
    simulated.post("/days-left/40");
    let (_, said) = simulated.run(&["sync"]);
    let fresh = simulated.fingerprint("current.pem");
    assert!(simulated.published("fingerprints.txt").contains(&fresh), "{said}");
    let (_, said) = simulated.run(&["status"]);
    assert!(!said.contains("DENY ALL"), "{said}");
}

#[tokio::test]
async fn the_operators_override_admits_nobody_whom_a_kept_list_names() {
    let mut stage = Stage::new("soft", r#"["DigiCert"]"#).await;
    let world = stage.vendor.world().clone();
    let namesake = world.impostor(trustsync::simulator::world::Impostor::Namesake).unwrap();
    stage.publish("digicert-intermediate", &[namesake.der().to_vec()]);
    stage.cycle().await;
    let before = stage.pins();
    stage.outage();

    let store = stage.settings.stores["main"].clone();
    let options = Options { deadline: Duration::from_secs(20), lock_timeout: Duration::from_secs(1), command: "test" };
    let mut session = cycle::Session::open(&store, &stage.clock, &options).unwrap();
    let source = &stage.settings.sources["us"];
    let accepted = cycle::check_leaf(
        &session.contents,
        &stage.settings,
        source,
        &namesake.pem(),
        cycle::Waived::default(),
        stage.clock.now(),
    )
    .unwrap()
    .unwrap_or_else(|_| panic!());
    let (mut planner, mut set) = (session.contents.state.planner.clone(), session.contents.set.clone());
    let now = stage.clock.now();
    let word = trustsync::trust::plan::planner_state::TrustOverride {
        since: now,
        until: now.plus(Duration::from_secs(DAY)),
        any_identity: false,
        no_usage: false,
        said: trustsync::trust::values::said::Said::default(),
    };
    let role = trustsync::trust::plan::overrides::trust(
        &mut planner,
        &mut set,
        &accepted.slot,
        &accepted.verified,
        &accepted.identity,
        word,
    );
    assert!(role.is_some(), "nobody has denied it yet");
    let mut report = session.act_on_override(&stage.settings, planner, &set, "trust").await.unwrap();
    session.close_between(&mut report);

    assert!(
        report.findings.iter().any(|finding| finding.event.name() == "certificate_revoked"),
        "{:?}",
        report.findings
    );
    assert_eq!(stage.pins(), before);
}

#[tokio::test]
async fn a_list_that_cannot_be_kept_revokes_all_the_same_and_keeps_no_leaf_out() {
    let mut stage = Stage::new("hard", r#"["DigiCert"]"#).await;
    // In the place of the cache's folder.
    std::fs::create_dir(stage.store()).unwrap();
    let folder = stage.store().join("crl");
    std::fs::write(&folder, "not a folder").unwrap();
    let first = stage.cycle().await;
    assert_eq!((first.generation, first.exit(false)), (Some(1), Exit::Done), "{:?}", first.findings);
    assert_eq!(severity(&first, "crl_not_kept"), Some(Severity::Warning), "{:?}", events(&first));
    let text = &first.findings.iter().find(|finding| finding.event.name() == "crl_not_kept").unwrap().text;
    assert!(text.contains(folder.to_str().unwrap()), "{text}");
    assert!(stage.contents().state.alarms.keys().any(|id| id.starts_with("crl_not_kept")));
    let revoked = stage.current();
    stage.publish("digicert-intermediate", std::slice::from_ref(&revoked));
    let report = stage.cycle().await;
    assert!(report.deny_all && severity(&report, "certificate_revoked").is_some(), "{:?}", events(&report));

    // Once it is mended, nothing is left to say.
    std::fs::remove_file(&folder).unwrap();
    let mended = stage.cycle().await;
    assert_eq!(severity(&mended, "crl_not_kept"), None);
    assert!(!stage.contents().state.alarms.keys().any(|id| id.starts_with("crl_not_kept")));
}
