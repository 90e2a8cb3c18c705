//! What is Envoy's alone on its way through the real cycle (`stories` has what it shares with others): a start that waits for
//! its file, both authorities, and what Envoy refuses or leaves open.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::cast::{self, knock};
use support::envoy::{Envoy, Version};
use support::envoy_stage::table;
use support::foreground::wait_until;
use support::names::{self, NAME, Names};
use support::report::{alarm, line};
use support::server::{assert_cast_by_both, assert_proven};
use support::stage::Stage;
use trustsync::cycle::Report;
use trustsync::exit::Exit;
use trustsync::targets::envoy::snippet::whole;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::turn::{Evidence, Owed, Proof};
use trustsync::trust::values::fingerprint::Fingerprint;

const GENESYS: &str = "authorities = [\"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";

/// Each story, played by both.
macro_rules! stories {
    ($($story:ident,)+) => {
        mod by_the_oldest {
            $(#[tokio::test] async fn $story() { super::$story(super::Version::Oldest).await; })+
        }
        mod by_the_newest {
            $(#[tokio::test] async fn $story() { super::$story(super::Version::Newest).await; })+
        }
    };
}

stories! {
    a_new_installation_is_synced_then_started_then_proven,
    the_genesys_leaf_is_renewed_without_telling_and_a_public_namesake_stays_out,
    a_name_whose_every_leaf_is_denied_shuts_everybody_out_and_is_critical,
    by_a_name_rule_envoy_admits_the_name_and_no_trick,
    by_the_issuer_alone_envoy_admits_all_whom_that_root_has_signed_and_nobody_else,
    with_a_store_and_a_listener_each_both_authorities_are_served_and_proven,
    a_listener_that_does_not_watch_the_link_refutes_though_another_serves_the_new_secret,
    where_no_certificate_is_required_the_list_is_not_enforced,
    a_validator_that_is_joined_with_ours_and_asks_for_no_leaf_of_ours_is_not_enforced,
    a_name_that_is_joined_with_ours_is_not_enforced_and_beside_a_list_of_leaves_it_lets_nobody_in,
    a_name_that_is_joined_with_ours_lets_in_anyone_who_has_it,
    an_envoy_of_which_only_a_cluster_asks_for_the_secret_is_not_wired,
    a_secret_that_envoy_was_given_and_refused_is_refuted_whatever_its_dump_shows,
    a_secret_that_is_garbage_leaves_the_old_one_and_is_refuted,
    a_secret_of_the_right_number_with_another_content_is_refuted,
    a_secret_with_other_authorities_than_meant_is_refuted_whatever_its_contexts_show,
    a_listener_whose_secret_is_the_marker_alone_refutes_though_another_serves_the_chain,
    without_the_marker_the_admin_endpoint_proves_what_it_shows,
    the_admin_endpoint_may_be_a_socket,
}

/// A server that serves generation 1, proven.
async fn proven_stage(version: Version) -> (Stage, Envoy) {
    proven(version, Stage::begin().await).await
}

async fn proven(version: Version, mut stage: Stage) -> (Stage, Envoy) {
    // Envoy does not start without the file.
    stage.configure_targets("[target.envoy]\nkind = \"envoy\"\n");
    stage.cycle().await;
    let envoy = stage.serve_envoy(version);
    stage.configure(&[("envoy", &envoy, None)]);
    assert_proven(&stage.cycle().await);
    (stage, envoy)
}

async fn a_new_installation_is_synced_then_started_then_proven(version: Version) {
    let stage = {
        let mut stage = Stage::begin_now().await;
        stage.configure_targets(&table("127.0.0.1:1", "http://127.0.0.1:1"));
        stage
    };
    let first = stage.run(&["sync"]).await;
    assert_eq!(first.code, 7, "{first:?}");
    assert!(first.stdout.contains("OWED: it does not answer"), "{first:?}");
    let reload = stage.run(&["reload", "envoy"]).await;
    assert_eq!(reload.code, 7, "{reload:?}");

    let envoy = stage.serve_envoy(version);
    let mut stage = stage;
    stage.configure(&[("envoy", &envoy, None)]);
    let second = stage.run(&["sync"]).await;
    assert_eq!(second.code, 0, "{second:?}");
    assert!(second.stdout.contains("target envoy: proven"), "{second:?}");
    assert_eq!(knock(&envoy.address(), Some(&stage.world().current().unwrap())), "200");
    assert_eq!(stage.run(&["status"]).await.code, 0);
}

/// The turn after an operator's word, in the machine's own time.
async fn assert_proven_by_run(stage: &Stage) {
    let done = stage.run(&["reload", "envoy"]).await;
    assert!(done.stdout.contains("target envoy: proven"), "{done:?}");
}

async fn the_genesys_leaf_is_renewed_without_telling_and_a_public_namesake_stays_out(version: Version) {
    let (mut stage, envoy) = proven(version, Stage::begin().await.with_lines(GENESYS, "")).await;
    let genesys = stage.world().genesys().unwrap();
    stage.world().renew_genesys().unwrap();
    let renewed = stage.world().genesys().unwrap();
    let public = stage.world().current().unwrap();
    assert_cast_by_both(
        &stage,
        &envoy,
        &[
            ("genesys", Some(&genesys), "200"),
            ("renewed, never polled", Some(&renewed), "200"),
            ("public", Some(&public), "nothing"),
        ],
    );
    assert!(!stage.cycle().await.committed, "a renewal is nothing new");

    // Envoy can take nobody out of those who bear the name: so those that are listed are admitted one by one.
    let distrust = stage.run(&["distrust", "--yes", &Fingerprint::of(genesys.der()).to_string()]).await;
    assert_eq!(distrust.code, 0, "{distrust:?}");
    assert_proven_by_run(&stage).await;
    assert_cast_by_both(
        &stage,
        &envoy,
        &[("distrusted", Some(&genesys), "nothing"), ("the one that is listed", Some(&renewed), "200")],
    );
    stage.world().renew_genesys().unwrap();
    let third = stage.world().genesys().unwrap();
    assert_eq!(knock(&envoy.address(), Some(&third)), "nothing", "until it was polled");
    let polled = stage.cycle().await;
    assert!(polled.committed);
    assert_eq!(knock(&envoy.address(), Some(&third)), "200");
    let said = polled.findings.iter().find(|finding| finding.event.name() == "target_one_by_one").unwrap();
    assert_eq!(said.severity, Severity::Warning);
    assert!(said.text.contains("one by one"), "{}", said.text);
}

async fn a_name_whose_every_leaf_is_denied_shuts_everybody_out_and_is_critical(version: Version) {
    let (mut stage, envoy) = proven(version, Stage::begin().await.with_lines(GENESYS, "")).await;
    let genesys = stage.world().genesys().unwrap();
    let distrust = stage.run(&["distrust", "--yes", &Fingerprint::of(genesys.der()).to_string()]).await;
    assert!(distrust.stderr.contains("event=\"target_admits_nobody\""), "{distrust:?}");
    assert_cast_by_both(&stage, &envoy, &[("distrusted", Some(&genesys), "nothing")]);
    let report = stage.cycle().await;
    let text = alarm(&report, "target_admits_nobody");
    assert!(text.contains("refuses every client") && text.contains("all of these are denied"), "{text}");
    assert!(
        report.findings.iter().all(|finding| finding.event.name() != "target_one_by_one"),
        "it would say the opposite"
    );

    stage.world().renew_genesys().unwrap();
    let renewed = stage.world().genesys().unwrap();
    let report = stage.cycle().await;
    assert_eq!(knock(&envoy.address(), Some(&renewed)), "200");
    assert!(report.findings.iter().all(|finding| finding.event.name() != "target_admits_nobody"), "{report:?}");
    assert!(report.findings.iter().any(|finding| finding.event.name() == "target_one_by_one"), "{report:?}");
}

async fn by_a_name_rule_envoy_admits_the_name_and_no_trick(version: Version) {
    let mut names = Names::new(false);
    // Nobody is denied, and the witness bears the name as dNSName.
    names.set.denied.clear();
    names.set.name_rules[0].witnesses.dns_names = BTreeSet::from([NAME.to_owned()]);
    for member in &mut names.members {
        member.admitted |= member.who == "denied";
    }
    let link = names.publish("envoy", &[trustsync::targets::envoy::OUTPUT]);
    let dir = tempfile::tempdir().unwrap();
    let envoy = Envoy::start_version(version, dir.path(), &whole(&link));
    names.assert_cast(&envoy.address());
}

async fn by_the_issuer_alone_envoy_admits_all_whom_that_root_has_signed_and_nobody_else(version: Version) {
    let mut names = Names::new(false);
    names.set.denied.clear();
    let others = [
        "expired",
        "the very name, of the public root",
        "another leaf of the public root",
        "the pinned one",
        names::MARKER,
        names::SIGNED_BY_MARKER,
    ];
    // A few of those who are let in stand for all: each is a second of Envoy's delayed close.
    let few = ["the witness", "denied", "another name of the root's", "two common names, ours last"];
    names.members.retain(|member| others.contains(&member.who) || few.contains(&member.who));
    for member in &mut names.members {
        member.admitted = few.contains(&member.who);
    }
    let link = names.publish("envoy", &[trustsync::targets::envoy::OUTPUT]);
    let dir = tempfile::tempdir().unwrap();
    let envoy = Envoy::start_version(version, dir.path(), &whole(&link));
    names.assert_cast(&envoy.address());
}

#[tokio::test]
async fn both_authorities_in_one_validation_context_are_refused() {
    let both = "authorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    let mut stage = Stage::begin_now().await.with_lines(both, "");
    stage.configure_targets("[target.edge]\nkind = \"nginx\"\n");
    let path = stage.root().join("config.toml");
    let text = fs::read_to_string(&path).unwrap().replace("kind = \"nginx\"", "kind = \"envoy\"");
    fs::write(&path, text).unwrap();
    for command in [["config", "check"].as_slice(), &["sync"]] {
        let done = stage.run(command).await;
        assert_eq!(done.code, 3, "{done:?}");
        for words in ["target.edge is an Envoy", "a listener of its own", "[target.edge-genesys] kind = \"envoy\""] {
            assert!(done.stderr.contains(words) || done.stdout.contains(words), "{words}: {done:?}");
        }
    }
}

async fn with_a_store_and_a_listener_each_both_authorities_are_served_and_proven(version: Version) {
    let mut stage = Stage::begin_now().await.with_lines("authorities = [\"DigiCert\"]", "sources = [\"us\"]");
    stage.configure_targets("[target.edge]\nkind = \"envoy\"\nstore = \"main\"\n");
    let path = stage.root().join("config.toml");
    let first = fs::read_to_string(&path).unwrap();
    let source = first.split("[crl]").next().unwrap().replace("[source.us]", "[source.us-genesys]");
    let source = source.replace("authorities = [\"DigiCert\"]", GENESYS);
    let second = |more: &str| {
        format!(
            "{source}\n[store.genesys]\npath = \"genesys\"\nsources = [\"us-genesys\"]\n[target.edge-genesys]\nkind = \
             \"envoy\"\nstore = \"genesys\"\n{more}"
        )
    };
    fs::write(&path, format!("{first}{}", second(""))).unwrap();
    let sync = stage.run(&["sync"]).await;
    assert_eq!(sync.code, 0, "{sync:?}");

    // One Envoy, with a listener a target.
    let links = [stage.link("edge"), stage.root().join("genesys/target/edge-genesys")];
    let (listener, port) = another_listener(&whole(&links[1]), "genesys");
    let envoy = Envoy::start_version(version, &stage.root().join("server"), &format!("{}{listener}", whole(&links[0])));
    let proof = |address: &str| {
        format!("proof = {{ connect = [\"{address}\"], envoy = \"{}\", timeout = \"6s\" }}\n", envoy.admin())
    };
    let genesys = format!("127.0.0.1:{port}");
    let proven = format!("{first}{}{}", proof(&envoy.address()), second(&proof(&genesys)));
    fs::write(&path, proven).unwrap();
    for _ in 0..2 {
        let sync = stage.run(&["sync"]).await;
        assert_eq!(sync.code, 0, "{sync:?}");
        for target in ["edge", "edge-genesys"] {
            assert!(sync.stdout.contains(&format!("target {target}: proven")), "{sync:?}");
        }
        let (public, private) = (stage.world().current().unwrap(), stage.world().genesys().unwrap());
        for (address, who, status) in [
            (envoy.address(), &public, "200"),
            (envoy.address(), &private, "nothing"),
            (genesys.clone(), &private, "200"),
            (genesys.clone(), &public, "nothing"),
        ] {
            assert_eq!(knock(&address, Some(who)), status, "{address}");
        }
        // One of them changes.
        stage.world().set_days_left(40).unwrap();
    }
}

/// The listener of this configuration by another name, and the port that it gets.
fn another_listener(configuration: &str, name: &str) -> (String, u16) {
    let port = support::port::free_port();
    let listener = &configuration[configuration.find("  - name: https").unwrap()..];
    let listener = listener
        .replace("name: https\n", &format!("name: {name}\n"))
        .replace("address: 0.0.0.0, port_value: 8443", &format!("address: 127.0.0.1, port_value: {port}"));
    (listener, port)
}

async fn a_listener_that_does_not_watch_the_link_refutes_though_another_serves_the_new_secret(version: Version) {
    let (mut stage, mut envoy) = proven_stage(version).await;
    let shipped = whole(&stage.link("envoy"));
    let watching = shipped.lines().find(|line| line.trim_start().starts_with("watched_directory:")).unwrap();
    let (deaf, port) = another_listener(&shipped.replace(&format!("{watching}\n"), ""), "deaf");
    envoy.restart(&format!("{shipped}{deaf}"));
    let deaf = format!("127.0.0.1:{port}");
    stage.configure(&[("envoy", &envoy, None)]);
    assert_proven(&stage.cycle().await);

    let current = stage.world().current().unwrap();
    stage.on_day(45);
    let refuted = |report: &Report| {
        let Some(Owed::Unproven(Proof::Refuted(why))) = &line(report).owed else { panic!("{report:?}") };
        assert!(why.contains("of its 2 secrets \"trustsync\" one is of generation 000001"), "{why}");
        assert!(why.contains("without watched_directory") && why.ends_with(": deaf"), "{why}");
        alarm(report, "target_refuted");
    };
    refuted(&stage.cycle().await);
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    for (address, status) in [(&envoy.address(), "200"), (&deaf, "nothing")] {
        assert_eq!(knock(address, Some(&upcoming)), status, "that is why");
    }
    // Nobody told it lately, and it still does not.
    refuted(&stage.cycle().await);

    // A leaf that is denied goes on being let in there.
    let distrust = stage.run(&["distrust", "--yes", &Fingerprint::of(current.der()).to_string()]).await;
    assert_eq!(distrust.code, 7, "{distrust:?}");
    assert!(distrust.stdout.contains("target envoy: OWED: it serves another generation"), "{distrust:?}");
    for (address, status) in [(&envoy.address(), "nothing"), (&deaf, "200")] {
        assert_eq!(knock(address, Some(&current)), status);
    }
    let (second, _) = another_listener(&shipped, "second");
    envoy.restart(&format!("{shipped}{second}"));
    assert_proven_by_run(&stage).await;
}

async fn where_no_certificate_is_required_the_list_is_not_enforced(version: Version) {
    // By a list of certificates, or of names, Envoy asks for one all the same.
    let (mut stage, mut envoy) = proven_stage(version).await;
    envoy.restart(&whole(&stage.link("envoy")).replace("certificate: true", "certificate: false"));
    assert_eq!(knock(&envoy.address(), None), "nothing");
    assert_proven(&stage.cycle().await);

    let (mut stage, mut envoy) =
        proven(version, Stage::begin().await.with_lines(&format!("{GENESYS}\nidentity = \"any\""), "")).await;
    let open =
        whole(&stage.link("envoy")).replace("require_client_certificate: true", "require_client_certificate: false");
    envoy.restart(&open);
    assert_eq!(knock(&envoy.address(), None), "200", "that is why");
    let report = stage.cycle().await;
    assert!(matches!(line(&report).owed, Some(Owed::Unproven(Proof::NotEnforced(_)))), "{report:?}");
    let text = alarm(&report, "target_not_enforced");
    assert!(text.contains("https: require_client_certificate is not set"), "{text}");
    assert!(line(&report).to_add.is_some());
    assert!(line(&stage.cycle().await).to_add.is_none(), "not with every cycle");
    envoy.restart(&whole(&stage.link("envoy")));
    assert_proven(&stage.cycle().await);
}

/// More names than ours.
const MORE_NAMES: &str =
    "{ match_typed_subject_alt_names: [{ san_type: DNS, matcher: { suffix: .mypurecloud.com } }] }";

/// The same, with our secret joined with this context.
fn joined(configuration: &str, default: &str) -> String {
    let (before, rest) = configuration.split_once("            validation_context_sds_secret_config:\n").unwrap();
    let (ours, after) = rest.split_once("            # ----\n").unwrap();
    let ours = ours.replace("\n  ", "\n    ");
    format!(
        "{before}            combined_validation_context:\n\
         \x20             default_validation_context: {default}\n\
         \x20             validation_context_sds_secret_config:\n  {ours}{after}"
    )
}

/// A second listener, with our secret joined with this context, is not enforced.
async fn assert_opened(stage: &mut Stage, envoy: &mut Envoy, default: &str, key: &str) -> String {
    let shipped = whole(&stage.link("envoy"));
    let (second, port) = another_listener(&joined(&shipped, default), "joined");
    envoy.restart(&format!("{shipped}{second}"));
    let report = stage.cycle().await;
    assert!(matches!(line(&report).owed, Some(Owed::Unproven(Proof::NotEnforced(_)))), "{report:?}");
    let text = alarm(&report, "target_not_enforced");
    assert!(text.contains(&format!("joined: its default_validation_context has {key}")), "{text}");
    format!("127.0.0.1:{port}")
}

async fn a_validator_that_is_joined_with_ours_and_asks_for_no_leaf_of_ours_is_not_enforced(version: Version) {
    let (mut stage, mut envoy) = proven_stage(version).await;
    let dir = stage.root().join("workload");
    fs::create_dir_all(&dir).unwrap();
    let [root, leaf, key] = ["root.pem", "leaf.pem", "leaf.key"].map(|name| dir.join(name));
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let issuer = rcgen::CertifiedIssuer::self_signed(authority, rcgen::KeyPair::generate().unwrap()).unwrap();
    let mut workload = rcgen::CertificateParams::default();
    workload.subject_alt_names = vec![rcgen::SanType::URI("spiffe://example.org/anybody".try_into().unwrap())];
    workload.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let workload_key = rcgen::KeyPair::generate().unwrap();
    fs::write(&root, issuer.pem()).unwrap();
    fs::write(&leaf, workload.signed_by(&workload_key, &issuer).unwrap().pem()).unwrap();
    fs::write(&key, workload_key.serialize_pem()).unwrap();

    let validator = format!(
        "{{ custom_validator_config: {{ name: envoy.tls.cert_validator.spiffe, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig, trust_domains: [{{ \
         name: example.org, trust_bundle: {{ filename: \"{}\" }} }}] }} }} }}",
        root.display()
    );
    let address = assert_opened(&mut stage, &mut envoy, &validator, "custom_validator_config").await;
    for version in cast::TLS_VERSIONS {
        assert_eq!(cast::openssl(&address, Some((&leaf, &key, None)), version), "200", "that is why");
        assert_eq!(cast::openssl(&envoy.address(), Some((&leaf, &key, None)), version), "nothing");
    }
}

async fn a_name_that_is_joined_with_ours_is_not_enforced_and_beside_a_list_of_leaves_it_lets_nobody_in(
    version: Version,
) {
    let (mut stage, mut envoy) = proven(version, Stage::begin().await.with_lines(GENESYS, "")).await;
    assert_opened(&mut stage, &mut envoy, MORE_NAMES, "match_typed_subject_alt_names").await;

    // The two are asked for together: fewer get in, and no others.
    let (mut stage, mut envoy) = proven_stage(version).await;
    envoy.restart(&joined(&whole(&stage.link("envoy")), MORE_NAMES));
    assert_proven(&stage.cycle().await);
}

async fn a_name_that_is_joined_with_ours_lets_in_anyone_who_has_it(version: Version) {
    let mut names = Names::new(false);
    names.set.denied.clear();
    names.set.name_rules[0].witnesses.dns_names = BTreeSet::from(["another.example.com".to_owned()]);
    let link = names.publish("envoy", &[trustsync::targets::envoy::OUTPUT]);
    let witness = names.members.iter().find(|member| member.who == "the witness").unwrap();
    let shipped = whole(&link);
    for (configuration, status) in [(&shipped, "nothing"), (&joined(&shipped, MORE_NAMES), "200")] {
        let dir = tempfile::tempdir().unwrap();
        let envoy = Envoy::start_version(version, dir.path(), configuration);
        assert_eq!(witness.knock(&envoy.address(), "-tls1_3"), status);
    }
}

async fn an_envoy_of_which_only_a_cluster_asks_for_the_secret_is_not_wired(version: Version) {
    let (mut stage, mut envoy) = proven_stage(version).await;
    let shipped = whole(&stage.link("envoy"));
    let (before, rest) = shipped.split_once("          # ---- trustsync\n").unwrap();
    let (ours, after) = rest.split_once("            # ----\n").unwrap();
    let ours = &ours[ours.find("          common_tls_context:\n").unwrap()..];
    let cluster = format!(
        "  clusters:\n  - name: elsewhere\n    transport_socket:\n      name: envoy.transport_sockets.tls\n      \
         typed_config:\n          \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n{ours}"
    );
    envoy.restart(&format!("{before}          common_tls_context:\n{after}{cluster}"));
    assert_eq!(knock(&envoy.address(), None), "200", "that is why");
    stage.configure_targets(&format!(
        "[target.envoy]\nkind = \"envoy\"\nproof = {{ envoy = \"{}\", timeout = \"6s\" }}\n",
        envoy.admin()
    ));
    stage.on_day(45);
    let report = stage.cycle().await;
    assert!(matches!(line(&report).owed, Some(Owed::Unproven(Proof::NotWired(_)))), "{report:?}");
    alarm(&report, "target_not_wired");
}

/// An Envoy that reads a copy, which somebody else spoils.
struct Copied {
    stage: Stage,
    envoy: Envoy,
}

impl Copied {
    async fn begin(version: Version) -> Self {
        let mut stage = Stage::begin().await;
        stage.configure_targets("[target.envoy]\nkind = \"envoy\"\n");
        stage.cycle().await;
        let copies = stage.root().join("copies");
        fs::create_dir_all(copies.join("target")).unwrap();
        let good = fs::read_to_string(stage.link("envoy").join("envoy/sds.json")).unwrap();
        let copied = |number: u32, text: &str| put(&copies, number, text);
        copied(1, &good);
        let envoy = Envoy::start_version(version, &stage.root().join("server"), &whole(&copies.join("target/envoy")));
        stage.configure(&[("envoy", &envoy, None)]);
        assert_proven(&stage.cycle().await);
        stage.on_day(45);
        Self { stage, envoy }
    }

    /// The next generation is published, and has not arrived.
    async fn publish(&mut self) -> String {
        let early = self.stage.cycle().await;
        assert!(line(&early).owed.is_some(), "the copy is old: {early:?}");
        fs::read_to_string(self.stage.link("envoy").join("envoy/sds.json")).unwrap()
    }

    /// This arrives as the copy of that number, and Envoy has looked at it.
    fn arrive(&self, number: u32, text: &str) {
        let looks = || self.envoy.statistic("sds.trustsync.update_attempt");
        let before = looks();
        put(&self.stage.root().join("copies"), number, text);
        wait_until("it looks", || looks() != before);
    }

    /// The next generation arrives as what `spoil` makes of it.
    async fn cycle(&mut self, spoil: impl Fn(&str) -> String) -> Report {
        let current = self.stage.world().current().unwrap();
        let good = self.publish().await;
        self.arrive(2, &spoil(&good));
        let report = self.stage.cycle().await;
        assert_eq!(knock(&self.envoy.address(), Some(&current)), "200", "the old one is kept");
        let upcoming = self.stage.world().upcoming().unwrap().unwrap();
        assert_eq!(knock(&self.envoy.address(), Some(&upcoming)), "nothing");
        // Mended, it is taken.
        self.arrive(3, &good);
        assert_proven(&self.stage.cycle().await);
        assert_eq!(knock(&self.envoy.address(), Some(&upcoming)), "200");
        report
    }
}

/// The secret of this file with these of its authorities, the marker being the first.
fn holding(file: &str, which: &[usize]) -> String {
    let mut secret: serde_json::Value = serde_json::from_str(file).unwrap();
    let bundle = &mut secret["resources"][0]["validation_context"]["trusted_ca"]["inline_string"];
    let all: Vec<&str> = bundle.as_str().unwrap().split_inclusive("-----END CERTIFICATE-----\n").collect();
    assert_eq!(all.len(), 3, "marker, intermediate, root");
    let held: String = which.iter().map(|at| all[*at]).collect();
    *bundle = held.into();
    secret.to_string()
}

fn put(copies: &Path, number: u32, text: &str) {
    fs::create_dir_all(copies.join(format!("{number}/envoy"))).unwrap();
    fs::write(copies.join(format!("{number}/envoy/sds.json")), text).unwrap();
    symlink(format!("../{number}"), copies.join("target/new")).unwrap();
    fs::rename(copies.join("target/new"), copies.join("target/envoy")).unwrap();
}

async fn a_secret_that_envoy_was_given_and_refused_is_refuted_whatever_its_dump_shows(version: Version) {
    let mut copied = Copied::begin(version).await;
    let report = copied.cycle(|good| {
        let at = good.find("MII").unwrap();
        format!("{}AAAA{}", &good[..at], &good[at + 4..])
    });
    let report = report.await;
    let Some(Owed::Unproven(Proof::Refuted(why))) = &line(&report).owed else { panic!("{report:?}") };
    match version {
        Version::Oldest => assert_eq!(why, "its secret is of generation 000001"),
        // Its dump shows the one that it refused.
        Version::Newest => {
            assert!(why.contains("was given generation 000002 and refused it, and goes on with 000001"), "{why}");
            assert!(why.contains("sds.trustsync.update_rejected is 1"), "{why}");
        }
    }
    assert_eq!(copied.envoy.statistic("sds.trustsync.update_rejected"), 1);
    alarm(&report, "target_refuted");
}

async fn a_secret_that_is_garbage_leaves_the_old_one_and_is_refuted(version: Version) {
    let mut copied = Copied::begin(version).await;
    let report = copied.cycle(|_| "garbage".to_owned()).await;
    let Some(Owed::Unproven(Proof::Refuted(why))) = &line(&report).owed else { panic!("{report:?}") };
    assert!(why.contains("000001"), "{why}");
    assert_eq!(copied.envoy.statistic("sds.trustsync.update_failure"), 1);
}

async fn a_secret_of_the_right_number_with_another_content_is_refuted(version: Version) {
    let mut copied = Copied::begin(version).await;
    let current = Fingerprint::of(copied.stage.world().current().unwrap().der()).to_string();
    let report = copied.cycle(move |good| {
        // The upcoming one is left out.
        let (head, rest) = good.split_once("\"verify_certificate_hash\": [").unwrap();
        let (_, tail) = rest.split_once(']').unwrap();
        format!("{head}\"verify_certificate_hash\": [\"{current}\"]{tail}")
    });
    let report = report.await;
    let Some(Owed::Unproven(Proof::Refuted(why))) = &line(&report).owed else { panic!("{report:?}") };
    assert!(why.contains("holds something else"), "{why}");
}

async fn a_secret_with_other_authorities_than_meant_is_refuted_whatever_its_contexts_show(version: Version) {
    let mut copied = Copied::begin(version).await;
    let [current, upcoming] =
        [copied.stage.world().current().unwrap(), copied.stage.world().upcoming().unwrap().unwrap()];
    let good = copied.publish().await;
    // What a right one of the oldest shows is what the marker alone shows: its contexts cannot tell the two.
    for (number, held, status) in [(2, [0].as_slice(), "nothing"), (3, &[1, 2], "200"), (4, &[1, 2, 0], "200")] {
        copied.arrive(number, &holding(&good, held));
        let report = copied.stage.cycle().await;
        let Some(Owed::Unproven(Proof::Refuted(why))) = &line(&report).owed else { panic!("{held:?}: {report:?}") };
        assert!(why.contains("holds something else"), "{why}");
        let shown = if version == Version::Oldest { 1 } else { held.len() };
        assert_eq!(copied.envoy.authorities().iter().map(Vec::len).collect::<Vec<_>>(), [shown]);
        for leaf in [&current, &upcoming] {
            assert_eq!(knock(&copied.envoy.address(), Some(leaf)), status, "{held:?}: it was taken");
        }
    }
    copied.arrive(5, &good);
    assert_proven(&copied.stage.cycle().await);
    let shown = if version == Version::Oldest { 1 } else { 3 };
    assert_eq!(copied.envoy.authorities().iter().map(Vec::len).collect::<Vec<_>>(), [shown]);
}

async fn a_listener_whose_secret_is_the_marker_alone_refutes_though_another_serves_the_chain(version: Version) {
    let (mut stage, mut envoy) = proven_stage(version).await;
    let copies = stage.root().join("copies");
    fs::create_dir_all(copies.join("target")).unwrap();
    let good = fs::read_to_string(stage.link("envoy").join("envoy/sds.json")).unwrap();
    let shipped = whole(&stage.link("envoy"));
    let (beside, port) = another_listener(&whole(&copies.join("target/envoy")), "beside");
    let both = format!("{shipped}{beside}");
    let current = stage.world().current().unwrap();
    put(&copies, 1, &holding(&good, &[0]));
    envoy.restart(&both);
    stage.configure(&[("envoy", &envoy, None)]);
    let report = stage.cycle().await;
    let Some(Owed::Unproven(Proof::Refuted(why))) = &line(&report).owed else { panic!("{report:?}") };
    assert!(why.contains("holds something else") && why.contains("one of 2"), "{why}");
    for (address, status) in [(&envoy.address(), "200"), (&format!("127.0.0.1:{port}"), "nothing")] {
        assert_eq!(knock(address, Some(&current)), status, "that is why");
    }
    put(&copies, 2, &good);
    envoy.restart(&both);
    assert_proven(&stage.cycle().await);
    assert_eq!(knock(&format!("127.0.0.1:{port}"), Some(&current)), "200");
}

/// Of the oldest, whose contexts show one authority each, the chain cannot be told then.
async fn without_the_marker_the_admin_endpoint_proves_what_it_shows(version: Version) {
    let (mut stage, mut envoy) = proven_stage(version).await;
    let without = whole(&stage.link("envoy")).replace("/envoy/sds.json", "/envoy/sds-without-marker.json");
    envoy.restart(&without);
    let admin = envoy.admin();
    stage.configure_targets(&format!(
        "[target.envoy]\nkind = \"envoy\"\nmarker = false\nproof = {{ envoy = \"{admin}\", timeout = \"6s\" }}\n"
    ));
    for day in [45, 46] {
        stage.on_day(day);
        let report = stage.cycle().await;
        match (version, &line(&report).settled) {
            (Version::Oldest, Some(Evidence::AllowlistOnly(why))) => {
                assert!(why.contains("shows one authority") && why.contains("below 1.40"), "{why}");
                assert_eq!(report.exit(false), Exit::Done, "{:?}", report.findings);
            }
            (Version::Newest, _) => assert_proven(&report),
            _ => panic!("{report:?}"),
        }
        assert_eq!(knock(&envoy.address(), Some(&stage.world().upcoming().unwrap().unwrap())), "200");
    }
    let listed = fs::read_to_string(stage.link("envoy").join("envoy/sds-without-marker.json")).unwrap();
    assert!(!listed.is_empty());
    // What stood there before is served by one that does not watch: it is refuted, as ever.
    let watching = without.lines().find(|line| line.trim_start().starts_with("watched_directory:")).unwrap();
    envoy.restart(&without.replace(&format!("{watching}\n"), ""));
    stage.on_day(100);
    stage.world().rotate().unwrap();
    for _ in 0..3 {
        stage.an_hour_later();
        stage.cycle().await;
    }
    stage.an_hour_later();
    let report = stage.cycle().await;
    assert!(matches!(line(&report).owed, Some(Owed::Unproven(Proof::Refuted(_)))), "{report:?}");
}

async fn the_admin_endpoint_may_be_a_socket(version: Version) {
    let (mut stage, mut envoy) = proven_stage(version).await;
    let socket = stage.root().join("admin.sock");
    let tcp = "socket_address: { address: 127.0.0.1, port_value: 9901 }";
    let pipe = format!("pipe: {{ path: \"{}\" }} # port_value: 9901", socket.display());
    let by_socket = whole(&stage.link("envoy")).replace(tcp, &pipe);
    assert!(by_socket.contains(&pipe));
    envoy.restart_without_admin_port(&by_socket);
    stage.configure_targets(&table(&envoy.address(), &format!("unix:{}", socket.display())));
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    fs::remove_file(&socket).unwrap();
    stage.an_hour_later();
    let gone = stage.cycle().await;
    assert!(!matches!(line(&gone).settled, Some(Evidence::Proven)), "{gone:?}");
}
