//! A configured Java target through the real cycle, with the classes as shipped, in a real JVM that is never restarted:
//! whole rotations with everybody who might knock, names, what is kept open, and what is read by keytool and openssl.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::cast::knock;
use support::doors::{self, Behind, Door};
use support::java;
use support::jvm::{Flavour, Jvm};
use support::names::Names;
use support::report::line;
use support::stage::Stage;
use trustsync::cycle::Report;
use trustsync::exit::Exit;
use trustsync::simulator::pki::ClientCertificate;
use trustsync::simulator::world::Impostor;
use trustsync::trust::fingerprint::Fingerprint;
use trustsync::trust::turn::Evidence;

const WITH_MARKER: &str = "truststore-with-marker.p12";

#[track_caller]
fn assert_proven(report: &Report) {
    assert_eq!(line(report).settled, Some(Evidence::Proven), "{report:?}");
    assert_eq!(report.exit(false), Exit::Done, "{:?}", report.findings);
}

fn table(address: &str) -> String {
    format!(
        "[target.java]\nkind = \"java\"\nproof = {{ connect = [\"{address}\"], server_name = \"api.example.com\", \
         timeout = \"6s\" }}\n"
    )
}

async fn proven_stage(flavour: Flavour) -> (Stage, Jvm) {
    let mut stage = Stage::begin().await;
    let jvm = Jvm::start(flavour, &stage.root().join("server"), &stage.link("java"), WITH_MARKER);
    stage.configure_targets(&table(&jvm.address()));
    assert_proven(&stage.cycle().await);
    (stage, jvm)
}

/// Who knocks, by openssl and by Java, and who of them is let in; beside them everybody who never is.
#[track_caller]
fn assert_cast(stage: &Stage, jvm: &Jvm, knocking: &[(&str, &ClientCertificate, bool)]) {
    let status = |admitted: bool| if admitted { "200" } else { "nothing" };
    let mut expected: Vec<(&str, Option<&ClientCertificate>, &str, &str)> = knocking
        .iter()
        .map(|(who, certificate, admitted)| (*who, Some(*certificate), status(*admitted), status(*admitted)))
        .collect();
    let impostors = Impostor::ALL.map(|who| (who, stage.world().impostor(who).unwrap()));
    for (who, certificate) in &impostors {
        // Of an issuer that nobody asks for, Java shows nothing, and gets what nobody gets.
        let by_java = if matches!(who, Impostor::Twin | Impostor::OtherCa) { "403" } else { "nothing" };
        expected.push((who.name(), Some(certificate), "nothing", by_java));
    }
    expected.push(("nobody", None, "403", "403"));
    for (who, certificate, status, _) in &expected {
        assert_eq!(knock(&jvm.address(), *certificate), *status, "{who}");
    }
    let by_java: Vec<_> =
        expected.into_iter().map(|(who, certificate, _, status)| (who, certificate, status)).collect();
    java::assert_cast_by_java(&jvm.address(), &by_java);
}

async fn assert_distrusted(stage: &Stage, leaf: &ClientCertificate) {
    let done = stage.run(&["distrust", &Fingerprint::of(leaf.der()).to_string()]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("target java: proven"), "{done:?}");
}

#[tokio::test]
async fn a_whole_rotation_at_the_jdks_server_admits_the_right_ones_without_a_restart() {
    whole_rotation(Flavour::Jdk).await;
}

#[tokio::test]
async fn a_whole_rotation_at_tomcat_admits_the_right_ones_without_a_restart() {
    whole_rotation(Flavour::Tomcat).await;
}

async fn whole_rotation(flavour: Flavour) {
    let (mut stage, mut jvm) = proven_stage(flavour).await;
    let current = stage.world().current().unwrap();
    assert_cast(&stage, &jvm, &[("current", &current, true)]);

    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    assert_cast(&stage, &jvm, &[("current", &current, true), ("upcoming", &upcoming, true)]);

    stage.on_day(100);
    stage.world().rotate().unwrap();
    for _ in 0..3 {
        assert_proven(&stage.cycle().await);
        stage.an_hour_later();
    }
    assert_eq!(knock(&jvm.address(), Some(&current)), "200", "in its grace");
    stage.on_day(116);
    assert_proven(&stage.cycle().await);
    assert_cast(&stage, &jvm, &[("the old one", &current, false), ("current", &upcoming, true)]);

    // With the last one nobody is left, and no authority either: the one of the marker's is nobody's.
    assert_distrusted(&stage, &upcoming).await;
    let nobody = |jvm: &Jvm| {
        for who in [&current, &upcoming, &stage.world().impostor(Impostor::Stranger).unwrap()] {
            assert_eq!(knock(&jvm.address(), Some(who)), "nothing");
        }
        assert_eq!(knock(&jvm.address(), None), "403");
    };
    nobody(&jvm);
    jvm.restart(&stage.link("java"), WITH_MARKER);
    nobody(&jvm);
}

#[tokio::test]
async fn neither_a_kept_connection_nor_a_resumed_session_outlives_its_leaf_at_the_jdks_server() {
    doors_close(Flavour::Jdk).await;
}

#[tokio::test]
async fn neither_a_kept_connection_nor_a_resumed_session_outlives_its_leaf_at_tomcat() {
    doors_close(Flavour::Tomcat).await;
}

async fn doors_close(flavour: Flavour) {
    let (stage, jvm) = proven_stage(flavour).await;
    let current = stage.world().current().unwrap();
    let mut doors: Vec<Door> =
        doors::VERSIONS.iter().map(|version| Door::open(&jvm.address(), &current, version)).collect();
    for door in &doors {
        assert_eq!(door.resume(), (Behind::Status(200), true), "while it is trusted");
    }
    assert_distrusted(&stage, &current).await;
    for door in &mut doors {
        assert_eq!(door.ask_again(), Behind::Status(403));
        // The trust manager is not asked again, so the session lives on; the filter is.
        assert_eq!(door.resume(), (Behind::Status(403), true));
    }
}

#[tokio::test]
async fn where_the_files_cannot_be_read_nobody_gets_in_until_they_can() {
    let (mut stage, jvm) = proven_stage(Flavour::Jdk).await;
    let current = stage.world().current().unwrap();
    let mut door = Door::open(&jvm.address(), &current, doors::VERSIONS[1]);
    fs::remove_file(stage.link("java")).unwrap();
    assert_eq!(knock(&jvm.address(), Some(&current)), "nothing");
    assert_eq!(knock(&jvm.address(), None), "403");
    assert_eq!(door.ask_again(), Behind::Status(403));
    stage.cycle().await;
    assert_eq!(knock(&jvm.address(), Some(&current)), "200");
    assert_eq!(door.ask_again(), Behind::Status(200));
}

#[test]
fn by_a_name_rule_and_beside_a_public_pin_java_admits_the_name_and_no_trick() {
    for with_public in [false, true] {
        let names = Names::new(with_public);
        let link = names.publish("java", &[trustsync::targets::java::OUTPUT]);
        let dir = tempfile::tempdir().unwrap();
        let jvm = Jvm::start(Flavour::Jdk, dir.path(), &link, WITH_MARKER);
        names.assert_cast(&jvm.address());
    }
}

#[tokio::test]
async fn keytool_and_openssl_read_the_truststores_and_find_the_same() {
    let mut stage = Stage::begin().await;
    stage.configure_targets("[target.java]\nkind = \"java\"\n");
    stage.cycle().await;
    let link = stage.link("java");
    let first = aliases(&link.join("truststore.p12"));
    assert_eq!(first.len(), 2, "{first:?}");
    let with = aliases(&link.join(WITH_MARKER));
    assert_eq!(with.difference(&first).collect::<Vec<_>>(), ["trustsync-marker"]);
    for (file, count) in [("truststore.p12", 2), (WITH_MARKER, 3)] {
        let output = Command::new("openssl")
            .args(["pkcs12", "-nokeys", "-passin", "pass:changeit", "-in"])
            .arg(link.join(file))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text.matches("-----BEGIN CERTIFICATE-----").count(), count, "{text}");
    }
    // The next generation has the same authorities, under the same aliases, and byte for byte the same file.
    let before = fs::read(link.join("truststore.p12")).unwrap();
    stage.on_day(45);
    stage.cycle().await;
    assert_eq!(stage.linked("java"), 2);
    assert_eq!(fs::read(link.join("truststore.p12")).unwrap(), before);
    assert_eq!(aliases(&link.join(WITH_MARKER)), with);
}

/// The aliases of the entries that Java trusts.
fn aliases(truststore: &Path) -> BTreeSet<String> {
    let output = Command::new("keytool")
        .args(["-J-Duser.language=en", "-list", "-storepass", "changeit", "-keystore"])
        .arg(truststore)
        .output()
        .expect("keytool is needed for this test: apt-get install default-jdk-headless");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains("Warning"), "{text}");
    let trusted: BTreeSet<String> = text
        .lines()
        .filter(|line| line.contains("trustedCertEntry"))
        .map(|line| line.split(',').next().unwrap().to_owned())
        .collect();
    let entries = text.lines().find_map(|line| line.split("contains ").nth(1)).unwrap();
    assert_eq!(entries.split(' ').next().unwrap().parse::<usize>().unwrap(), trusted.len(), "{text}");
    trusted
}

#[tokio::test]
async fn from_the_answer_to_proven_it_takes_a_fraction_of_a_second() {
    let (mut stage, _jvm) = proven_stage(Flavour::Jdk).await;
    let mut times = Vec::new();
    for _ in 0..20 {
        stage.an_hour_later();
        stage.world().rotate().unwrap();
        let begun = Instant::now();
        let report = stage.cycle().await;
        times.push(begun.elapsed());
        assert!(report.committed);
        assert_proven(&report);
    }
    times.sort();
    println!("java, whole cycles: median {:?}, longest {:?} of {}", times[10], times[19], times.len());
    assert!(times[10] < Duration::from_secs(2), "{times:?}");
}
